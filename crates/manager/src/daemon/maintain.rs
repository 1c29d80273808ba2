//! What is to be done every minute: complete backups whose WAL has come, and delete what the retention policy is done with.

use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{BackupRecord, BackupStatus};

use super::observer::Relay;
use super::task::{Step, TaskState};
use super::{Shared, TaskError};
use crate::completeness::failed_for_wal;
use crate::event::Event;
use crate::{CheckBackupError, Context, CronError, Server};

/// Does it until stopped.
pub(super) fn run(server: &Server, task: &TaskState, shared: &Shared) {
    let hook = |_: &Event| true;
    let relay = Relay { server: server.name(), to: &*shared.observer, hook: &hook };
    let context = relay.context(task);
    let interval = shared.options.maintenance_interval;
    task.run(server.name(), &*shared.observer, || match server.maintain(&context) {
        Ok(failed) if failed.is_empty() => Step::Again(interval),
        Ok(failed) => Step::Partly(failed, interval),
        Err(error) => Step::Failed(error.into()),
    });
}

impl Server {
    /// [`Server::cron`] without starting processes: completes the backups that wait for WAL and enforces the retention policy.
    /// What went wrong with single backups is returned; it does not end the round. Nothing is done while a `cron` does it.
    ///
    /// # Errors
    /// When the catalog or a lock cannot be used.
    pub(crate) fn maintain(&self, context: &Context<'_>) -> Result<Vec<TaskError>, CronError> {
        self.create_directories()?;
        let _lock = match Lock::try_acquire(&self.layout().lock(&LockName::Cron)) {
            Ok(lock) => lock,
            Err(LockError::Busy { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut failed = Vec::new();
        self.tidy_imports();
        let mut records = self.catalog.records()?;
        let unsettled = |record: &&mut BackupRecord| {
            record.status == BackupStatus::WaitingForWals || failed_for_wal(record)
        };
        for record in records.iter_mut().filter(unsettled) {
            if context.stopped() {
                return Ok(failed);
            }
            match self.check_backup(record) {
                // Its WAL is still missing.
                Err(CheckBackupError::Failed) => {}
                Err(error) if !error.is_busy() => failed.push(error.into()),
                _ => {}
            }
        }
        if !context.stopped() {
            failed.extend(self.enforce_retention(&records, context)?.into_iter().map(TaskError::from));
        }
        Ok(failed)
    }
}
