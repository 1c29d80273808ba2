//! The backups of a server, newest first, with what `list-backups` shows of each.

use tapster_catalog::{
    BackupId, BackupRecord, BackupStatus, CatalogError, KeepTarget, RecordError, XlogDbError, next_of,
};
use tapster_retention::{Candidate, Keep, Status, Verdict, evaluate};
use thiserror::Error;
use time::OffsetDateTime;

use crate::wal_usage::WalUsage;
use crate::{Context, Server};

/// A backup in the list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListedBackup {
    /// Its record.
    pub record: BackupRecord,
    /// Its WAL; empty for a backup that did not end well.
    pub wal: WalUsage,
    /// What the retention policy says; `None` without a policy.
    pub verdict: Option<Verdict>,
    /// Its deletion has begun: perhaps files are missing, whatever its record says, and it cannot be restored.
    pub deletion_begun: bool,
}

impl ListedBackup {
    /// Bytes of the backup together with the WAL it needs itself.
    pub fn size(&self) -> u64 {
        self.record.size.unwrap_or(0).saturating_add(self.wal.own_bytes)
    }

    /// Whether its data is complete as far as it was copied: `DONE` or `WAITING_FOR_WALS`, and not about to be deleted.
    pub const fn is_copied(&self) -> bool {
        self.record.status.is_copied() && !self.deletion_begun
    }

    /// The status of the record, or FAILED when the deletion has begun.
    pub const fn status(&self) -> BackupStatus {
        if self.deletion_begun { BackupStatus::Failed } else { self.record.status }
    }

    /// The verdict in Barman's words; `-` without a policy or when there is nothing to object.
    pub fn retention_status(&self) -> String {
        match &self.verdict {
            Some(verdict) if verdict.status != Status::Valid => verdict.status.to_string(),
            _ => "-".to_owned(),
        }
    }
}

/// The list, and what of the catalog cannot be read.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct BackupList {
    /// Newest first.
    pub backups: Vec<ListedBackup>,
    /// Records that cannot be read; one broken record does not hide the others.
    pub unreadable: Vec<(BackupId, RecordError)>,
}

/// A list that could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListBackupsError {
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The WAL index cannot be read.
    #[error(transparent)]
    Index(#[from] XlogDbError),
}

/// A record with its keep request, as the retention policy sees it.
struct Kept<'r> {
    record: &'r BackupRecord,
    keep: Option<Keep>,
}

impl Candidate for Kept<'_> {
    fn id(&self) -> &str {
        self.record.id.as_str()
    }

    fn end_time(&self) -> Option<OffsetDateTime> {
        self.record.end_time
    }

    fn is_done(&self) -> bool {
        self.record.status == BackupStatus::Done
    }

    fn keep(&self) -> Option<Keep> {
        self.keep
    }

    fn parent_id(&self) -> Option<&str> {
        self.record.parent_backup_id.as_ref().map(BackupId::as_str)
    }
}

impl Server {
    /// The backups, newest first.
    ///
    /// # Errors
    /// When the catalog or the WAL index cannot be read.
    pub fn list_backups(&self, context: &Context<'_>) -> Result<BackupList, ListBackupsError> {
        let (mut records, mut unreadable) = (Vec::new(), Vec::new());
        for (id, record) in self.catalog.backups()? {
            match record {
                Ok(record) => records.push(record),
                Err(error) => unreadable.push((id, error)),
            }
        }
        let going = self.catalog.deletions_in_progress()?;
        let verdicts = self.verdicts(&records, context);
        let copied = records.iter().filter(|record| record.status.is_copied());
        let copied: Vec<_> = copied.map(|record| (record, next_of(&records, &record.id))).collect();
        let mut usages = self.wal_usages(&copied, context)?.into_iter();
        let mut backups = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            let wal = record.status.is_copied().then(|| usages.next()).flatten().unwrap_or_default();
            backups.push(ListedBackup {
                record: record.clone(),
                wal,
                verdict: verdicts.get(index).cloned(),
                deletion_begun: going.contains(&record.id),
            });
        }
        backups.reverse();
        Ok(BackupList { backups, unreadable })
    }

    /// What the retention policy says of each record, in their order; nothing without a policy.
    pub(crate) fn verdicts(&self, records: &[BackupRecord], context: &Context<'_>) -> Vec<Verdict> {
        let Some(policy) = &self.config.retention_policy else { return Vec::new() };
        let candidates: Vec<Kept<'_>> = records
            .iter()
            .map(|record| Kept {
                record,
                keep: match self.catalog.keep_target(&record.id) {
                    Ok(None) => None,
                    Ok(Some(KeepTarget::Standalone)) => Some(Keep::Standalone),
                    // An annotation that cannot be read protects: better kept too long than deleted.
                    Ok(Some(KeepTarget::Full)) | Err(_) => Some(Keep::Full),
                },
            })
            .collect();
        evaluate(policy, self.config.minimum_redundancy, &candidates, context.now())
    }
}
