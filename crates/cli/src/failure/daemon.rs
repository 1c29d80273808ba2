//! The daemon and its tasks.

use tapster_manager::daemon::{DaemonError, TaskError};

use super::{Failure, Place, ReceiveTask, chain};

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        match error {
            DaemonError::Config(error) => error.into(),
            DaemonError::Running { .. } => Self::user(error.to_string())
                .with_hint("one daemon looks after all servers of a lock directory"),
            error => Self::user(chain(&error)),
        }
    }
}

impl Failure {
    /// What ended a task of the daemon.
    pub(crate) fn task(place: &Place<'_>, error: &TaskError) -> Self {
        match error {
            TaskError::Receive(error) => Self::receive_wal(place, ReceiveTask::Stream, error),
            TaskError::Retention(error) => Self::retention(place, error),
            error => Self::user(chain(error)),
        }
    }
}
