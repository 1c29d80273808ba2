//! Who is told what the daemon does.

use std::fmt;
use std::time::Duration;

use super::{DaemonTask, TaskError};
use crate::event::Event;
use crate::{CheckReport, Context, Observer};

/// Something that happened to a task of the daemon.
#[derive(Debug)]
#[non_exhaustive]
pub enum TaskEvent<'a> {
    /// A server of the configuration is not looked after.
    NotStarted {
        /// Why.
        reason: String,
    },
    /// It begins.
    Started {
        /// The task.
        task: DaemonTask,
    },
    /// It ended cleanly, because it was asked to.
    Ended {
        /// The task.
        task: DaemonTask,
    },
    /// Another process does it; it is waited for.
    Waiting {
        /// The task.
        task: DaemonTask,
        /// The other process.
        pid: Option<u32>,
    },
    /// It failed and will be begun again. The same error again and again is told every ten minutes only.
    Failed {
        /// The task.
        task: DaemonTask,
        /// Why.
        error: &'a TaskError,
        /// Until the next attempt.
        retry_in: Duration,
    },
    /// It works again after it had failed.
    Recovered {
        /// The task.
        task: DaemonTask,
    },
    /// The server was checked.
    Checked {
        /// The result.
        report: &'a CheckReport,
    },
}

/// Is told what the daemon does, from many threads. All methods have empty bodies.
pub trait DaemonObserver: Send + Sync + 'static {
    /// What a verb reports while it runs, as [`Observer::event`].
    fn event(&self, server: &str, event: &Event) {
        let _ = (server, event);
    }

    /// What became of a task.
    fn task(&self, server: &str, event: &TaskEvent<'_>) {
        let _ = (server, event);
    }
}

/// One server's events to the daemon's observer.
pub(super) struct Relay<'a> {
    pub(super) server: &'a str,
    pub(super) to: &'a dyn DaemonObserver,
    /// Called first; says whether the observer is told.
    pub(super) hook: &'a (dyn Fn(&Event) -> bool + Sync),
}

impl fmt::Debug for Relay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Observer for Relay<'_> {
    fn event(&self, event: &Event) {
        if (self.hook)(event) {
            self.to.event(self.server, event);
        }
    }
}

impl Relay<'_> {
    /// The context of a verb that tells this observer.
    pub(super) fn context(&self, task: &super::task::TaskState) -> Context<'_> {
        let mut context = Context::new(self).with_stop(task.stop());
        context.clock = task.clock();
        context
    }
}
