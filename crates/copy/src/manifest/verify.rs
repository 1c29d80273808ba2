//! A backup on disk against its manifest, as `pg_verifybackup` does it.
//!
//! Memory does not grow with the number of files. Files in the manifest and files on disk are compared as
//! sums of keyed hashes of their names; only when the sums differ is a second pass made to name the extras.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};

use thiserror::Error;

use super::findings::Findings;
use super::{ManifestError, ManifestFile, ManifestReader, ManifestSummary, Problem};
use crate::decrypt::Decrypt;
use crate::observer::CopyObserver;
use crate::sync::{SyncError, at};

/// How a backup is verified.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// Threads that read files.
    pub threads: usize,
    /// Skip the checksums and compare names and sizes alone (`pg_verifybackup -s`).
    pub skip_checksums: bool,
    /// Names and directories not looked at, besides those that are never listed or change after a backup.
    pub ignore: Vec<PathBuf>,
    /// Where tablespaces lie, when the links in `pg_tblspc` do not lead there.
    pub tablespaces: BTreeMap<u32, PathBuf>,
    /// Most problems kept in the report; all are counted.
    pub max_problems: usize,
    /// End with the first problem (`pg_verifybackup -e`).
    pub stop_at_first: bool,
    /// Opens encrypted archives (`base.tar.gz.gpg`); without it they are a problem.
    pub decrypt: Option<Decrypt>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        let (ignore, tablespaces) = (Vec::new(), BTreeMap::new());
        Self {
            threads: 2,
            skip_checksums: false,
            ignore,
            tablespaces,
            max_problems: 1000,
            stop_at_first: false,
            decrypt: None,
        }
    }
}

/// The real one has 8 KiB.
pub(super) const MAX_CONTROL_FILE: u64 = 64 * 1024;

/// The outcome of a verification.
#[derive(Debug)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Files looked at.
    pub files: u64,
    /// Bytes read from them.
    pub bytes: u64,
    /// Problems found, of which `problems` holds the first ones.
    pub problem_count: u64,
    /// At most [`VerifyOptions::max_problems`] of them, sorted by their paths.
    pub problems: Vec<Problem>,
    /// What else the manifest says.
    pub manifest: ManifestSummary,
}

impl VerifyReport {
    /// Whether the backup is as its manifest says.
    pub const fn is_ok(&self) -> bool {
        self.problem_count == 0
    }
}

/// A verification that could not be carried out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A directory or `global/pg_control` cannot be read.
    #[error(transparent)]
    Io(#[from] SyncError),
    /// The caller's stop flag was raised.
    #[error("verification was stopped")]
    Stopped,
}

/// Verifies the plain backup in `root` against the manifest in the file `manifest`. WAL is not looked at.
///
/// # Errors
/// When the manifest or a directory cannot be read, or the stop flag is raised; what is wrong with the
/// backup is in the report.
pub fn verify(
    manifest: &Path,
    root: &Path,
    options: &VerifyOptions,
    observer: &dyn CopyObserver,
    stop: &AtomicBool,
) -> Result<VerifyReport, VerifyError> {
    let open = || File::open(manifest).map_err(at("open", manifest));
    let findings = Findings::new(options, stop);
    let work = Work { root, options, observer, findings };
    let (mut listed, keys) = (NameSum::default(), RandomState::new());
    let mut reader = ManifestReader::new(open()?)?;
    let (sender, queue) = sync_channel::<ManifestFile>(256);
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(|| {
                let mut buffer = vec![0; 128 * 1024];
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(file) = next else { return };
                    if !work.findings.ended() {
                        work.check(&file, &mut buffer);
                    }
                }
            });
        }
        // Dropped on the way out, also after an error: the threads end then.
        let sender = sender;
        let mut file = ManifestFile::default();
        while !work.findings.ended() && reader.next_file(&mut file)? {
            let path = Path::new(OsStr::from_bytes(&file.path));
            if !work.findings.ignored(path) {
                listed.add(&keys, path);
                if sender.send(file.clone()).is_err() {
                    break;
                }
            }
        }
        Ok::<(), ManifestError>(())
    })?;
    if work.findings.stopped() {
        return Err(VerifyError::Stopped);
    }
    let summary = reader.finish()?;
    if work.findings.ended() {
        return Ok(work.findings.report(summary));
    }
    let control = root.join("global/pg_control");
    match File::open(&control) {
        // One that is not there is named as such.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        file => {
            let mut bytes = Vec::new();
            file.and_then(|file| file.take(MAX_CONTROL_FILE).read_to_end(&mut bytes))
                .map_err(at("read", &control))?;
            work.findings.control_file(&bytes, &summary);
        }
    }
    let mut on_disk = NameSum::default();
    work.walk(true, &mut |path| on_disk.add(&keys, path))?;
    if on_disk != listed {
        let mut known = HashSet::new();
        let mut reader = ManifestReader::new(open()?)?;
        let mut file = ManifestFile::default();
        while reader.next_file(&mut file)? {
            known.insert(keys.hash_one(Path::new(OsStr::from_bytes(&file.path))));
        }
        work.walk(false, &mut |path| {
            if !known.contains(&keys.hash_one(path)) {
                work.findings.problem(Problem::Extra { path: path.to_path_buf() });
            }
        })?;
    }
    Ok(work.findings.report(summary))
}

/// A set of names, as their number and the sum of their keyed hashes.
#[derive(Debug, Default, PartialEq)]
struct NameSum {
    names: u64,
    sum: u64,
}

impl NameSum {
    fn add(&mut self, keys: &RandomState, path: &Path) {
        self.names = self.names.wrapping_add(1);
        self.sum = self.sum.wrapping_add(keys.hash_one(path));
    }
}

struct Work<'a> {
    root: &'a Path,
    options: &'a VerifyOptions,
    observer: &'a dyn CopyObserver,
    findings: Findings<'a>,
}

impl Work<'_> {
    /// Where a listed file lies; `None` when its name leads elsewhere.
    fn locate(&self, path: &Path) -> Option<PathBuf> {
        if path.as_os_str().is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_)))
        {
            return None;
        }
        let mut parts = path.components();
        if parts.next().is_some_and(|first| first.as_os_str() == "pg_tblspc")
            && let Some(oid) = parts.next().and_then(|oid| oid.as_os_str().to_str()?.parse().ok())
            && let Some(directory) = self.options.tablespaces.get(&oid)
        {
            return Some(directory.join(parts.as_path()));
        }
        Some(self.root.join(path))
    }

    fn check(&self, listed: &ManifestFile, buffer: &mut [u8]) {
        let path = Path::new(OsStr::from_bytes(&listed.path)).to_path_buf();
        let outcome = match self.locate(&path) {
            None => Err(Problem::NotAFile { path: path.clone() }),
            Some(place) => self.compare(listed, &path, &place, buffer),
        };
        self.observer.file(&path);
        self.findings.file(outcome);
    }

    fn compare(
        &self,
        listed: &ManifestFile,
        path: &Path,
        place: &Path,
        buffer: &mut [u8],
    ) -> Result<u64, Problem> {
        let path = path.to_path_buf();
        let metadata = match std::fs::symlink_metadata(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Problem::Missing { path }),
            Err(source) => return Err(Problem::Unreadable { path, source }),
            Ok(metadata) if !metadata.is_file() => return Err(Problem::NotAFile { path }),
            Ok(metadata) => metadata,
        };
        if metadata.len() != listed.size {
            return Err(Problem::Size { path, expected: listed.size, found: metadata.len() });
        }
        if self.options.skip_checksums || listed.checksum.as_bytes().is_empty() {
            return Ok(0);
        }
        let mut hasher = listed.algorithm.hasher();
        let mut total = 0_u64;
        let read = File::open(place).and_then(|mut file| {
            loop {
                match file.read(buffer) {
                    Ok(0) => return Ok(()),
                    Ok(length) => {
                        hasher.update(buffer.get(..length).unwrap_or_default());
                        total = total.saturating_add(length as u64);
                        self.observer.bytes(length as u64);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
                if self.findings.ended() {
                    return Ok(());
                }
            }
        });
        if let Err(source) = read {
            return Err(Problem::Unreadable { path, source });
        }
        if self.findings.ended() {
            return Ok(total);
        }
        if total != listed.size {
            return Err(Problem::Size { path, expected: listed.size, found: total });
        }
        let found = hasher.finish();
        if found != listed.checksum {
            let (expected, found) = (listed.checksum.to_string(), found.to_string());
            return Err(Problem::Checksum { path, expected, found });
        }
        Ok(total)
    }

    /// Names every file below the root and the tablespaces; for the first time, also what no backup holds is told.
    fn walk(&self, first: bool, visit: &mut dyn FnMut(&Path)) -> Result<(), VerifyError> {
        let mut pending = vec![(self.root.to_path_buf(), PathBuf::new())];
        while let Some((directory, relative)) = pending.pop() {
            if self.findings.stopped() {
                return Err(VerifyError::Stopped);
            }
            let in_tablespaces = relative == Path::new("pg_tblspc");
            for entry in std::fs::read_dir(&directory).map_err(at("read", &directory))? {
                let entry = entry.map_err(at("read", &directory))?;
                let path = relative.join(entry.file_name());
                if self.findings.ignored(&path) {
                    continue;
                }
                let kind = entry.file_type().map_err(at("read", &directory))?;
                if kind.is_dir() || in_tablespaces && kind.is_symlink() {
                    let place = self.locate(&path).unwrap_or_else(|| entry.path());
                    pending.push((place, path));
                } else if kind.is_file() || kind.is_symlink() {
                    visit(&path);
                } else if first {
                    self.findings.problem(Problem::NotAFile { path });
                }
            }
        }
        Ok(())
    }
}
