//! What "on disk" means: fsync of files and directories, of whole trees, or of the file system at once.
//!
//! A failed fsync is never tried again: the kernel has dropped the pages, and a second call would lie.

mod file_system;
mod write_behind;

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use thiserror::Error;

pub use file_system::FileSystem;
pub(crate) use write_behind::WriteBehind;

use crate::publish::parent;

/// How written files are brought to disk (`pg_basebackup`'s `--sync-method`).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SyncMethod {
    /// Not at all: the operating system does it some time. For tests and throw-away copies.
    None,
    /// `fsync` of each file and directory. Touches nothing but the copy.
    #[default]
    Fsync,
    /// `syncfs` of the file systems written to: quicker with many files, but waits for what other
    /// programs have written there too. Where that is not known to report write errors, each file is
    /// fsynced instead ([`FileSystem`]).
    Syncfs,
}

/// A file-system operation that failed.
#[derive(Debug, Error)]
#[error("cannot {action} '{}': {source}", path.display())]
#[non_exhaustive]
pub struct SyncError {
    /// What was tried, a verb: `open`, `fsync`, `rename` and the like.
    pub action: &'static str,
    /// With which file.
    pub path: PathBuf,
    /// What the operating system said.
    #[source]
    pub source: io::Error,
}

/// Makes a [`SyncError`] of an [`io::Error`] or an errno.
pub(crate) fn at<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> SyncError {
    let path = path.to_path_buf();
    move |source| SyncError { action, path, source: source.into() }
}

/// Brings one file to disk.
///
/// # Errors
/// When it cannot be opened or synced.
pub fn file(path: &Path) -> Result<(), SyncError> {
    File::open(path).map_err(at("open", path))?.sync_all().map_err(at("fsync", path))
}

/// Brings the names in one directory to disk.
///
/// # Errors
/// When it cannot be opened or synced. File systems that cannot sync a directory (EINVAL) are no error,
/// as in PostgreSQL's `fsync_fname`.
pub fn directory(path: &Path) -> Result<(), SyncError> {
    let directory = open_directory(path)?;
    match directory.sync_all() {
        Err(error) if matches!(error.raw_os_error(), Some(EBADF | EINVAL)) => Ok(()),
        result => result.map_err(at("fsync", path)),
    }
}

const EBADF: i32 = 9;
const EINVAL: i32 = 22;

pub(crate) fn open_directory(path: &Path) -> Result<File, SyncError> {
    let flags = rustix::fs::OFlags::DIRECTORY.bits();
    let flags = i32::try_from(flags).unwrap_or(0);
    File::options().read(true).custom_flags(flags).open(path).map_err(at("open", path))
}

/// Creates `path` and its missing parents with `mode`, each name fsynced in its parent directory.
///
/// # Errors
/// When a step fails. A directory that exists already is no error, whatever its mode.
pub fn create_dir_all(path: &Path, mode: u32) -> Result<(), SyncError> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let above = parent(path);
    create_dir_all(above, mode)?;
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result.map_err(at("create", path)),
    }?;
    directory(above)
}

/// Brings everything below `root` to disk, files first, then the directories. Symbolic links are not
/// followed, except `pg_wal` and those in `pg_tblspc`, as PostgreSQL's `sync_pgdata` does.
///
/// # Errors
/// The first failure.
pub fn tree(root: &Path, method: SyncMethod, threads: usize) -> Result<(), SyncError> {
    match method {
        SyncMethod::None => Ok(()),
        SyncMethod::Syncfs => {
            FileSystem::open(root)?.sync()?;
            for link in followed_links(root)? {
                FileSystem::open(&link)?.sync()?;
            }
            Ok(())
        }
        SyncMethod::Fsync => {
            let background = Background::start(threads);
            let mut directories = Vec::new();
            walk(root, &background, &mut directories)?;
            for link in followed_links(root)? {
                walk(&link, &background, &mut directories)?;
            }
            background.finish()?;
            directories.iter().try_for_each(|path| directory(path))
        }
    }
}

fn followed_links(root: &Path) -> Result<Vec<PathBuf>, SyncError> {
    let mut links = Vec::new();
    let wal = root.join("pg_wal");
    if wal.is_symlink() && wal.is_dir() {
        links.push(wal);
    }
    let tablespaces = root.join("pg_tblspc");
    if tablespaces.is_dir() {
        for entry in std::fs::read_dir(&tablespaces).map_err(at("read", &tablespaces))? {
            let path = entry.map_err(at("read", &tablespaces))?.path();
            if path.is_symlink() && path.is_dir() {
                links.push(path);
            }
        }
    }
    Ok(links)
}

fn walk(root: &Path, files: &Background, directories: &mut Vec<PathBuf>) -> Result<(), SyncError> {
    let mut pending = vec![root.to_path_buf()];
    while let Some(path) = pending.pop() {
        for entry in std::fs::read_dir(&path).map_err(at("read", &path))? {
            let entry = entry.map_err(at("read", &path))?;
            let kind = entry.file_type().map_err(at("read", &path))?;
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path();
                files.submit(File::open(&path).map_err(at("open", &path))?, path)?;
            }
        }
        directories.push(path);
    }
    Ok(())
}

/// A few threads that fsync files and close them, while the caller goes on.
///
/// The first failure is kept and every later call answers with an error: a backup with a failed fsync is
/// never finished.
#[derive(Debug)]
pub struct Background {
    queue: Option<SyncSender<(File, PathBuf)>>,
    threads: Vec<JoinHandle<()>>,
    failure: Arc<Mutex<Option<SyncError>>>,
}

impl Background {
    /// Starts `threads` threads (at least one); at most 64 files wait at a time.
    pub fn start(threads: usize) -> Self {
        let (queue, work) = sync_channel::<(File, PathBuf)>(64);
        let work = Arc::new(Mutex::new(work));
        let failure = Arc::new(Mutex::new(None));
        let threads = (0..threads.max(1))
            .map(|_| {
                let (work, failure) = (Arc::clone(&work), Arc::clone(&failure));
                std::thread::spawn(move || Self::run(&work, &failure))
            })
            .collect();
        Self { queue: Some(queue), threads, failure }
    }

    fn run(work: &Mutex<Receiver<(File, PathBuf)>>, failure: &Mutex<Option<SyncError>>) {
        loop {
            let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((file, path)) = next else { return };
            if let Err(source) = file.sync_all() {
                let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert(SyncError { action: "fsync", path, source });
            }
        }
    }

    /// Queues a file, written and not to be written again; waits when the queue is full.
    ///
    /// # Errors
    /// When an fsync has failed before.
    pub fn submit(&self, file: File, path: PathBuf) -> Result<(), SyncError> {
        if let Some(error) = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        let lost = |path: &Path| SyncError {
            action: "fsync",
            path: path.to_path_buf(),
            source: io::Error::other("the syncing threads have ended"),
        };
        let Some(queue) = &self.queue else { return Err(lost(&path)) };
        queue.send((file, path)).map_err(|refused| lost(&refused.0.1))
    }

    /// Waits for all queued files.
    ///
    /// # Errors
    /// The first failed fsync.
    pub fn finish(mut self) -> Result<(), SyncError> {
        self.stop();
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(Ok(()), Err)
    }

    fn stop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(SyncError {
                    action: "fsync",
                    path: PathBuf::new(),
                    source: io::Error::other("a syncing thread panicked"),
                });
            }
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_created_once() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        create_dir_all(&deep, 0o700).unwrap();
        create_dir_all(&deep, 0o700).unwrap();
        assert!(deep.is_dir());
        File::create(dir.path().join("file")).unwrap();
        assert!(create_dir_all(&dir.path().join("file/x"), 0o700).is_err());
        for method in [SyncMethod::None, SyncMethod::Fsync, SyncMethod::Syncfs] {
            tree(dir.path(), method, 2).unwrap();
        }
    }

    #[test]
    fn a_failed_fsync_is_not_forgotten() {
        let background = Background::start(2);
        // A pipe cannot be fsynced.
        let (reader, _writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(reader));
        background.submit(file, PathBuf::from("pipe")).unwrap();
        let error = background.finish().unwrap_err();
        assert_eq!(error.path, Path::new("pipe"));
    }
}
