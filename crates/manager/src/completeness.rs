//! Whether the archive holds the WAL a backup needs (Barman's `check_backup`).

use tapster_catalog::durable::DurableError;
use tapster_catalog::wal_store::WalStoreError;
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

impl Server {
    /// Moves a record from `WAITING_FOR_WALS` to `DONE` when all its WAL has arrived, or to `FAILED` when a file is missing while
    /// later ones are there; saves it when it changed.
    ///
    /// # Errors
    /// When the archive cannot be read or the record not be saved.
    pub fn update_completeness(&self, record: &mut BackupRecord) -> Result<(), CompletenessError> {
        if !matches!(record.status, BackupStatus::WaitingForWals | BackupStatus::Done) {
            return Ok(());
        }
        let before = record.status;
        match self.completeness(record)? {
            Completeness::Complete => record.status = BackupStatus::Done,
            Completeness::Waiting => record.status = BackupStatus::WaitingForWals,
            Completeness::Missing(name) => {
                record.status = BackupStatus::Failed;
                record.error =
                    Some(format!("At least one WAL file is missing. The first missing WAL file is {name}"));
            }
        }
        if record.status != before {
            self.catalog.save(record)?;
        }
        Ok(())
    }

    fn completeness(&self, record: &BackupRecord) -> Result<Completeness, CompletenessError> {
        let (Some(begin), Some(end)) = (record.begin_wal, record.end_wal) else {
            return Ok(Completeness::Waiting);
        };
        let newest = self.wal_store().newest_segments()?;
        let Some(last) = newest.get(&begin.timeline()).copied() else { return Ok(Completeness::Waiting) };
        if last < begin {
            return Ok(Completeness::Waiting);
        }
        for name in begin.through(end, record.segment_size())?.take_while(|name| *name <= last) {
            // An archive that cannot be looked into must not make a good backup FAILED.
            let path = self.layout().wal(name.into());
            if !path.try_exists().map_err(|source| WalStoreError::Read { path, source })? {
                return Ok(Completeness::Missing(name));
            }
        }
        Ok(if end <= last { Completeness::Complete } else { Completeness::Waiting })
    }
}

enum Completeness {
    Complete,
    Waiting,
    Missing(SegmentName),
}
