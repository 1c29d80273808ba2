//! What can go wrong when WAL is read.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use walfile::WalName;

/// A WAL file that cannot be handed out. `NotFound` alone means that there is none: for a `restore_command` the
/// difference decides between the end of recovery and a failure.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WalStoreError {
    /// It is nowhere.
    #[error("WAL file '{name}' not found in server '{server}'")]
    NotFound {
        /// The file.
        name: WalName,
        /// The server.
        server: String,
    },
    /// There is no archive to be looked into. Without this, a volume that is not mounted would end a recovery early.
    #[error("the WAL archive {} of server '{server}' is not there", path.display())]
    NoArchive {
        /// Where it should be.
        path: PathBuf,
        /// The server.
        server: String,
    },
    /// The object store does not say whether it has a file.
    #[error(transparent)]
    Objects(#[from] crate::ObjectsError),
    /// The file is in an object store, from which nothing is opened here.
    #[error("{} is in an object store", path.display())]
    InObjectStore {
        /// Where.
        path: PathBuf,
    },
    /// A file or directory cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is stored encrypted.
    #[error("{} is encrypted with {encryption}", path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
        /// With what.
        encryption: String,
    },
    /// It is no whole segment.
    #[error("{} has {found} bytes, expected {}", path.display(), expected.map_or_else(|| "a segment".to_owned(), |bytes| bytes.to_string()))]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes of a segment, where known.
        expected: Option<u64>,
        /// Bytes of the file.
        found: u64,
    },
    /// A history file that PostgreSQL would not accept either.
    #[error("{}: {source}", path.display())]
    History {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: walfile::HistoryError,
    },
}
