//! The bytes of an index file.

mod read;
mod write;

pub(super) use write::{header, put_seal, put_segment};

use super::HashDir;
use super::summary::SegmentSummary;

const MAGIC: [u8; 8] = *b"TapWalIx";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 24;
/// No frame is longer.
const MAX_FRAME: usize = 64 * 1024;
/// No index file is longer: 4096 segments of 1 MiB, each with all it may have.
pub(super) const MAX_FILE: u64 = 128 << 20;

const SEGMENT: u8 = 1;
const SEAL: u8 = 2;

/// A moment as a directory's modification time has it: seconds and nanoseconds.
pub(super) type DirTime = (i64, i64);

/// What an index file says: `meta/wal-index/*.idx`, without a look at the archive. [`WalIndex`](super::WalIndex) reads and
/// completes it.
///
/// The header and each frame have a checksum. Reading ends at the first frame that is not in order, so that what is believed is
/// always a beginning of what was written.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct IndexContents {
    /// In the order of the file; a later one replaces an earlier one of the same segment.
    pub segments: Vec<SegmentSummary>,
    /// The mark of a whole directory, when it is the last frame: its modification time in seconds and nanoseconds.
    pub seal: Option<(i64, i64)>,
    /// Up to where the file is in order.
    pub valid: usize,
}

impl IndexContents {
    /// Reads as much as is in order. `None`: not an index of this version for this directory. Memory: no more than some
    /// times the bytes that are in order.
    pub fn parse(bytes: &[u8], dir: HashDir) -> Option<Self> {
        read::parse(bytes, dir)
    }

    /// The file that says this.
    pub fn to_bytes(&self, dir: HashDir) -> Vec<u8> {
        let mut bytes = header(dir);
        self.segments.iter().for_each(|summary| put_segment(&mut bytes, summary));
        self.seal.into_iter().for_each(|seal| put_seal(&mut bytes, seal));
        bytes
    }
}

#[cfg(test)]
mod tests;
