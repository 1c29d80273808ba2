//! The processes that work for a server, found by the locks they hold: Barman's as well as ours.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tapster_catalog::BackupId;
use tapster_catalog::locks::{Lock, LockError, LockName};
use thiserror::Error;

use crate::Server;

/// What a process does for a server.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "each is the command or phase of that name")]
pub enum Task {
    ReceiveWal,
    SyncBackup,
    Backup,
    Cron,
    ArchiveWal,
    SyncWal,
}

impl Task {
    const ALL: [Self; 6] =
        [Self::ReceiveWal, Self::SyncBackup, Self::Backup, Self::Cron, Self::ArchiveWal, Self::SyncWal];

    /// Barman's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReceiveWal => "receive-wal",
            Self::SyncBackup => "sync-backup",
            Self::Backup => "backup",
            Self::Cron => "cron",
            Self::ArchiveWal => "archive-wal",
            Self::SyncWal => "sync-wal",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A process that works for a server.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RunningTask {
    /// What it does.
    pub task: Task,
    /// Its process id.
    pub pid: u32,
    /// The lock it holds.
    lock: PathBuf,
}

/// Processes that could not be found or ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// A lock cannot be looked at.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The lock directory cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Directory {
        /// The lock directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nothing of this kind runs.
    #[error("Termination of {task} failed: no such process for server {server}")]
    NoSuchProcess {
        /// What was to be ended.
        task: String,
        /// Server name.
        server: String,
    },
    /// The daemon does it, for which a signal would end the work for all servers.
    #[error(
        "{task} of server {server} is run by the daemon (process {pid}), which also works for other servers"
    )]
    Daemon {
        /// What was to be ended.
        task: Task,
        /// Server name.
        server: String,
        /// Process id of the daemon.
        pid: u32,
    },
    /// The system refused the signal, or the process did not end.
    #[error("Cannot terminate process {task}({pid})")]
    NotEnded {
        /// What it does.
        task: Task,
        /// Its process id.
        pid: u32,
    },
}

impl Server {
    /// The processes that work for this server. One whose lock file names no process is left out.
    ///
    /// # Errors
    /// When the lock directory cannot be read.
    pub fn processes(&self) -> Result<Vec<RunningTask>, ProcessError> {
        let mut found = Vec::new();
        for task in Task::ALL {
            for lock in self.locks_of(task)? {
                if let Some(Some(pid)) = Lock::holder(&lock)? {
                    found.push(RunningTask { task, pid, lock });
                }
            }
        }
        Ok(found)
    }

    fn locks_of(&self, task: Task) -> Result<Vec<PathBuf>, ProcessError> {
        let name = match task {
            Task::ReceiveWal => LockName::ReceiveWal,
            Task::Backup => LockName::Backup,
            Task::Cron => LockName::Cron,
            Task::ArchiveWal => LockName::ArchiveWal,
            Task::SyncWal => LockName::SyncWal,
            Task::SyncBackup => return self.sync_backup_locks(),
        };
        Ok(vec![self.layout().lock(&name)])
    }

    /// There is one for each backup that was ever copied; their names are only known to the directory.
    fn sync_backup_locks(&self) -> Result<Vec<PathBuf>, ProcessError> {
        let dir = &self.layout().lock_dir;
        let fail = |source| ProcessError::Directory { path: dir.clone(), source };
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(fail(e)),
        };
        let prefix = format!(".{}-", self.name());
        let mut locks = Vec::new();
        for entry in entries {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            let id = name
                .to_str()
                .and_then(|name| name.strip_prefix(&prefix)?.strip_suffix("-sync-backup.lock"))
                .and_then(|id| id.parse::<BackupId>().ok());
            if id.is_some() {
                locks.push(entry.path());
            }
        }
        Ok(locks)
    }

    /// Interrupts the processes that do `task`, named as [`Task::as_str`] does, and waits until they are gone.
    ///
    /// # Errors
    /// [`ProcessError::NoSuchProcess`] when none does, [`ProcessError::Daemon`] when the daemon does,
    /// [`ProcessError::NotEnded`] when one is there after ten seconds.
    pub fn terminate(&self, task: &str) -> Result<Vec<RunningTask>, ProcessError> {
        let mut running = self.processes()?;
        running.retain(|process| process.task.as_str() == task);
        if running.is_empty() {
            return Err(ProcessError::NoSuchProcess {
                task: task.to_owned(),
                server: self.name().to_owned(),
            });
        }
        if let Some(Some(pid)) = Lock::holder(&self.layout().lock(&LockName::Daemon))?
            && let Some(process) = running.iter().find(|process| process.pid == pid)
        {
            return Err(ProcessError::Daemon { task: process.task, server: self.name().to_owned(), pid });
        }
        for process in &running {
            interrupt(process)?;
        }
        Ok(running)
    }
}

/// SIGINT, and patience. Whether it is gone is asked of the lock, which unlike a process id is not given to another.
fn interrupt(process: &RunningTask) -> Result<(), ProcessError> {
    let not_ended = || ProcessError::NotEnded { task: process.task, pid: process.pid };
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or_else(not_ended)?;
    match kill_process(pid, Signal::INT) {
        Ok(()) => {}
        Err(Errno::SRCH) => return Ok(()),
        Err(_) => return Err(not_ended()),
    }
    let patience = Instant::now() + Duration::from_secs(10);
    while Instant::now() < patience {
        if Lock::holder(&process.lock)? != Some(Some(process.pid)) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(not_ended())
}
