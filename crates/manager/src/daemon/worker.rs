//! The threads of one server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::observer::Relay;
use super::task::{Step, TaskState};
use super::{DaemonTask, Shared, TaskError, TaskEvent, lock};
use crate::config::{Config, ServerConfig};
use crate::event::Event;
use crate::server::OpenError;
use crate::{CheckOptions, ReceiveWalError, Server};

/// How often a thread that is to end is looked at.
const JOIN_LOOK: Duration = Duration::from_millis(20);

/// Why a server has no threads; `None` when it has.
pub(super) fn left_alone(config: &ServerConfig) -> Option<String> {
    if !config.active {
        Some("it is not active".to_owned())
    } else if config.disabled {
        Some(format!("its configuration is wrong: {}", config.problems.join("; ")))
    } else {
        None
    }
}

/// A server that is looked after.
pub(super) struct Worker {
    config: ServerConfig,
    stop: Arc<AtomicBool>,
    tasks: Vec<Arc<TaskState>>,
    threads: Vec<JoinHandle<()>>,
}

impl Worker {
    /// Starts the threads.
    pub(super) fn start(config: &Config, name: &str, shared: &Arc<Shared>) -> Result<Self, OpenError> {
        let server = Server::open(config, name, shared.environment.clone())?;
        #[cfg(feature = "cloud")]
        let server = server.with_object_stores(&shared.options.object_stores);
        let server = Arc::new(server);
        let mut worker = Self {
            config: server.config().clone(),
            stop: Arc::default(),
            tasks: Vec::new(),
            threads: Vec::new(),
        };
        let passive = server.config().is_passive();
        if passive {
            let wals = worker.task(DaemonTask::SyncWals, shared);
            let backups = worker.task(DaemonTask::SyncBackup, shared);
            let (woken, wakes) = (Arc::clone(&backups), Arc::clone(&wals));
            worker.spawn(&wals, &server, shared, move |server, task, shared| {
                super::passive::wals(server, task, shared, &woken);
            });
            worker.spawn(&backups, &server, shared, move |server, task, shared| {
                super::passive::backups(server, task, shared, &wakes);
            });
        }
        let archiver = worker.task(DaemonTask::ArchiveWal, shared);
        if !passive && (server.config().streaming_archiver || server.config().archiver) {
            worker.spawn(&archiver, &server, shared, super::archive::run);
        }
        if !passive && server.config().streaming_archiver {
            let task = worker.task(DaemonTask::ReceiveWal, shared);
            worker.spawn(&task, &server, shared, move |server, task, shared| {
                receive(server, task, shared, &archiver)
            });
        }
        let task = worker.task(DaemonTask::Maintenance, shared);
        worker.spawn(&task, &server, shared, super::maintain::run);
        if let Some(interval) = shared.options.check_interval {
            let task = worker.task(DaemonTask::Check, shared);
            worker.spawn(&task, &server, shared, move |server, task, shared| {
                check(server, task, shared, interval)
            });
        }
        if let Some(interval) = shared.options.metrics_interval {
            let task = worker.task(DaemonTask::Metrics, shared);
            worker.spawn(&task, &server, shared, move |server, task, shared| {
                super::sample::run(server, task, shared, interval);
            });
        }
        Ok(worker)
    }

    /// The settings it works with.
    pub(super) const fn config(&self) -> &ServerConfig {
        &self.config
    }

    pub(super) fn tasks(&self) -> Vec<Arc<TaskState>> {
        self.tasks.clone()
    }

    pub(super) fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.iter().for_each(|task| task.wake());
    }

    /// Waits until all threads have ended, which [`Self::ask_to_stop`] has told them, and calls `meanwhile` now and then.
    pub(super) fn join(self, meanwhile: &mut dyn FnMut()) {
        for thread in self.threads {
            while !thread.is_finished() {
                meanwhile();
                std::thread::sleep(JOIN_LOOK);
            }
            // What a task does is guarded; this would be its observer's panic, of which the panic hook has told.
            drop(thread.join());
        }
    }

    fn task(&self, task: DaemonTask, shared: &Shared) -> Arc<TaskState> {
        Arc::new(TaskState::new(task, Arc::clone(&self.stop), shared.options.clock))
    }

    fn spawn(
        &mut self,
        task: &Arc<TaskState>,
        server: &Arc<Server>,
        shared: &Arc<Shared>,
        body: impl FnOnce(&Server, &TaskState, &Shared) + Send + 'static,
    ) {
        self.tasks.push(Arc::clone(task));
        let (state, on, with) = (Arc::clone(task), Arc::clone(server), Arc::clone(shared));
        let kind = task.health().task;
        let thread = std::thread::Builder::new().name(format!("{kind} {}", server.name()));
        match thread.spawn(move || body(&on, &state, &with)) {
            Ok(thread) => self.threads.push(thread),
            Err(error) => {
                let (error, retry_in) = (TaskError::Thread(error), Duration::MAX);
                task.fails(error.to_string());
                shared
                    .observer
                    .task(server.name(), &TaskEvent::Failed { task: kind, error: &error, retry_in });
            }
        }
    }
}

/// Receives; each finished segment wakes the archiver.
fn receive(server: &Server, task: &TaskState, shared: &Shared, archiver: &TaskState) {
    let hook = |event: &Event| match event {
        Event::SegmentFinished { .. } => {
            archiver.wake();
            true
        }
        Event::StreamingStarted { .. } => {
            task.works(server.name(), &*shared.observer);
            true
        }
        // It tries again every few seconds, as long as the server is away.
        Event::Disconnected { error, .. } => task.fails(error.clone()),
        _ => true,
    };
    let relay = Relay { server: server.name(), to: &*shared.observer, hook: &hook };
    let context = relay.context(task);
    task.run(server.name(), &*shared.observer, || match server.receive_wal(&context) {
        Ok(_) => Step::Again(Duration::from_secs(1)),
        Err(ReceiveWalError::Running { pid, .. }) => Step::Waiting(pid),
        Err(error) => Step::Failed(error.into()),
    });
}

fn check(server: &Server, task: &TaskState, shared: &Shared, interval: Duration) {
    let hook = |_: &Event| true;
    let relay = Relay { server: server.name(), to: &*shared.observer, hook: &hook };
    let context = relay.context(task);
    // A receiver that has just begun is not to be reported missing.
    task.pause(interval.min(Duration::from_secs(10)));
    task.run(server.name(), &*shared.observer, || {
        let report = server.check(&CheckOptions::default(), &context);
        // One that was cut short says nothing about the server.
        if !task.stopped() {
            shared.observer.task(server.name(), &TaskEvent::Checked { report: &report });
            lock(&shared.checks).insert(server.name().to_owned(), report);
        }
        Step::Again(interval)
    });
}
