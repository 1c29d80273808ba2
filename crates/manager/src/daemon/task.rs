//! A task of the daemon: its thread's loop, its pauses, and how it is.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::{DaemonObserver, TaskError, TaskEvent, lock};

/// The first pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How often somebody else's lock is looked at.
const WAIT_PAUSE: Duration = Duration::from_secs(5);

/// How often an error is told that does not change.
pub(super) const TELL_AGAIN: Duration = Duration::from_secs(600);

/// What the daemon does for a server.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DaemonTask {
    /// Receives WAL by streaming.
    ReceiveWal,
    /// Archives what waits in `streaming/` and `incoming/`.
    ArchiveWal,
    /// Copies WAL from the primary node.
    SyncWals,
    /// Copies backups from the primary node.
    SyncBackup,
    /// Completes backups and enforces the retention policy.
    Maintenance,
    /// Checks the server.
    Check,
    /// Gathers metrics.
    Metrics,
}

impl DaemonTask {
    /// Its name, as metrics and messages have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReceiveWal => "receive-wal",
            Self::ArchiveWal => "archive-wal",
            Self::SyncWals => "sync-wals",
            Self::SyncBackup => "sync-backup",
            Self::Maintenance => "maintenance",
            Self::Check => "check",
            Self::Metrics => "metrics",
        }
    }
}

impl fmt::Display for DaemonTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a task is.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TaskHealth {
    /// The task.
    pub task: DaemonTask,
    /// Whether its last run did not fail, and it does not wait for another process that does the same.
    pub ok: bool,
    /// How often it failed since the daemon began to look after the server.
    pub failures: u64,
    /// When it failed last.
    pub last_failure: Option<OffsetDateTime>,
}

/// How a run of a task ended.
pub(super) enum Step {
    /// Well; run it again after this pause.
    Again(Duration),
    /// Another process does it.
    Waiting(Option<u32>),
    /// With an error.
    Failed(TaskError),
    /// To its end, but not everything could be done; run it again after this pause.
    Partly(Vec<TaskError>, Duration),
}

/// What the thread and its supervisor share.
pub(super) struct TaskState {
    stop: Arc<AtomicBool>,
    clock: fn() -> OffsetDateTime,
    health: Mutex<TaskHealth>,
    /// Set by [`TaskState::wake`], taken by the pause it ends.
    woken: Mutex<bool>,
    wakes: Condvar,
    told: Mutex<Told>,
}

impl TaskState {
    pub(super) fn new(task: DaemonTask, stop: Arc<AtomicBool>, clock: fn() -> OffsetDateTime) -> Self {
        let health = TaskHealth { task, ok: true, failures: 0, last_failure: None };
        Self {
            stop,
            clock,
            health: Mutex::new(health),
            woken: Mutex::new(false),
            wakes: Condvar::new(),
            told: Mutex::default(),
        }
    }

    pub(super) fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    pub(super) fn clock(&self) -> fn() -> OffsetDateTime {
        self.clock
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn health(&self) -> TaskHealth {
        lock(&self.health).clone()
    }

    /// Ends the pause the task is in, or the next one.
    pub(super) fn wake(&self) {
        *lock(&self.woken) = true;
        self.wakes.notify_all();
    }

    /// Waits until the time is up or somebody wakes the task.
    pub(super) fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut woken = lock(&self.woken);
        while !*woken && !self.stopped() {
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return;
            };
            woken = self.wakes.wait_timeout(woken, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *woken = false;
    }

    /// Runs `once` again and again until the stop flag is set.
    pub(super) fn run(&self, server: &str, observer: &dyn DaemonObserver, mut once: impl FnMut() -> Step) {
        let task = self.health().task;
        observer.task(server, &TaskEvent::Started { task });
        let mut pause = FIRST_PAUSE;
        while !self.stopped() {
            let begun = Instant::now();
            // A defect in one place must not end the work in all others.
            let step = catch_unwind(AssertUnwindSafe(&mut once))
                .unwrap_or_else(|panic| Step::Failed(TaskError::Panic(panic_text(panic.as_ref()))));
            if self.stopped() {
                break;
            }
            if begun.elapsed() >= LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            match step {
                Step::Again(next) => {
                    pause = FIRST_PAUSE;
                    self.works(server, observer);
                    self.pause(next);
                }
                Step::Waiting(pid) => {
                    lock(&self.health).ok = false;
                    if self.is_news(format!("waiting for {pid:?}")) {
                        observer.task(server, &TaskEvent::Waiting { task, pid });
                    }
                    self.pause(WAIT_PAUSE);
                }
                Step::Partly(errors, next) => {
                    self.failed();
                    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
                    if self.is_news(texts.join("\n")) {
                        for error in &errors {
                            observer.task(server, &TaskEvent::Failed { task, error, retry_in: next });
                        }
                    }
                    self.pause(next);
                }
                Step::Failed(error) => {
                    self.failed();
                    if self.is_news(error.to_string()) {
                        observer.task(server, &TaskEvent::Failed { task, error: &error, retry_in: pause });
                    }
                    self.pause_whole(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        observer.task(server, &TaskEvent::Ended { task });
    }

    /// After a failure: what would wake the task otherwise must not make it fail more often.
    fn pause_whole(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.stopped() {
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return;
            };
            self.pause(left);
        }
    }

    fn failed(&self) {
        let now = (self.clock)();
        let mut health = lock(&self.health);
        health.ok = false;
        health.failures = health.failures.saturating_add(1);
        health.last_failure = Some(now);
    }

    /// The task works, also one that did not end: a receiver that streams. What was told of its failure is over.
    pub(super) fn works(&self, server: &str, observer: &dyn DaemonObserver) {
        let task = {
            let mut health = lock(&self.health);
            health.ok = true;
            health.task
        };
        let over = lock(&self.told).forget();
        if over {
            observer.task(server, &TaskEvent::Recovered { task });
        }
    }

    /// It fails although it does not end: a receiver that lost its connection and tries again by itself. Returns whether `text`
    /// is to be told.
    pub(super) fn fails(&self, text: String) -> bool {
        self.failed();
        self.is_news(text)
    }

    fn is_news(&self, text: String) -> bool {
        lock(&self.told).is_news(text)
    }
}

/// What was told last.
#[derive(Default)]
struct Told(Option<(String, Instant)>);

impl Told {
    fn is_news(&mut self, text: String) -> bool {
        let known = self.0.as_ref().is_some_and(|(last, at)| *last == text && at.elapsed() < TELL_AGAIN);
        if !known {
            self.0 = Some((text, Instant::now()));
        }
        !known
    }

    fn forget(&mut self) -> bool {
        self.0.take().is_some()
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local_now;

    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);

    impl DaemonObserver for Notes {
        fn task(&self, _: &str, event: &TaskEvent<'_>) {
            let word = match event {
                TaskEvent::Failed { error, .. } => format!("failed: {error}"),
                other => format!("{other:?}").split_whitespace().next().unwrap().to_owned(),
            };
            lock(&self.0).push(word);
        }
    }

    #[test]
    fn errors_are_told_once_counted_always_and_survived_even_as_panics() {
        let state = TaskState::new(DaemonTask::ArchiveWal, Arc::default(), local_now);
        let notes = Notes::default();
        let mut run = 0;
        // Each failure costs a pause; waking does not shorten it, stopping does.
        state.run("main", &notes, || {
            run += 1;
            match run {
                1 => panic!("a defect"),
                2 => Step::Again(Duration::ZERO),
                _ => {
                    state.stop.store(true, Ordering::Relaxed);
                    Step::Waiting(None)
                }
            }
        });
        let health = state.health();
        assert_eq!((health.ok, health.failures, run), (true, 1, 3));
        assert_eq!(*lock(&notes.0), ["Started", "failed: internal error: a defect", "Recovered", "Ended"]);
    }

    /// A receiver does not end while it streams: whoever waits for its end to say that it works again never says it.
    #[test]
    fn a_task_that_does_not_end_recovers_and_may_fail_alike_again() {
        let state = TaskState::new(DaemonTask::ReceiveWal, Arc::default(), local_now);
        let notes = Notes::default();
        assert!(state.fails("gone".to_owned()));
        assert!(!state.fails("gone".to_owned()));
        assert!(!state.health().ok);
        for _ in 0..2 {
            state.works("main", &notes);
        }
        assert!(state.health().ok);
        assert_eq!(*lock(&notes.0), ["Recovered"]);
        assert!(state.fails("gone".to_owned()));
    }

    #[test]
    fn a_wake_ends_the_next_pause() {
        let state = TaskState::new(DaemonTask::Check, Arc::default(), local_now);
        state.wake();
        state.pause(Duration::from_secs(3600));
        state.stop.store(true, Ordering::Relaxed);
        state.pause(Duration::from_secs(3600));
    }

    #[test]
    fn the_same_error_is_news_once() {
        let mut told = Told::default();
        assert!(told.is_news("a".to_owned()));
        assert!(!told.is_news("a".to_owned()));
        assert!(told.is_news("b".to_owned()));
        assert!(told.forget());
        assert!(!told.forget());
        assert!(told.is_news("b".to_owned()));
    }
}
