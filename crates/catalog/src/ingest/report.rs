//! What a run did.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use walfile::WalName;

use super::{Invalid, Source};
use crate::durable::DurableError;
use crate::locks::LockError;
use crate::{ObjectsError, XlogDbError};

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
    /// The object store did not take a file.
    #[error("cannot archive {}: {source}", path.display())]
    Objects {
        /// The source.
        path: PathBuf,
        /// Why not.
        source: ObjectsError,
    },
    /// A file cannot be compressed or encrypted.
    #[error("cannot store {}: {source}", path.display())]
    Compress {
        /// The source.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl IngestError {
    /// Whether the file system, or somebody's part of it, is full.
    pub fn is_out_of_space(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            // A codec's error may hide the one of writing.
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if error.downcast_ref::<io::Error>().is_some_and(|error| {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }) {
                return true;
            }
            cause = match inner {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        false
    }
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
    /// It cannot be read or moved away, or what the archive has of its name cannot be read: left in the queue.
    Unreadable {
        /// What the system says.
        problem: String,
    },
    /// It was gone when its turn came.
    Vanished,
}

impl Outcome {
    /// Whether the source is still in its queue.
    pub const fn stays(&self) -> bool {
        matches!(self, Self::Unsettled { .. } | Self::Unreadable { .. })
    }
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
    /// Objects found.
    pub found: usize,
    /// Files to archive in this run, at most the batch size. Barman's text says `(batch size: N)` when this is below `found` and not zero.
    pub run_size: usize,
    /// Files that are in the archive now and were not before.
    pub archived: u64,
    /// Files that the archive had with the same content.
    pub already_archived: u64,
    /// What became of the others, in the order of processing.
    pub others: Vec<IngestedFile>,
    /// Objects that are no WAL files, and where they are now.
    pub unknown: Vec<(PathBuf, Option<PathBuf>)>,
    /// Objects that are no WAL files and could not be moved away, and why not.
    pub unmovable: Vec<(PathBuf, String)>,
    /// Why the run of this source ended early: what the observer said.
    pub aborted: Option<String>,
    /// The stop flag ended it.
    pub stopped: bool,
}

impl SourceReport {
    pub(super) const fn new(source: Source, found: usize, run_size: usize) -> Self {
        Self {
            source,
            found,
            run_size,
            archived: 0,
            already_archived: 0,
            others: Vec::new(),
            unknown: Vec::new(),
            unmovable: Vec::new(),
            aborted: None,
            stopped: false,
        }
    }

    pub(super) fn count(&mut self, name: WalName, outcome: Outcome) {
        match outcome {
            Outcome::Archived { .. } => self.archived += 1,
            Outcome::AlreadyArchived => self.already_archived += 1,
            outcome => self.others.push(IngestedFile { name, outcome }),
        }
    }
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
    pub fn archived(&self) -> u64 {
        self.sources.iter().map(|source| source.archived).sum()
    }

    /// Files that could not be read and wait in their queues.
    pub fn unreadable(&self) -> impl Iterator<Item = (WalName, &str)> {
        self.sources.iter().flat_map(|source| &source.others).filter_map(|file| match &file.outcome {
            Outcome::Unreadable { problem } => Some((file.name, problem.as_str())),
            _ => None,
        })
    }
}
