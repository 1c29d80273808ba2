//! Preparing files on all cores while those before them are being published.
//!
//! ```text
//!             workers: check, compress      syncers: fsync        the run: publish in order
//! names ──►  ░░ ░░ ░░ ░░  ───────────────►  ░ ░ ░ ░ ░  ───────►  group of files
//! ```
//! Files are taken in order and come out in order; at most a window of them is under way, which bounds the memory and what a
//! crash leaves behind. The syncs have threads of their own because they wait for the disk and not for a core, and because
//! a journalling file system completes those that run at the same time with one commit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::IngestError;
use super::prepare::Prepared;

/// How often a wait looks at the stop flag.
const LOOK: Duration = Duration::from_millis(100);

pub(super) type Result<'d> = std::result::Result<Prepared<'d>, IngestError>;

/// What the threads of one source share.
pub(super) struct Pipeline<'r, 'd> {
    state: Mutex<State<'d>>,
    /// There is a file to prepare.
    work: Condvar,
    /// There is a file to sync.
    written: Condvar,
    /// A file is done.
    done: Condvar,
    stop: &'r AtomicBool,
}

#[derive(Default)]
struct State<'d> {
    /// The next file to prepare, and where to wait.
    next: usize,
    admitted: usize,
    to_sync: VecDeque<(usize, Prepared<'d>)>,
    done: BTreeMap<usize, Result<'d>>,
    closed: bool,
}

impl<'r, 'd> Pipeline<'r, 'd> {
    pub(super) fn new(stop: &'r AtomicBool) -> Self {
        Self {
            state: Mutex::default(),
            work: Condvar::new(),
            written: Condvar::new(),
            done: Condvar::new(),
            stop,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<'d>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread that prepares files, until the pipeline is closed.
    pub(super) fn work(&self, prepare: impl Fn(usize) -> Result<'d>) {
        let _guard = CloseOnPanic(self);
        loop {
            let mut state = self.state();
            while state.next >= state.admitted && !state.closed {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.closed {
                return;
            }
            let index = state.next;
            state.next += 1;
            drop(state);
            let prepared = prepare(index);
            match prepared {
                Ok(prepared) if prepared.needs_sync() => {
                    self.state().to_sync.push_back((index, prepared));
                    self.written.notify_one();
                }
                prepared => self.finish(index, prepared),
            }
        }
    }

    /// A thread that syncs what the others wrote, until the pipeline is closed.
    pub(super) fn sync(&self) {
        let _guard = CloseOnPanic(self);
        loop {
            let mut state = self.state();
            let (index, prepared) = loop {
                if state.closed {
                    return;
                }
                if let Some(next) = state.to_sync.pop_front() {
                    break next;
                }
                state = self.written.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            drop(state);
            self.finish(index, prepared.synced());
        }
    }

    fn finish(&self, index: usize, prepared: Result<'d>) {
        self.state().done.insert(index, prepared);
        self.done.notify_one();
    }

    /// Lets the files before `until` be prepared.
    pub(super) fn admit(&self, until: usize) {
        let mut state = self.state();
        state.admitted = state.admitted.max(until);
        drop(state);
        self.work.notify_all();
    }

    /// Waits for the files from `first` on: `count` of them, or fewer when one failed, when the stop flag withdrew the rest
    /// or when the pipeline is closed. Empty when there is nothing more to come.
    pub(super) fn take(&self, first: usize, count: usize) -> Vec<Result<'d>> {
        let mut taken = Vec::with_capacity(count);
        let mut state = self.state();
        while taken.len() < count {
            if let Some(prepared) = state.done.remove(&(first + taken.len())) {
                let failed = prepared.is_err();
                taken.push(prepared);
                if failed {
                    break;
                }
                continue;
            }
            if self.stop.load(Ordering::Relaxed) {
                state.admitted = state.admitted.min(state.next);
            }
            if state.closed || first + taken.len() >= state.admitted {
                break;
            }
            state = self.done.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        taken
    }

    fn close(&self) {
        self.state().closed = true;
        self.work.notify_all();
        self.written.notify_all();
        self.done.notify_all();
    }
}

/// Ends the threads however the run ends.
pub(super) struct CloseAtEnd<'p, 'r, 'd>(pub(super) &'p Pipeline<'r, 'd>);

impl Drop for CloseAtEnd<'_, '_, '_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Nobody may wait for a thread that is gone.
struct CloseOnPanic<'p, 'r, 'd>(&'p Pipeline<'r, 'd>);

impl Drop for CloseOnPanic<'_, '_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.close();
        }
    }
}
