//! The copy itself.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::files::Slot;
use super::plan::{Entry, Plan};
use super::{TreeError, file};
use crate::observer::CopyObserver;
use crate::sync::{self, Background, FileSystem, SyncMethod, at};

/// Threads that wait for the disk: fsyncs that run at the same time share what the file system does for them.
const SYNC_THREADS: usize = 8;

/// What a copy did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct TreeReport {
    /// Files that were there and right.
    pub kept: u64,
    /// Their bytes.
    pub kept_bytes: u64,
}

impl Plan {
    /// Copies into `target`. Directories may be there already; files may not, and none is overwritten, unless
    /// [`TreeOptions::over`](super::TreeOptions::over) says so.
    ///
    /// # Errors
    /// The first failure; threads at work finish the file they have. What was copied so far stays, without
    /// the file that comes last.
    pub fn execute(
        &self,
        target: &Path,
        observer: &dyn CopyObserver,
        stop: &AtomicBool,
    ) -> Result<TreeReport, TreeError> {
        self.make_directories(target)?;
        let file_system = match self.options.sync {
            SyncMethod::Syncfs => Some(FileSystem::open(target)?),
            _ => None,
        };
        let queue = (self.options.sync == SyncMethod::Fsync)
            .then(|| Background::start(self.options.threads.max(SYNC_THREADS)));
        let report = self.copy_files(target, queue.as_ref(), observer, stop)?;
        for (path, to) in &self.links {
            let link = target.join(path);
            std::os::unix::fs::symlink(to, &link).map_err(at("link", &link))?;
        }
        self.finish_directories(target)?;
        if let Some(queue) = queue {
            queue.finish()?;
            for entry in self.directories.iter().rev() {
                sync::directory(&target.join(&entry.path))?;
            }
        }
        if let Some(file_system) = &file_system {
            file_system.sync()?;
        }
        if let Some(entry) = &self.last {
            self.copy_last(entry, target, observer, stop)?;
        }
        Ok(report)
    }

    fn make_directories(&self, target: &Path) -> Result<(), TreeError> {
        for entry in &self.directories {
            let path = target.join(&entry.path);
            if entry.path.as_os_str().is_empty() {
                sync::create_dir_all(&path, 0o700)?;
                continue;
            }
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(_) if std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) => Ok(()),
                result => result.map_err(at("create", &path)),
            }?;
        }
        Ok(())
    }

    /// Modes and times, children first: writing into a directory changes its time.
    fn finish_directories(&self, target: &Path) -> Result<(), TreeError> {
        for entry in self.directories.iter().rev() {
            let path = target.join(&entry.path);
            let root = entry.path.as_os_str().is_empty();
            let mode = self.options.root_mode.filter(|_| root).unwrap_or(entry.mode);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
                .map_err(at("chmod", &path))?;
            let directory = sync::open_directory(&path)?;
            file::set_mtime(&directory, entry.mtime).map_err(at("set the times of", &path))?;
        }
        Ok(())
    }

    fn copy_files(
        &self,
        target: &Path,
        queue: Option<&Background>,
        observer: &dyn CopyObserver,
        stop: &AtomicBool,
    ) -> Result<TreeReport, TreeError> {
        let (kept, kept_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let failure = Mutex::new(None);
        let one = |slot: &Slot| -> Result<(), TreeError> {
            if stop.load(Ordering::Relaxed) {
                return Err(TreeError::Stopped);
            }
            let path = self.path(slot);
            let (from, to) = (self.source.join(&path), target.join(&path));
            let metadata = std::fs::symlink_metadata(&from).map_err(at("read", &from))?;
            if !metadata.is_file() {
                return Err(TreeError::Kind { path: from });
            }
            let entry = Entry { size: slot.size, ..Entry::new(path, &metadata) };
            let (copied, is_kept) = match &self.options.over {
                None => (file::copy(&from, &to, &entry, observer, stop)?, false),
                Some(over) => file::copy_over(&from, &to, &entry, over, observer, stop)?,
            };
            if is_kept {
                kept.fetch_add(1, Ordering::Relaxed);
                kept_bytes.fetch_add(entry.size, Ordering::Relaxed);
            }
            if let Some(queue) = queue {
                queue.submit(copied, to)?;
            }
            observer.file(&entry.path);
            Ok(())
        };
        std::thread::scope(|scope| {
            for _ in 0..self.options.threads.max(1) {
                scope.spawn(|| {
                    while let Some(slot) = self.regular.slots().get(next.fetch_add(1, Ordering::Relaxed)) {
                        if failed.load(Ordering::Relaxed) {
                            return;
                        }
                        if let Err(error) = one(slot) {
                            failed.store(true, Ordering::Relaxed);
                            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                            return;
                        }
                    }
                });
            }
        });
        let report = TreeReport { kept: kept.into_inner(), kept_bytes: kept_bytes.into_inner() };
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(report), Err)
    }

    fn copy_last(
        &self,
        entry: &Entry,
        target: &Path,
        observer: &dyn CopyObserver,
        stop: &AtomicBool,
    ) -> Result<(), TreeError> {
        let to = target.join(&entry.path);
        let copied = file::copy(&self.source.join(&entry.path), &to, entry, observer, stop)?;
        if self.options.sync != SyncMethod::None {
            copied.sync_all().map_err(at("fsync", &to))?;
            sync::directory(crate::publish::parent(&to))?;
        }
        observer.file(&entry.path);
        Ok(())
    }
}
