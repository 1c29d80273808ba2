//! `pg_combinebackup`: backups in any directories become one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use tapster_copy::combine::{
    CombineError, CombineOptions, CombineReport, CombineSource, CopyMethod, combine,
};
use tapster_copy::{ChecksumAlgorithm, CopyObserver, SyncMethod};
use thiserror::Error;

/// Options of [`combine_backups`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CombineBackupOptions {
    /// The full backup and the incremental ones, the oldest first.
    pub backups: Vec<PathBuf>,
    /// Where the result goes: absent or empty.
    pub output: PathBuf,
    /// Where tablespaces are in the newest backup, and where they go.
    pub tablespaces: Vec<(PathBuf, PathBuf)>,
    /// How files that did not change are brought over.
    pub method: CopyMethod,
    /// The checksums of the new manifest; `None` for no manifest.
    pub manifest: Option<ChecksumAlgorithm>,
    /// Compare every file that is read with the manifest of its backup.
    pub verify: bool,
    /// How the result is brought to disk.
    pub sync: SyncMethod,
    /// Write nothing.
    pub dry_run: bool,
    /// Threads that work on files; one for each processor, where not given.
    pub jobs: Option<usize>,
}

impl CombineBackupOptions {
    /// Everything as `pg_combinebackup` has it, and verified.
    pub fn new(backups: Vec<PathBuf>, output: impl Into<PathBuf>) -> Self {
        Self {
            backups,
            output: output.into(),
            tablespaces: Vec::new(),
            method: CopyMethod::Auto,
            manifest: Some(ChecksumAlgorithm::Crc32c),
            verify: true,
            sync: SyncMethod::Fsync,
            dry_run: false,
            jobs: None,
        }
    }
}

/// Backups that were not combined. Nothing of the result is left.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CombineBackupError {
    /// Combining failed.
    #[error(transparent)]
    Combine(#[from] CombineError),
    /// The output directory is in use.
    #[error("directory \"{}\" exists but is not empty", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A tablespace would be written over the one of the backup.
    #[error("tablespace at \"{}\" has no tablespace mapping", path.display())]
    NoMapping {
        /// Where it is.
        path: PathBuf,
    },
    /// Two tablespaces in one place.
    #[error(
        "tablespaces with OIDs {first} and {second} both point at directory \"{}\"", path.display()
    )]
    SamePlace {
        /// A tablespace.
        first: u32,
        /// Another one.
        second: u32,
        /// Where they are.
        path: PathBuf,
    },
    /// A link of a tablespace that says nothing without the directory it lies in.
    #[error("target of symbolic link \"{}\" is relative", path.display())]
    Relative {
        /// The link.
        path: PathBuf,
    },
    /// A directory cannot be read.
    #[error("could not access directory \"{}\": {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// Combines backups. When that fails, what was written is removed; a directory that was there before stays, empty.
///
/// # Errors
/// When a directory is in use, or the backups cannot be combined.
pub fn combine_backups(
    options: &CombineBackupOptions,
    observer: &dyn CopyObserver,
    stop: &AtomicBool,
) -> Result<CombineReport, CombineBackupError> {
    let newest = options.backups.last().ok_or(CombineError::NoBackups)?;
    let mut combined = CombineOptions::default();
    combined.threads = options.jobs.unwrap_or_else(crate::processors);
    combined.sync = options.sync;
    combined.method = options.method;
    combined.manifest = options.manifest;
    combined.verify = options.verify;
    combined.dry_run = options.dry_run;
    combined.tablespaces = tablespaces(newest, &options.tablespaces)?;
    let mut made = Vec::new();
    for directory in std::iter::once(&options.output).chain(combined.tablespaces.values()) {
        made.push((directory.clone(), is_there_and_empty(directory)?));
    }
    let sources: Vec<CombineSource> = options.backups.iter().map(CombineSource::new).collect();
    let result = combine(&sources, &options.output, &combined, observer, stop);
    if result.is_err() && !options.dry_run {
        for (directory, was_there) in &made {
            remove(directory, *was_there);
        }
    }
    Ok(result?)
}

/// Where the tablespaces of the newest backup go.
fn tablespaces(
    backup: &Path,
    mapping: &[(PathBuf, PathBuf)],
) -> Result<BTreeMap<u32, PathBuf>, CombineBackupError> {
    let mut found: BTreeMap<u32, PathBuf> = BTreeMap::new();
    let mut places: BTreeMap<PathBuf, u32> = BTreeMap::new();
    let directory = backup.join("pg_tblspc");
    let io = |source| CombineBackupError::Io { path: directory.clone(), source };
    let entries = match std::fs::read_dir(&directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        entries => entries.map_err(io)?,
    };
    for entry in entries {
        let entry = entry.map_err(io)?;
        let oid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let (Some(oid), true) = (oid, entry.file_type().map_err(io)?.is_symlink()) else { continue };
        let place = std::fs::read_link(entry.path()).map_err(io)?;
        if !place.is_absolute() {
            return Err(CombineBackupError::Relative { path: entry.path() });
        }
        if let Some(first) = places.insert(place.clone(), oid) {
            return Err(CombineBackupError::SamePlace { first, second: oid, path: place });
        }
        let mapped = mapping.iter().find(|(old, _)| *old == place);
        let (_, new) = mapped.ok_or_else(|| CombineBackupError::NoMapping { path: place.clone() })?;
        found.insert(oid, new.clone());
    }
    Ok(found)
}

fn is_there_and_empty(directory: &Path) -> Result<bool, CombineBackupError> {
    match std::fs::read_dir(directory) {
        Ok(mut entries) => match entries.next() {
            None => Ok(true),
            Some(_) => Err(CombineBackupError::NotEmpty { path: directory.to_owned() }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(CombineBackupError::Io { path: directory.to_owned(), source }),
    }
}

/// What cannot be removed is left: the failure before is what matters, and no server starts on it.
fn remove(directory: &Path, was_there: bool) {
    if !was_there {
        let _ = std::fs::remove_dir_all(directory);
        return;
    }
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let path = entry.path();
        let _ = if is_directory { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    }
}
