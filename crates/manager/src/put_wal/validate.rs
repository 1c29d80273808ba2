//! Whether a file that calls itself WAL can be the one of this server.

use std::fs::File;
use std::io::{self, Read, Seek as _};

use thiserror::Error;
use walfile::codec::{self, Compression};
use walfile::{LongPageHeader, Lsn, SegmentSize, WalName};

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
        let found = header.system_id.get();
        if let Some(expected) = system_id.filter(|expected| *expected != found) {
            return Err(NotThisWal::System { expected, found });
        }
        let expected = header.segment_size.bytes();
        if !compressed && expected != length {
            return Err(NotThisWal::Length { expected: Some(expected), found: length });
        }
        if strict {
            let expected = segment
                .start(header.segment_size)
                .map_err(|e| NotThisWal::Header { problem: e.to_string() })?;
            if header.page.address != expected {
                return Err(NotThisWal::Address { expected, found: header.page.address });
            }
        }
        Ok(())
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
