//! Keeping a backup in an object store, and letting go of it.

use tapster_catalog::{BackupId, BackupStatus, KeepTarget};
use tapster_cloud::{CloudError, WriteOptions};

use super::CloudServer;

/// Why a backup was not kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloudKeepError {
    /// The store has no such backup.
    #[error("backup {id} for server {server} does not exist")]
    NoBackup {
        /// Which.
        id: BackupId,
        /// The server.
        server: String,
    },
    /// It is not complete, so that there is nothing worth keeping.
    #[error(
        "Cannot add keep to backup {id} because it has status {status}. Only backups with status DONE can be kept."
    )]
    NotDone {
        /// Which.
        id: BackupId,
        /// How far it has come.
        status: BackupStatus,
    },
    /// The store.
    #[error(transparent)]
    Cloud(#[from] CloudError),
}

impl CloudServer {
    /// Keeps a backup from being deleted, by an annotation beside its record.
    ///
    /// # Errors
    /// When it is not there or not complete, or cannot be annotated.
    pub fn keep(&self, id: &BackupId, target: KeepTarget) -> Result<(), CloudKeepError> {
        let Some(record) = self.record(id)? else {
            return Err(CloudKeepError::NoBackup { id: *id, server: self.layout().server().to_owned() });
        };
        if record.status != BackupStatus::Done {
            return Err(CloudKeepError::NotDone { id: *id, status: record.status });
        }
        let key = self.layout().annotation(id, "keep");
        Ok(self.store().put(&key, target.as_str().as_bytes().to_vec(), &WriteOptions::default())?)
    }

    /// Takes the annotation away, also where there is none.
    ///
    /// # Errors
    /// When the store does not say that it is gone.
    pub fn release(&self, id: &BackupId) -> Result<(), CloudError> {
        self.store().delete(&[self.layout().annotation(id, "keep")])
    }
}
