//! Why a backup failed.

use std::path::PathBuf;

use tapster_catalog::delete::DeleteError;
use tapster_catalog::durable::DurableError;
use tapster_catalog::locks::LockError;
use tapster_catalog::{BackupId, CatalogError, IdentityError};
use tapster_copy::ExtractError;
use tapster_copy::archive::ArchiveError;
use tapster_protocol::{BaseBackupError, QueryError};
use thiserror::Error;

use super::FormError;
use super::IncrementalError;
use crate::completeness::CompletenessError;
use crate::hooks::HookAbort;
use crate::server::ServerConnectError;

/// A backup that did not begin, or did not end well.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The configuration asks for something that is not there yet.
    #[error("{what} is not supported for server '{server}' yet")]
    Unsupported {
        /// Which setting, with its value.
        what: String,
        /// Server name.
        server: String,
    },
    /// The settings of `backup_compression…` contradict each other.
    #[error(transparent)]
    Form(#[from] FormError),
    /// No incremental backup can be taken, or not on that parent.
    #[error(transparent)]
    Incremental(#[from] IncrementalError),
    /// Lines of the check that keep a backup from being taken.
    #[error("server '{server}' failed {}", failed.join(", "))]
    Check {
        /// Server name.
        server: String,
        /// The failed lines.
        failed: Vec<String>,
    },
    /// Another backup, or a deletion, holds the lock.
    #[error("Another backup process is running")]
    Running,
    /// The backup began and failed. Its record stays in the catalog with the status FAILED.
    #[error("backup {id} failed {action}: {source}")]
    Failed {
        /// The backup.
        id: BackupId,
        /// What was being done, such as `copying files`.
        action: &'static str,
        /// Why.
        source: Box<BackupStepError>,
    },
    /// Before or after the copy.
    #[error(transparent)]
    Step(#[from] BackupStepError),
}

/// What can fail on the way.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupStepError {
    /// The server cannot be reached.
    #[error(transparent)]
    Connect(#[from] ServerConnectError),
    /// A query failed.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The base backup stream failed.
    #[error(transparent)]
    Stream(#[from] BaseBackupError),
    /// The files could not be written, or do not match the server's manifest.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// The archives could not be written, or do not match the server's manifest.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The settings of `backup_compression…` are not for this server.
    #[error(transparent)]
    Form(#[from] FormError),
    /// The server or the copy found broken pages. All files are there, but the backup holds the damage.
    #[error("data pages fail their checksums{}", detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default())]
    Checksums {
        /// What was said about them.
        detail: Option<String>,
    },
    /// The label in the backup is unusable.
    #[error("{}: {problem}", path.display())]
    Label {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The server is another one than before.
    #[error(
        "server identity is {found}, the catalog holds backups of {expected}: another cluster answers at this address"
    )]
    Identity {
        /// In `identity.json`.
        expected: String,
        /// What the server says.
        found: String,
    },
    /// The object store that the backup goes to.
    #[error(transparent)]
    ObjectStore(#[from] crate::ObjectStoreError),
    /// It does not say whether an id is free.
    #[error(transparent)]
    Objects(#[from] tapster_catalog::ObjectsError),
    /// The catalog could not be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The catalog could not be written.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The archive could not be compared with what the backup needs.
    #[error(transparent)]
    Completeness(#[from] CompletenessError),
    /// WAL that no backup needs could not be removed.
    #[error(transparent)]
    Purge(#[from] DeleteError),
    /// `identity.json` could not be read or written.
    #[error(transparent)]
    IdentityFile(#[from] IdentityError),
    /// The files could not be measured.
    #[error(transparent)]
    Tree(#[from] tapster_copy::tree::TreeError),
    /// The files could not be fetched from the server's host.
    #[error(transparent)]
    Rsync(#[from] tapster_copy::rsync::RsyncError),
    /// A lock could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The server has a tablespace of which nothing was there to copy.
    #[error(
        "tablespace '{name}': no directory of this server's version is in '{}', though the server has the tablespace",
        location.display()
    )]
    TablespaceNotSeen {
        /// Its name.
        name: String,
        /// Where it is on the server.
        location: PathBuf,
    },
    /// The backup is complete, but could not be given a manifest.
    #[error("the backup manifest could not be made: {0}")]
    Manifest(#[source] Box<crate::GenerateManifestError>),
    /// The session that held the server in backup mode is gone, and with it what was copied.
    #[error("Connection to the Postgres server was lost during the backup.")]
    SessionLost {
        /// What the connection said last.
        source: Option<Box<QueryError>>,
    },
    /// The server answered something else than was asked for.
    #[error("the server's answer has no usable {column}")]
    Answer {
        /// What is missing.
        column: &'static str,
    },
    /// A hook script wants no backup now.
    #[error(transparent)]
    Hook(#[from] HookAbort),
    /// Somebody asked to stop.
    #[error("stopped on request")]
    Stopped,
}
