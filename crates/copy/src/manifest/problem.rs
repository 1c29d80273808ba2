//! What can be wrong with a backup.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// One thing wrong with a backup.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Problem {
    /// Listed, not there.
    #[error("'{}' is in the manifest but not on disk", path.display())]
    Missing {
        /// Relative to the data directory.
        path: PathBuf,
    },
    /// There, not listed.
    #[error("'{}' is on disk but not in the manifest", path.display())]
    Extra {
        /// Relative to the data directory.
        path: PathBuf,
    },
    /// Another size.
    #[error("'{}' has {found} bytes on disk but {expected} in the manifest", path.display())]
    Size {
        /// Relative to the data directory.
        path: PathBuf,
        /// Per the manifest.
        expected: u64,
        /// On disk.
        found: u64,
    },
    /// Other contents.
    #[error("'{}' has the checksum {found} on disk but {expected} in the manifest", path.display())]
    Checksum {
        /// Relative to the data directory.
        path: PathBuf,
        /// Per the manifest.
        expected: String,
        /// On disk; of a file in an archive only the beginning, followed by dots.
        found: String,
    },
    /// Not a regular file, or a name that leads out of the backup.
    #[error("'{}' is not a regular file inside the backup", path.display())]
    NotAFile {
        /// As the manifest has it.
        path: PathBuf,
    },
    /// Cannot be read.
    #[error("cannot read '{}': {source}", path.display())]
    Unreadable {
        /// Relative to the data directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A file beside the archives of a backup that no backup has there.
    #[error("'{}' does not belong to a backup in archives", path.display())]
    Unexpected {
        /// Relative to the directory of the archives.
        path: PathBuf,
    },
    /// An archive that cannot be read to its end.
    #[error("archive '{}' is damaged: {reason}", path.display())]
    Archive {
        /// Relative to the directory of the archives.
        path: PathBuf,
        /// What is wrong, in words.
        reason: String,
    },
    /// The manifest is that of another cluster.
    #[error("the manifest has the system identifier {manifest}, the control file {control}")]
    SystemIdentifier {
        /// Per the manifest.
        manifest: u64,
        /// Per `global/pg_control`.
        control: u64,
    },
    /// `global/pg_control` is not one.
    #[error("'global/pg_control' is damaged: {reason}")]
    ControlFile {
        /// What is wrong, in words.
        reason: String,
    },
}

impl Problem {
    /// The file it is about, for an order of problems.
    pub fn path(&self) -> &Path {
        match self {
            Self::Missing { path }
            | Self::Extra { path }
            | Self::Size { path, .. }
            | Self::Checksum { path, .. }
            | Self::NotAFile { path }
            | Self::Unreadable { path, .. }
            | Self::Unexpected { path }
            | Self::Archive { path, .. } => path,
            Self::SystemIdentifier { .. } | Self::ControlFile { .. } => Path::new("global/pg_control"),
        }
    }
}
