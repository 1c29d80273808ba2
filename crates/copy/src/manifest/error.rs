//! What can be wrong with a manifest.

use std::io;

use thiserror::Error;

/// A manifest that cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Reading failed.
    #[error("cannot read the backup manifest: {0}")]
    Io(#[from] io::Error),
    /// Not the JSON that a manifest is.
    #[error("backup manifest is malformed at byte {offset}: expected {expected}")]
    Syntax {
        /// Where, bytes from the start.
        offset: u64,
        /// What should have been there.
        expected: &'static str,
    },
    /// A value longer than any real one.
    #[error("backup manifest has a value of more than {limit} bytes at byte {offset}")]
    TooLong {
        /// Where, bytes from the start.
        offset: u64,
        /// How long it may be.
        limit: usize,
    },
    /// A version that this crate does not know.
    #[error("backup manifest has version {found}, expected 1 or 2")]
    Version {
        /// What it says.
        found: u64,
    },
    /// An entry or the manifest lacks something.
    #[error("backup manifest lacks '{key}' before byte {offset}")]
    Missing {
        /// Which key.
        key: &'static str,
        /// Where it was missed.
        offset: u64,
    },
    /// The manifest's own checksum is wrong: it was cut, damaged or edited.
    #[error("backup manifest checksum mismatch: the manifest says {expected}, its bytes give {found}")]
    Checksum {
        /// As written in its last line.
        expected: String,
        /// As computed.
        found: String,
    },
}
