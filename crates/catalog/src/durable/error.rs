//! What can go wrong on the way to durability.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The step that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Opening or creating a file.
    Open,
    /// Writing to it.
    Write,
    /// Reserving space or setting the length.
    Resize,
    /// Setting permission bits or times.
    SetAttributes,
    /// `fsync` of a file.
    Sync,
    /// `fsync` of a directory.
    SyncDir,
    /// Renaming.
    Rename,
    /// Making a symbolic link.
    Link,
    /// Removing a file or directory.
    Remove,
    /// Creating a directory.
    MakeDir,
    /// Reading a file or directory.
    Read,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Write => "write",
            Self::Resize => "resize",
            Self::SetAttributes => "set attributes of",
            Self::Sync => "fsync",
            Self::SyncDir => "fsync directory",
            Self::Rename => "rename",
            Self::Link => "make the link",
            Self::Remove => "remove",
            Self::MakeDir => "create directory",
            Self::Read => "read",
        })
    }
}

/// A durable operation that did not happen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DurableError {
    /// The operating system said no.
    #[error("cannot {step} {}: {source}", path.display())]
    Io {
        /// What was tried.
        step: Step,
        /// On which file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The name is taken, and replacing was not asked for.
    #[error("{} exists already", path.display())]
    Exists {
        /// The name.
        path: PathBuf,
    },
    /// An earlier write or `fsync` of this file failed, so nobody knows what is on disk.
    #[error("an earlier write or fsync of {} failed, so its content is unknown", path.display())]
    Poisoned {
        /// The file.
        path: PathBuf,
    },
    /// What belongs into an object store is not there.
    #[error(transparent)]
    Objects(#[from] crate::ObjectsError),
}

impl DurableError {
    /// Builds [`DurableError::Io`].
    pub fn io(step: Step, path: &Path, source: io::Error) -> Self {
        Self::Io { step, path: path.to_owned(), source }
    }

    /// The operating system's kind of error.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Io { source, .. } => source.kind(),
            Self::Exists { .. } => io::ErrorKind::AlreadyExists,
            Self::Poisoned { .. } | Self::Objects(_) => io::ErrorKind::Other,
        }
    }
}

impl From<DurableError> for io::Error {
    fn from(error: DurableError) -> Self {
        Self::new(error.kind(), error)
    }
}
