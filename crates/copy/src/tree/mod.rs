//! One directory tree into another, in parallel: what a local restore does.
//!
//! [`Plan::new`] walks the source, [`Plan::execute`] copies. Data goes by reflink where the file system can,
//! else by `copy_file_range`, else by reading and writing. `global/pg_control` is written when everything
//! else is on disk, so that a restore that was interrupted does not look like a cluster.

mod execute;
pub(crate) mod file;
mod files;
mod plan;
mod sizes;

pub use execute::TreeReport;
pub(crate) use plan::is_excluded;
pub use plan::{OverTree, Plan, TreeOptions};
pub use sizes::{TreeSizes, remove, sizes};

use std::path::PathBuf;

use thiserror::Error;

use crate::sync::SyncError;

/// A tree that could not be copied, measured or removed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] SyncError),
    /// Something that is no file, directory or link.
    #[error("'{}' is not a file, directory or symbolic link", path.display())]
    Kind {
        /// What.
        path: PathBuf,
    },
    /// A file became shorter while it was read.
    #[error("'{}' ended after {found} bytes, expected {expected}", path.display())]
    Short {
        /// The source file.
        path: PathBuf,
        /// Its size when the copy was planned.
        expected: u64,
        /// What could be read.
        found: u64,
    },
    /// A thread of the copy ended before its time.
    #[error("a thread of the copy panicked")]
    Worker,
    /// The caller's stop flag was raised.
    #[error("the copy was stopped")]
    Stopped,
}

/// What Barman's restore leaves out of a plain backup.
pub const RESTORE_EXCLUDES: [&str; 7] = [
    "/pg_log/*",
    "/log/*",
    "/pg_xlog/*",
    "/pg_wal/*",
    "/postmaster.pid",
    "/recovery.conf",
    "/tablespace_map",
];
