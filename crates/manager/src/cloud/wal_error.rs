//! Why a WAL file did not get into a bucket, or out of it.

use std::io;
use std::path::PathBuf;

use tapster_cloud::CloudError;
use thiserror::Error;
use walfile::WalName;
use walfile::codec::Compression;

use crate::put_wal::NotThisWal;

/// A WAL file was not archived or not restored.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CloudWalError {
    /// Not a WAL file's name.
    #[error("{name} is an invalid name for a WAL file")]
    Name {
        /// What was given.
        name: String,
    },
    /// The file here cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file here is not the WAL file of its name.
    #[error("{} is not what its name says: {problem}", path.display())]
    NotThisWal {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: NotThisWal,
    },
    /// Somebody wrote to the file here while it was read.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be compressed.
    #[error("cannot compress {} with {compression}: {source}", path.display())]
    Compress {
        /// The file.
        path: PathBuf,
        /// The format.
        compression: Compression,
        /// Why not.
        source: io::Error,
    },
    /// Another content is archived under this name. It stays.
    #[error("another content is archived as {name} in {store} ({key}); it is not replaced")]
    Different {
        /// The file.
        name: WalName,
        /// The URL of the store.
        store: String,
        /// The object.
        key: String,
    },
    /// What is archived there belongs to another cluster.
    #[error("{store} holds WAL of system {found} as {server} ({key}), and this is WAL of system {own}")]
    OtherSystem {
        /// The URL of the store.
        store: String,
        /// The server's name there.
        server: String,
        /// The object that says so.
        key: String,
        /// The system identifier found there.
        found: u64,
        /// The one of the file to archive.
        own: u64,
    },
    /// The store was reached, and has no such file.
    #[error("WAL file {name} for server {server} does not exist")]
    Missing {
        /// The file.
        name: String,
        /// The server's name there.
        server: String,
    },
    /// What is archived under this name is no such file.
    #[error("the object {key} in {store} is not {name}: {problem}")]
    Content {
        /// The file.
        name: String,
        /// The URL of the store.
        store: String,
        /// The object.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The destination is a directory.
    #[error("WAL_DEST cannot be a directory: {}", path.display())]
    IsDirectory {
        /// It.
        path: PathBuf,
    },
    /// The destination cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Whoever was to take the file did not.
    #[error("cannot write the WAL file: {0}")]
    Output(io::Error),
    /// The spool cannot be used.
    #[error("cannot use the spool directory {}: {source}", path.display())]
    Spool {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// See [`CloudError`].
    #[error(transparent)]
    Store(#[from] CloudError),
}

impl CloudWalError {
    /// Whether the store was reached, and said that there is no such file: the only reason for a recovery to end.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}
