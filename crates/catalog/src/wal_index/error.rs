//! Failures of the index.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// An index that cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WalIndexError {
    /// The archive cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The directory or file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The stop flag was set. Directories that were done before are indexed.
    #[error("stopped while reading {}", dir.display())]
    Stopped {
        /// The directory in hand.
        dir: PathBuf,
    },
}
