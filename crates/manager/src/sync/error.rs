//! Why something was not copied from the primary node.

use std::io;
use std::path::PathBuf;

use tapster_catalog::delete::DeleteError;
use tapster_catalog::locks::LockError;
use tapster_catalog::wal_mirror::WalMirrorError;
use tapster_catalog::{AnnotationError, BackupId, CatalogError, DurableError, IdentityError};
use tapster_copy::rsync::RsyncError;
use thiserror::Error;

/// A copy from the primary node that was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The server has no primary node.
    #[error("server {server} is not passive")]
    NotPassive {
        /// Server name.
        server: String,
    },
    /// The primary node did not answer.
    #[error("sync-info execution on remote primary server {server} failed: {reason}")]
    SyncInfo {
        /// Server name.
        server: String,
        /// What it said instead.
        reason: String,
    },
    /// What is kept of its answer cannot be used.
    #[error("Cannot open primary.info file for server {server}: '{}': {source}", path.display())]
    PrimaryInfo {
        /// Server name.
        server: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Neither node has the backup.
    #[error("Backup {backup} is absent on {server} server")]
    Absent {
        /// The id, or whatever was given for one.
        backup: String,
        /// Server name.
        server: String,
    },
    /// What the primary node says of the backup is no record.
    #[error("Backup {backup} of server {server} cannot be copied: {reason}")]
    Unusable {
        /// The backup.
        backup: BackupId,
        /// Server name.
        server: String,
        /// What is wrong.
        reason: String,
    },
    /// It builds on a backup that is not here.
    #[error("Backup {backup} builds on backup {parent}, which server {server} does not have yet")]
    NoParent {
        /// The backup.
        backup: BackupId,
        /// What it builds on.
        parent: BackupId,
        /// Server name.
        server: String,
    },
    /// Somebody works on the backup that it builds on, which has to name it before it is copied.
    #[error("Backup {parent} of server {server}, which another one builds on, is in use by another process")]
    ParentBusy {
        /// What the backup builds on.
        parent: BackupId,
        /// Server name.
        server: String,
    },
    /// Another process copies the backup.
    #[error("Another synchronisation process for backup {backup} of server {server} is already running.")]
    BackupBusy {
        /// The backup.
        backup: BackupId,
        /// Server name.
        server: String,
    },
    /// Another process copies WAL.
    #[error("Another sync-wal operation is running for server {server} ")]
    WalsBusy {
        /// Server name.
        server: String,
    },
    /// The backup was not copied; its record says `FAILED`.
    #[error("failure syncing server {server} backup {backup}: {reason}")]
    Backup {
        /// The backup.
        backup: BackupId,
        /// Server name.
        server: String,
        /// Why.
        reason: String,
    },
    /// The two archives are compressed differently.
    #[error(
        "WAL synchronisation for server {server} failed with: Compression method on server {server} ({primary}) does not match local compression method ({local}) "
    )]
    Compression {
        /// Server name.
        server: String,
        /// The primary node's setting.
        primary: String,
        /// Ours.
        local: String,
    },
    /// WAL was not copied.
    #[error("WAL synchronisation for server {server} failed: {source}")]
    Wals {
        /// Server name.
        server: String,
        /// Why.
        source: Box<Self>,
    },
    /// Somebody asked to stop.
    #[error("the copy from the primary node was stopped")]
    Stopped,
    /// rsync failed.
    #[error(transparent)]
    Rsync(#[from] RsyncError),
    /// The archive cannot take the WAL.
    #[error(transparent)]
    Mirror(WalMirrorError),
    /// A file cannot be used.
    #[error("'{}': {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A lock cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The storage failed.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A `keep` annotation cannot be read.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// An identity cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// What is left of a backup cannot be removed.
    #[error(transparent)]
    Delete(#[from] DeleteError),
}

impl SyncError {
    /// Whether it is another process that does the same.
    pub const fn is_busy(&self) -> bool {
        matches!(self, Self::BackupBusy { .. } | Self::ParentBusy { .. } | Self::WalsBusy { .. })
    }
}

impl From<WalMirrorError> for SyncError {
    fn from(error: WalMirrorError) -> Self {
        match error {
            WalMirrorError::Stopped => Self::Stopped,
            other => Self::Mirror(other),
        }
    }
}
