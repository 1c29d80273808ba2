//! `pg_verifybackup`: a backup in any directory against its manifest, and the WAL it needs.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tapster_catalog::WalDirectory;
use tapster_copy::CopyObserver;
use tapster_copy::manifest::VerifyReport;
use tapster_copy::manifest::{self, ManifestError, ManifestFile, ManifestReader, VerifyError, VerifyOptions};
use thiserror::Error;

use crate::wal_range::{WalRangeFault, fault};

/// How the files of a backup are stored (`--format`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BackupFormat {
    /// As files.
    Plain,
    /// As `base.tar` and an archive for each tablespace.
    Tar,
}

/// Options of [`verify_backup`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifyBackupOptions {
    /// The backup.
    pub directory: PathBuf,
    /// `backup_manifest` in the backup, where not given.
    pub manifest: Option<PathBuf>,
    /// `pg_wal` in the backup, where not given.
    pub wal_directory: Option<PathBuf>,
    /// Found out by looking for `PG_VERSION`, where not given.
    pub format: Option<BackupFormat>,
    /// Names not looked at.
    pub ignore: Vec<PathBuf>,
    /// Compare names and sizes alone.
    pub skip_checksums: bool,
    /// Read the WAL too.
    pub parse_wal: bool,
    /// End with the first problem.
    pub exit_on_error: bool,
    /// Threads that read files; one for each processor, where not given.
    pub jobs: Option<usize>,
}

impl VerifyBackupOptions {
    /// Everything in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            manifest: None,
            wal_directory: None,
            format: None,
            ignore: Vec::new(),
            skip_checksums: false,
            parse_wal: true,
            exit_on_error: false,
            jobs: None,
        }
    }

    fn manifest(&self) -> PathBuf {
        self.manifest.clone().unwrap_or_else(|| self.directory.join(manifest::FILE_NAME))
    }

    /// The bytes that will be read, for showing progress.
    ///
    /// # Errors
    /// When the manifest cannot be read.
    pub fn total(&self) -> Result<u64, VerifyBackupError> {
        let mut reader = ManifestReader::new(open(&self.manifest())?)?;
        let (mut file, mut total) = (ManifestFile::default(), 0_u64);
        while reader.next_file(&mut file)? {
            total = total.saturating_add(file.size);
        }
        Ok(total)
    }
}

/// What was found.
#[derive(Debug)]
#[non_exhaustive]
pub struct VerifyBackupReport {
    /// The files.
    pub files: VerifyReport,
    /// What is wrong with the WAL.
    pub wal: Vec<WalRangeFault>,
}

impl VerifyBackupReport {
    /// Whether nothing is wrong.
    pub const fn is_ok(&self) -> bool {
        self.files.is_ok() && self.wal.is_empty()
    }
}

/// A verification that could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyBackupError {
    /// The manifest cannot be opened.
    #[error("could not open file \"{}\": {source}", path.display())]
    Open {
        /// The manifest.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Neither can something else.
    #[error(transparent)]
    Verify(VerifyError),
    /// WAL in an archive is not read.
    #[error("the WAL of a backup in archives cannot be read")]
    TarWal,
    /// The stop flag was raised.
    #[error("interrupted")]
    Stopped,
}

impl From<VerifyError> for VerifyBackupError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Manifest(error) => Self::Manifest(error),
            VerifyError::Stopped => Self::Stopped,
            other => Self::Verify(other),
        }
    }
}

fn open(path: &Path) -> Result<std::fs::File, VerifyBackupError> {
    std::fs::File::open(path).map_err(|source| VerifyBackupError::Open { path: path.to_owned(), source })
}

/// Verifies a backup.
///
/// # Errors
/// When the manifest or the directory cannot be read, or the stop flag is raised; what is wrong with the backup is in the report.
pub fn verify_backup(
    options: &VerifyBackupOptions,
    observer: &dyn CopyObserver,
    stop: &AtomicBool,
) -> Result<VerifyBackupReport, VerifyBackupError> {
    let plain = || options.directory.join("PG_VERSION").exists();
    let is_tar = match options.format {
        Some(format) => format == BackupFormat::Tar,
        None => !plain() && crate::generate_manifest::archives(&options.directory),
    };
    if is_tar && options.parse_wal {
        return Err(VerifyBackupError::TarWal);
    }
    let path = options.manifest();
    open(&path)?;
    let mut verify = VerifyOptions::default();
    verify.threads = options.jobs.unwrap_or_else(crate::processors);
    verify.skip_checksums = options.skip_checksums;
    verify.ignore.clone_from(&options.ignore);
    verify.max_problems = MAX_PROBLEMS;
    verify.stop_at_first = options.exit_on_error;
    let files = if is_tar {
        manifest::verify_archives(&path, &options.directory, &verify, observer, stop)?
    } else {
        manifest::verify(&path, &options.directory, &verify, observer, stop)?
    };
    let mut wal = Vec::new();
    if options.parse_wal && (files.is_ok() || !options.exit_on_error) {
        let directory = options.wal_directory.clone().unwrap_or_else(|| options.directory.join("pg_wal"));
        for range in &files.manifest.wal_ranges {
            wal.extend(fault(WalDirectory::new(&directory), range, None, None, stop));
        }
    }
    if stop.load(Ordering::Relaxed) {
        return Err(VerifyBackupError::Stopped);
    }
    Ok(VerifyBackupReport { files, wal })
}

/// Problems that are named; more are only counted.
pub(crate) const MAX_PROBLEMS: usize = 10_000;
