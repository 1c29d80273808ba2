//! The retention policy enforced while a backup is taken.
//!
//! Barman does without the backup lock there, whoever holds it. Beside a backup that is harmless with some care; beside a
//! deletion or an import it is not: two deletions could go below the minimum redundancy together, and an import brings WAL
//! that nothing holds yet. What the holder of the lock does, its file does not say, but only a backup writes a record that is
//! not finished.

use std::time::SystemTime;

use super::{DeleteError, DeleteStep};
use crate::durable::{DurableError, Step};
use crate::locks::LockName;
use crate::{BackupId, BackupRecord, BackupStatus, Catalog, previous_of};

/// A backup that is being taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    id: BackupId,
    /// What its files may be linked to.
    reference: Option<BackupId>,
    /// Whether its record says from where on it needs WAL.
    has_begun: bool,
    /// When whoever takes it got the lock.
    since: SystemTime,
}

impl Running {
    /// The backup that the holder of the backup lock takes; `None` when the holder does something else, or has not come to
    /// writing a record.
    pub(super) fn find(catalog: &Catalog) -> Result<Option<Self>, DeleteError> {
        let Some(since) = since(catalog)? else { return Ok(None) };
        let records = catalog.records()?;
        let is_written_since = |record: &&BackupRecord| {
            let written = catalog.layout().record(&record.id).metadata().and_then(|file| file.modified());
            written.is_ok_and(|written| written >= since)
        };
        let mut running = records
            .iter()
            .filter(|record| matches!(record.status, BackupStatus::Empty | BackupStatus::Started))
            .filter(is_written_since);
        let (Some(record), None) = (running.next(), running.next()) else { return Ok(None) };
        let reference = previous_of(&records, &record.id).map(|previous| previous.id);
        Ok(Some(Self { id: record.id, reference, has_begun: record.begin_wal.is_some(), since }))
    }

    /// Whether nobody else has got the lock since. Who gets it later finds the markers that were set before.
    pub(super) fn is_current(&self, catalog: &Catalog) -> Result<bool, DeleteError> {
        Ok(since(catalog)? == Some(self.since))
    }

    /// The steps as they may be taken beside it; `None` when they may not.
    ///
    /// While it is not known where it begins in the WAL, none goes: that may be before the beginning of the others, if the server
    /// was set back to an older state or its standby is behind. Afterwards WAL goes before the beginning of every other backup of
    /// the same timeline, this one's included; on other timelines it stays.
    pub(super) fn restrict(&self, mut steps: Vec<DeleteStep>) -> Option<Vec<DeleteStep>> {
        for step in &mut steps {
            let id = step.record.id;
            if id == self.id || Some(id) == self.reference {
                return None;
            }
            let trim = step.trim.take().filter(|trim| self.has_begun && trim.before.is_some());
            step.trim = trim.map(|mut trim| {
                trim.only = trim.before.map(|before| before.timeline());
                trim
            });
        }
        Some(steps)
    }
}

/// When the backup lock was taken for the last time.
fn since(catalog: &Catalog) -> Result<Option<SystemTime>, DeleteError> {
    let path = catalog.layout().lock(&LockName::Backup);
    match path.metadata().and_then(|file| file.modified()) {
        Ok(time) => Ok(Some(time)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DurableError::io(Step::Read, &path, error).into()),
    }
}
