//! The errors directory: why each file is there, and what to do with it.

use tapster_catalog::errors_dir::{self, ErrorFile, ErrorsDirError, Verdict};
use tapster_catalog::locks::{Lock, LockError, LockName};
use thiserror::Error;

use crate::{ArchiveError, ArchiveOptions, Context, Server};

/// What to do with the files.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WalErrorsAction {
    /// Only say what they are.
    #[default]
    List,
    /// Put back into the queue what can be archived now.
    Retry,
    /// Remove.
    Discard,
}

/// Options of [`Server::wal_errors`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WalErrorsOptions {
    /// What to do.
    pub action: WalErrorsAction,
    /// Only files of these names: as they are called in the directory, or as they were called before. When empty, retrying takes
    /// what can be archived, and discarding what the archive has with the same WAL.
    pub names: Vec<String>,
    /// Discard everything.
    pub all: bool,
    /// Find where contents differ.
    pub compare: bool,
    /// Plan only.
    pub dry_run: bool,
}

/// What happened to a file, or would.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WalErrorsStep {
    /// Nothing: it stays.
    Kept,
    /// It is in the queue again.
    Retried,
    /// It is gone.
    Discarded,
}

/// A refused file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WalErrorsEntry {
    /// What it is.
    pub file: ErrorFile,
    /// What happened to it, or would without [`WalErrorsOptions::dry_run`].
    pub step: WalErrorsStep,
}

/// What [`Server::wal_errors`] did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WalErrorsReport {
    /// Every file that was asked for, by name.
    pub entries: Vec<WalErrorsEntry>,
    /// Nothing was done.
    pub planned_only: bool,
}

/// A failure to list or change the errors directory.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WalErrorsError {
    /// The directory.
    #[error(transparent)]
    Directory(#[from] ErrorsDirError),
    /// The configuration says nothing usable about this server's WAL.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// An archiver is at work.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There is no such file.
    #[error("no file '{name}' in the errors directory of server '{server}'")]
    NoSuchFile {
        /// What was asked for.
        name: String,
        /// Server name.
        server: String,
    },
}

impl Server {
    /// Looks at the files that the archiver refused, and retries or discards some. Nothing in the archive is changed.
    ///
    /// # Errors
    /// When the directory cannot be read or changed, a name is not there, or, unless it only lists, an archiver is running.
    /// Where file archival is off, what is retried is archived at once, which can fail as well.
    pub fn wal_errors(
        &self,
        options: &WalErrorsOptions,
        context: &Context<'_>,
    ) -> Result<WalErrorsReport, WalErrorsError> {
        let mut ingest = self.ingest_options(&ArchiveOptions::default(), context)?;
        let changes = options.action != WalErrorsAction::List && !options.dry_run;
        let lock =
            changes.then(|| Lock::try_acquire(&self.layout().lock(&LockName::ArchiveWal))).transpose()?;
        let mut files = errors_dir::list(self.layout(), &ingest, options.compare)?;
        for name in &options.names {
            if !files.iter().any(|file| is_called(file, name)) {
                let (name, server) = (name.clone(), self.name().to_owned());
                return Err(WalErrorsError::NoSuchFile { name, server });
            }
        }
        if !options.names.is_empty() {
            files.retain(|file| options.names.iter().any(|name| is_called(file, name)));
        }
        let mut entries = Vec::with_capacity(files.len());
        for file in files {
            let mut step = plan(&file, options);
            if changes {
                step = self.carry_out(&file, step)?;
            }
            entries.push(WalErrorsEntry { file, step });
        }
        drop(lock);
        let queued = entries.iter().any(|entry| entry.step == WalErrorsStep::Retried);
        if changes && queued && !self.config.archiver {
            // Nobody else looks into that queue.
            (ingest.file_archival, ingest.streaming) = (true, false);
            self.run_ingest(&ingest, context)?;
        }
        Ok(WalErrorsReport { entries, planned_only: !changes })
    }

    fn carry_out(&self, file: &ErrorFile, step: WalErrorsStep) -> Result<WalErrorsStep, WalErrorsError> {
        let disk = self.catalog.disk();
        match step {
            WalErrorsStep::Retried if errors_dir::retry(disk, self.layout(), file)?.is_none() => {
                return Ok(WalErrorsStep::Kept);
            }
            WalErrorsStep::Discarded => errors_dir::discard(disk, file)?,
            WalErrorsStep::Retried | WalErrorsStep::Kept => {}
        }
        Ok(step)
    }
}

fn is_called(file: &ErrorFile, name: &str) -> bool {
    file.original == name || file.path.file_name().is_some_and(|own| own == name)
}

fn plan(file: &ErrorFile, options: &WalErrorsOptions) -> WalErrorsStep {
    let named = !options.names.is_empty();
    match options.action {
        WalErrorsAction::Retry if file.verdict == Verdict::NotArchived => WalErrorsStep::Retried,
        WalErrorsAction::Retry if named && file.wal().is_some() => WalErrorsStep::Retried,
        WalErrorsAction::Discard if named || options.all || file.verdict == Verdict::SameAsArchived => {
            WalErrorsStep::Discarded
        }
        _ => WalErrorsStep::Kept,
    }
}
