//! The directory a test restore works in: made for it, locked, and removed again whatever happens.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tapster_catalog::locks::{Lock, LockError};
use tapster_copy::sync;
use time::OffsetDateTime;

use super::account::Account;
use super::{VerifyRestoreError, VerifyRestoreOptions};
use crate::Context;
use crate::restore::server_on;

/// Only a directory with this file in it is removed. It says where the sockets are: `sockets=` and the path.
const MARKER: &str = "test-restore";
/// Where the sockets go: a socket's path has room for 107 bytes.
const SOCKETS: &str = "/tmp";
const SOCKETS_PREFIX: &str = "tapster-";
/// How long a server that was left may take to end when it is asked, and when it is killed.
const PATIENCE: Duration = Duration::from_secs(20);

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
        options: &VerifyRestoreOptions,
        context: &Context<'_>,
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
            // We have the lock, so whoever made it is gone.
            let is_ours = entry.file_name().to_str().is_some_and(|name| is_of(server, name));
            let is_directory = entry.file_type().map_err(io_at(&parent))?.is_dir();
            if is_ours && is_directory && is_file(&entry.path().join(MARKER)) {
                remove_sockets(&entry.path(), account);
                remove(&entry.path(), PATIENCE, &|| context.stopped())?;
            }
        }
        // What an earlier one of the same second was asked to keep has its name.
        let names =
            (0..60).map(|later| format!("{prefix}{}", started.unix_timestamp().saturating_add(later)));
        let mut roots = names.map(|name| parent.join(name));
        let Some(root) = roots.find(|root| std::fs::symlink_metadata(root).is_err()) else {
            return Err(VerifyRestoreError::Occupied { path: parent });
        };
        let sockets = tempfile::Builder::new()
            .prefix(SOCKETS_PREFIX)
            .tempdir_in(SOCKETS)
            .map_err(io_at(Path::new(SOCKETS)))?;
        // The server's user passes through and owns nothing but what is given to it below: names that we write to are ours.
        let mode = if account.is_some() { 0o711 } else { 0o700 };
        DirBuilder::new().mode(mode).create(&root).map_err(io_at(&root))?;
        let marker = root.join(MARKER);
        let marked = new_file(&marker, 0o600).and_then(|mut file| {
            file.write_all(b"sockets=")?;
            file.write_all(sockets.path().as_os_str().as_bytes())?;
            file.write_all(b"\n")
        });
        if let Err(source) = marked {
            drop(std::fs::remove_file(&marker));
            drop(std::fs::remove_dir(&root));
            return Err(io_at(&marker)(source));
        }
        let scratch = Self { root, sockets, keep: false, lock: Some(lock) };
        if let Some(account) = account {
            // The process's mask may have taken it away.
            let open = Permissions::from_mode(mode);
            std::fs::set_permissions(&scratch.root, open).map_err(io_at(&scratch.root))?;
            scratch.check_reachable(account, options)?;
        }
        Ok(scratch)
    }

    /// Gives the server's user what is the server's, and no more.
    pub(super) fn give(&self, account: Account) -> Result<(), VerifyRestoreError> {
        for tree in [&self.data(), &self.tablespaces(), self.sockets()] {
            if std::fs::symlink_metadata(tree).is_ok() {
                account.give(tree)?;
            }
        }
        Ok(())
    }

    /// That the server's user can get here, which is better found out before a restore than after it.
    fn check_reachable(
        &self,
        account: Account,
        options: &VerifyRestoreOptions,
    ) -> Result<(), VerifyRestoreError> {
        let mut test = Account::command(Some(account), Path::new("test"), options);
        test.arg("-x").arg(&self.root).stdout(Stdio::null()).stderr(Stdio::null());
        match test.status() {
            Ok(status) if !status.success() => {
                Err(VerifyRestoreError::Unreachable { path: self.root.clone() })
            }
            _ => Ok(()),
        }
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
        remove(&self.root, PATIENCE, &|| false)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = remove(&self.root, PATIENCE, &|| false)
        {
            tracing::warn!("a scratch directory stays: {error}");
        }
        if let Some(lock) = self.lock.take() {
            drop(lock.remove());
        }
    }
}

/// Whether a test restore of `server` makes a directory of this name. What is behind the last dash is the time, so
/// that of the server `main-2` is none of `main`.
fn is_of(server: &str, name: &str) -> bool {
    let time = name
        .strip_prefix("verify-restore-")
        .and_then(|rest| rest.strip_prefix(server))
        .and_then(|rest| rest.strip_prefix('-'));
    time.is_some_and(|time| !time.is_empty() && time.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// A file that was not there before: no name that somebody else made is followed.
pub(super) fn new_file(path: &Path, mode: u32) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

/// Removes the directory of the sockets that the marker names: when a process is killed, nobody else does.
fn remove_sockets(root: &Path, account: Option<Account>) {
    let us = rustix::process::geteuid().as_raw();
    let Ok(file) = File::open(root.join(MARKER)) else { return };
    // One that was given away may say anything.
    if file.metadata().map_or(true, |found| found.uid() != us) {
        return;
    }
    let mut text = String::new();
    drop(file.take(4096).read_to_string(&mut text));
    let Some(path) = text.lines().find_map(|line| line.strip_prefix("sockets=")).map(Path::new) else {
        return;
    };
    let is_place = path.parent() == Some(Path::new(SOCKETS))
        && path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(SOCKETS_PREFIX));
    let is_ours = std::fs::symlink_metadata(path).is_ok_and(|found| {
        found.is_dir() && (found.uid() == us || account.is_some_and(|account| account.is(found.uid())))
    });
    if is_place
        && is_ours
        && let Err(error) = std::fs::remove_dir_all(path)
    {
        tracing::warn!("{} stays: {error}", path.display());
    }
}

/// Stops a server that still runs there, and removes it all.
fn remove(root: &Path, patience: Duration, stopped: &dyn Fn() -> bool) -> Result<(), VerifyRestoreError> {
    end_server(root, patience, stopped, &kill_process)?;
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

type Kill<'a> = &'a dyn Fn(Pid, Signal) -> rustix::io::Result<()>;

fn end_server(
    root: &Path,
    patience: Duration,
    stopped: &dyn Fn() -> bool,
    kill: Kill<'_>,
) -> Result<(), VerifyRestoreError> {
    let begun = Instant::now();
    let data = root.join("data");
    while let Some(pid) = server_on(&data) {
        if stopped() {
            return Err(VerifyRestoreError::Stopped);
        }
        let waited = begun.elapsed();
        if waited >= patience * 2 {
            let problem = format!("the server that runs there (process {pid}) does not end");
            return Err(io_at(root)(std::io::Error::new(std::io::ErrorKind::ResourceBusy, problem)));
        }
        let signal = if waited < patience { Signal::QUIT } else { Signal::KILL };
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw)
            && let Err(error) = kill(pid, signal)
        {
            match error {
                rustix::io::Errno::SRCH => {}
                // Another user's: the number of a server of ours that is gone. Perhaps there is one all the same.
                rustix::io::Errno::PERM => {
                    let stale = data.join("postmaster.pid");
                    match std::fs::remove_file(&stale) {
                        Ok(()) => continue,
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                        Err(error) => return Err(io_at(&stale)(error)),
                    }
                }
                error => return Err(io_at(root)(error.into())),
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
mod tests {
    use super::*;

    /// Whether it has ended and only its number is left, as Linux says it.
    fn is_zombie(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name before it is in parentheses, and may hold some.
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
    }

    #[test]
    fn a_directory_is_that_of_one_server() {
        assert!(is_of("main", "verify-restore-main-1763000000"));
        assert!(is_of("main-2", "verify-restore-main-2-1763000000"));
        for other in ["verify-restore-main-2-1763000000", "verify-restore-main-", "verify-restore-main2-1763"]
        {
            assert!(!is_of("main", other), "{other}");
        }
    }

    #[test]
    fn a_server_that_has_ended_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("verify-restore-main-1");
        std::fs::create_dir_all(root.join("data")).unwrap();
        std::fs::write(root.join(MARKER), "").unwrap();
        let mut ended = std::process::Command::new("true").current_dir(root.join("data")).spawn().unwrap();
        while !is_zombie(ended.id()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::fs::write(root.join("data/postmaster.pid"), format!("{}\n", ended.id())).unwrap();
        let removed = remove(&root, Duration::from_secs(5), &|| false);
        ended.wait().unwrap();
        removed.unwrap();
        assert!(!root.exists());
    }

    #[test]
    fn a_server_that_goes_on_is_waited_for_until_somebody_asks_to_stop() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("verify-restore-main-1");
        std::fs::create_dir_all(root.join("data")).unwrap();
        // Deaf to what a server ends by.
        let script = "trap '' QUIT; echo; while :; do sleep 0.1; done";
        let mut deaf = std::process::Command::new("sh")
            .args(["-c", script])
            .current_dir(root.join("data"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0];
        deaf.stdout.take().unwrap().read_exact(&mut ready).unwrap();
        std::fs::write(root.join("data/postmaster.pid"), format!("{}\n", deaf.id())).unwrap();
        let asked = remove(&root, Duration::from_secs(60), &|| true);
        assert!(matches!(asked, Err(VerifyRestoreError::Stopped)), "{asked:?}");
        // Then it is killed, and by that a zombie of ours.
        let removed = remove(&root, Duration::from_millis(300), &|| false);
        deaf.kill().unwrap();
        deaf.wait().unwrap();
        removed.unwrap();
        assert!(!root.exists());
    }

    #[test]
    fn another_users_process_is_no_server_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("verify-restore-main-1");
        let data = root.join("data");
        std::fs::create_dir_all(&data).unwrap();
        let sleep = |place: &Path| {
            let mut command = std::process::Command::new("sleep");
            command.arg("60").current_dir(place).spawn().unwrap()
        };
        // It looks as one whose place may not be looked at.
        let (mut other, mut server) = (sleep(&data), sleep(&data));
        std::fs::write(data.join("postmaster.pid"), format!("{}\n", other.id())).unwrap();
        let asked = std::cell::RefCell::new(Vec::new());
        let kill = |pid: Pid, _: Signal| {
            asked.borrow_mut().push(pid.as_raw_nonzero().get().unsigned_abs());
            Err(rustix::io::Errno::PERM)
        };
        end_server(&root, Duration::from_secs(5), &|| false, &kill).unwrap();
        assert_eq!(*asked.borrow(), [other.id()]);
        assert!(data.is_dir() && !data.join("postmaster.pid").exists());
        // What is ours is still ended.
        std::fs::write(data.join("postmaster.pid"), format!("{}\n", server.id())).unwrap();
        let removed = remove(&root, Duration::from_secs(20), &|| false);
        for child in [&mut other, &mut server] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        removed.unwrap();
        assert!(!root.exists());
    }

    #[test]
    fn sockets_of_a_killed_run_are_removed_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let say = |path: &Path| {
            std::fs::write(dir.path().join(MARKER), format!("sockets={}\n", path.display())).unwrap();
            remove_sockets(dir.path(), None);
        };
        let sockets = tempfile::Builder::new().prefix(SOCKETS_PREFIX).tempdir_in(SOCKETS).unwrap().keep();
        std::fs::write(sockets.join(".s.PGSQL.5432.lock"), "").unwrap();
        say(&sockets);
        assert!(!sockets.exists());
        let other = tempfile::Builder::new().prefix("other-").tempdir_in(SOCKETS).unwrap();
        say(other.path());
        assert!(other.path().is_dir());
        let link = other.path().with_file_name(format!("{SOCKETS_PREFIX}link-{}", std::process::id()));
        std::os::unix::fs::symlink(other.path(), &link).unwrap();
        say(&link);
        std::fs::remove_file(&link).unwrap();
        assert!(other.path().is_dir());
    }
}
