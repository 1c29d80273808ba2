//! Names and sizes of many files, held tightly.

use std::cmp::Reverse;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Regular files.
#[derive(Debug, Default)]
pub(super) struct Files {
    names: Vec<u8>,
    slots: Vec<Slot>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) size: u64,
    /// Where its name begins.
    name: usize,
    /// Its directory, by number.
    pub(super) directory: u32,
    length: u16,
}

impl Files {
    pub(super) fn push(&mut self, directory: usize, name: &OsStr, size: u64) {
        // So many directories would not have fitted into memory.
        let directory = u32::try_from(directory).unwrap_or(u32::MAX);
        // No file system has names that long.
        let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
        self.slots.push(Slot { size, name: self.names.len(), directory, length });
        self.names.extend_from_slice(name.as_bytes());
    }

    /// The largest first, so that no thread is left with one at the end; otherwise as they were found.
    pub(super) fn sort(&mut self) {
        self.slots.sort_unstable_by_key(|slot| (Reverse(slot.size), slot.name));
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(super) fn name(&self, slot: &Slot) -> &OsStr {
        let name = self.names.get(slot.name..).and_then(|rest| rest.get(..usize::from(slot.length)));
        OsStr::from_bytes(name.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_the_largest_is_first() {
        assert_eq!(size_of::<Slot>(), 24);
        let mut files = Files::default();
        for (name, size) in [("a", 1), ("", 0), ("large", 1 << 40), ("b\u{1f600}", 1)] {
            files.push(7, OsStr::new(name), size);
        }
        files.sort();
        let found: Vec<_> = files.slots().iter().map(|slot| (files.name(slot), slot.size)).collect();
        let expected = [("large", 1 << 40), ("a", 1), ("b\u{1f600}", 1), ("", 0)];
        assert_eq!(found, expected.map(|(name, size)| (OsStr::new(name), size)));
    }
}
