//! Why a backup is not deleted.

use thiserror::Error;

use crate::durable::DurableError;
use crate::keep::{AnnotationError, KeepTarget};
use crate::locks::LockError;
use crate::xlogdb::XlogDbError;
use crate::{BackupId, CatalogError};

/// A rule forbids it. The messages are Barman's.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum DeleteRefusal {
    /// Somebody asked to keep it.
    #[error(
        "Skipping delete of backup {id} for server {server} as it has a current keep request. If you really want to \
         delete this backup please remove the keep and try again."
    )]
    Kept {
        /// The backup.
        id: BackupId,
        /// Its server.
        server: String,
        /// How much is kept.
        target: KeepTarget,
    },
    /// Too few would remain.
    #[error(
        "Skipping delete of backup {id} for server {server} due to minimum redundancy requirements (minimum \
         redundancy = {minimum}, current redundancy = {current})"
    )]
    MinimumRedundancy {
        /// The backup.
        id: BackupId,
        /// Its server.
        server: String,
        /// What the configuration asks for.
        minimum: u32,
        /// How many complete backups that are not incremental there are.
        current: usize,
    },
    /// Its data are volume snapshots, which only their provider can delete.
    #[error("backup {id} of server {server} consists of snapshots that are not in this catalog")]
    Snapshots {
        /// The backup.
        id: BackupId,
        /// Its server.
        server: String,
    },
}

/// A deletion that did not happen, or not to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeleteError {
    /// A rule forbids it; nothing was touched.
    #[error(transparent)]
    Refused(#[from] DeleteRefusal),
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// An annotation cannot be read.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// Another backup or deletion of the server is running, or a lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Somebody restores the backup, or changes it.
    #[error("backup {id} is in use: {source}")]
    InUse {
        /// The backup.
        id: BackupId,
        /// Who has it.
        source: LockError,
    },
    /// Something cannot be removed or written.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The index of the archive cannot be changed.
    #[error(transparent)]
    XlogDb(#[from] XlogDbError),
    /// What would go is not what was planned: an incremental backup came or went meanwhile. Nothing was touched.
    #[error("the backups that build on {id} have changed since its deletion was planned")]
    Changed {
        /// The backup.
        id: BackupId,
    },
    /// Who watched it did not want it; the step it was about did not happen.
    #[error("{why}")]
    Aborted {
        /// Why not.
        why: String,
    },
    /// The stop flag was set. The marker stays; run it again.
    #[error("stopped while deleting backup {id}")]
    Stopped {
        /// The backup.
        id: BackupId,
    },
}
