//! Incremental backups (PostgreSQL 17 and later): what must hold before one is taken, and the parent's record.

use std::time::{Duration, Instant};

use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{BackupId, BackupRecord, CatalogError};
use thiserror::Error;

use super::BackupStepError;
use crate::chain::ChainError;
use crate::config::BackupMethod;
use crate::event::Event;
use crate::remote::Remote;
use crate::{Context, Server};

/// Whoever only looks at a backup, such as the round that completes those that wait for WAL, is soon done.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// Why no incremental backup can be taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IncrementalError {
    /// The server is too old.
    #[error(
        "Postgres version 17 or greater is required for incremental backups using the Postgres backup method"
    )]
    Version,
    /// Files cannot be copied incrementally.
    #[error(
        "Backup using the `--incremental` flag is available only for 'backup_method = postgres'. \
         Check Barman's documentation for more help on this topic."
    )]
    Method,
    /// The server writes no WAL summaries.
    #[error(
        "'summarize_wal' option has to be enabled in the Postgres server to perform an incremental backup \
         using the Postgres backup method"
    )]
    SummarizeWal,
    /// Nor did it when the parent was taken.
    #[error(
        "Backup ID {id} is not eligible as a parent for an incremental backup because WAL summaries were not \
         enabled when that backup was taken."
    )]
    Parent {
        /// The parent.
        id: BackupId,
    },
    /// The parent itself cannot be restored.
    #[error("Backup ID {id} is not eligible as a parent for an incremental backup: {reason}")]
    Unusable {
        /// The parent.
        id: BackupId,
        /// What is wrong.
        reason: String,
    },
    /// What the parent builds on is missing or does not fit.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Somebody is deleting what it would build on.
    #[error("Backup ID {id} is not eligible as a parent for an incremental backup: it is in use: {source}")]
    Busy {
        /// The backup of the chain.
        id: BackupId,
        /// By whom.
        source: LockError,
    },
    /// The server or the catalog cannot be asked.
    #[error(transparent)]
    Server(Box<BackupStepError>),
}

impl Server {
    /// Barman's conditions, in its order and words; and the parent is to be one that can be restored.
    pub(super) fn check_incremental(
        &self,
        parent: &BackupRecord,
        context: &Context<'_>,
    ) -> Result<(), IncrementalError> {
        let failed = |error| IncrementalError::Server(Box::new(error));
        let mut connection = self.connect(context.stop.clone()).map_err(|error| failed(error.into()))?;
        if connection.server_version().major() < 17 {
            return Err(IncrementalError::Version);
        }
        if self.config.backup_method != BackupMethod::Postgres {
            return Err(IncrementalError::Method);
        }
        let summarize = Remote::new(&mut connection).show("summarize_wal");
        if summarize.map_err(|error| failed(error.into()))? != "on" {
            return Err(IncrementalError::SummarizeWal);
        }
        self.check_parent(parent).map(drop)
    }

    /// What can be told from the catalog alone.
    fn check_parent(&self, parent: &BackupRecord) -> Result<Vec<BackupRecord>, IncrementalError> {
        let id = parent.id;
        if parent.summarize_wal.as_deref() != Some("on") {
            return Err(IncrementalError::Parent { id });
        }
        if !parent.status.is_copied() {
            return Err(IncrementalError::Unusable { id, reason: format!("it is {}", parent.status) });
        }
        let manifest = self.layout().data_dir(&id).join("backup_manifest");
        if !manifest.is_file() {
            let reason = format!("{} is missing", manifest.display());
            return Err(IncrementalError::Unusable { id, reason });
        }
        let chain = self.chain(parent)?;
        let going = self.catalog.deletions_in_progress();
        let going = going.map_err(|error| IncrementalError::Server(Box::new(error.into())))?;
        if let Some(member) = chain.iter().find(|member| going.contains(&member.id)) {
            let reason = format!("the deletion of {} has begun", member.id);
            return Err(IncrementalError::Unusable { id, reason });
        }
        Ok(chain)
    }

    /// Keeps the backups that `child` builds on, and itself, from being deleted while it is taken: a retention run does not
    /// wait for the backup lock. What held before is looked at again, with the locks.
    pub(super) fn hold_chain(
        &self,
        parent: &BackupRecord,
        child: BackupId,
        context: &Context<'_>,
    ) -> Result<Vec<Lock>, IncrementalError> {
        let mut locks = vec![self.hold(child, context)?];
        for member in self.check_parent(parent)? {
            locks.push(self.hold(member.id, context)?);
        }
        let id = parent.id;
        match self.catalog.load(&id) {
            Ok(parent) => drop(self.check_parent(&parent)?),
            Err(CatalogError::Unknown { .. }) => {
                let reason = "it has been deleted".to_owned();
                return Err(IncrementalError::Unusable { id, reason });
            }
            Err(error) => return Err(IncrementalError::Server(Box::new(error.into()))),
        }
        Ok(locks)
    }

    fn hold(&self, id: BackupId, context: &Context<'_>) -> Result<Lock, IncrementalError> {
        let path = self.layout().lock(&LockName::BackupId(id));
        let patience = Instant::now() + LOCK_PATIENCE;
        loop {
            match Lock::try_share(&path) {
                Ok(lock) => return Ok(lock),
                Err(LockError::Busy { .. }) if Instant::now() < patience && !context.stopped() => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(source @ LockError::Busy { .. }) => return Err(IncrementalError::Busy { id, source }),
                Err(error) => return Err(IncrementalError::Server(Box::new(error.into()))),
            }
        }
    }

    /// The parent knows its children, also those that fail, as in Barman: `delete` takes them along, `show-backup` names them.
    pub(super) fn adopt(&self, parent: BackupId, child: BackupId) -> Result<(), BackupStepError> {
        let mut parent = self.catalog.load(&parent)?;
        if !parent.children_backup_ids.contains(&child) {
            parent.children_backup_ids.push(child);
            self.save(&parent)?;
        }
        Ok(())
    }

    /// Pages without checksums from an older backup would look damaged in the result.
    pub(super) fn warn_of_mixed_checksums(&self, record: &BackupRecord, context: &Context<'_>) {
        if record.data_checksums.as_deref() != Some("on") {
            return;
        }
        let Ok(chain) = self.chain(record) else { return };
        if chain.iter().any(|member| member.data_checksums.as_deref() == Some("off")) {
            context.tell(Event::Warning(
                "This is an incremental backup taken with `data_checksums = on` whereas some previous backups in the chain \
                 were taken with `data_checksums = off`. This can lead to potential recovery issues. Consider taking a new \
                 full backup to avoid having inconsistent backup chains."
                    .to_owned(),
            ));
        }
    }
}
