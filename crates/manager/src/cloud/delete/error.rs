//! Why a backup was not deleted.

use tapster_catalog::BackupId;
use tapster_cloud::CloudError;

/// Why a backup in an object store was not deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloudDeleteError {
    /// The backups cannot be listed; nothing was removed.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// Records cannot be read, so that it is not known what the backups need; nothing was removed.
    #[error(
        "Cannot read the following backups: {}. Unsafe to proceed with deletion due to failure reading backup catalog",
        list(ids)
    )]
    Unreadable {
        /// Of which backups.
        ids: Vec<BackupId>,
    },
    /// The store has nothing of that backup.
    #[error("Backup {id} does not exist")]
    NoBackup {
        /// Which.
        id: BackupId,
    },
    /// It is kept.
    #[error(
        "Skipping delete of backup {id} for server {server} as it has a current keep request. If you really want to \
         delete this backup please remove the keep and try again."
    )]
    Kept {
        /// Which.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// Too few complete ones would be left.
    #[error(
        "Skipping delete of backup {id} for server {server} due to minimum redundancy requirements (minimum redundancy \
         = {minimum}, current redundancy = {current})"
    )]
    MinimumRedundancy {
        /// Which.
        id: BackupId,
        /// The server.
        server: String,
        /// So many must be left.
        minimum: u32,
        /// So many there are.
        current: usize,
    },
    /// Others build on it.
    #[error("Cannot delete backup {id}: the incremental backups {} need it", list(children))]
    HasChildren {
        /// Which.
        id: BackupId,
        /// Those that build on it.
        children: Vec<BackupId>,
    },
    /// Its data are volume snapshots, which nothing here deletes; without its record nobody would know of them.
    #[error(
        "Backup {id} consists of volume snapshots: delete it with Barman's own barman-cloud-backup-delete"
    )]
    Snapshots {
        /// Which.
        id: BackupId,
    },
    /// Its objects cannot be removed. Its record is there, and says that it failed.
    #[error("Could not delete backup {id}: {source}")]
    Backup {
        /// Which.
        id: BackupId,
        /// Why not.
        source: CloudError,
    },
    /// The archives are gone; WAL that went with them could not be removed. The record is there, and says that it failed.
    #[error("Could not delete the WAL that only backup {id} needed: {source}")]
    Wal {
        /// Which.
        id: BackupId,
        /// Why not.
        source: CloudError,
    },
}

fn list(ids: &[BackupId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
