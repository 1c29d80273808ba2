//! Requests to keep a backup, whatever the retention policy says.

use tapster_catalog::{
    AnnotationError, BackupId, BackupRecord, BackupStatus, BackupType, CatalogError, DurableError, KeepTarget,
};
use thiserror::Error;

use crate::Server;

/// A request that was not made, released or read. The first two messages are Barman's.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeepError {
    /// It is not complete.
    #[error(
        "Cannot add keep to backup {id} because it has status {status}. Only backups with status DONE can be kept."
    )]
    NotDone {
        /// The backup.
        id: BackupId,
        /// Its status.
        status: BackupStatus,
    },
    /// Without what it builds on it is worth nothing, and that is kept by itself.
    #[error(
        "Unable to execute the keep command on backup {id}: is an incremental backup.\nOnly full backups are eligible for \
         the use of the keep command."
    )]
    Incremental {
        /// The backup.
        id: BackupId,
    },
    /// Files of it may be missing already.
    #[error("Cannot add keep to backup {id} because its deletion has begun")]
    DeletionBegun {
        /// The backup.
        id: BackupId,
    },
    /// The annotation that is there cannot be read.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The annotation cannot be written or removed.
    #[error(transparent)]
    Durable(#[from] DurableError),
}

impl Server {
    /// What is kept of `record` on request.
    ///
    /// # Errors
    /// When the annotation cannot be read; the backup counts as kept then.
    pub fn keep_target(&self, record: &BackupRecord) -> Result<Option<KeepTarget>, KeepError> {
        Ok(self.catalog.keep_target(&record.id)?)
    }

    /// Keeps `record` until it is released: `delete` refuses it, and the retention policy passes it over. Taken back when the
    /// deletion turns out to have begun in the same moment.
    ///
    /// # Errors
    /// When it is not a complete backup of its own, or is being deleted or gone.
    pub fn keep(&self, record: &BackupRecord, target: KeepTarget) -> Result<(), KeepError> {
        let id = record.id;
        if record.status != BackupStatus::Done {
            return Err(KeepError::NotDone { id, status: record.status });
        }
        if record.backup_type() == BackupType::Incremental {
            return Err(KeepError::Incremental { id });
        }
        let before = self.catalog.keep_target(&id).ok().flatten();
        self.catalog.set_keep_target(&id, target)?;
        // A deletion looks for the annotation after it has set its marker, so one of the two sees the other.
        if self.catalog.deletions_in_progress()?.contains(&id) {
            if before.is_none() {
                self.catalog.release_keep(&id)?;
            }
            return Err(KeepError::DeletionBegun { id });
        }
        // Its marker goes last: without one the deletion may also have come to its end since the record was read.
        if let Err(error @ CatalogError::Unknown { .. }) = self.catalog.load(&id) {
            self.catalog.release_keep(&id)?;
            return Err(error.into());
        }
        Ok(())
    }

    /// Takes the request back. Returns whether there was one.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn release_keep(&self, record: &BackupRecord) -> Result<bool, KeepError> {
        Ok(self.catalog.release_keep(&record.id)?)
    }
}
