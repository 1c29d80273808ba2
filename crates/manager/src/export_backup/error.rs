//! Why a backup was not exported.

use std::io;
use std::path::PathBuf;

use tapster_catalog::{BackupId, BackupStatus, IdentityError, XlogDbError, locks};
use tapster_copy::compress::StreamLevelError;
use thiserror::Error;
use walfile::{SegmentName, SegmentNameError};

/// A backup that was not exported; nothing is left in the output directory.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// Its files or its WAL are in an object store. The words are Barman's.
    #[error("Backup export is not supported for cloud storage")]
    InObjectStore,
    /// It is of no use without its parents.
    #[error(
        "Cannot export backup {id} from server {server}: it is an incremental backup.\nOnly full backups are eligible for exporting."
    )]
    Incremental {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// It is not complete.
    #[error(
        "Cannot export backup '{id}' from server '{server}': backup status is '{status}', expected 'DONE'"
    )]
    NotDone {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
        /// Its status.
        status: BackupStatus,
    },
    /// There is no such directory.
    #[error("Output directory '{}' does not exist", path.display())]
    NoDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// It is something else.
    #[error("Output directory '{}' is not a directory", path.display())]
    NotADirectory {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be written to.
    #[error("Output directory '{}' does not have the required write and execute permissions", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
    },
    /// A level without a codec.
    #[error("--compression-level requires --compression to be set")]
    LevelAlone,
    /// The codec has no such level.
    #[error(transparent)]
    Level(#[from] StreamLevelError),
    /// Nothing says which cluster the backup is of.
    #[error(
        "No identity file found for server '{server}'. The identity file is required to validate the backup during import."
    )]
    NoIdentity {
        /// The server.
        server: String,
    },
    /// The identity cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Somebody changes or deletes the backup.
    #[error("Another backup operation is already running on backup '{id}' for server '{server}'")]
    Busy {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// The lock file cannot be used.
    #[error(transparent)]
    Lock(locks::LockError),
    /// The record does not say which WAL the backup needs.
    #[error("backup '{id}' does not say which WAL it needs")]
    NoWalRange {
        /// The backup.
        id: BackupId,
    },
    /// The record's names contradict its segment size.
    #[error(transparent)]
    Name(#[from] SegmentNameError),
    /// WAL is not listed.
    #[error("WAL file required for backup consistency not found in xlog.db for backup '{id}': {name}")]
    NotListed {
        /// The backup.
        id: BackupId,
        /// The segment.
        name: SegmentName,
    },
    /// WAL is listed and not there.
    #[error("WAL file required for backup consistency not found for backup '{id}': {name}")]
    Missing {
        /// The backup.
        id: BackupId,
        /// The segment.
        name: SegmentName,
    },
    /// The backup holds a device, a socket or a symbolic link outside of `pg_tblspc`, which no import takes.
    #[error("{} is neither a file nor a directory, so the backup cannot be exported", path.display())]
    Kind {
        /// What it is.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The archive cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The index of the WAL archive cannot be read.
    #[error(transparent)]
    Index(#[from] XlogDbError),
    /// Somebody asked to stop.
    #[error("the export was stopped")]
    Stopped,
}
