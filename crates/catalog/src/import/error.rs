//! Why a backup was not imported.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use walfile::{SegmentNameError, WalName};

use crate::durable::DurableError;
use crate::ingest::Invalid;
use crate::locks::LockError;
use crate::{BackupId, CatalogError, XlogDbError};

/// A backup that was not imported. The catalog is as it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// There is one of that id.
    #[error("Backup '{id}' already exists in the catalog for server '{server}'")]
    Exists {
        /// The id.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// There is no record of that id, but a directory, and nobody knows whose.
    #[error("{} is in the way of backup '{id}', and no backup of the catalog", path.display())]
    InTheWay {
        /// The id.
        id: BackupId,
        /// The directory.
        path: PathBuf,
    },
    /// Another backup, deletion or import is under way.
    #[error("Another backup operation is already running on server '{server}'")]
    Busy {
        /// The server.
        server: String,
    },
    /// A lock file cannot be used.
    #[error(transparent)]
    Lock(LockError),
    /// A path that leaves the backup.
    #[error("'{}' is no path inside of a backup", path.display())]
    Path {
        /// The path, relative to the backup.
        path: PathBuf,
    },
    /// A file came twice.
    #[error("'{}' is there twice", path.display())]
    Twice {
        /// The path, relative to the backup.
        path: PathBuf,
    },
    /// A link of a tablespace that the record does not know.
    #[error("the backup has a link of a tablespace with the OID {oid}, which its record does not list")]
    UnknownTablespace {
        /// The OID.
        oid: u32,
    },
    /// Something else lies where the link of a tablespace belongs.
    #[error("Cannot replace existing directory at tablespace link path '{}'", path.display())]
    TablespaceLink {
        /// The path of the link.
        path: PathBuf,
    },
    /// The record says neither where the backup begins nor where it ends.
    #[error("the record does not say which WAL the backup needs")]
    NoWalRange,
    /// The record's names contradict its segment size.
    #[error(transparent)]
    Name(#[from] SegmentNameError),
    /// WAL that the backup needs is not among what came.
    #[error("WAL file required for backup consistency not found in tarball's xlog.db: {name}")]
    Missing {
        /// The segment.
        name: WalName,
    },
    /// WAL is listed and did not come.
    #[error("WAL file listed in tarball's xlog.db but not found under its wals/ directory: {name}")]
    NotStaged {
        /// The file.
        name: WalName,
    },
    /// WAL is of another length than it is listed with.
    #[error("WAL file {name} has {found} bytes, the index that came with it says {expected}")]
    Size {
        /// The file.
        name: WalName,
        /// In the index.
        expected: u64,
        /// In the file.
        found: u64,
    },
    /// WAL is not what its name says.
    #[error("WAL file {name}: {problem}")]
    Invalid {
        /// The file.
        name: WalName,
        /// What is wrong.
        problem: Invalid,
    },
    /// The archive has WAL of the same names and other content.
    #[error("WAL file(s) already exist in target server with conflicting content: {}", first_five(names))]
    Conflict {
        /// The files.
        names: Vec<WalName>,
    },
    /// Somebody asked to stop.
    #[error("the import was stopped; nothing was imported")]
    Stopped,
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The storage failed.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The index of the archive failed.
    #[error(transparent)]
    Index(#[from] XlogDbError),
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

fn first_five(names: &[WalName]) -> String {
    let shown: Vec<String> = names.iter().take(5).map(ToString::to_string).collect();
    match names.len().checked_sub(5).filter(|more| *more > 0) {
        Some(more) => format!("{} (and {more} more)", shown.join(", ")),
        None => shown.join(", "),
    }
}
