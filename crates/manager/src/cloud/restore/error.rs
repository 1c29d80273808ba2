//! Why a restore from an object store failed.

use std::path::PathBuf;

use tapster_catalog::{BackupId, BackupStatus};
use tapster_cloud::CloudError;
use tapster_copy::{ExtractError, SyncError};
use thiserror::Error;

use crate::restore::RestorePlanError;

/// A restore that cannot begin, or did not end well. In the second case the destination has no `global/pg_control`, so that no
/// server starts there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CloudRestoreError {
    /// The object store.
    #[error(transparent)]
    Store(#[from] CloudError),
    /// No backup has that name, or none is there for that word.
    #[error("Unknown backup '{backup}' for server '{server}'")]
    Unknown {
        /// What was asked for.
        backup: String,
        /// The server.
        server: String,
    },
    /// No backup has that id.
    #[error("Backup {id} for server {server} does not exists")]
    NoSuchId {
        /// The id.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// Several backups have that name.
    #[error("Multiple backups found matching name '{name}' (try using backup ID instead): {}", list(ids))]
    Ambiguous {
        /// The name.
        name: String,
        /// Their ids.
        ids: Vec<BackupId>,
    },
    /// `auto` found nothing.
    #[error("Cannot find any candidate backup for recovery.")]
    NoCandidate,
    /// It is not whole, or nobody knows whether it is.
    #[error("backup {id} has the status {status}: it is not complete")]
    Status {
        /// The backup.
        id: BackupId,
        /// Its status.
        status: BackupStatus,
    },
    /// It consists of snapshots of disks.
    #[error("backup {id} consists of snapshots of disks, which are not supported")]
    Snapshots {
        /// The backup.
        id: BackupId,
    },
    /// An archive is not in the store.
    #[error("Missing file {key}.* for server {server}")]
    MissingArchive {
        /// Its key, without the ending.
        key: String,
        /// The server.
        server: String,
    },
    /// What was unpacked does not say where recovery has to begin. It would start from `pg_control`, and be damaged.
    #[error("backup {id} is not complete: none of its archives has a backup_label")]
    NoLabel {
        /// The backup.
        id: BackupId,
    },
    /// Where something goes, or cannot go.
    #[error(transparent)]
    Place(#[from] RestorePlanError),
    /// Something is there.
    #[error("Destination {} already exists and it is not empty", path.display())]
    NotEmpty {
        /// Where.
        path: PathBuf,
    },
    /// There is not enough room.
    #[error("{}: {free} bytes are free, {needed} are needed", path.display())]
    Space {
        /// A place on the file system.
        path: PathBuf,
        /// Bytes.
        free: u64,
        /// Bytes, at least.
        needed: u64,
    },
    /// An archive cannot be unpacked, or what is in it is not what the manifest says.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] SyncError),
    /// A directory that was there does not get the mode that PostgreSQL demands.
    #[error("cannot set the mode of '{}': {source}", path.display())]
    Mode {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Somebody asked to stop.
    #[error("stopped on request; what is in {} is not complete", destination.display())]
    Stopped {
        /// The data directory.
        destination: PathBuf,
    },
}

fn list(ids: &[BackupId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
