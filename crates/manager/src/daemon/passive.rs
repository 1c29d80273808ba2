//! A passive node: WAL and backups of its primary node, each by a thread of its own, for a backup takes hours.

use std::time::Duration;

use super::Shared;
use super::observer::Relay;
use super::task::{Step, TaskState};
use crate::event::Event;
use crate::{Server, SyncError};

/// That nothing is new is no news every minute.
fn is_told(event: &Event) -> bool {
    !matches!(
        event,
        Event::NoWalToSync { .. }
            | Event::NoBackupsToSync { .. }
            | Event::BackupSyncBusy { .. }
            | Event::WalSyncBusy { .. }
    )
}

fn failed(error: SyncError) -> Step {
    if error.is_busy() { Step::Waiting(None) } else { Step::Failed(error.into()) }
}

/// Asks the primary node and copies its WAL, until stopped. Each answer wakes the other thread.
pub(super) fn wals(server: &Server, task: &TaskState, shared: &Shared, backups: &TaskState) {
    let relay = Relay { server: server.name(), to: &*shared.observer, hook: &is_told };
    let context = relay.context(task);
    let interval = shared.options.maintenance_interval;
    task.run(server.name(), &*shared.observer, || {
        let copied = server.sync_work(&context).and_then(|work| {
            if work.backup.is_some() {
                backups.wake();
            }
            if work.wals { server.sync_wals(&context).map(Some) } else { Ok(None) }
        });
        match copied {
            Ok(report) => {
                if let Some(reason) = report.and_then(|report| report.skipped) {
                    tracing::info!(server = server.name(), "{reason}");
                }
                Step::Again(interval)
            }
            Err(error) => failed(error),
        }
    });
}

/// Copies one backup after the other, by what the primary node answered last, until stopped. Each wakes the other thread, for now its
/// WAL is of use.
pub(super) fn backups(server: &Server, task: &TaskState, shared: &Shared, wals: &TaskState) {
    let relay = Relay { server: server.name(), to: &*shared.observer, hook: &is_told };
    let context = relay.context(task);
    let interval = shared.options.maintenance_interval;
    task.run(server.name(), &*shared.observer, || match server.backup_to_sync(&context) {
        Ok(None) => Step::Again(interval),
        Ok(Some(id)) => match server.sync_backup(id.as_str(), &context) {
            Ok(_) => {
                wals.wake();
                Step::Again(Duration::ZERO)
            }
            Err(error) => failed(error),
        },
        Err(error) => failed(error),
    });
}
