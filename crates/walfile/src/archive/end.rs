//! Where reading an archive ended, and why.

use std::{fmt, io};

use thiserror::Error;

use crate::{EndReason, HistoryError, Lsn, PageError, SegmentMismatch, SegmentName, Timeline, WalName};

/// Where reading stopped.
#[derive(Debug)]
#[non_exhaustive]
pub struct ArchiveEnd {
    /// Everything before this position is valid: here begins the record, or the page, that could not be read.
    pub at: Lsn,
    /// The timeline that holds this position.
    pub timeline: Timeline,
    /// The file that was being read or could not be opened; `None` when there was none. A record that ends there may begin in
    /// the file before.
    pub file: Option<WalName>,
    /// Why.
    pub stop: ArchiveStop,
}

/// Why reading an archive stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArchiveStop {
    /// The end that was asked for.
    #[error("the end that was asked for")]
    Reached,
    /// The next segment is not in the archive. That is how the log ends where nothing is archived after it.
    #[error("segment {name} is not in the archive{}", UnfinishedText(*unfinished))]
    Missing {
        /// The segment, on the timeline that should hold it.
        name: SegmentName,
        /// Bytes there are of the record that goes on in it; 0 at the boundary of a record.
        unfinished: u32,
    },
    /// The log itself says so: nothing was written here yet, or it is damaged.
    #[error("{0}")]
    Log(EndReason),
    /// A file that does not begin as a segment does.
    #[error("no WAL segment: {0}")]
    Header(PageError),
    /// A file whose first page is that of another segment.
    #[error(transparent)]
    Mismatch(SegmentMismatch),
    /// A segment that is cut off, or longer than a segment.
    #[error("{found} bytes, a segment has {expected}")]
    Length {
        /// Bytes of a segment.
        expected: u64,
        /// Bytes that came; one more than `expected` when there are too many.
        found: u64,
    },
    /// The file cannot be read or decompressed.
    #[error("cannot read it: {0}")]
    Read(io::Error),
}

struct UnfinishedText(u32);

impl fmt::Display for UnfinishedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            Ok(())
        } else {
            write!(f, ", where a record goes on of which {} bytes are there", self.0)
        }
    }
}

impl fmt::Display for ArchiveEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "valid up to {} on timeline {}: ", self.at, self.timeline)?;
        match (&self.file, &self.stop) {
            (None, stop) | (_, stop @ (ArchiveStop::Reached | ArchiveStop::Missing { .. })) => stop.fmt(f),
            (Some(file), stop) => write!(f, "{file}: {stop}"),
        }
    }
}

/// An archive that cannot be read at all.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The history file of the timeline is needed and is not there.
    #[error("timeline {timeline} is not in the archive: {}.history is missing", timeline.to_hex())]
    UnknownTimeline {
        /// The timeline.
        timeline: Timeline,
    },
    /// A file cannot be read.
    #[error("cannot read {name}: {source}")]
    Read {
        /// The file.
        name: WalName,
        /// Why not.
        source: io::Error,
    },
    /// A history file that PostgreSQL would not accept either.
    #[error(transparent)]
    History(#[from] HistoryError),
}
