//! The header of an `INCREMENTAL.*` file (PostgreSQL 17, `basebackup_incremental.c`).

use std::io::{self, Read};

use thiserror::Error;

/// The first four bytes.
pub const MAGIC: u32 = 0xd3ae_1f0d;
/// What the names of such files begin with.
pub const PREFIX: &str = "INCREMENTAL.";

/// What an incremental file says before its blocks.
///
/// ```
/// use tapster_copy::combine::{IncrementalHeader, MAGIC};
/// let mut file = Vec::new();
/// for number in [MAGIC, 2, 10, 3, 7] {
///     file.extend_from_slice(&u32::to_le_bytes(number));
/// }
/// file.resize(3 * 8192, 0);
/// let header = IncrementalHeader::read(&mut file.as_slice(), 8192, 131_072)?;
/// assert_eq!((header.blocks.as_slice(), header.length()), ([3, 7].as_slice(), 10));
/// assert_eq!(header.data_offset, 8192);
/// # Ok::<(), tapster_copy::combine::HeaderError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct IncrementalHeader {
    /// The shortest the rebuilt file can be, in blocks. Blocks below it that are not here come from the backup before.
    pub truncation_block_length: u32,
    /// The server wrote more than a segment can hold, which happened for segments of a relation that VACUUM had truncated,
    /// before it was capped (PostgreSQL 17 and 18 minor releases). The length is capped here.
    pub oversized: bool,
    /// The blocks that follow, in ascending order, counted from the beginning of the segment.
    pub blocks: Vec<u32>,
    /// Bytes before the first block.
    pub data_offset: u64,
}

/// A file that is no incremental one, or not of this cluster.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// It cannot be read, or ends before its header does.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Other first bytes.
    #[error("bad incremental magic number (0x{found:x}, expected 0x{MAGIC:x})")]
    Magic {
        /// The bytes as a number.
        found: u32,
    },
    /// More blocks than a segment has.
    #[error("block count {found} in excess of segment size {limit}")]
    BlockCount {
        /// Per the header.
        found: u32,
        /// Blocks of a segment.
        limit: u32,
    },
    /// A block beyond the end of a segment.
    #[error("block {found} in excess of segment size {limit}")]
    Block {
        /// Per the header.
        found: u32,
        /// Blocks of a segment.
        limit: u32,
    },
    /// Blocks that do not ascend: one would stand for two places, or be read backwards.
    #[error("block {found} after block {previous}")]
    Order {
        /// A block.
        found: u32,
        /// The one before it.
        previous: u32,
    },
}

impl IncrementalHeader {
    /// Reads up to the first block, in a cluster with blocks of `block_size` bytes and segments of `segment_blocks` blocks.
    ///
    /// # Errors
    /// When it is no such header. Nothing is allocated for more blocks than a segment has.
    pub fn read(source: &mut impl Read, block_size: u32, segment_blocks: u32) -> Result<Self, HeaderError> {
        let mut start = [0; 12];
        source.read_exact(&mut start)?;
        let (words, _) = start.as_chunks::<4>();
        let mut words = words.iter().map(|word| u32::from_le_bytes(*word));
        let mut word = || words.next().unwrap_or(0);
        let (magic, count, truncation) = (word(), word(), word());
        if magic != MAGIC {
            return Err(HeaderError::Magic { found: magic });
        }
        if count > segment_blocks {
            return Err(HeaderError::BlockCount { found: count, limit: segment_blocks });
        }
        let mut bytes = vec![0; count as usize * 4];
        source.read_exact(&mut bytes)?;
        let mut blocks = Vec::with_capacity(count as usize);
        for word in bytes.as_chunks::<4>().0 {
            let found = u32::from_le_bytes(*word);
            if found >= segment_blocks {
                return Err(HeaderError::Block { found, limit: segment_blocks });
            }
            if let Some(previous) = blocks.last().copied().filter(|previous| *previous >= found) {
                return Err(HeaderError::Order { found, previous });
            }
            blocks.push(found);
        }
        let used = 12 + u64::from(count) * 4;
        // The blocks stand at whole multiples of their size.
        let data_offset = match count {
            0 => used,
            _ => used.next_multiple_of(u64::from(block_size.max(1))),
        };
        io::copy(&mut source.take(data_offset - used), &mut io::sink())?;
        Ok(Self {
            truncation_block_length: truncation.min(segment_blocks),
            oversized: truncation > segment_blocks,
            blocks,
            data_offset,
        })
    }

    /// Blocks of the rebuilt file.
    pub fn length(&self) -> u32 {
        self.blocks.last().map_or(0, |last| last.saturating_add(1)).max(self.truncation_block_length)
    }

    /// Where a block lies in the file.
    pub(super) fn offset(&self, index: usize, block_size: u32) -> u64 {
        self.data_offset.saturating_add((index as u64).saturating_mul(u64::from(block_size)))
    }

    /// Bytes of the whole file.
    pub fn file_length(&self, block_size: u32) -> u64 {
        self.offset(self.blocks.len(), block_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[u32], length: usize) -> Result<IncrementalHeader, HeaderError> {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(length.max(bytes.len()), 0);
        IncrementalHeader::read(&mut bytes.as_slice(), 8192, 100)
    }

    #[test]
    fn headers_are_refused_when_they_are_not_those_of_a_segment() {
        assert!(matches!(read(&[], 0), Err(HeaderError::Io(_))));
        assert!(matches!(read(&[1, 0, 0], 0), Err(HeaderError::Magic { found: 1 })));
        assert!(matches!(read(&[MAGIC, u32::MAX, 0], 0), Err(HeaderError::BlockCount { .. })));
        assert!(matches!(read(&[MAGIC, 2, 0, 1], 0), Err(HeaderError::Io(_))));
        assert!(matches!(read(&[MAGIC, 1, 0, 100], 9000), Err(HeaderError::Block { found: 100, .. })));
        assert!(matches!(read(&[MAGIC, 2, 0, 5, 5], 9000), Err(HeaderError::Order { .. })));
        assert!(matches!(read(&[MAGIC, 2, 0, 5, 4], 9000), Err(HeaderError::Order { .. })));
        assert!(read(&[MAGIC, 1, 0, 5], 100).is_ok(), "a short file is found when its block is read");
    }

    /// The server pads the header only when blocks follow it.
    #[test]
    fn padding_and_lengths() {
        let none = read(&[MAGIC, 0, 7], 12).unwrap();
        assert_eq!((none.data_offset, none.length(), none.file_length(8192)), (12, 7, 12));
        let grown = read(&[MAGIC, 1, 7, 20], 16384).unwrap();
        assert_eq!((grown.data_offset, grown.length(), grown.file_length(8192)), (8192, 21, 16384));
    }

    /// L-B34: a server without the cap.
    #[test]
    fn l_b34_a_truncation_length_beyond_the_segment_is_capped_and_told() {
        let header = read(&[MAGIC, 0, 101], 12).unwrap();
        assert_eq!((header.truncation_block_length, header.oversized), (100, true));
        assert!(!read(&[MAGIC, 0, 100], 12).unwrap().oversized);
    }
}
