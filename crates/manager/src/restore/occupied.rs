//! What a destination holds before a restore, and whose it is while one runs.
//!
//! While a restore runs, a file [`MARKER`] lies in the data directory and in each tablespace: locked, so that no second restore
//! goes to the same place, and saying which backup it is. It is there before `pg_control` is taken away and goes after the new one is
//! written: a directory with it and without `pg_control` is an unfinished restore.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};
use tapster_catalog::locks::{Lock, LockError};
use tapster_copy::sync;
use tapster_copy::tree::TreeError;

use super::archived_wal::file_names;
use super::destination::io_at;
use super::places::resolved;
use super::{RestoreError, RestorePlan, RestorePlanError};

/// The file that says that a restore goes on here.
pub(super) const MARKER: &str = ".tapster-restore";

/// A restore that was begun in a directory and not ended.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Unfinished {
    /// The server whose backup it is.
    pub server: Option<String>,
    /// The backup.
    pub backup: Option<String>,
    /// The data directory it goes to, with links resolved.
    pub destination: Option<PathBuf>,
}

impl Unfinished {
    /// What the marker in `dir` says; `None` when there is none.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        let mut text = String::new();
        File::open(dir.join(MARKER)).ok()?.take(16 * 1024).read_to_string(&mut text).ok()?;
        Some(Self::parse(&text))
    }

    /// What a marker says.
    pub(super) fn parse(text: &str) -> Self {
        // Who continues a restore writes behind what is there; a line that was cut off says nothing.
        let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
        let value = |key: &str| {
            whole.lines().rev().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
        };
        Self {
            server: value("server"),
            backup: value("backup"),
            destination: value("destination").map(PathBuf::from),
        }
    }
}

/// What a data directory is before a restore.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Found {
    /// Absent, or empty.
    Nothing,
    /// What a restore left that broke off.
    Unfinished(Unfinished),
    /// A cluster.
    Cluster,
    /// Something else, such as this.
    Other(String),
}

/// Looks into a directory.
pub(super) fn look(dir: &Path) -> Result<Found, RestorePlanError> {
    let names = file_names(dir)?;
    let has = |name: &str| names.iter().any(|found| found == name);
    let Some(other) = names.iter().find(|name| *name != "lost+found" && *name != MARKER).or(names.first())
    else {
        return Ok(Found::Nothing);
    };
    if has(MARKER)
        && !dir.join("global/pg_control").exists()
        && let Some(unfinished) = Unfinished::read(dir)
    {
        return Ok(Found::Unfinished(unfinished));
    }
    let is_cluster =
        (dir.join("PG_VERSION").is_file() && dir.join("base").is_dir()) || has(".barman-recover.info");
    Ok(if is_cluster { Found::Cluster } else { Found::Other(other.clone()) })
}

/// The process id of a PostgreSQL server that works in the data directory `dir`, as its `postmaster.pid` says or, on Linux,
/// as it stands there: every process of a server has it as its working directory.
pub(crate) fn server_on(dir: &Path) -> Option<u32> {
    let mut text = String::new();
    if let Ok(file) = File::open(dir.join("postmaster.pid")) {
        drop(file.take(4096).read_to_string(&mut text));
    }
    // That of a single-user server is negative.
    let named = text.lines().next().and_then(|line| line.trim().trim_start_matches('-').parse::<u32>().ok());
    let own = dir.metadata().ok()?;
    // Not by its path: a server in a container has another one for the same directory.
    let stands = |pid: u32| {
        let place = std::fs::metadata(format!("/proc/{pid}/cwd"))?;
        Ok::<_, std::io::Error>((place.dev(), place.ino()) == (own.dev(), own.ino()))
    };
    if let Some(pid) = named.filter(|pid| is_alive(*pid)) {
        // Where one may look, a process that stands elsewhere has only got the number of one that is gone.
        match stands(pid) {
            Ok(false) => {}
            _ => return Some(pid),
        }
    }
    let is_server = |pid: &u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.starts_with("postgres") || name.starts_with("postmaster")
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| stands(*pid).is_ok_and(|stands| stands))
        .find(is_server)
}

fn is_alive(pid: u32) -> bool {
    // What has ended and was not waited for, as in a container without an init, still has its number.
    let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(|byte| *byte == b')').next().and_then(|rest| rest.get(1));
    if matches!(state, Some(b'Z' | b'X')) {
        return false;
    }
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| match test_kill_process(pid) {
        Ok(()) => true,
        Err(error) => error == rustix::io::Errno::PERM,
    })
}

/// The places of a restore, locked while it lives and marked until [`Claim::release`].
#[derive(Debug)]
pub(super) struct Claim(Vec<Lock>);

impl Claim {
    /// Makes the directories that are missing, locks and marks them.
    pub(super) fn take(plan: &RestorePlan, server: &str) -> Result<Self, RestoreError> {
        let destination = resolved(&plan.destination);
        let mut locks = Vec::new();
        let roots =
            std::iter::once(&plan.destination).chain(plan.tablespaces.iter().map(|place| &place.location));
        for root in roots {
            sync::create_dir_all(root, 0o700).map_err(TreeError::from)?;
            let path = root.join(MARKER);
            let lock = match Lock::try_acquire(&path) {
                Err(LockError::Busy { pid, .. }) => {
                    return Err(RestoreError::Running { path: root.clone(), pid });
                }
                lock => lock.map_err(|error| io_at(&path)(std::io::Error::other(error)))?,
            };
            locks.push(lock);
            let text = format!(
                "server={server}\nbackup={}\ndestination={}\n",
                plan.record.id,
                destination.display()
            );
            let mut file = File::options().append(true).open(&path).map_err(io_at(&path))?;
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io_at(&path))?;
            sync::directory(root).map_err(TreeError::from)?;
        }
        Ok(Self(locks))
    }

    /// The restore is complete.
    pub(super) fn release(self) -> Result<(), RestoreError> {
        // The data directory's goes last.
        for lock in self.0.into_iter().rev() {
            let path = lock.path().to_owned();
            lock.remove().map_err(|error| io_at(&path)(std::io::Error::other(error)))?;
            sync::directory(path.parent().unwrap_or(&path)).map_err(TreeError::from)?;
        }
        Ok(())
    }
}

/// A process that has a file below `dir` open, on Linux and as far as one may look.
pub(super) fn user_of(dir: &Path) -> Option<u32> {
    let real = dir.canonicalize().ok()?;
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find(|pid| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|path| path.starts_with(&real))
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_only_has_the_number_of_a_server_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        assert_eq!(server_on(&data), None);
        std::fs::create_dir(&data).unwrap();
        assert_eq!(server_on(&data), None);
        // We are alive and stand elsewhere; no process has so high a number.
        for pid in [std::process::id().to_string(), "2147483632".to_owned(), "garbage".to_owned()] {
            std::fs::write(data.join("postmaster.pid"), format!("{pid}\n{}\n", data.display())).unwrap();
            assert_eq!(server_on(&data), None, "{pid}");
        }
        // One that stands there is taken for the server its number says it is.
        let sleep = std::process::Command::new("sleep").arg("60").current_dir(&data).spawn();
        let mut sleep = sleep.unwrap();
        std::fs::write(data.join("postmaster.pid"), format!("-{}\n", sleep.id())).unwrap();
        let found = server_on(&data);
        sleep.kill().unwrap();
        sleep.wait().unwrap();
        assert_eq!(found, Some(sleep.id()));
    }

    #[test]
    fn a_server_that_has_ended_and_was_not_waited_for_is_none() {
        let data = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").current_dir(&data).spawn().unwrap();
        std::fs::write(data.path().join("postmaster.pid"), format!("{}\n", child.id())).unwrap();
        assert_eq!(server_on(data.path()), Some(child.id()));
        child.kill().unwrap();
        let ends = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            server_on(data.path()).is_none()
        });
        child.wait().unwrap();
        assert!(ends);
    }

    #[test]
    fn what_a_directory_holds_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert_eq!(look(&at("none")).unwrap(), Found::Nothing);
        assert_eq!(look(dir.path()).unwrap(), Found::Nothing);
        std::fs::write(at("PG_VERSION"), "15\n").unwrap();
        assert_eq!(look(dir.path()).unwrap(), Found::Other("PG_VERSION".to_owned()));
        std::fs::create_dir_all(at("base")).unwrap();
        std::fs::create_dir_all(at("global")).unwrap();
        assert_eq!(look(dir.path()).unwrap(), Found::Cluster);
        std::fs::write(at(MARKER), "17\nserver=main\nbackup=20261121T000000\ndestination=/data\n").unwrap();
        let Found::Unfinished(unfinished) = look(dir.path()).unwrap() else { panic!("unfinished") };
        assert_eq!(
            (unfinished.server.as_deref(), unfinished.backup.as_deref()),
            (Some("main"), Some("20261121T000000"))
        );
        assert_eq!(unfinished.destination, Some("/data".into()));
        // It was continued with another backup, and that again, not far.
        let text = "18\nserver=main\nbackup=1\ndestination=/data\nserver=main\nbackup=2\ndestination=/data\nbackup=3";
        std::fs::write(at(MARKER), text).unwrap();
        assert_eq!(Unfinished::read(dir.path()).unwrap().backup.as_deref(), Some("2"));
        // Its last step was done.
        std::fs::write(at("global/pg_control"), "").unwrap();
        assert_eq!(look(dir.path()).unwrap(), Found::Cluster);
    }
}
