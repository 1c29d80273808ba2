//! Why backups cannot be combined.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use walfile::{Lsn, Timeline};

use super::HeaderError;
use crate::ChecksumAlgorithm;
use crate::manifest::{ManifestError, WriteManifestError};
use crate::sync::SyncError;

/// Backups that were not combined. What was written has no `pg_control`, so that no server starts on it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CombineError {
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] SyncError),
    /// A manifest cannot be read.
    #[error("{}: {source}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// The new manifest cannot be written.
    #[error(transparent)]
    WriteManifest(#[from] WriteManifestError),
    /// No backups.
    #[error("no input directories specified")]
    NoBackups,
    /// A control file that is none.
    #[error("{}: {reason}", path.display())]
    ControlFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Backups of different clusters.
    #[error("{}: expected system identifier {expected}, but found {found}", path.display())]
    SystemIdentifier {
        /// The control file.
        path: PathBuf,
        /// Of the other backups.
        expected: u64,
        /// Of this one.
        found: u64,
    },
    /// A manifest of another cluster than its backup.
    #[error("{}: manifest system identifier is {found}, but control file has {expected}", path.display())]
    ManifestSystem {
        /// The manifest.
        path: PathBuf,
        /// Per the control file.
        expected: u64,
        /// Per the manifest.
        found: u64,
    },
    /// A label that is none.
    #[error("{}: {reason}", path.display())]
    Label {
        /// The label.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A full backup where an incremental one belongs.
    #[error(
        "backup at \"{}\" is a full backup, but only the first backup should be a full backup", path.display()
    )]
    NotIncremental {
        /// The backup.
        path: PathBuf,
    },
    /// An incremental backup where the full one belongs.
    #[error(
        "backup at \"{}\" is an incremental backup, but the first backup should be a full backup", path.display()
    )]
    NotFull {
        /// The backup.
        path: PathBuf,
    },
    /// Not the backup the next one builds on.
    #[error("backup at \"{}\" starts on timeline {found}, but expected {expected}", path.display())]
    StartTimeline {
        /// The backup.
        path: PathBuf,
        /// Per the label of the next one.
        expected: Timeline,
        /// Per its own.
        found: Timeline,
    },
    /// Likewise.
    #[error("backup at \"{}\" starts at LSN {found}, but expected {expected}", path.display())]
    StartPosition {
        /// The backup.
        path: PathBuf,
        /// Per the label of the next one.
        expected: Lsn,
        /// Per its own.
        found: Lsn,
    },
    /// An incremental file that cannot be used.
    #[error("file \"{}\" has {source}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: HeaderError,
    },
    /// An incremental file in the full backup.
    #[error("full backup contains unexpected incremental file \"{}\"", path.display())]
    UnexpectedIncremental {
        /// The file.
        path: PathBuf,
    },
    /// The blocks a file needs are in none of the older backups.
    #[error("no backup before \"{}\" holds the blocks it needs", path.display())]
    NoSource {
        /// The incremental file.
        path: PathBuf,
    },
    /// A file is shorter than it should be.
    #[error("file \"{}\" is too short: expected {expected}, found {found}", path.display())]
    Short {
        /// The file.
        path: PathBuf,
        /// Bytes it should have at least.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// A file is not as its backup's manifest says.
    #[error("\"{}\" is not as its {algorithm} checksum in the manifest says", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Kind of the checksum.
        algorithm: ChecksumAlgorithm,
    },
    /// A file that its backup's manifest does not list.
    #[error("manifest file \"{}\" contains no entry for file \"{}\"", manifest.display(), path.display())]
    Unlisted {
        /// The manifest.
        manifest: PathBuf,
        /// The file.
        path: PathBuf,
    },
    /// A file that is listed, and not there.
    #[error("manifest file \"{}\" lists file \"{}\", which is missing", manifest.display(), path.display())]
    Missing {
        /// The manifest.
        manifest: PathBuf,
        /// The first file that is missing.
        path: PathBuf,
    },
    /// The newest backup has no manifest to take the WAL ranges from.
    #[error("cannot generate a manifest because no manifest is available for the final input backup")]
    NoManifest,
    /// A way of copying that this file system does not have.
    #[error("{what} is not possible from \"{}\" to \"{}\": {source}", from.display(), to.display())]
    Method {
        /// `cloning` and the like.
        what: &'static str,
        /// The source file.
        from: PathBuf,
        /// The target file.
        to: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The caller's stop flag was raised.
    #[error("combining was stopped")]
    Stopped,
}
