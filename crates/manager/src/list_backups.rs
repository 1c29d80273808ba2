//! The backups of a server, newest first, with what `list-backups` shows of each.

use tapster_catalog::{
    BackupId, BackupRecord, BackupStatus, CatalogError, KeepTarget, RecordError, XlogDbError, next_of,
};
use tapster_retention::{Candidate, Keep, Reason, Rules, Status, Verdict, judge};
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

    /// The verdict and the reason for it, in one line.
    pub fn retention_reason(&self) -> String {
        self.verdict.as_ref().map_or_else(|| Reason::NoPolicy.to_string(), ToString::to_string)
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
    failed: Option<OffsetDateTime>,
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

    fn failed_at(&self) -> Option<OffsetDateTime> {
        self.failed
    }
}

impl Server {
    /// The backups, newest first.
    ///
    /// # Errors
    /// When the catalog or the WAL index cannot be read.
    pub fn list_backups(&self, context: &Context<'_>) -> Result<BackupList, ListBackupsError> {
        self.list(context, true)
    }

    /// The backups, newest first, without a look at the archive: their [`ListedBackup::wal`] is empty.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn list_backups_without_wal(&self, context: &Context<'_>) -> Result<BackupList, ListBackupsError> {
        self.list(context, false)
    }

    fn list(&self, context: &Context<'_>, with_wal: bool) -> Result<BackupList, ListBackupsError> {
        let (mut records, mut unreadable) = (Vec::new(), Vec::new());
        for (id, record) in self.catalog.backups()? {
            match record {
                Ok(record) => records.push(record),
                Err(error) => unreadable.push((id, error)),
            }
        }
        let going = self.catalog.deletions_in_progress()?;
        let verdicts = self.verdicts(&records, context);
        let copied = records.iter().filter(|record| with_wal && record.status.is_copied());
        let copied: Vec<_> = copied.map(|record| (record, next_of(&records, &record.id))).collect();
        let mut usages = self.wal_usages(&copied, context)?.into_iter();
        let mut backups = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            let copied = record.status.is_copied();
            let wal = copied.then(|| usages.next()).flatten().unwrap_or_default();
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
        let Some(rules) = self.retention_rules() else { return Vec::new() };
        let now = context.now();
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
                failed: (record.status == BackupStatus::Failed)
                    .then(|| self.failed_at(record).unwrap_or(now)),
            })
            .collect();
        judge(&rules, &candidates, now)
    }

    /// What the configuration says of backups that go by themselves; `None` when none does.
    pub(crate) fn retention_rules(&self) -> Option<Rules> {
        let mut rules = Rules::default();
        rules.policy = self.config.retention_policy;
        rules.minimum_redundancy = self.config.minimum_redundancy;
        rules.failed_after = self.config.failed_backup_retention;
        (rules.policy.is_some() || rules.failed_after.is_some()).then_some(rules)
    }

    /// When the record of a failed backup was written for the last time, which was when it failed: it has no time of its end.
    fn failed_at(&self, record: &BackupRecord) -> Option<OffsetDateTime> {
        let layout = self.layout();
        let paths = [layout.record(&record.id), layout.old_record(&record.id)];
        let written = paths.iter().find_map(|path| path.metadata().ok()?.modified().ok());
        written.map(OffsetDateTime::from)
    }
}
