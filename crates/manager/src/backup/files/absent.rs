//! Tablespaces of which the copy saw nothing.

use std::time::Duration;

use tapster_catalog::{BackupRecord, durable};

use super::session::Session;
use crate::backup::BackupStepError;
use crate::backup::method::Job;

/// `DROP TABLESPACE` removes the files before it commits.
const ASKED: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// One that was dropped meanwhile is none of the backup's: replay drops it too. One that the server still has would be missing
/// from the backup.
pub(super) fn settle(
    absent: &[String],
    session: &mut Session,
    record: &mut BackupRecord,
    job: &Job<'_>,
) -> Result<(), BackupStepError> {
    if absent.is_empty() {
        return Ok(());
    }
    let mut asked = 0;
    let is_absent = |name: &String| absent.contains(name);
    loop {
        let there = session.remote().tablespaces()?;
        let lost = record
            .tablespaces
            .iter()
            .find(|known| is_absent(&known.name) && there.iter().any(|other| other.oid == known.oid));
        let Some(lost) = lost else { break };
        asked += 1;
        if asked >= ASKED || job.context.stopped() {
            let (name, location) = (lost.name.clone(), lost.location.clone().into());
            return Err(BackupStepError::TablespaceNotSeen { name, location });
        }
        std::thread::sleep(PAUSE);
    }
    for dropped in record.tablespaces.iter().filter(|known| is_absent(&known.name)) {
        let place = job.server.layout().tablespace_dir(&record.id, dropped.oid);
        durable::remove_tree(job.server.catalog.disk(), &place)?;
    }
    record.tablespaces.retain(|known| !is_absent(&known.name));
    Ok(())
}
