//! All servers looked after by one process, so that no `cron` has to start something every minute.
//!
//! Each server has its threads: one receives WAL ([`Server::receive_wal`]), one archives what waits
//! ([`Server::archive_wal`]), one completes backups and enforces the retention policy every minute, and when asked one
//! checks the server and one gathers its [metrics](crate::metrics). A passive server has threads that copy WAL and backups of
//! its primary node instead ([`Server::sync_wals`], [`Server::sync_backup`]). What ends with an error is told and begun again after a
//! pause that grows; what another process does already is waited for. The locks are those of the commands, so that
//! `cron`, Barman and people may work on the same catalog meanwhile.
//!
//! ```no_run
//! use std::sync::Arc;
//! use tapster_manager::config::{Config, ConfigSources};
//! use tapster_manager::daemon::{DaemonObserver, DaemonOptions, Supervisor};
//! use tapster_protocol::Environment;
//!
//! struct Quiet;
//! impl DaemonObserver for Quiet {}
//!
//! let sources = ConfigSources::file("/etc/tapster.conf");
//! let config = Config::load(&sources)?;
//! let options = DaemonOptions::default();
//! let mut daemon = Supervisor::start(config, Environment::from_process(), options, Arc::new(Quiet))?;
//! daemon.reload(&sources)?;
//! daemon.stop();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
mod maintain;
mod observer;
mod passive;
mod reload;
mod sample;
mod task;
mod worker;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tapster_catalog::durable::{self, RealDisk};
use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{DurableError, ServerLayout};
use tapster_protocol::Environment;
use thiserror::Error;
use time::OffsetDateTime;

use crate::config::{Config, ConfigError};
use crate::metrics::ServerMetrics;
use crate::{ArchiveError, CheckReport, CronError, ReceiveWalError, local_now};

pub use observer::{DaemonObserver, TaskEvent};
pub use reload::Reloaded;
pub use task::{DaemonTask, TaskHealth};

use task::TaskState;
use worker::Worker;

#[cfg(doc)]
use crate::Server;

/// How the daemon works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DaemonOptions {
    /// Between two rounds of completing backups and enforcing the retention policy; a minute by default.
    pub maintenance_interval: Duration,
    /// Between two checks of a server; none without it.
    pub check_interval: Option<Duration>,
    /// Between two samples of the metrics; none without it.
    pub metrics_interval: Option<Duration>,
    /// Where the time comes from.
    pub clock: fn() -> OffsetDateTime,
    /// What the clients of object stores look for.
    #[cfg(feature = "cloud")]
    pub object_stores: tapster_cloud::Environment,
}

impl Default for DaemonOptions {
    fn default() -> Self {
        Self {
            maintenance_interval: Duration::from_secs(60),
            check_interval: None,
            metrics_interval: None,
            clock: local_now,
            #[cfg(feature = "cloud")]
            object_stores: tapster_cloud::Environment::default(),
        }
    }
}

/// A daemon that cannot start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// There is one already for this lock directory.
    #[error("the daemon is already running{}", pid.map_or_else(String::new, |pid| format!(" (process {pid})")))]
    Running {
        /// Its process id.
        pid: Option<u32>,
    },
    /// Servers share directories, which no command accepts.
    #[error("{}", conflicts.join("; "))]
    Conflicts {
        /// Which.
        conflicts: Vec<String>,
    },
    /// The new configuration cannot be used; the old one stays in force.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The lock cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The lock directory cannot be made.
    #[error(transparent)]
    Durable(#[from] DurableError),
}

/// Why a task of the daemon ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TaskError {
    /// Receiving.
    #[error(transparent)]
    Receive(#[from] ReceiveWalError),
    /// Archiving.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Completing backups or enforcing the retention policy.
    #[error(transparent)]
    Maintenance(#[from] CronError),
    /// A backup that the retention policy is done with is still there.
    #[error(transparent)]
    Retention(#[from] crate::RetentionError),
    /// A backup was not looked at.
    #[error(transparent)]
    CheckBackup(#[from] crate::CheckBackupError),
    /// Copying from the primary node.
    #[error(transparent)]
    Sync(#[from] crate::SyncError),
    /// A defect of this program; the task begins again all the same.
    #[error("internal error: {0}")]
    Panic(String),
    /// The system has no thread left.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// What all threads know.
struct Shared {
    environment: Environment,
    options: DaemonOptions,
    observer: Arc<dyn DaemonObserver>,
    samples: Mutex<BTreeMap<String, ServerMetrics>>,
    checks: Mutex<BTreeMap<String, CheckReport>>,
    /// Of the servers that are looked after.
    tasks: Mutex<BTreeMap<String, Vec<Arc<TaskState>>>>,
}

/// What a thread that panicked left is whole: values are put in and taken out, never changed half.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks after the servers of a configuration until it is stopped or dropped.
pub struct Supervisor {
    shared: Arc<Shared>,
    config: Config,
    workers: BTreeMap<String, Worker>,
    _lock: Lock,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("servers", &self.workers.keys()).finish_non_exhaustive()
    }
}

impl Supervisor {
    /// Begins to look after all servers that are active and not disabled.
    ///
    /// # Errors
    /// When another daemon uses the same lock directory, or the configuration forbids every command.
    pub fn start(
        config: Config,
        environment: Environment,
        options: DaemonOptions,
        observer: Arc<dyn DaemonObserver>,
    ) -> Result<Self, DaemonError> {
        if !config.conflicts.is_empty() {
            return Err(DaemonError::Conflicts { conflicts: config.conflicts });
        }
        let lock = take_lock(&config)?;
        let shared = Shared {
            environment,
            options,
            observer,
            samples: Mutex::default(),
            checks: Mutex::default(),
            tasks: Mutex::default(),
        };
        let mut daemon = Self { shared: Arc::new(shared), config, workers: BTreeMap::new(), _lock: lock };
        let names: Vec<String> = daemon.config.servers.keys().cloned().collect();
        for name in names {
            daemon.begin(&name);
        }
        Ok(daemon)
    }

    /// The configuration in force.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The servers that are looked after.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        self.workers.keys().map(String::as_str)
    }

    /// Where the newest metrics are; stays valid, and empty, when the daemon has ended.
    pub fn metrics(&self) -> DaemonMetrics {
        DaemonMetrics { shared: Arc::clone(&self.shared) }
    }

    /// Ends everything: receivers report and sync what they have, archivers end after the files in hand, deletions after a
    /// file. Returns when all have ended, within seconds.
    pub fn stop(&mut self) {
        self.stop_with(&mut || ());
    }

    /// [`Self::stop`] that calls `meanwhile` several times a second while it waits, for whoever has to say that he lives.
    pub fn stop_with(&mut self, meanwhile: &mut dyn FnMut()) {
        let names: Vec<String> = self.workers.keys().cloned().collect();
        self.end(&names, meanwhile);
    }

    /// Starts the threads of a server of the configuration, unless it wants none.
    fn begin(&mut self, name: &str) {
        let Some(config) = self.config.servers.get(name) else { return };
        if let Some(reason) = worker::left_alone(config) {
            self.shared.observer.task(name, &TaskEvent::NotStarted { reason });
            return;
        }
        if let Ok(worker) = Worker::start(&self.config, name, &self.shared) {
            lock(&self.shared.tasks).insert(name.to_owned(), worker.tasks());
            self.workers.insert(name.to_owned(), worker);
        }
    }

    /// Tells all to stop first, so that they end side by side.
    fn end(&mut self, names: &[String], meanwhile: &mut dyn FnMut()) {
        let ending: Vec<Worker> = names.iter().filter_map(|name| self.workers.remove(name)).collect();
        ending.iter().for_each(Worker::ask_to_stop);
        ending.into_iter().for_each(|worker| worker.join(meanwhile));
        for name in names {
            lock(&self.shared.tasks).remove(name);
            lock(&self.shared.samples).remove(name);
            lock(&self.shared.checks).remove(name);
        }
    }
}

/// The metrics of a daemon, for whoever serves them.
#[derive(Clone)]
pub struct DaemonMetrics {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for DaemonMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DaemonMetrics").finish_non_exhaustive()
    }
}

impl DaemonMetrics {
    /// The newest sample of each server that is looked after, in the order of their names, with the state of its tasks now.
    /// None without [`metrics_interval`](DaemonOptions::metrics_interval) and before the first.
    pub fn samples(&self) -> Vec<ServerMetrics> {
        let mut samples: Vec<ServerMetrics> = lock(&self.shared.samples).values().cloned().collect();
        let tasks = lock(&self.shared.tasks);
        for sample in &mut samples {
            let tasks = tasks.get(&sample.server).into_iter().flatten();
            sample.tasks = tasks.map(|task| task.health()).collect();
        }
        samples
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop();
    }
}

fn take_lock(config: &Config) -> Result<Lock, DaemonError> {
    let dir = &config.global.barman_lock_directory;
    durable::create_dir_all(&RealDisk, dir, None)?;
    let path = daemon_lock(dir);
    match Lock::try_acquire(&path) {
        Err(LockError::Busy { pid, .. }) => Err(DaemonError::Running { pid }),
        other => Ok(other?),
    }
}

/// The lock is not one server's; its name only says so when a name is asked for.
fn daemon_lock(dir: &std::path::Path) -> std::path::PathBuf {
    const ANY: &str = "all";
    match tapster_catalog::ServerName::new(ANY) {
        Ok(name) => ServerLayout::standard(dir, name).lock(&LockName::Daemon),
        Err(_) => dir.join(".tapster-daemon.lock"),
    }
}
