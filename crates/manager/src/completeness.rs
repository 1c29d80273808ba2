//! Whether the archive holds the WAL a backup needs (Barman's `check_backup`).

use tapster_catalog::durable::DurableError;
use tapster_catalog::wal_store::{Place, WalStoreError};
use tapster_catalog::{BackupRecord, BackupStatus};
use thiserror::Error;
use walfile::{SegmentName, SegmentNameError};

use crate::Server;

/// A backup whose completeness cannot be told.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompletenessError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] WalStoreError),
    /// The record's segment names contradict its segment size.
    #[error(transparent)]
    Name(#[from] SegmentNameError),
    /// The record cannot be saved.
    #[error(transparent)]
    Save(#[from] DurableError),
}

/// How the error of a backup begins that FAILED since a file was missing.
const MISSING: &str = "At least one WAL file is missing.";

/// Whether the backup FAILED for nothing but WAL that was missing, which may have come since.
pub(crate) fn failed_for_wal(record: &BackupRecord) -> bool {
    record.status == BackupStatus::Failed
        && record.error.as_ref().is_some_and(|error| error.starts_with(MISSING))
}

impl Server {
    /// Moves a record from `WAITING_FOR_WALS` to `DONE` when all its WAL has arrived, or to `FAILED` when a file is nowhere while
    /// later ones are archived; and back, when such a file has come after all. Saves it when it changed.
    ///
    /// # Errors
    /// When the archive cannot be read or the record not be saved.
    pub fn update_completeness(&self, record: &mut BackupRecord) -> Result<(), CompletenessError> {
        let waits = matches!(record.status, BackupStatus::WaitingForWals | BackupStatus::Done);
        if !waits && !failed_for_wal(record) {
            return Ok(());
        }
        let (status, error) = match self.judged(record)? {
            Completeness::Complete => (BackupStatus::Done, None),
            Completeness::Waiting => (BackupStatus::WaitingForWals, None),
            Completeness::Missing(name) => {
                (BackupStatus::Failed, Some(format!("{MISSING} The first missing WAL file is {name}")))
            }
        };
        if record.status != status || (record.error != error && failed_for_wal(record)) {
            record.status = status;
            record.error = error;
            self.catalog.save(record)?;
        }
        Ok(())
    }

    /// Whether [`Self::update_completeness`] would change the status.
    pub(crate) fn completeness_changed(&self, record: &BackupRecord) -> Result<bool, CompletenessError> {
        let status = match self.judged(record)? {
            Completeness::Complete => BackupStatus::Done,
            Completeness::Waiting => BackupStatus::WaitingForWals,
            Completeness::Missing(_) => BackupStatus::Failed,
        };
        Ok(record.status != status)
    }

    /// Whether all WAL the backup needs is in the archive. Of one that does not say what it needs that cannot be waited for.
    pub(crate) fn wal_is_complete(&self, record: &BackupRecord) -> Result<bool, CompletenessError> {
        let says = record.begin_wal.is_some() && record.end_wal.is_some();
        Ok(!says || matches!(self.completeness(record)?, Completeness::Complete))
    }

    /// On a passive node, WAL does not come in order: a copy that waits goes on waiting while that may come which is missing.
    fn judged(&self, record: &BackupRecord) -> Result<Completeness, CompletenessError> {
        let found = self.completeness(record)?;
        let is_waiting = self.config.is_passive() && record.status == BackupStatus::WaitingForWals;
        if is_waiting && matches!(found, Completeness::Missing(_)) && self.wal_may_come(record) {
            return Ok(Completeness::Waiting);
        }
        Ok(found)
    }

    fn completeness(&self, record: &BackupRecord) -> Result<Completeness, CompletenessError> {
        let (Some(begin), Some(end)) = (record.begin_wal, record.end_wal) else {
            return Ok(Completeness::Waiting);
        };
        let store = self.wal_store();
        let newest = store.newest_segments()?;
        let Some(last) = newest.get(&begin.timeline()).copied() else { return Ok(Completeness::Waiting) };
        if last < begin {
            return Ok(Completeness::Waiting);
        }
        let mut complete = end <= last;
        for name in begin.through(end, record.segment_size())?.take_while(|name| *name <= last) {
            // An archive that cannot be looked into must not make a good backup FAILED, and neither must a file that has come
            // and waits to be archived, perhaps since it is not yet whole, while later ones were.
            match store.find(name.into(), false)? {
                Some(found) => complete &= found.place == Place::Archive,
                None => return Ok(Completeness::Missing(name)),
            }
        }
        Ok(if complete { Completeness::Complete } else { Completeness::Waiting })
    }
}

enum Completeness {
    Complete,
    Waiting,
    Missing(SegmentName),
}
