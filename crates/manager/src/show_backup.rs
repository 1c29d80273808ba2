//! Everything there is to know about one backup.

use tapster_catalog::{BackupId, BackupRecord, BackupType, next_of, previous_of};
use walfile::Timeline;

use crate::list_backups::{ListBackupsError, ListedBackup};
use crate::{Context, Server};

/// A backup with its surroundings, as `show-backup` shows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackupDetails {
    /// The backup, its WAL and its verdict.
    pub backup: ListedBackup,
    /// The copied backup before it.
    pub previous: Option<BackupId>,
    /// The copied backup after it.
    pub next: Option<BackupId>,
    /// The full backup at the root of its chain, for an incremental one.
    pub root: Option<BackupId>,
    /// Backups in its chain, for an incremental one.
    pub chain_size: Option<usize>,
    /// Later timelines that fork from this backup's WAL: what recovery can reach besides the backup's own timeline.
    pub timelines: Vec<Timeline>,
    /// Whether a retention policy is enforced.
    pub has_policy: bool,
}

impl BackupDetails {
    /// Its record.
    pub const fn record(&self) -> &BackupRecord {
        &self.backup.record
    }

    /// Bytes saved by sharing files with another backup, and which part of the whole that is; only for the methods that share.
    pub fn saved(&self) -> Option<(u64, f64)> {
        let record = self.record();
        let (whole, own) = match record.backup_type() {
            BackupType::Rsync => (record.size?, record.deduplicated_size?),
            // Its files are shared only where that was asked for, which Barman cannot do.
            BackupType::Full if record.deduplicated_size < record.size => {
                (record.size?, record.deduplicated_size?)
            }
            BackupType::Incremental => (record.cluster_size?, record.deduplicated_size?),
            _ => return None,
        };
        if whole == 0 {
            return Some((0, 0.0));
        }
        // Of the cluster as the server sees it, where that is known, Barman saves the part that was not copied of the files.
        let cluster =
            record.cluster_size.filter(|_| record.backup_type() == BackupType::Rsync).unwrap_or(whole);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a ratio for people"
        )]
        let (saved, ratio) = {
            let ratio = 1.0 - own as f64 / whole as f64;
            ((cluster as f64 * ratio).max(0.0) as u64, ratio)
        };
        Some((saved, ratio))
    }

    /// Seconds the copy took.
    pub fn copy_seconds(&self) -> Option<f64> {
        self.record().copy_stats.as_ref()?.number("copy_time")
    }

    /// Bytes copied each second.
    pub fn throughput(&self) -> Option<f64> {
        let seconds = self.copy_seconds().filter(|seconds| *seconds > 0.0)?;
        let record = self.record();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let bytes = record.deduplicated_size.or(record.size)? as f64;
        Some(bytes / seconds)
    }
}

impl Server {
    /// Details of `record`.
    ///
    /// # Errors
    /// When the catalog or the WAL index cannot be read.
    pub fn show_backup(
        &self,
        record: &BackupRecord,
        context: &Context<'_>,
    ) -> Result<BackupDetails, ListBackupsError> {
        let records: Vec<BackupRecord> =
            self.catalog.backups()?.into_iter().filter_map(|(_, record)| record.ok()).collect();
        let verdicts = self.verdicts(&records, context);
        let verdict = records
            .iter()
            .position(|other| other.id == record.id)
            .and_then(|index| verdicts.into_iter().nth(index));
        let next = next_of(&records, &record.id);
        let previous = previous_of(&records, &record.id).map(|previous| previous.id);
        let wal = if record.status.is_copied() {
            self.wal_usage(record, next, context)?
        } else {
            crate::WalUsage::default()
        };
        let chain = chain(&records, record);
        Ok(BackupDetails {
            previous,
            next: next.map(|next| next.id),
            root: chain.last().filter(|_| record.parent_backup_id.is_some()).copied(),
            chain_size: record.parent_backup_id.is_some().then_some(chain.len()),
            timelines: self.forked_timelines(record),
            has_policy: self.config.retention_policy.is_some(),
            backup: ListedBackup {
                record: record.clone(),
                wal,
                verdict,
                deletion_begun: self.catalog.deletions_in_progress()?.contains(&record.id),
            },
        })
    }

    /// Timelines in the archive that left this backup's timeline after its end.
    fn forked_timelines(&self, record: &BackupRecord) -> Vec<Timeline> {
        let (Some(own), Some(end)) = (record.timeline, record.end_xlog) else { return Vec::new() };
        let store = self.wal_store();
        let Ok(timelines) = store.history_files() else { return Vec::new() };
        timelines
            .into_iter()
            .filter(|timeline| *timeline > own)
            .filter(|timeline| {
                let history = store.history(*timeline).ok().flatten();
                history.and_then(|history| history.switch_from(own)).is_some_and(|at| at >= end)
            })
            .collect()
    }
}

/// The backup, what it builds on, and so on to the root.
fn chain(records: &[BackupRecord], record: &BackupRecord) -> Vec<BackupId> {
    let mut ids = vec![record.id];
    let mut parent = record.parent_backup_id;
    while let Some(id) = parent.filter(|id| !ids.contains(id)) {
        ids.push(id);
        parent = records.iter().find(|other| other.id == id).and_then(|other| other.parent_backup_id);
    }
    ids
}
