//! Incremental backups (PostgreSQL 17 and later): what must hold before one is taken, and the parent's record.

use tapster_catalog::{BackupId, BackupRecord};
use thiserror::Error;

use super::BackupStepError;
use crate::chain::ChainError;
use crate::config::BackupMethod;
use crate::event::Event;
use crate::remote::Remote;
use crate::{Context, Server};

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
    /// The server cannot be asked.
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
        self.chain(parent)?;
        Ok(())
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
