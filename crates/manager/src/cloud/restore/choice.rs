//! Which backup is restored.

use std::convert::Infallible;
use std::str::FromStr;

use tapster_catalog::{BackupId, BackupRecord, BackupStatus};
use time::OffsetDateTime;
use walfile::{Lsn, Timeline};

use super::CloudRestoreError;
use crate::cloud::CloudServer;
use crate::restore::TimelineTarget;

/// A backup, as one names it. Every text is one.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CloudBackupChoice {
    /// This one.
    Id(BackupId),
    /// `latest`, `last`: the newest that is whole.
    Latest,
    /// `oldest`, `first`.
    Oldest,
    /// `auto`: the newest that ends before the target.
    Auto,
    /// By its friendly name.
    Name(String),
}

impl FromStr for CloudBackupChoice {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match (text, text.parse()) {
            (_, Ok(id)) => Self::Id(id),
            ("latest" | "last", _) => Self::Latest,
            ("oldest" | "first", _) => Self::Oldest,
            ("auto", _) => Self::Auto,
            _ => Self::Name(text.to_owned()),
        })
    }
}

/// Where recovery is to end, as far as it matters for `auto`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum CloudTarget {
    /// At the end of WAL.
    #[default]
    End,
    /// At this time.
    Time(OffsetDateTime),
    /// At this position.
    Lsn(Lsn),
}

impl CloudServer {
    pub(in crate::cloud) fn choose(
        &self,
        choice: &CloudBackupChoice,
        target: CloudTarget,
        timeline: Option<TimelineTarget>,
    ) -> Result<BackupRecord, CloudRestoreError> {
        let unknown = |backup: &dyn ToString| CloudRestoreError::Unknown {
            backup: backup.to_string(),
            server: self.layout().server().to_owned(),
        };
        let record = match choice {
            CloudBackupChoice::Id(id) => self.record(id)?.ok_or_else(|| CloudRestoreError::NoSuchId {
                id: *id,
                server: self.layout().server().to_owned(),
            })?,
            CloudBackupChoice::Latest => self.whole()?.pop().ok_or_else(|| unknown(&"latest"))?,
            CloudBackupChoice::Oldest => {
                self.whole()?.into_iter().next().ok_or_else(|| unknown(&"oldest"))?
            }
            CloudBackupChoice::Name(name) => {
                let mut found = self.records()?;
                found.retain(|record| record.backup_name.as_ref() == Some(name));
                match found.len() {
                    0 | 1 => found.pop().ok_or_else(|| unknown(name))?,
                    _ => {
                        let ids = found.iter().map(|record| record.id).collect();
                        return Err(CloudRestoreError::Ambiguous { name: name.clone(), ids });
                    }
                }
            }
            CloudBackupChoice::Auto => self.newest_fitting(target, timeline)?,
        };
        // Barman restores whatever is there.
        if record.status != BackupStatus::Done {
            return Err(CloudRestoreError::Status { id: record.id, status: record.status });
        }
        Ok(record)
    }

    fn newest_fitting(
        &self,
        target: CloudTarget,
        timeline: Option<TimelineTarget>,
    ) -> Result<BackupRecord, CloudRestoreError> {
        let timeline = match timeline {
            Some(TimelineTarget::Number(number)) => Some(number),
            Some(TimelineTarget::Latest) => self.latest_timeline()?,
            // There is no backup yet whose timeline it would be.
            Some(TimelineTarget::Current) | None => None,
        };
        let fits = |record: &BackupRecord| {
            let ends = match target {
                CloudTarget::End => true,
                CloudTarget::Time(target) => record.end_time.is_some_and(|end| end <= target),
                CloudTarget::Lsn(target) => record.end_xlog.is_some_and(|end| end <= target),
            };
            ends && (timeline.is_none() || record.timeline == timeline)
        };
        self.whole()?.into_iter().rev().find(fits).ok_or(CloudRestoreError::NoCandidate)
    }

    /// The highest number of any WAL file.
    fn latest_timeline(&self) -> Result<Option<Timeline>, CloudRestoreError> {
        let dirs = self.store().list_dirs(&self.layout().wals())?;
        let dirs = dirs.iter().filter_map(|dir| Timeline::from_hex(dir.get(..8)?).ok());
        Ok(dirs.max())
    }

    /// Backups that are whole, in the order of their ids.
    fn whole(&self) -> Result<Vec<BackupRecord>, CloudRestoreError> {
        let mut records = self.records()?;
        records.retain(|record| record.status == BackupStatus::Done);
        Ok(records)
    }

    /// All that can be read, in the order of their ids.
    fn records(&self) -> Result<Vec<BackupRecord>, CloudRestoreError> {
        Ok(self.catalog()?.backups.into_values().map(|backup| backup.record).collect())
    }
}
