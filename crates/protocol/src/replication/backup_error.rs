//! What can go wrong with a base backup.

use thiserror::Error;

use crate::proto::{ArchiveNameError, ServerError};
use crate::{ConnectionError, QueryError};

/// A base backup that could not start, or broke. Nothing received may be kept as a backup.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BaseBackupError {
    /// The server refused, or gave up during the stream.
    #[error("{0}")]
    Server(Box<ServerError>),
    /// The connection is gone.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The answer is not as documented.
    #[error(transparent)]
    Query(QueryError),
    /// The server cannot do what was asked.
    #[error("{option} needs a server of version {needs}, this one is {found}")]
    Unsupported {
        /// The option.
        option: &'static str,
        /// The version needed, such as "15 or later".
        needs: &'static str,
        /// The server's version.
        found: crate::ServerVersion,
    },
    /// An option has a value the server would refuse.
    #[error("{option} is {value}: expected {expected}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The server named an archive that must not become a file.
    #[error(transparent)]
    ArchiveName(#[from] ArchiveNameError),
    /// The manifest to upload could not be read.
    #[error("could not read the manifest to upload: {0}")]
    Manifest(std::io::Error),
    /// The stream is not one whole backup: data before any archive was announced, archives for tablespaces that were
    /// not, or an end before everything came.
    #[error("base backup stream is out of order: {0}")]
    Order(&'static str),
}

impl BaseBackupError {
    /// What the server said, when it was the server that refused.
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Self::Server(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the stop flag ended it.
    pub const fn is_stopped(&self) -> bool {
        matches!(self, Self::Connection(ConnectionError::Stopped))
    }
}

impl From<QueryError> for BaseBackupError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Server(error) => Self::Server(error),
            QueryError::Connection(error) => Self::Connection(error),
            other => Self::Query(other),
        }
    }
}
