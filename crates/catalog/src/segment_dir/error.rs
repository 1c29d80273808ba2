//! What can go wrong in a directory of received WAL.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use walfile::{Lsn, Timeline};

use crate::durable::{DurableError, Step};

/// A failure of a [`SegmentDir`](super::SegmentDir). All are final: open the directory anew.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SegmentDirError {
    /// The storage failed.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// WAL does not continue where the last write ended.
    #[error("WAL at {found} does not follow, expected {expected}")]
    NotContiguous {
        /// Where the next write must begin.
        expected: Lsn,
        /// Where it began.
        found: Lsn,
    },
    /// The first write is not at the start of a segment.
    #[error("WAL must begin at the start of a segment, not at {found}")]
    NotAtSegmentStart {
        /// Where it began.
        found: Lsn,
    },
    /// Nothing in the directory says which timeline it is, and [`SegmentDir::begin`](super::SegmentDir::begin)
    /// was not called.
    #[error("the timeline of the WAL at {at} is not known")]
    NoTimeline {
        /// Where the write began.
        at: Lsn,
    },
    /// There is a file of this name with other content. Both are kept.
    #[error("{} exists already with different content", path.display())]
    Conflict {
        /// The file that was there first.
        path: PathBuf,
    },
    /// The server sends other WAL than it sent before for the same position: it has lost WAL. What was received is kept.
    #[error("WAL at {at} is not what was received before into {}: the server has lost WAL", path.display())]
    Rewritten {
        /// The file that was there first.
        path: PathBuf,
        /// The first byte that differs.
        at: Lsn,
    },
    /// A `.partial` is longer than a segment, so the segment size is not the directory's.
    #[error("{} has {found} bytes, more than a segment of {expected}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes of a segment.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// The WAL is not of the cluster this directory belongs to.
    #[error("WAL at {at} is of system {found}, expected {expected}")]
    ForeignSystem {
        /// The start of the segment.
        at: Lsn,
        /// The identifier the directory was opened with.
        expected: u64,
        /// The one in the segment's header.
        found: u64,
    },
    /// The history file does not lead from the timeline that was received.
    #[error("timeline {next} does not descend from timeline {current}")]
    NoDescent {
        /// The timeline being left.
        current: Timeline,
        /// The one to go on with.
        next: Timeline,
    },
    /// An earlier call failed, so nobody knows what is on disk.
    #[error("an earlier failure of {} has made it unusable", dir.display())]
    Poisoned {
        /// The directory.
        dir: PathBuf,
    },
}

impl SegmentDirError {
    pub(super) fn io(step: Step, path: &Path, source: io::Error) -> Self {
        Self::Durable(DurableError::io(step, path, source))
    }
}

impl From<SegmentDirError> for io::Error {
    fn from(error: SegmentDirError) -> Self {
        let kind = match &error {
            SegmentDirError::Durable(inner) => inner.kind(),
            SegmentDirError::Conflict { .. } => io::ErrorKind::AlreadyExists,
            SegmentDirError::Poisoned { .. } => io::ErrorKind::Other,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
