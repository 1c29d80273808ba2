//! Why a `backup.info` cannot be read.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::LiteralError;

/// A record that cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It holds something that is no record.
    #[error("{}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: RecordProblem,
    },
}

impl RecordError {
    /// Builds [`RecordError::Io`].
    pub fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

/// What can be wrong with the text of a record.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RecordProblem {
    /// A key that this version does not know; Barman says the same words.
    #[error(
        "Unsupported field '{0}' found in backup metadata. This indicates the backup was created with a newer \
         version of Barman. Please upgrade to a compatible or newer version."
    )]
    UnknownKey(String),
    /// A line without `=`.
    #[error("invalid line {0:?}")]
    NoEquals(String),
    /// It is not UTF-8.
    #[error("not UTF-8 text")]
    Encoding,
    /// It is larger than any record.
    #[error("{0} bytes are too many for a backup record")]
    TooLarge(u64),
    /// A value that is not of the key's type.
    #[error("{key}={value:?} is not {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value, shortened.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A Python literal that cannot be read.
    #[error("{key}: {source}")]
    Literal {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        source: LiteralError,
    },
}
