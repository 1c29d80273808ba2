//! Barman's lock files: `flock` on `.<server>-<purpose>.lock`, so that Barman and Tapster exclude one another.
//!
//! A lock is held as long as the [`Lock`] lives, or until its process ends, however it ends. The file holds the
//! process id of the last holder and stays when the lock is released.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use thiserror::Error;

use crate::{BackupId, ServerName};

/// What is locked.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum LockName {
    /// Making, deleting or importing a backup.
    Backup,
    /// Changing one backup.
    BackupId(BackupId),
    /// `cron` of this server.
    Cron,
    /// Ingesting WAL into the archive.
    ArchiveWal,
    /// Receiving WAL.
    ReceiveWal,
    /// Reading or writing the index of the archive. Held shortly; waited for.
    Xlogdb,
    /// Copying one backup to a passive node.
    SyncBackup(BackupId),
    /// Copying WAL to a passive node.
    SyncWal,
    /// `cron` as a whole (`.cron.lock`).
    GlobalCron,
    /// Changing the configuration (`.config-update.lock`).
    ConfigUpdate,
    /// Looking after all servers in one process (`.tapster-daemon.lock`; Barman has none).
    Daemon,
}

impl LockName {
    /// The name of the lock file.
    pub fn file_name(&self, server: &ServerName) -> String {
        match self {
            Self::Backup => format!(".{server}-backup.lock"),
            Self::BackupId(id) => format!(".{server}-{id}.lock"),
            Self::Cron => format!(".{server}-cron.lock"),
            Self::ArchiveWal => format!(".{server}-archive-wal.lock"),
            Self::ReceiveWal => format!(".{server}-receive-wal.lock"),
            Self::Xlogdb => format!(".{server}-xlogdb.lock"),
            Self::SyncBackup(id) => format!(".{server}-{id}-sync-backup.lock"),
            Self::SyncWal => format!(".{server}-sync-wal.lock"),
            Self::GlobalCron => ".cron.lock".to_owned(),
            Self::ConfigUpdate => ".config-update.lock".to_owned(),
            Self::Daemon => ".tapster-daemon.lock".to_owned(),
        }
    }
}

/// A lock that was not got.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else holds it.
    #[error("{} is held by {}", path.display(), pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// The process id in the file; `None` when it holds none.
        pid: Option<u32>,
    },
    /// The stop flag was set while waiting.
    #[error("stopped while waiting for {}", path.display())]
    Stopped {
        /// The lock file.
        path: PathBuf,
    },
    /// The lock file cannot be used.
    #[error("cannot lock {}: {source}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A lock, held until dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock, or says who has it.
    ///
    /// # Errors
    /// [`LockError::Busy`], or what the system says.
    pub fn try_acquire(path: &Path) -> Result<Self, LockError> {
        Self::try_with(path, File::try_lock)
    }

    /// Takes the lock together with others who only read what it protects; who wants it alone, as Barman always does, is
    /// refused meanwhile. The file names the last who came.
    ///
    /// # Errors
    /// [`LockError::Busy`] when somebody has it alone, or what the system says.
    pub fn try_share(path: &Path) -> Result<Self, LockError> {
        Self::try_with(path, File::try_lock_shared)
    }

    fn try_with(path: &Path, lock: impl Fn(&File) -> Result<(), TryLockError>) -> Result<Self, LockError> {
        let fail = |source| LockError::Io { path: path.to_owned(), source };
        loop {
            let file = open(path).map_err(fail)?;
            match lock(&file) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Busy { path: path.to_owned(), pid: read_pid(&file) });
                }
                Err(TryLockError::Error(source)) => return Err(fail(source)),
            }
            // Whoever held it before may have removed the file (delete does); then this one locks nothing.
            if is_still_at(&file, path).map_err(fail)? {
                // The lock is held whether there is room for the number or not; without, it must not be another's.
                if write_pid(&file).is_err() {
                    drop(file.set_len(0));
                }
                return Ok(Self { file, path: path.to_owned() });
            }
        }
    }

    /// Takes the lock of a file that is there; `None` when somebody holds it, or it is no regular file.
    fn try_existing(path: &Path) -> Result<Option<Self>, LockError> {
        let fail = |source| LockError::Io { path: path.to_owned(), source };
        if !path.symlink_metadata().map_err(fail)?.is_file() {
            return Ok(None);
        }
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) if is_still_at(&file, path).map_err(fail)? => {
                Ok(Some(Self { file, path: path.to_owned() }))
            }
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(fail(source)),
        }
    }

    /// Takes the lock, waiting for it until `stop` is set.
    ///
    /// # Errors
    /// [`LockError::Stopped`], or what the system says.
    pub fn acquire(path: &Path, stop: &AtomicBool) -> Result<Self, LockError> {
        let mut pause = Duration::from_millis(1);
        loop {
            match Self::try_acquire(path) {
                Err(LockError::Busy { .. }) => {}
                done => return done,
            }
            if stop.load(Ordering::Relaxed) {
                return Err(LockError::Stopped { path: path.to_owned() });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Who holds the lock, without taking it: `Ok(None)` when nobody does. The process id may be unknown.
    ///
    /// # Errors
    /// What the system says.
    pub fn holder(path: &Path) -> Result<Option<Option<u32>>, LockError> {
        let fail = |source| LockError::Io { path: path.to_owned(), source };
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fail(e)),
        };
        match file.try_lock() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(read_pid(&file))),
            Err(TryLockError::Error(source)) => Err(fail(source)),
        }
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Releases the lock and removes its file, as Barman does with the lock of a backup that is gone.
    ///
    /// # Errors
    /// When the file cannot be removed. The lock is released all the same.
    pub fn remove(self) -> Result<(), LockError> {
        std::fs::remove_file(&self.path)
            .map_err(|source| LockError::Io { path: self.path.clone(), source })?;
        drop(self.file);
        Ok(())
    }
}

/// Removes the lock files (`.*.lock`) in a directory that nobody holds, and returns them. Who opens one in the moment it
/// goes notices and makes it anew.
///
/// # Errors
/// When the directory cannot be read; a file that cannot be locked or removed stays.
pub fn remove_unused(dir: &Path) -> Result<Vec<PathBuf>, LockError> {
    let fail = |source| LockError::Io { path: dir.to_owned(), source };
    let mut removed = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().map(std::ffi::OsStr::as_encoded_bytes).unwrap_or_default();
        if !(name.starts_with(b".") && name.ends_with(b".lock")) {
            continue;
        }
        let gone = Lock::try_existing(&path).and_then(|lock| lock.map(Lock::remove).transpose());
        match gone {
            Ok(Some(())) => removed.push(path),
            Ok(None) => {}
            Err(error) => tracing::debug!("lock file stays: {error}"),
        }
    }
    Ok(removed)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match path.metadata() {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

fn write_pid(mut file: &File) -> io::Result<()> {
    let text = format!("{}\n", std::process::id());
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

fn read_pid(mut file: &File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.lines().next()?.trim().parse().ok()
}
