//! Why an exported backup was not imported.

use std::io;
use std::path::PathBuf;

use tapster_catalog::durable::DurableError;
use tapster_catalog::import::ImportError;
use tapster_catalog::record::RecordProblem;
use tapster_catalog::{BackupId, BackupStatus, IdentityError};
use tapster_copy::tar::TarError;
use thiserror::Error;

/// An import that did not happen. The catalog is as it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImportBackupError {
    /// Backups or WAL are in an object store. The words are Barman's.
    #[error("Backup import is not supported for cloud storage")]
    InObjectStore,
    /// There is no such file.
    #[error("Tarball file '{}' does not exist", path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error("Tarball path '{}' is not a file", path.display())]
    NotAFile {
        /// What it is called.
        path: PathBuf,
    },
    /// It cannot be opened.
    #[error("Tarball file '{}' is not readable", path.display())]
    NotReadable {
        /// The file.
        path: PathBuf,
    },
    /// Its name is not that of an exported backup of this server.
    #[error("{problem}")]
    Name {
        /// What is wrong.
        problem: String,
    },
    /// Nothing says which cluster the server is.
    #[error(
        "No identity file found for server '{server}'. The identity file is required to validate the backup during import."
    )]
    NoIdentity {
        /// The server.
        server: String,
    },
    /// The server's identity cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It is of another cluster.
    #[error(
        "Server identity mismatch: exported backup has systemid '{found}' but target server has systemid '{expected}'"
    )]
    OtherSystem {
        /// The server's system identifier.
        expected: String,
        /// The one in the archive.
        found: String,
    },
    /// The checksum in the name is another one.
    #[error(
        "Tarball checksum mismatch: filename contains '{expected}' but actual checksum is '{found}'. The file may have been modified or corrupted."
    )]
    Checksum {
        /// In the name.
        expected: String,
        /// Of the file.
        found: String,
    },
    /// It is no tar archive, or holds what none of a backup holds.
    #[error("Failed to extract tarball '{}': {source}", path.display())]
    Tar {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TarError,
    },
    /// It cannot be read or decompressed.
    #[error("Failed to read tarball '{}': {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A member of a kind or in a place that an exported backup does not have.
    #[error("Tarball contains unsafe member '{name}': {problem}")]
    Member {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Something is not in it.
    #[error("Exported tarball does not contain {what}")]
    Lacks {
        /// What.
        what: &'static str,
    },
    /// A text in it that cannot be read.
    #[error("Failed to read {what} from tarball: {problem}")]
    Text {
        /// Which member.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The record cannot be read.
    #[error("Failed to load backup.info: {0}")]
    Record(RecordProblem),
    /// It is of no use without its parents.
    #[error(
        "Cannot import backup {id} into server {server}: it is an incremental backup.\nOnly full backups are eligible for importing."
    )]
    Incremental {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// It is not complete.
    #[error("Cannot import backup {id} into server {server}: its status is {status}, expected DONE")]
    NotDone {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
        /// Its status.
        status: BackupStatus,
    },
    /// What is in it does not fit on the file system.
    #[error(
        "Tarball needs more than the {available} bytes that an import may take on the file system of {}", path.display()
    )]
    Space {
        /// Where it was to go.
        path: PathBuf,
        /// Free bytes when the import began, less what is left for WAL.
        available: u64,
    },
    /// A file of it cannot be written.
    #[error("{0}")]
    Write(io::Error),
    /// Somebody asked to stop.
    #[error("the import was stopped; nothing was imported")]
    Stopped,
    /// The catalog refused it.
    #[error(transparent)]
    Catalog(#[from] ImportError),
    /// The storage failed.
    #[error(transparent)]
    Durable(#[from] DurableError),
}
