//! The directory a test restore works in: made for it, locked, and removed again whatever happens.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tapster_catalog::locks::{Lock, LockError};
use tapster_copy::sync;
use time::OffsetDateTime;

use super::VerifyRestoreError;
use super::account::Account;
use crate::restore::server_on;

/// Only a directory with this file in it is removed.
const MARKER: &str = "test-restore";

/// A scratch directory, removed when dropped unless it is kept.
#[derive(Debug)]
pub(super) struct Scratch {
    root: PathBuf,
    sockets: tempfile::TempDir,
    keep: bool,
    lock: Option<Lock>,
}

fn io_at(path: &Path) -> impl FnOnce(std::io::Error) -> VerifyRestoreError + '_ {
    move |source| VerifyRestoreError::Io { path: path.to_owned(), source }
}

impl Scratch {
    /// Makes it below `parent`, after removing what test restores of this server left there that were killed.
    pub(super) fn create(
        parent: &Path,
        server: &str,
        started: OffsetDateTime,
        account: Option<Account>,
    ) -> Result<Self, VerifyRestoreError> {
        let parent = std::path::absolute(parent).map_err(io_at(parent))?;
        let from_sync =
            |error: sync::SyncError| VerifyRestoreError::Io { path: error.path, source: error.source };
        sync::create_dir_all(&parent, 0o755).map_err(from_sync)?;
        let lock = match Lock::try_acquire(&parent.join(format!(".{server}-verify-restore.lock"))) {
            Ok(lock) => lock,
            Err(LockError::Busy { .. }) => return Err(VerifyRestoreError::Running { path: parent }),
            Err(LockError::Io { path, source }) => return Err(VerifyRestoreError::Io { path, source }),
            Err(error) => return Err(io_at(&parent)(std::io::Error::other(error))),
        };
        let prefix = format!("verify-restore-{server}-");
        for entry in std::fs::read_dir(&parent).map_err(io_at(&parent))? {
            let entry = entry.map_err(io_at(&parent))?;
            let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix));
            if is_ours && entry.path().join(MARKER).is_file() {
                remove(&entry.path())?;
            }
        }
        let root = parent.join(format!("{prefix}{}", started.unix_timestamp()));
        if std::fs::symlink_metadata(&root).is_ok() {
            return Err(VerifyRestoreError::Occupied { path: root });
        }
        // A socket's path has room for 107 bytes.
        let sockets = tempfile::Builder::new()
            .prefix("tapster-")
            .tempdir_in("/tmp")
            .map_err(io_at(Path::new("/tmp")))?;
        DirBuilder::new().mode(0o700).create(&root).map_err(io_at(&root))?;
        let marker = root.join(MARKER);
        if let Err(source) = std::fs::File::create(&marker) {
            drop(std::fs::remove_dir(&root));
            return Err(io_at(&marker)(source));
        }
        let scratch = Self { root, sockets, keep: false, lock: Some(lock) };
        if let Some(account) = account {
            account.give(&scratch.root)?;
            scratch.check_reachable(account)?;
        }
        Ok(scratch)
    }

    /// That the server's user can get here, which is better found out before a restore than after it.
    fn check_reachable(&self, account: Account) -> Result<(), VerifyRestoreError> {
        let mut test = Account::command(Some(account), Path::new("test"));
        test.arg("-x").arg(&self.root).stdout(Stdio::null()).stderr(Stdio::null());
        match test.status() {
            Ok(status) if !status.success() => {
                Err(VerifyRestoreError::Unreachable { path: self.root.clone() })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The new data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Where tablespaces go.
    pub(super) fn tablespaces(&self) -> PathBuf {
        self.root.join("tablespaces")
    }

    pub(super) fn sockets(&self) -> &Path {
        self.sockets.path()
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// A file beside the data directory.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Leaves it where it is.
    pub(super) fn keep(mut self) -> Result<PathBuf, VerifyRestoreError> {
        let marker = self.root.join(MARKER);
        std::fs::remove_file(&marker).map_err(io_at(&marker))?;
        self.keep = true;
        Ok(self.root.clone())
    }

    /// Removes it, and says when that fails.
    pub(super) fn remove(mut self) -> Result<(), VerifyRestoreError> {
        self.keep = true;
        remove(&self.root)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = remove(&self.root)
        {
            tracing::warn!("a scratch directory stays: {error}");
        }
        if let Some(lock) = self.lock.take() {
            drop(lock.remove());
        }
    }
}

/// Stops a server that still runs there, and removes it all.
fn remove(root: &Path) -> Result<(), VerifyRestoreError> {
    let patience = Instant::now() + Duration::from_secs(20);
    while let Some(pid) = server_on(&root.join("data")) {
        let signal = if Instant::now() < patience { Signal::QUIT } else { Signal::KILL };
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw)
            && kill_process(pid, signal).is_err()
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    // The marker goes last: what is left of a removal that fails is still known as ours.
    for entry in std::fs::read_dir(root).map_err(io_at(root))? {
        let path = entry.map_err(io_at(root))?.path();
        if path.file_name().is_some_and(|name| name == MARKER) {
            continue;
        }
        let removed = if path.is_dir() && !path.is_symlink() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.map_err(io_at(&path))?;
    }
    std::fs::remove_dir_all(root).map_err(io_at(root))
}
