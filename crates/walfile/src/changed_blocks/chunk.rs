//! Changed blocks among 65536 neighbours.

/// Blocks of one chunk.
pub(super) const CHUNK_BLOCKS: u32 = 1 << 16;
/// Entries at which a chunk is a bitmap: as 16-bit words it has just as many.
pub(super) const BITMAP_WORDS: u16 = 4096;
/// Up to here a list is searched from its beginning.
const SHORT: usize = 32;
const BITMAP_BYTES: usize = 2 * BITMAP_WORDS as usize;

/// The changed blocks of a chunk, by their offset in it: at most 16 KiB.
///
/// PostgreSQL writes the offsets of a list in the order in which they came, and so do we: its file is our file.
#[derive(Clone, Debug)]
pub(super) enum Chunk {
    Short(Vec<u16>),
    /// A longer list, and the same as a bitmap so that no list is searched.
    Long(Vec<u16>, Bitmap),
    /// What was a bitmap stays one, even when a truncation empties it.
    Bitmap(Bitmap),
}

impl Chunk {
    pub(super) const fn new() -> Self {
        Self::Short(Vec::new())
    }

    #[inline]
    pub(super) fn mark(&mut self, offset: u16) {
        match self {
            Self::Short(list) => {
                if list.contains(&offset) {
                    return;
                }
                list.push(offset);
                if list.len() > SHORT {
                    let bitmap = Bitmap::of(list);
                    *self = Self::Long(std::mem::take(list), bitmap);
                }
            }
            Self::Long(list, bitmap) => {
                if !bitmap.set(offset) {
                    return;
                }
                list.push(offset);
                if list.len() >= usize::from(BITMAP_WORDS) {
                    *self = Self::Bitmap(std::mem::take(bitmap));
                }
            }
            Self::Bitmap(bitmap) => {
                bitmap.set(offset);
            }
        }
    }

    /// Forgets the blocks from this offset on.
    pub(super) fn truncate(&mut self, offset: u16) {
        match self {
            Self::Short(list) => list.retain(|kept| *kept < offset),
            Self::Long(list, bitmap) => {
                list.retain(|kept| *kept < offset);
                bitmap.truncate(offset);
            }
            Self::Bitmap(bitmap) => bitmap.truncate(offset),
        }
    }

    pub(super) fn contains(&self, offset: u16) -> bool {
        match self {
            Self::Short(list) => list.contains(&offset),
            Self::Long(_, bitmap) | Self::Bitmap(bitmap) => bitmap.contains(offset),
        }
    }

    /// How many 16-bit words it takes in a file.
    pub(super) fn words(&self) -> u16 {
        match self {
            Self::Short(list) | Self::Long(list, _) => u16::try_from(list.len()).unwrap_or(BITMAP_WORDS),
            Self::Bitmap(_) => BITMAP_WORDS,
        }
    }

    /// Appends these words as a file has them.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Short(list) | Self::Long(list, _) => {
                out.extend(list.iter().flat_map(|offset| offset.to_le_bytes()));
            }
            Self::Bitmap(bitmap) => out.extend(bitmap.0.iter().flat_map(|word| word.to_le_bytes())),
        }
    }

    /// Takes the words of a file: a bitmap when there are [`BITMAP_WORDS`] of them.
    pub(super) fn decode(bytes: &[u8]) -> Self {
        if bytes.len() == BITMAP_BYTES {
            let (words, _) = bytes.as_chunks();
            return Self::Bitmap(Bitmap(words.iter().map(|word| u64::from_le_bytes(*word)).collect()));
        }
        let mut chunk = Self::new();
        for offset in bytes.as_chunks().0 {
            chunk.mark(u16::from_le_bytes(*offset));
        }
        chunk
    }

    /// The offsets in the order in which another chunk should be told of them.
    pub(super) fn in_order(&self) -> Offsets<'_> {
        match self {
            Self::Short(list) | Self::Long(list, _) => Offsets::List(list.iter()),
            Self::Bitmap(bitmap) => bitmap.offsets(),
        }
    }

    /// The offsets, ascending.
    pub(super) fn ascending(&self) -> Offsets<'_> {
        match self {
            Self::Short(list) => {
                let mut sorted = list.clone();
                sorted.sort_unstable();
                Offsets::Sorted(sorted.into_iter())
            }
            Self::Long(_, bitmap) | Self::Bitmap(bitmap) => bitmap.offsets(),
        }
    }

    pub(super) fn len(&self) -> u32 {
        match self {
            Self::Short(list) | Self::Long(list, _) => u32::try_from(list.len()).unwrap_or(CHUNK_BLOCKS),
            Self::Bitmap(bitmap) => bitmap.0.iter().map(|word| word.count_ones()).sum(),
        }
    }
}

/// A bit for each block of a chunk, the lowest first; 8 KiB.
#[derive(Clone, Debug, Default)]
pub(super) struct Bitmap(Vec<u64>);

impl Bitmap {
    fn of(list: &[u16]) -> Self {
        let mut bitmap = Self(vec![0; BITMAP_BYTES / 8]);
        for offset in list {
            bitmap.set(*offset);
        }
        bitmap
    }

    /// Whether it was not set before.
    #[inline]
    fn set(&mut self, offset: u16) -> bool {
        let bit = 1 << (offset % 64);
        self.0.get_mut(usize::from(offset / 64)).is_some_and(|word| {
            let new = *word & bit == 0;
            *word |= bit;
            new
        })
    }

    fn contains(&self, offset: u16) -> bool {
        self.0.get(usize::from(offset / 64)).is_some_and(|word| word & (1 << (offset % 64)) != 0)
    }

    fn truncate(&mut self, offset: u16) {
        let mut words = self.0.iter_mut().skip(usize::from(offset / 64));
        if let Some(word) = words.next() {
            *word &= (1 << (offset % 64)) - 1;
        }
        words.for_each(|word| *word = 0);
    }

    fn offsets(&self) -> Offsets<'_> {
        Offsets::Bits { words: &self.0, base: 0, word: 0 }
    }
}

/// Offsets of blocks in a chunk.
#[derive(Clone, Debug)]
pub(super) enum Offsets<'a> {
    List(std::slice::Iter<'a, u16>),
    Sorted(std::vec::IntoIter<u16>),
    /// The bits of `word` that are left, whose last has the number `base - 1`, then those of `words`.
    Bits {
        words: &'a [u64],
        base: u32,
        word: u64,
    },
}

impl Iterator for Offsets<'_> {
    type Item = u16;

    #[inline]
    fn next(&mut self) -> Option<u16> {
        match self {
            Self::List(list) => list.next().copied(),
            Self::Sorted(list) => list.next(),
            Self::Bits { words, base, word } => {
                while *word == 0 {
                    let (first, rest) = words.split_first()?;
                    (*word, *words) = (*first, rest);
                    *base += 64;
                }
                let bit = word.trailing_zeros();
                *word &= *word - 1;
                u16::try_from(*base - 64 + bit).ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn check(chunk: &Chunk, expected: &BTreeSet<u16>) {
        assert!(chunk.ascending().eq(expected.iter().copied()));
        assert_eq!(chunk.in_order().collect::<BTreeSet<_>>(), *expected);
        assert_eq!(chunk.len() as usize, expected.len());
        for offset in [0, 1, 63, 64, 4095, u16::MAX] {
            assert_eq!(chunk.contains(offset), expected.contains(&offset));
        }
        let mut bytes = Vec::new();
        chunk.encode(&mut bytes);
        assert_eq!(bytes.len(), 2 * usize::from(chunk.words()));
        let back = Chunk::decode(&bytes);
        assert!(back.ascending().eq(chunk.ascending()));
        assert!(back.in_order().eq(chunk.in_order()));
        let mut again = Vec::new();
        back.encode(&mut again);
        assert_eq!(again, bytes);
    }

    #[test]
    fn the_forms_change_where_postgresql_changes_them() {
        let mut chunk = Chunk::new();
        let mut expected = BTreeSet::new();
        for (count, offset) in (0..=u16::MAX).map(|n| n.wrapping_mul(40503)).enumerate().take(5000) {
            chunk.mark(offset);
            chunk.mark(offset);
            expected.insert(offset);
            assert_eq!(usize::from(chunk.words()), (count + 1).min(4096));
        }
        check(&chunk, &expected);
        chunk.truncate(300);
        check(&chunk, &expected.range(..300).copied().collect());
        chunk.truncate(0);
        assert_eq!((chunk.words(), chunk.len()), (4096, 0));
    }

    proptest! {
        #[test]
        fn a_chunk_is_a_set(
            steps in prop::collection::vec((any::<u16>(), 0..40u8), 0..300),
            wide in any::<bool>(),
        ) {
            let (mut chunk, mut expected) = (Chunk::new(), BTreeSet::new());
            for (offset, what) in steps {
                let offset = if wide { offset } else { offset % 200 };
                if what == 0 {
                    chunk.truncate(offset);
                    expected = expected.range(..offset).copied().collect();
                } else {
                    chunk.mark(offset);
                    expected.insert(offset);
                }
            }
            check(&chunk, &expected);
        }
    }
}
