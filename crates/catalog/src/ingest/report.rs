//! What a run did.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use walfile::WalName;

use super::{Invalid, Source};
use crate::XlogDbError;
use crate::durable::DurableError;
use crate::locks::LockError;

/// A failure that ends a run. What was reported archived before it is archived; every other source file is still there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IngestError {
    /// Another run holds the lock, or the stop flag was set.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The storage failed.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] XlogDbError),
    /// A file or directory cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file cannot be compressed.
    #[error("cannot compress {}: {source}", path.display())]
    Compress {
        /// The source.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is in the archive and listed, durably, and its source is gone.
    Archived {
        /// Bytes as stored.
        size: u64,
    },
    /// The archive had it already with the same content; the source is gone.
    AlreadyArchived,
    /// The archive has a file of this name with other content. The archive's stays.
    Duplicate {
        /// Where the source is now; `None` when it had vanished.
        moved_to: Option<PathBuf>,
    },
    /// It is not what its name says.
    Invalid {
        /// Why.
        reason: Invalid,
        /// Where it is now; `None` when it had vanished.
        moved_to: Option<PathBuf>,
    },
    /// It is not what its name says, and changed a moment ago: left for the next run.
    Unsettled {
        /// Why it was not taken.
        reason: Invalid,
    },
    /// It was gone when its turn came.
    Vanished,
}

/// A file of the run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct IngestedFile {
    /// Its name.
    pub name: WalName,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a run did with one source.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SourceReport {
    /// The source.
    pub source: Source,
    /// Objects found, before the batch size cut them.
    pub found: usize,
    /// Files to archive in this run. Barman's text says `(batch size: N)` when this is below `found` and not zero.
    pub run_size: usize,
    /// What became of each, in the order of processing.
    pub files: Vec<IngestedFile>,
    /// Objects that are no WAL files, and where they are now.
    pub unknown: Vec<(PathBuf, Option<PathBuf>)>,
    /// Why the run of this source ended early: what the observer said.
    pub aborted: Option<String>,
    /// The stop flag ended it.
    pub stopped: bool,
}

/// What a run did, in Barman's order: streaming, then file archival.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct IngestReport {
    /// One for each source that is switched on.
    pub sources: Vec<SourceReport>,
}

impl IngestReport {
    /// Files archived in this run.
    pub fn archived(&self) -> usize {
        let is_archived = |file: &&IngestedFile| matches!(file.outcome, Outcome::Archived { .. });
        self.sources.iter().map(|source| source.files.iter().filter(is_archived).count()).sum()
    }
}
