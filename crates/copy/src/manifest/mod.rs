//! PostgreSQL's `backup_manifest`, versions 1 (PostgreSQL 13 to 16) and 2 (17 and later).
//!
//! A manifest of a large cluster is itself large (6.6 million files are more than 1 GB), so nothing here
//! holds one in memory: the reader hands out one file at a time, and the checksum over the manifest is
//! taken as the bytes pass.

mod error;
mod findings;
mod generate;
mod lexer;
mod problem;
mod reader;
mod tail;
mod verify;
mod verify_archives;
mod writer;

pub use error::ManifestError;
pub use generate::{GenerateError, GenerateOptions, GenerateReport, generate};
pub use problem::Problem;
pub use reader::{ManifestFile, ManifestReader, ManifestSummary};
pub use verify::{VerifyError, VerifyOptions, VerifyReport, verify};
pub use verify_archives::verify_archives;
pub use writer::{ManifestWriter, WriteManifestError};

use walfile::{Lsn, Timeline};

/// The name of the manifest in a backup.
pub const FILE_NAME: &str = "backup_manifest";

/// WAL that a backup needs to be consistent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WalRange {
    /// On this timeline,
    pub timeline: Timeline,
    /// from here
    pub start: Lsn,
    /// to before here.
    pub end: Lsn,
}

impl WalRange {
    /// The range from `start` to before `end`.
    pub const fn new(timeline: Timeline, start: Lsn, end: Lsn) -> Self {
        Self { timeline, start, end }
    }
}
