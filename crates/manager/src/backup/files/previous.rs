//! The backup whose files can be used again.

use tapster_catalog::{BackupMode, BackupRecord};
use tapster_copy::live::{Reference, Reuse};

use crate::backup::BackupStepError;
use crate::backup::method::Job;
use crate::config::ReuseBackup;

/// What is to be reused and how; `Off` and nothing without a previous backup.
pub(in crate::backup) struct Previous {
    pub(super) reuse: Reuse,
    record: Option<(BackupRecord, i64)>,
}

impl Previous {
    /// The newest backup before this one whose files lie there as they were on the same cluster.
    pub(super) fn find(record: &BackupRecord, job: &Job<'_>) -> Result<Self, BackupStepError> {
        let reuse = match job.options.reuse_backup.or(job.server.config.reuse_backup) {
            Some(ReuseBackup::Link) => Reuse::Link,
            Some(ReuseBackup::Copy) => Reuse::Copy,
            Some(ReuseBackup::Off) | None => return Ok(Self { reuse: Reuse::Off, record: None }),
        };
        let found = newest_usable(record, job)?;
        let record = found.and_then(|other| {
            let horizon = other.begin_time?.unix_timestamp();
            job.server.layout().data_dir(&other.id).is_dir().then_some((other, horizon))
        });
        Ok(Self { reuse, record })
    }

    /// The tree of its data directory, or of a tablespace.
    pub(super) fn reference(&self, job: &Job<'_>, tablespace: Option<u32>) -> Option<Reference> {
        let (record, horizon) = self.record.as_ref()?;
        let layout = job.server.layout();
        let root = match tablespace {
            Some(oid) => layout.tablespace_dir(&record.id, oid),
            None => layout.data_dir(&record.id),
        };
        Some(Reference::new(root, *horizon))
    }
}

/// The newest backup before this one whose files lie there as they were on the same cluster.
pub(in crate::backup) fn newest_usable(
    record: &BackupRecord,
    job: &Job<'_>,
) -> Result<Option<BackupRecord>, BackupStepError> {
    let records = job.server.catalog.backups()?;
    Ok(records
        .into_iter()
        .filter_map(|(_, other)| other.ok())
        .filter(|other| other.id < record.id && usable(other, record))
        .max_by_key(|other| other.id))
}

fn usable(other: &BackupRecord, record: &BackupRecord) -> bool {
    other.status.is_copied()
        && matches!(other.mode, Some(BackupMode::Postgres | BackupMode::RsyncConcurrent | BackupMode::RsyncExclusive))
        // One stored in archives, compressed or not, has no files to share.
        && other.compression.is_none()
        && other.encryption.is_none()
        && other.parent_backup_id.is_none()
        && other.systemid == record.systemid
}
