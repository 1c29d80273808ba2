//! Why the records of some WAL could not be shown.

use std::io;

use tapster_catalog::WalStoreError;
use thiserror::Error;
use walfile::record::PartsError;
use walfile::{
    ArchiveEnd, ArchiveError, ArchiveStop, EndReason, Lsn, PageError, SegmentName, SegmentNameError,
};

/// WAL that cannot be inspected. The texts are `pg_waldump`'s where it has one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WalInspectError {
    /// Neither a segment nor a position says where to begin.
    #[error("no start WAL location given")]
    NoStart,
    /// No segment is called so.
    #[error("\"{name}\" is not the name of a WAL segment")]
    Name {
        /// The name of the file.
        name: String,
    },
    /// Files that are not in one directory.
    #[error("the segments are not in one directory")]
    Directories,
    /// The first segment is not there.
    #[error("could not locate WAL file \"{name}\"")]
    Locate {
        /// The segment.
        name: SegmentName,
    },
    /// No WAL at all.
    #[error("could not find any WAL file")]
    Empty,
    /// A segment that this size does not have.
    #[error(transparent)]
    Number(#[from] SegmentNameError),
    /// A position outside of the segment that is to hold it.
    #[error("{what} WAL location {position} is not inside file \"{name}\"")]
    Outside {
        /// `start` or `end`.
        what: &'static str,
        /// The position.
        position: Lsn,
        /// The segment.
        name: SegmentName,
    },
    /// The end is before the beginning.
    #[error("ENDSEG {last} is before STARTSEG {first}")]
    Order {
        /// The first segment.
        first: SegmentName,
        /// The last segment.
        last: SegmentName,
    },
    /// A file cannot be read.
    #[error("could not read file \"{name}\": {source}")]
    Read {
        /// The segment.
        name: SegmentName,
        /// Why.
        source: io::Error,
    },
    /// A file that does not begin as a segment does.
    #[error("could not read file \"{name}\": {source}")]
    Header {
        /// The segment.
        name: SegmentName,
        /// What is wrong with it.
        source: PageError,
    },
    /// The directory or the catalog cannot be read.
    #[error(transparent)]
    Store(#[from] WalStoreError),
    /// As [`WalInspectError::Store`], for a directory.
    #[error("could not open directory \"{}\": {source}", path.display())]
    Directory {
        /// The directory.
        path: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The history of the timeline cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// No record follows the position.
    #[error("could not find a valid record after {after}: {}", Reason(end))]
    NoRecord {
        /// The position.
        after: Lsn,
        /// What was found instead.
        end: Box<ArchiveEnd>,
    },
    /// The log ends before the end that was asked for.
    #[error("error in WAL record at {last}: {}", Reason(end))]
    End {
        /// The last record.
        last: Lsn,
        /// Where validity ends, and why.
        end: Box<ArchiveEnd>,
    },
    /// A record with a right checksum and an impossible inside.
    #[error("error in WAL record at {lsn}: {source}")]
    Parts {
        /// The record.
        lsn: Lsn,
        /// What is wrong with it.
        source: PartsError,
    },
}

/// The reason in the words of PostgreSQL's `xlogreader.c`, where it has the case.
struct Reason<'a>(&'a ArchiveEnd);

impl std::fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = self.0.at;
        match &self.0.stop {
            ArchiveStop::Missing { name, .. } => {
                write!(f, "could not find file \"{name}\"; valid up to {at}")
            }
            ArchiveStop::Log(EndReason::NothingWritten) => {
                write!(f, "invalid record length at {at}: wanted 24, got 0")
            }
            ArchiveStop::Log(EndReason::Length { found }) => {
                write!(f, "invalid record length at {at}: wanted 24, got {found}")
            }
            ArchiveStop::Log(EndReason::ResourceManager { found }) => {
                write!(f, "invalid resource manager ID {found} at {at}")
            }
            ArchiveStop::Log(EndReason::BackLink { found, .. }) => {
                write!(f, "record with incorrect prev-link {found} at {at}")
            }
            ArchiveStop::Log(EndReason::Crc { .. }) => {
                write!(f, "incorrect resource manager data checksum in record at {at}")
            }
            _ => self.0.fmt(f),
        }
    }
}
