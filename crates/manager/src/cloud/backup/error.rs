//! Why a backup into an object store failed.

use tapster_catalog::BackupId;
use tapster_cloud::CloudError;
use tapster_copy::archive::ArchiveError;
use tapster_protocol::{BaseBackupError, ConnInfoError, ConnectError, QueryError};
use thiserror::Error;
use walfile::codec::Compression;

use crate::BackupStepError;

/// A backup that did not begin, or did not end well.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CloudBackupError {
    /// The connection string is unusable.
    #[error("Cannot connect to postgres: {0}")]
    ConnInfo(#[from] ConnInfoError),
    /// The server cannot be reached.
    #[error("Cannot connect to postgres: {0}")]
    Connect(#[from] ConnectError),
    /// The archives cannot be compressed so.
    #[error("archives in an object store cannot be compressed with {0}")]
    Compression(Compression),
    /// The object store.
    #[error(transparent)]
    Store(#[from] CloudError),
    /// A query failed.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The server could not be asked about itself.
    #[error(transparent)]
    Describe(#[from] Box<BackupStepError>),
    /// The base backup stream failed.
    #[error(transparent)]
    Stream(#[from] BaseBackupError),
    /// What came is no base backup, or differs from its manifest.
    #[error(transparent)]
    Archive(ArchiveError),
    /// The server or the copy found broken pages. All files are in the store, but the backup holds the damage.
    #[error("data pages fail their checksums{}", detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default())]
    Checksums {
        /// What was said about them.
        detail: Option<String>,
    },
    /// The label in the backup is unusable.
    #[error("backup_label: {problem}")]
    Label {
        /// What is wrong.
        problem: String,
    },
    /// The backup began and failed. Its record stays in the store with the status FAILED.
    #[error("Backup failed {action} ({source})")]
    Failed {
        /// The backup.
        id: BackupId,
        /// What was being done, such as `uploading data`.
        action: &'static str,
        /// Why.
        source: Box<Self>,
    },
    /// The record in the store is not this backup's any more. It and what is beside it was left alone.
    #[error("{key} is gone or another backup's: somebody deleted this backup, or another one took its id")]
    Lost {
        /// The record.
        key: String,
    },
    /// Somebody asked to stop.
    #[error("stopped on request")]
    Stopped,
}

impl From<ArchiveError> for CloudBackupError {
    /// What the store said is in there where a part could not be stored.
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Relay { part, source } => match source.downcast::<CloudError>() {
                Ok(error) => Self::Store(error),
                Err(source) => Self::Archive(ArchiveError::Relay { part, source }),
            },
            other => Self::Archive(other),
        }
    }
}
