//! Why a backup was not proven.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::blame;
use crate::{RestoreError, RestorePlanError};

/// A test restore that did not prove the backup. The server is stopped, and the scratch directory removed unless it was to be
/// kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyRestoreError {
    /// The backup cannot be restored to that target.
    #[error(transparent)]
    Plan(#[from] RestorePlanError),
    /// The restore broke off.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// Another test restore has the scratch directory.
    #[error("another test restore is running in '{}'", path.display())]
    Running {
        /// The directory.
        path: PathBuf,
    },
    /// Everything that a test restore could be called is there already.
    #[error("every name for a test restore in '{}' is taken", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
    },
    /// Nobody to run the server.
    #[error("PostgreSQL cannot be run as root, and there is no other user '{name}'")]
    User {
        /// The name.
        name: String,
    },
    /// The server's user cannot get to the scratch directory.
    #[error("the user PostgreSQL runs as cannot get to '{}'", path.display())]
    Unreachable {
        /// The scratch directory.
        path: PathBuf,
    },
    /// No server of that release.
    #[error("PostgreSQL {major} is not installed here{}", if others.is_empty() { String::new() } else { format!(": {}", others.join(", ")) })]
    NoServer {
        /// The release.
        major: u16,
        /// What was found instead.
        others: Vec<String>,
    },
    /// A program of PostgreSQL is missing.
    #[error("{program} is not installed here")]
    NoProgram {
        /// Which.
        program: &'static str,
    },
    /// The server ended before the target.
    #[error("PostgreSQL did not start: {reason}")]
    NotStarted {
        /// Its last words.
        reason: String,
        /// The end of its log.
        log: Vec<String>,
    },
    /// The server did not get to the target in time.
    #[error("PostgreSQL did not reach the target in {} seconds{}", after.as_secs(), replayed.as_ref().map(|at| format!(", it had replayed up to {at}")).unwrap_or_default())]
    Timeout {
        /// How long it had.
        after: Duration,
        /// Where it was.
        replayed: Option<String>,
        /// The end of its log.
        log: Vec<String>,
    },
    /// The server runs and cannot be asked.
    #[error("the restored server cannot be asked: {reason}")]
    Unasked {
        /// Why.
        reason: String,
    },
    /// The server runs and refuses what we ask, because of what it was restored from.
    #[error("the restored server answered: {reason}")]
    Server {
        /// The answer.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody asked to stop.
    #[error("stopped on request")]
    Stopped,
}

impl VerifyRestoreError {
    /// Whether it says something about the backup or the archived WAL, rather than about this host or what was asked for.
    pub fn is_about_backup(&self) -> bool {
        blame::verify(self)
    }
}
