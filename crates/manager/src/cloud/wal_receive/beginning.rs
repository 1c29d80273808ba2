//! The beginning of a segment in the bucket, beside the one here: what is there is never replaced by less.
//!
//! It may hold more than the spool: another spool had received more, or a power cut took from the disk what was uploaded before. And
//! it may be somebody else's, such as the last segment of a timeline that a promoted server has archived.

use std::fs::File;
use std::io::{Read, Seek as _};

use tapster_catalog::same_content::{Unread, read_up_to};
use tapster_cloud::CloudError;
use walfile::{SegmentName, WalName};

use super::super::wal_objects::StoredWal;
use super::super::{CloudServer, CloudWalError};

/// Compared at a time.
const CHUNK: usize = 128 * 1024;

/// What a beginning that is stored is to the one here. Behind what was received are zeros.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stored {
    /// All of it is here as well.
    Within,
    /// It is the same as far as the one here goes, and goes on to this offset.
    Beyond(u64),
    /// It is something else.
    Other,
}

/// What is to be done with the one here.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Replacement {
    /// It holds all that is stored under these keys.
    Allowed(Vec<String>),
    /// There is more in the bucket, up to this offset; all of it when there is the whole segment.
    NotBefore(u64),
    /// This key has other content.
    Refused(String),
}

/// Compares what was received, at least up to the offset `received`, with what is stored.
pub(super) fn compare(mut ours: impl Read, mut theirs: impl Read, received: u64) -> Result<Stored, Unread> {
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    let (mut at, mut end, mut stored_end, mut differs) = (0_u64, received, 0_u64, None);
    loop {
        // What is missing is zeros, too.
        left.fill(0);
        right.fill(0);
        let here = read_up_to(&mut ours, &mut left).map_err(Unread::First)?;
        let there = read_up_to(&mut theirs, &mut right).map_err(Unread::Second)?;
        if here.max(there) == 0 {
            break;
        }
        let last = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).map(|last| at + last as u64 + 1);
        end = end.max(last(&left).unwrap_or_default());
        stored_end = stored_end.max(last(&right).unwrap_or_default());
        if differs.is_none() && left != right {
            differs = left.iter().zip(&right).position(|(a, b)| a != b).map(|first| at + first as u64);
        }
        at += CHUNK as u64;
    }
    Ok(match differs {
        None => Stored::Within,
        Some(first) if first >= stored_end => Stored::Within,
        Some(first) if first >= end => Stored::Beyond(stored_end),
        Some(_) => Stored::Other,
    })
}

impl CloudServer {
    /// Whether the beginning of `segment` in `file`, which was received up to the offset `received`, may take the place of what is in
    /// the bucket.
    pub(super) fn may_replace_beginning(
        &self,
        segment: SegmentName,
        file: &File,
        received: u64,
    ) -> Result<Replacement, CloudWalError> {
        let names = [WalName::Segment(segment), WalName::Partial(segment)];
        let mut keys = Vec::new();
        for stored in self.archived_of(names.into_iter())?.into_values().flatten() {
            if stored.name == WalName::Segment(segment) {
                return Ok(Replacement::NotBefore(u64::MAX));
            }
            match self.compare_beginning(&stored, file, received)? {
                None => {}
                Some(Stored::Within) => keys.push(stored.key),
                Some(Stored::Beyond(offset)) => return Ok(Replacement::NotBefore(offset)),
                Some(Stored::Other) => return Ok(Replacement::Refused(stored.key)),
            }
        }
        Ok(Replacement::Allowed(keys))
    }

    /// `None` when it has gone meanwhile.
    pub(super) fn compare_beginning(
        &self,
        stored: &StoredWal,
        mut file: &File,
        received: u64,
    ) -> Result<Option<Stored>, CloudWalError> {
        let failed = |source| CloudWalError::Read { path: stored.name.to_string().into(), source };
        file.rewind().map_err(failed)?;
        let compared = self.open_wal(stored).and_then(|theirs| {
            compare(file, theirs, received).map_err(|unread| match unread {
                Unread::First(source) => failed(source),
                Unread::Second(source) => self.unreadable(stored, source),
            })
        });
        match compared {
            Ok(found) => Ok(Some(found)),
            Err(CloudWalError::Store(CloudError::NotFound { .. })) => Ok(None),
            // Nobody can say what was in it.
            Err(CloudWalError::Content { .. }) => Ok(Some(Stored::Other)),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_within_beyond_or_other() {
        for (ours, received, theirs, expected) in [
            ("abc\0\0\0", 3, "abc\0\0\0", Stored::Within),
            ("abcd\0\0", 4, "abc\0\0\0", Stored::Within),
            ("abcd\0\0", 4, "abc", Stored::Within),
            ("abc\0\0\0", 3, "", Stored::Within),
            ("abc\0\0\0", 3, "abcde\0", Stored::Beyond(5)),
            // What was received may end in zeros.
            ("abc\0\0\0", 5, "abcd\0\0", Stored::Other),
            ("abc\0\0\0", 5, "abc\0\0f", Stored::Beyond(6)),
            // A spool that was begun anew has received nothing, but has it.
            ("abc\0\0\0", 0, "abcd\0\0", Stored::Beyond(4)),
            ("\0\0\0\0\0\0", 0, "abcd\0\0", Stored::Beyond(4)),
            ("abx\0\0\0", 0, "abcd\0\0", Stored::Other),
            ("abc\0\0\0", 3, "ab\0\0\0\0\0\0x", Stored::Other),
            ("abc", 3, "abc\0\0\0\0\0x", Stored::Beyond(9)),
        ] {
            assert_eq!(
                compare(ours.as_bytes(), theirs.as_bytes(), received).unwrap(),
                expected,
                "{ours:?} {received} {theirs:?}"
            );
        }
        // Across the boundary of what is compared at once.
        let long = |end: usize| {
            let mut bytes = vec![1; end];
            bytes.resize(400_000, 0);
            bytes
        };
        for (ours, theirs, expected) in [
            (300_000, 140_000, Stored::Within),
            (140_000, 300_000, Stored::Beyond(300_000)),
            (131_072, 131_073, Stored::Beyond(131_073)),
        ] {
            assert_eq!(compare(&long(ours)[..], &long(theirs)[..], ours as u64).unwrap(), expected);
        }
    }
}
