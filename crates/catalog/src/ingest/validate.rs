//! Whether a file is what its name says.

use std::io::Read;
use std::path::Path;

use thiserror::Error;
use walfile::{
    LongPageHeader, SegmentMismatch, SegmentName, SegmentSize, SystemId, TimelineHistory, WalName,
};

use super::IngestOptions;
use crate::encryption;
use crate::same_content::{decoded, read_up_to};

/// History files and backup labels are a few hundred bytes.
const MAX_TEXT: u64 = 4 * 1024 * 1024;

/// Why a file is not what its name says.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Invalid {
    /// It has no whole segment's length.
    #[error("{found} bytes long, expected a segment of {expected}")]
    Length {
        /// Bytes of a segment.
        expected: u64,
        /// Bytes of the file, decompressed, or one more than the largest segment.
        found: u64,
    },
    /// No segment size fits its length, and none is known.
    #[error("{found} bytes long, which is no segment size")]
    NoSegmentSize {
        /// Bytes of the file, decompressed.
        found: u64,
    },
    /// It does not begin with the header of a segment's first page.
    #[error("not a WAL segment: {problem}")]
    Header {
        /// What is wrong.
        problem: String,
    },
    /// It belongs to another cluster.
    #[error("of system {found}, expected {expected}")]
    System {
        /// The cluster's system identifier.
        expected: u64,
        /// The one in the file.
        found: u64,
    },
    /// It holds WAL of another place than its name says: a segment that was recycled before it was filled, or renamed.
    #[error("holds WAL from {found}, expected {expected}")]
    Address {
        /// The start of the segment of this name.
        expected: walfile::Lsn,
        /// The address in its first page.
        found: walfile::Lsn,
    },
    /// It begins on a later timeline than its name says. (An earlier one is right in the first segment after a switch.)
    #[error("begins on timeline {found}, which is later than the name's {name}")]
    Timeline {
        /// In the name.
        name: walfile::Timeline,
        /// In the file.
        found: u32,
    },
    /// A history file or backup label that is none.
    #[error("{problem}")]
    Text {
        /// What is wrong.
        problem: String,
    },
    /// Somebody wrote to it, or put another file in its place, while it was looked at.
    #[error("it changed while it was read")]
    Changed,
    /// It begins as `gpg`'s files do, and is none, or not all of one.
    #[error("not what gpg encrypted: {problem}")]
    Encrypted {
        /// What is wrong.
        problem: &'static str,
    },
    /// The object store's side does not take it for WAL.
    #[error("{problem}")]
    Refused {
        /// What is wrong.
        problem: String,
    },
    /// It is compressed and cannot be decompressed.
    #[error("cannot be decompressed: {problem}")]
    Compressed {
        /// What the codec says.
        problem: String,
    },
}

/// Reads the file at `path`, decompressing it, and compares it with its name. The outer error is one of reading.
pub(crate) fn check(
    path: &Path,
    name: WalName,
    compressed: bool,
    options: &IngestOptions,
) -> std::io::Result<Result<(), Invalid>> {
    let mut input = decoded(path, options.undo())?;
    let mut first = [0; 64];
    let mut run = || -> std::io::Result<Result<(), Invalid>> {
        match name {
            WalName::Segment(segment) => {
                let got = read_up_to(&mut input, &mut first)?;
                let length = got as u64 + rest_length(&mut input, path, compressed)?;
                Ok(check_segment(segment, first.get(..got).unwrap_or_default(), length, false, options))
            }
            WalName::Partial(segment) => {
                let got = read_up_to(&mut input, &mut first)?;
                let length = got as u64 + rest_length(&mut input, path, compressed)?;
                Ok(check_segment(segment, first.get(..got).unwrap_or_default(), length, true, options))
            }
            WalName::History(_) | WalName::BackupLabel { .. } => {
                let mut text = Vec::new();
                (&mut input).take(MAX_TEXT + 1).read_to_end(&mut text)?;
                Ok(check_text(name, &text))
            }
        }
    };
    match run() {
        Err(e) if compressed && e.kind() != std::io::ErrorKind::NotFound => {
            Ok(Err(Invalid::Compressed { problem: e.to_string() }))
        }
        done => done,
    }
}

/// What somebody encrypted cannot be looked into here, but whether all of it is there can be told.
pub(crate) fn check_encrypted(path: &Path) -> std::io::Result<Result<(), Invalid>> {
    let checked = encryption::check(&std::fs::File::open(path)?)?;
    Ok(checked.map_err(|problem| Invalid::Encrypted { problem }))
}

/// Bytes left. Those of an uncompressed file are known without reading it.
fn rest_length(input: &mut impl Read, path: &Path, compressed: bool) -> std::io::Result<u64> {
    if compressed {
        return std::io::copy(input, &mut std::io::sink());
    }
    Ok(std::fs::metadata(path)?.len().saturating_sub(64))
}

fn check_segment(
    name: SegmentName,
    first: &[u8],
    length: u64,
    partial: bool,
    options: &IngestOptions,
) -> Result<(), Invalid> {
    match (options.segment_size, SegmentSize::new(length)) {
        (Some(size), _) if size.bytes() == length => {}
        // An empty partial is what `receive-wal --reset` leaves behind.
        _ if partial && length == 0 => return Ok(()),
        (Some(size), _) => return Err(Invalid::Length { expected: size.bytes(), found: length }),
        (None, Ok(_)) => {}
        (None, Err(_)) => return Err(Invalid::NoSegmentSize { found: length }),
    }
    if partial && first.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    let header = LongPageHeader::parse(first).map_err(|e| Invalid::Header { problem: e.to_string() })?;
    Ok(header.validate_for(name, length, options.system_id.map(SystemId::new))?)
}

impl From<SegmentMismatch> for Invalid {
    fn from(mismatch: SegmentMismatch) -> Self {
        match mismatch {
            SegmentMismatch::Size { size, found, .. } => Self::Length { expected: size.bytes(), found },
            SegmentMismatch::Address { expected, found, .. } => Self::Address { expected, found },
            SegmentMismatch::SystemId { expected, found, .. } => {
                Self::System { expected: expected.get(), found: found.get() }
            }
            SegmentMismatch::Timeline { name, found } => {
                Self::Timeline { name: name.timeline(), found: found.get() }
            }
            other => Self::Header { problem: other.to_string() },
        }
    }
}

fn check_text(name: WalName, text: &[u8]) -> Result<(), Invalid> {
    let fail = |problem: String| Err(Invalid::Text { problem });
    if text.len() as u64 > MAX_TEXT {
        return fail(format!("more than {MAX_TEXT} bytes"));
    }
    match name {
        WalName::History(timeline) => match TimelineHistory::parse(timeline, text) {
            Ok(history) if history.entries().is_empty() => fail("a history file without a line".to_owned()),
            Ok(_) => Ok(()),
            Err(e) => fail(e.to_string()),
        },
        _ if text.starts_with(b"START WAL LOCATION: ") => Ok(()),
        _ => fail("a backup label that does not begin with START WAL LOCATION".to_owned()),
    }
}
