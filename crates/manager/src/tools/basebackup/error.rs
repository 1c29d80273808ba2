//! Why a base backup failed, in the words of `pg_basebackup` where it has them.

use std::io;
use std::path::PathBuf;

use tapster_copy::archive::ArchiveError;
use tapster_copy::{ExtractError, SyncError};
use tapster_protocol::{BaseBackupError, ConnectError, QueryError, ReplicationError};
use thiserror::Error;
use walfile::{HistoryError, Lsn};

use crate::text::system_text;
use crate::tools::LibpqText;

/// A base backup that is not there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BaseBackupToolError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A directory that must be empty is not.
    #[error("directory \"{}\" exists but is not empty", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A directory cannot be made.
    #[error("could not create directory \"{}\": {}", path.display(), system_text(source))]
    CreateDirectory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A directory cannot be looked at.
    #[error("could not access directory \"{}\": {}", path.display(), system_text(source))]
    AccessDirectory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file operation failed.
    #[error("could not {action} \"{}\": {}", path.display(), system_text(source))]
    File {
        /// A verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The server does not start the backup.
    #[error("could not initiate base backup: {}", backup_text(.0))]
    Initiate(#[source] BaseBackupError),
    /// The stream broke.
    #[error("could not receive base backup: {}", backup_text(.0))]
    Stream(#[source] BaseBackupError),
    /// A command on a replication connection failed.
    #[error("could not send replication command \"{command}\": {}", query_text(source))]
    Command {
        /// The command.
        command: String,
        /// What the server said.
        source: QueryError,
    },
    /// Two connections went to two clusters, or to servers whose past differs.
    #[error("system identifier does not match between base backup and streaming connection")]
    SystemId,
    /// The WAL cannot be streamed.
    #[error("could not send replication command \"START_REPLICATION\": {}", replication_text(.0))]
    StartWal(#[source] ReplicationError),
    /// The WAL stream broke.
    #[error("could not receive data from WAL stream: {}", replication_text(.0))]
    WalStream(#[source] ReplicationError),
    /// The WAL does not follow.
    #[error("got WAL data at {found}, expected {expected}")]
    WalGap {
        /// Where it should go on.
        expected: Lsn,
        /// What came.
        found: Lsn,
    },
    /// The end of a timeline makes no sense.
    #[error("server reported an unexpected next timeline after {reached}")]
    NextTimeline {
        /// How far WAL was received.
        reached: Lsn,
    },
    /// A history file is malformed.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The WAL cannot be stored.
    #[error("could not write WAL at {position}: {}", system_text(source))]
    StoreWal {
        /// Where.
        position: Lsn,
        /// Why.
        source: io::Error,
    },
    /// The thread that receives WAL is gone.
    #[error("background process terminated unexpectedly")]
    WalThread,
    /// A plain backup cannot be written or differs from its manifest.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// Archives cannot be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Writing to stdout failed.
    #[error("could not write to file \"-\": {}", system_text(.0))]
    Stdout(#[source] io::Error),
    /// More than one archive, one stdout.
    #[error("can only write single tablespace to stdout, database has {tablespaces}")]
    ManyTablespaces {
        /// How many there are.
        tablespaces: usize,
    },
    /// Options that exclude each other, or that this program does not have.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The server found wrong page checksums. The backup is complete, is kept, and holds them.
    #[error("checksum error occurred")]
    Checksums,
    /// Somebody asked to stop.
    #[error("stopped on request")]
    Stopped,
}

impl BaseBackupToolError {
    pub(super) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    pub(super) fn synced(error: SyncError) -> Self {
        Self::File { action: error.action, path: error.path, source: error.source }
    }
}

fn backup_text(error: &BaseBackupError) -> String {
    error.server().map_or_else(|| error.to_string(), |server| LibpqText(server).to_string())
}

fn query_text(error: &QueryError) -> String {
    error.server().map_or_else(|| error.to_string(), |server| LibpqText(server).to_string())
}

fn replication_text(error: &ReplicationError) -> String {
    match error {
        ReplicationError::Server(server) => LibpqText(server).to_string(),
        other => other.to_string(),
    }
}
