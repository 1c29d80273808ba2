//! Whether a file that calls itself WAL can be the one of this server.

use std::fs::File;
use std::io::{self, Read, Seek as _};

use thiserror::Error;
use walfile::codec::{self, Compression};
use walfile::{LongPageHeader, Lsn, SegmentMismatch, SegmentSize, SystemId, WalName};

/// Labels and history files are a few hundred bytes.
const MAX_TEXT: u64 = 4 * 1024 * 1024;

/// Why a file cannot be the WAL file of its name of this server.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum NotThisWal {
    /// Not a WAL file's name.
    #[error("not the name of a WAL file")]
    Name,
    /// A directory, a link or a device.
    #[error("not a regular file")]
    FileType,
    /// It has no bytes.
    #[error("it is empty")]
    Empty,
    /// Its length is not that of a segment, or not the one its own header states.
    #[error("{found} bytes long, expected {}", expected.map_or("a segment's size".to_owned(), |size| size.to_string()))]
    Length {
        /// Bytes of a segment, where the file says so itself.
        expected: Option<u64>,
        /// Bytes of the file.
        found: u64,
    },
    /// It does not begin as a segment does.
    #[error("not a WAL segment: {problem}")]
    Header {
        /// What is wrong.
        problem: String,
    },
    /// It belongs to another cluster: two of them archive to one server.
    #[error("of system {found}, expected {expected}")]
    System {
        /// Of the cluster this server's directory belongs to.
        expected: u64,
        /// Of the file.
        found: u64,
    },
    /// It holds WAL of another place than its name says.
    #[error("holds WAL from {found}, expected {expected}")]
    Address {
        /// Where the segment of this name begins.
        expected: Lsn,
        /// Where this one does.
        found: Lsn,
    },
}

impl From<SegmentMismatch> for NotThisWal {
    fn from(mismatch: SegmentMismatch) -> Self {
        match mismatch {
            SegmentMismatch::Size { size, found, .. } => Self::Length { expected: Some(size.bytes()), found },
            SegmentMismatch::Address { expected, found, .. } => Self::Address { expected, found },
            SegmentMismatch::SystemId { expected, found, .. } => {
                Self::System { expected: expected.get(), found: found.get() }
            }
            other => Self::Header { problem: other.to_string() },
        }
    }
}

/// How much is asked of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Strictness {
    /// Everything that can be known: the file comes from PostgreSQL itself.
    Full,
    /// Only what proves that it is cut short or another cluster's. It may be compressed, and `archive-wal` looks again.
    Provable,
}

/// Compares the content of `file` with its name. The outer error is one of reading.
pub(super) fn check(
    file: &mut File,
    name: WalName,
    system_id: Option<u64>,
    strictness: Strictness,
) -> io::Result<Result<(), NotThisWal>> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(Err(NotThisWal::Empty));
    }
    let strict = strictness == Strictness::Full;
    let (WalName::Segment(segment) | WalName::Partial(segment)) = name else {
        let found = length;
        return Ok(if strict && found > MAX_TEXT {
            Err(NotThisWal::Length { expected: None, found })
        } else {
            Ok(())
        });
    };
    let (first, compressed) = first_bytes(file)?;
    let result = || {
        let size = SegmentSize::new(length).ok().filter(|_| !compressed);
        if strict && size.is_none() {
            return Err(NotThisWal::Length { expected: None, found: length });
        }
        let header = match LongPageHeader::parse(&first) {
            Ok(header) => header,
            // A partial segment whose first bytes have not come.
            Err(_) if matches!(name, WalName::Partial(_)) && first.iter().all(|byte| *byte == 0) => {
                return Ok(());
            }
            Err(error) if strict => return Err(NotThisWal::Header { problem: error.to_string() }),
            Err(_) => return Ok(()),
        };
        let stored = if compressed { header.segment_size.bytes() } else { length };
        match header.validate_for(segment, stored, system_id.map(SystemId::new)) {
            Ok(()) => Ok(()),
            // What the archive judges when it takes the file in; there the file is kept as an error.
            Err(
                SegmentMismatch::Address { .. } | SegmentMismatch::Timeline { .. } | SegmentMismatch::Name(_),
            ) if !strict => Ok(()),
            Err(mismatch) => Err(mismatch.into()),
        }
    };
    Ok(result())
}

/// The first bytes of the content, and whether they are compressed in the file. What cannot be decompressed has none.
fn first_bytes(file: &mut File) -> io::Result<(Vec<u8>, bool)> {
    let mut first = Vec::with_capacity(64);
    file.rewind()?;
    file.take(64).read_to_end(&mut first)?;
    let compression = codec::detect(&first);
    if compression == Compression::None {
        return Ok((first, false));
    }
    file.rewind()?;
    first.clear();
    if let Ok(decoder) = codec::decoder(io::BufReader::new(file), compression) {
        drop(decoder.take(64).read_to_end(&mut first));
    }
    Ok((first, true))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// The file of a segment of 16 MiB whose first page, as PostgreSQL 15 writes it, is of this timeline.
    fn segment(timeline: u32, address: u64) -> File {
        let mut file = tempfile::tempfile().unwrap();
        let mut page = Vec::new();
        page.extend(0xD110_u16.to_le_bytes());
        page.extend(2_u16.to_le_bytes());
        page.extend(timeline.to_le_bytes());
        page.extend(address.to_le_bytes());
        page.extend([0; 8]);
        page.extend(7_u64.to_le_bytes());
        page.extend((16_u32 << 20).to_le_bytes());
        page.extend(8192_u32.to_le_bytes());
        file.write_all(&page).unwrap();
        file.set_len(16 << 20).unwrap();
        file
    }

    #[test]
    fn a_segment_is_judged_as_the_archive_judges_it() {
        let name: WalName = "000000010000000000000005".parse().unwrap();
        let look = |mut file: File, strictness| check(&mut file, name, Some(7), strictness).unwrap();
        assert_eq!(look(segment(1, 5 << 24), Strictness::Full), Ok(()));
        let moved = look(segment(1, 6 << 24), Strictness::Full);
        assert!(matches!(moved, Err(NotThisWal::Address { .. })), "{moved:?}");
        let later = look(segment(2, 5 << 24), Strictness::Full);
        assert!(matches!(later, Err(NotThisWal::Header { .. })), "{later:?}");
        assert_eq!(look(segment(2, 6 << 24), Strictness::Provable), Ok(()));
        let other = check(&mut segment(1, 5 << 24), name, Some(8), Strictness::Provable).unwrap();
        assert_eq!(other, Err(NotThisWal::System { expected: 8, found: 7 }));
        let cut = segment(1, 5 << 24);
        cut.set_len(8 << 20).unwrap();
        let cut = look(cut, Strictness::Provable);
        assert_eq!(cut, Err(NotThisWal::Length { expected: Some(16 << 20), found: 8 << 20 }));
    }
}
