//! Where a restore writes: a directory of this host, or one of another.
//!
//! The steps and their order are the same for both ([`Server::restore`]); what differs is how files get there, and how they
//! are brought to disk.

use std::io;
use std::path::{Path, PathBuf};

use tapster_copy::extract::ControlFile;
use walfile::WalName;

use super::{RestoreError, RestorePlan};
use crate::{Context, Server};

/// One restore under way.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) server: &'a Server,
    pub(super) plan: &'a RestorePlan,
    pub(super) context: &'a Context<'a>,
}

impl Job<'_> {
    /// What a restore ends with when it is to stop.
    pub(super) fn stopped(&self) -> RestoreError {
        RestoreError::Stopped { destination: self.plan.destination.clone() }
    }
}

/// WAL to be copied.
pub(super) struct WalFiles<'a> {
    /// The directory it goes to.
    pub(super) dir: &'a Path,
    /// Segments, labels and history files, all whole.
    pub(super) names: &'a [WalName],
    /// The segment of which only the beginning is there.
    pub(super) partial: Option<WalName>,
    /// Whether it goes where PostgreSQL would archive it again (`archive_status/*.done` keep it from that).
    pub(super) marked: bool,
}

/// A file of the data directory that the restore writes itself.
pub(super) struct NewFile {
    /// Relative to the data directory.
    pub(super) name: String,
    pub(super) content: Vec<u8>,
    /// Permission bits.
    pub(super) mode: u32,
}

impl NewFile {
    /// One that nobody else may read.
    pub(super) fn private(name: impl Into<String>, content: Vec<u8>) -> Self {
        Self { name: name.into(), content, mode: 0o600 }
    }
}

/// The new data directory. When [`Destination::seal`] has returned, all of it is on disk.
pub(super) trait Destination {
    /// The base backup with its tablespaces, without `global/pg_control`, which is returned.
    fn copy_base(&self, job: Job<'_>) -> Result<ControlFile, RestoreError>;

    /// WAL from the archive, under the names PostgreSQL will ask for.
    fn copy_wals(&self, job: Job<'_>, wals: &WalFiles<'_>) -> Result<(), RestoreError>;

    /// The content of files of the data directory; `None` for each that is not there.
    fn read(&self, job: Job<'_>, names: &[String]) -> Result<Vec<Option<Vec<u8>>>, RestoreError>;

    /// Writes files of the data directory, replacing what is there.
    fn write(&self, job: Job<'_>, files: Vec<NewFile>) -> Result<(), RestoreError>;

    /// Which of these the data directory does not have.
    fn missing(&self, job: Job<'_>, names: &[&str]) -> Result<Vec<String>, RestoreError>;

    /// Puts the manifest aside, brings everything to disk, and then writes `global/pg_control`.
    fn seal(&self, job: Job<'_>, control: &ControlFile) -> Result<(), RestoreError>;
}

pub(super) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> RestoreError + '_ {
    move |source| RestoreError::Io { path: PathBuf::from(path), source }
}
