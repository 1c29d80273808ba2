//! A manifest for a backup that came without one (`barman generate-manifest`).
//!
//! The format is Barman 3.19's: version 1, keys in alphabetical order, SHA-256, times in UTC without a zone, no `WAL-Ranges`.
//! Two things differ, because there Barman's file cannot be read back: a name that is no UTF-8 is an `Encoded-Path`, and a
//! backup without files has an empty list. Files stand in the order of their names, directory by directory, so that the same
//! backup always gets the same manifest.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::FILE_NAME;
use super::writer::Date;
use crate::observer::CopyObserver;
use crate::publish::{publish, temporary_name};
use crate::sync::{SyncError, at};
use crate::{Checksum, ChecksumAlgorithm};

/// How a manifest is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GenerateOptions {
    /// Threads that read files.
    pub threads: usize,
    /// The checksum of each file.
    pub algorithm: ChecksumAlgorithm,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self { threads: 2, algorithm: ChecksumAlgorithm::Sha256 }
    }
}

/// What was listed.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct GenerateReport {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A manifest that could not be made. None is left behind then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The backup has one.
    #[error("File {} already exists.", path.display())]
    Exists {
        /// The manifest.
        path: PathBuf,
    },
    /// Another run is making one.
    #[error("{} is being written by another process", path.display())]
    Busy {
        /// The temporary file of that run.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] SyncError),
    /// Something that is no file, directory or link.
    #[error("'{}' is not a file, directory or symbolic link", path.display())]
    Kind {
        /// What.
        path: PathBuf,
    },
    /// A modification time outside the years 1970 to 9999.
    #[error("cannot write the modification time {seconds} of '{}' into the backup manifest", path.display())]
    Time {
        /// The file.
        path: PathBuf,
        /// Seconds since 1970.
        seconds: i64,
    },
    /// The caller's stop flag was raised.
    #[error("the making of the backup manifest was stopped")]
    Stopped,
}

/// Files that may be ahead of the one whose line is to be written next.
const AHEAD: usize = 8192;

/// Reads every file below the data directory `root` and publishes `backup_manifest` there, durably.
///
/// Links in `pg_tblspc` that lead to directories are followed, as `pg_verifybackup` does; other links to directories are not.
///
/// # Errors
/// When there is a manifest already, another run is making one, something cannot be read or written, or the stop flag is raised.
///
/// ```
/// use std::sync::atomic::AtomicBool;
/// use tapster_copy::{Silent, manifest};
/// let dir = tempfile::tempdir()?;
/// std::fs::create_dir(dir.path().join("base"))?;
/// # #[allow(clippy::disallowed_methods)]
/// std::fs::write(dir.path().join("PG_VERSION"), "15\n")?;
/// let report = manifest::generate(dir.path(), &Default::default(), &Silent, &AtomicBool::new(false))?;
/// assert_eq!((report.files, report.bytes), (1, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn generate(
    root: &Path,
    options: &GenerateOptions,
    observer: &dyn CopyObserver,
    stop: &AtomicBool,
) -> Result<GenerateReport, GenerateError> {
    let path = root.join(FILE_NAME);
    if path.symlink_metadata().is_ok() {
        return Err(GenerateError::Exists { path });
    }
    let temporary = temporary_name(&path);
    let file = claim(&temporary)?;
    // The lock is held through another handle of the same file until the manifest has its name.
    let lock = file.try_clone().map_err(at("open", &temporary))?;
    let made = write_file(root, (file, &temporary), options, observer, stop).and_then(|report| {
        // Somebody else was as quick.
        if path.symlink_metadata().is_ok() {
            return Err(GenerateError::Exists { path: path.clone() });
        }
        publish(&temporary, &path)?;
        Ok(report)
    });
    if made.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    drop(lock);
    made
}

/// The temporary file, empty and locked: two that wrote into it would publish a mixture. What a killed run left is used again.
fn claim(path: &Path) -> Result<File, GenerateError> {
    loop {
        let mut open = File::options();
        let open = open.write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = open.map_err(at("create", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(GenerateError::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(at("lock", path)(source).into()),
        }
        // Whoever had it may have published or removed it since it was opened.
        let ours = file.metadata().map_err(at("read", path))?;
        let is_still_there =
            path.symlink_metadata().is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
        if is_still_there {
            file.set_len(0).map_err(at("truncate", path))?;
            return Ok(file);
        }
        // A link leads to a file that is not ours to empty.
        if path.is_symlink() {
            let source = io::Error::new(io::ErrorKind::AlreadyExists, "it is a symbolic link");
            return Err(at("create", path)(source).into());
        }
    }
}

fn write_file(
    root: &Path,
    (file, path): (File, &Path),
    options: &GenerateOptions,
    observer: &dyn CopyObserver,
    stop: &AtomicBool,
) -> Result<GenerateReport, GenerateError> {
    let mut sink = Sink { file: BufWriter::with_capacity(256 * 1024, file), hash: Sha256::new(), path };
    sink.put(b"{\"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n")?;
    let failed = AtomicBool::new(false);
    let ended = || failed.load(Ordering::Relaxed) || stop.load(Ordering::Relaxed);
    let (ahead, behind) = sync_channel::<()>(AHEAD);
    let (work, queue) = sync_channel::<(u64, PathBuf)>(64);
    let (results, lines) = sync_channel::<(u64, Result<Entry, GenerateError>)>(64);
    let queue = Mutex::new(queue);
    let report = std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            let results = results.clone();
            let (queue, ended) = (&queue, &ended);
            scope.spawn(move || {
                let mut buffer = vec![0; 128 * 1024];
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((number, path)) = next else { return };
                    let entry = if ended() {
                        Err(GenerateError::Stopped)
                    } else {
                        read(root, path, options.algorithm, &mut buffer, observer, stop)
                    };
                    if results.send((number, entry)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        let ended = &ended;
        let walker = scope.spawn(move || walk(root, &ahead, &work, ended));
        let outcome = collect(&mut sink, options.algorithm, &lines, &behind);
        failed.store(true, Ordering::Relaxed);
        // Whoever still waits to hand something over is refused, and ends.
        drop((lines, behind));
        let walked = walker.join().unwrap_or(Err(GenerateError::Stopped));
        // The walk ends early because of the other's error, not the other way round.
        match (outcome, walked) {
            (Err(GenerateError::Stopped), Err(error)) | (Ok(_), Err(error)) => Err(error),
            (outcome, _) => outcome,
        }
    })?;
    if stop.load(Ordering::Relaxed) {
        return Err(GenerateError::Stopped);
    }
    sink.finish()?;
    Ok(report)
}

/// The manifest file, and the sum of what was written.
struct Sink<'a> {
    file: BufWriter<File>,
    hash: Sha256,
    path: &'a Path,
}

impl Sink<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), GenerateError> {
        self.hash.update(bytes);
        Ok(self.file.write_all(bytes).map_err(at("write", self.path))?)
    }

    fn finish(mut self) -> Result<(), GenerateError> {
        self.put(b"],\n")?;
        let sum = Checksum::new(self.hash.finalize().as_slice()).unwrap_or(Checksum::EMPTY);
        writeln!(self.file, "\"Manifest-Checksum\": \"{sum}\"}}").map_err(at("write", self.path))?;
        Ok(self.file.flush().map_err(at("write", self.path))?)
    }
}

/// One file, read.
struct Entry {
    path: PathBuf,
    size: u64,
    modified: Date,
    checksum: Checksum,
}

/// Writes the lines in the order of their numbers, whichever comes first.
fn collect(
    sink: &mut Sink<'_>,
    algorithm: ChecksumAlgorithm,
    lines: &Receiver<(u64, Result<Entry, GenerateError>)>,
    behind: &Receiver<()>,
) -> Result<GenerateReport, GenerateError> {
    let mut early = BTreeMap::new();
    let mut report = GenerateReport::default();
    let mut line = Vec::new();
    while let Ok((number, entry)) = lines.recv() {
        early.insert(number, entry?);
        while let Some(entry) = early.remove(&report.files) {
            line.clear();
            if report.files > 0 {
                line.extend_from_slice(b",\n");
            }
            push_line(&mut line, &entry, algorithm);
            sink.put(&line)?;
            report.files = report.files.saturating_add(1);
            report.bytes = report.bytes.saturating_add(entry.size);
            let _ = behind.recv();
        }
    }
    Ok(report)
}

/// Hands out the files below `root` in the order of their names.
fn walk(
    root: &Path,
    ahead: &SyncSender<()>,
    work: &SyncSender<(u64, PathBuf)>,
    ended: &dyn Fn() -> bool,
) -> Result<(), GenerateError> {
    let mut number = 0_u64;
    // Names still to be visited, the next one last.
    let mut pending = names(root, Path::new(""))?;
    while let Some((path, is_directory)) = pending.pop() {
        if ended() {
            return Err(GenerateError::Stopped);
        }
        if is_directory {
            pending.extend(names(root, &path)?);
        } else {
            if ahead.send(()).is_err() || work.send((number, path)).is_err() {
                return Err(GenerateError::Stopped);
            }
            number = number.saturating_add(1);
        }
    }
    Ok(())
}

/// What is in a directory, in descending order of names, and whether each is a directory to be visited.
fn names(root: &Path, directory: &Path) -> Result<Vec<(PathBuf, bool)>, GenerateError> {
    let place = root.join(directory);
    let (top, in_tablespaces) = (directory.as_os_str().is_empty(), directory == Path::new("pg_tblspc"));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&place).map_err(at("read", &place))? {
        let entry = entry.map_err(at("read", &place))?;
        let name = entry.file_name();
        if top
            && (name == FILE_NAME
                || Some(name.as_os_str()) == temporary_name(Path::new(FILE_NAME)).file_name())
        {
            continue;
        }
        let kind = entry.file_type().map_err(at("read", &entry.path()))?;
        let leads = if kind.is_symlink() {
            match std::fs::metadata(entry.path()) {
                Ok(target) => Some((target.is_dir(), target.is_file())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(at("read", &entry.path())(error).into()),
            }
        } else {
            Some((kind.is_dir(), kind.is_file()))
        };
        let path = directory.join(name);
        match leads {
            Some((true, _)) if kind.is_dir() || in_tablespaces => found.push((path, true)),
            // A link to a directory, or to nothing.
            Some((true, _)) | None => {}
            Some((false, true)) => found.push((path, false)),
            Some((false, false)) => return Err(GenerateError::Kind { path: entry.path() }),
        }
    }
    found.sort_unstable_by(|(a, _), (b, _)| b.as_os_str().cmp(a.as_os_str()));
    Ok(found)
}

fn read(
    root: &Path,
    path: PathBuf,
    algorithm: ChecksumAlgorithm,
    buffer: &mut [u8],
    observer: &dyn CopyObserver,
    stop: &AtomicBool,
) -> Result<Entry, GenerateError> {
    let place = root.join(&path);
    let mut file = File::open(&place).map_err(at("open", &place))?;
    let seconds = file.metadata().map_err(at("read", &place))?.mtime();
    let modified = u64::try_from(seconds).ok().and_then(Date::from_unix);
    let modified = modified.ok_or_else(|| GenerateError::Time { path: place.clone(), seconds })?;
    let (mut hasher, mut size) = (algorithm.hasher(), 0_u64);
    loop {
        match file.read(buffer) {
            Ok(0) => break,
            Ok(length) => {
                hasher.update(buffer.get(..length).unwrap_or_default());
                size = size.saturating_add(length as u64);
                observer.bytes(length as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(at("read", &place)(error).into()),
        }
        if stop.load(Ordering::Relaxed) {
            return Err(GenerateError::Stopped);
        }
    }
    observer.file(&path);
    Ok(Entry { path, size, modified, checksum: hasher.finish() })
}

/// One object, as Python's `json.dumps(…, sort_keys=True)` writes it.
fn push_line(line: &mut Vec<u8>, entry: &Entry, algorithm: ChecksumAlgorithm) {
    let Entry { path, size, modified, checksum } = entry;
    line.push(b'{');
    if algorithm != ChecksumAlgorithm::None {
        let text = format!("\"Checksum\": \"{checksum}\", \"Checksum-Algorithm\": \"{algorithm}\", ");
        line.extend_from_slice(text.as_bytes());
    }
    let name = path.to_str();
    if name.is_none() {
        line.extend_from_slice(b"\"Encoded-Path\": \"");
        for byte in path.as_os_str().as_bytes() {
            line.extend_from_slice(format!("{byte:02x}").as_bytes());
        }
        line.extend_from_slice(b"\", ");
    }
    line.extend_from_slice(format!("\"Last-Modified\": \"{}\", ", modified.without_zone()).as_bytes());
    if let Some(name) = name {
        line.extend_from_slice(b"\"Path\": \"");
        push_ascii(line, name);
        line.extend_from_slice(b"\", ");
    }
    line.extend_from_slice(format!("\"Size\": {size}}}").as_bytes());
}

/// Python's default: everything beyond ASCII as UTF-16 escapes.
fn push_ascii(line: &mut Vec<u8>, text: &str) {
    for character in text.chars() {
        match character {
            '"' => line.extend_from_slice(b"\\\""),
            '\\' => line.extend_from_slice(b"\\\\"),
            '\n' => line.extend_from_slice(b"\\n"),
            '\r' => line.extend_from_slice(b"\\r"),
            '\t' => line.extend_from_slice(b"\\t"),
            '\u{8}' => line.extend_from_slice(b"\\b"),
            '\u{c}' => line.extend_from_slice(b"\\f"),
            ' '..='~' => line.extend(character.to_string().bytes()),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    line.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
        }
    }
}
