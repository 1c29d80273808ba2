//! Tablespaces of which the copy saw nothing.

use std::time::Duration;

use tapster_catalog::{BackupRecord, durable};

use super::session::Session;
use crate::backup::BackupStepError;
use crate::backup::method::Job;

/// `DROP TABLESPACE` removes the files before it commits.
const ASKED: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// As [`dropped`], and takes away what was made for them.
pub(super) fn settle(
    absent: &[String],
    session: &mut Session,
    record: &mut BackupRecord,
    job: &Job<'_>,
) -> Result<(), BackupStepError> {
    for oid in dropped(absent, session, record, job)? {
        let place = job.server.layout().tablespace_dir(&record.id, oid);
        durable::remove_tree(job.server.catalog.disk(), &place)?;
    }
    Ok(())
}

/// One that was dropped meanwhile is none of the backup's: replay drops it too. One that the server still has would be missing
/// from the backup. Returns the object ids of the former, which the record lists no more.
pub(in crate::backup) fn dropped(
    absent: &[String],
    session: &mut Session,
    record: &mut BackupRecord,
    job: &Job<'_>,
) -> Result<Vec<u32>, BackupStepError> {
    if absent.is_empty() {
        return Ok(Vec::new());
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
    let gone = record.tablespaces.iter().filter(|known| is_absent(&known.name));
    let gone = gone.map(|known| known.oid).collect();
    record.tablespaces.retain(|known| !is_absent(&known.name));
    Ok(gone)
}
