//! Deleting backups in an object store, and the WAL that none of the others needs.
//!
//! Barman's own tool removes the archives first and the record last; when it is interrupted, its list shows a backup as complete that
//! nobody can restore. Here the record first says that the backup failed. So whoever lists it, with whichever program, is told; and
//! whoever deletes again finishes the work, the WAL included, since the record is still what goes last.

mod error;
mod plan;
mod wal;

use tapster_catalog::{BackupId, BackupStatus};
use tapster_cloud::{CloudError, WriteOptions};
pub use tapster_retention::{ParsePolicyError, Policy};
use time::OffsetDateTime;

pub use error::CloudDeleteError;
pub use plan::{CloudDeletePlan, CloudDeleteStep};
pub use wal::CloudWalTrim;

use super::CloudServer;

/// What the record of a backup says whose deletion has begun.
const MARK: &str = "its deletion has begun; delete it again to finish that";
/// No store takes more with one request.
const MOST_AT_ONCE: usize = 1000;

/// Who asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum CloudDeleteCause {
    /// A person; WAL between older standalone backups is left, as in Barman.
    #[default]
    Request,
    /// The retention policy.
    Retention,
}

/// What is to be deleted, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloudDeleteOptions {
    /// Complete backups that must be left.
    pub minimum_redundancy: u32,
    /// Objects removed with one request; `None` for as many as the store takes.
    pub batch_size: Option<usize>,
    /// Whether to look first if an object is locked, which is a request for each of them.
    pub check_locks: bool,
    /// What time it is.
    pub now: OffsetDateTime,
}

impl CloudDeleteOptions {
    /// Those without an option, at that time.
    pub const fn at(now: OffsetDateTime) -> Self {
        Self { minimum_redundancy: 0, batch_size: None, check_locks: false, now }
    }
}

/// What a deletion would remove, in the order in which it would.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CloudRemoval {
    /// A backup: its archives, and its record last.
    Backup(Vec<String>),
    /// Everything below a directory of WAL.
    WalDirectory(String),
    /// Single WAL files, in the order of their keys.
    Wal(Vec<String>),
}

impl CloudServer {
    /// Deletes one backup.
    ///
    /// # Errors
    /// See [`CloudDeleteError`]. What was removed before stays removed; a further call finishes the work.
    pub fn delete_backup(&self, id: &BackupId, options: &CloudDeleteOptions) -> Result<(), CloudDeleteError> {
        let plan = self.plan_delete(id, options)?;
        self.execute(&plan, options)
    }

    /// Deletes what a retention policy does not need, oldest first, and what an interrupted deletion has left.
    ///
    /// # Errors
    /// As [`delete_backup`](Self::delete_backup).
    pub fn enforce_retention(
        &self,
        policy: &Policy,
        options: &CloudDeleteOptions,
    ) -> Result<(), CloudDeleteError> {
        let plan = self.plan_retention(policy, options)?;
        self.execute(&plan, options)
    }

    /// Does what a plan says. Fails at the first backup that cannot be deleted. Each step of a retention is judged again before it is
    /// taken, by a fresh look at all backups: one that has been kept or built on meanwhile stays, and the WAL that goes is what nobody
    /// needs by then.
    ///
    /// # Errors
    /// As [`delete_backup`](Self::delete_backup).
    pub fn execute(
        &self,
        plan: &CloudDeletePlan,
        options: &CloudDeleteOptions,
    ) -> Result<(), CloudDeleteError> {
        for step in &plan.steps {
            let Some(policy) = &plan.policy else {
                self.remove_step(step, options)?;
                continue;
            };
            match self.judge_again(&step.id, policy, options)? {
                Some(step) => self.remove_step(&step, options)?,
                None => {
                    tracing::warn!("backup {} is not deleted: it is kept or needed by now, or gone", step.id)
                }
            }
        }
        if let Err(error) = self.release_place() {
            tracing::warn!(
                "cannot see whether anything is left of server {}: {error}",
                self.layout().server()
            );
        }
        Ok(())
    }

    /// Where neither a backup nor WAL is left, nobody owns the place any more, and a new cluster may archive to it. One that archives
    /// at this moment is known by its WAL, and noted again.
    fn release_place(&self) -> Result<(), CloudError> {
        let owner = self.owner_key();
        let mut left = self.store().list(self.layout().server());
        match (left.next().transpose()?, left.next().transpose()?) {
            (Some(only), None) if only.key == owner => self.store().delete(&[owner]),
            _ => Ok(()),
        }
    }

    /// The record goes last, so that whatever fails before is found again by whoever deletes again.
    pub(super) fn remove_step(
        &self,
        step: &CloudDeleteStep,
        options: &CloudDeleteOptions,
    ) -> Result<(), CloudDeleteError> {
        let id = step.id;
        self.remove_archives(step, options).map_err(|source| CloudDeleteError::Backup { id, source })?;
        if let Some(trim) = &step.trim {
            self.remove_wal(trim, options).map_err(|source| CloudDeleteError::Wal { id, source })?;
        }
        self.remove(std::iter::once(Ok(self.layout().record(&id))), options)
            .map_err(|source| CloudDeleteError::Backup { id, source })?;
        tracing::info!("deleted backup {id} of server {}", self.layout().server());
        Ok(())
    }

    fn remove_archives(
        &self,
        step: &CloudDeleteStep,
        options: &CloudDeleteOptions,
    ) -> Result<(), CloudError> {
        if options.check_locks {
            // Of all before the first goes: half a backup is worth nothing.
            for key in &step.objects {
                let lock = match self.store().lock_of(key) {
                    Err(CloudError::NotFound { .. }) => continue,
                    lock => lock?.filter(|lock| lock.holds_at(options.now)),
                };
                if let Some(lock) = lock {
                    let reason = match lock.until.filter(|until| *until > options.now) {
                        Some(until) => format!("it is locked until {until}"),
                        None => "it is locked until somebody lifts that".to_owned(),
                    };
                    let (store, key) = (self.store().url().to_string(), key.clone());
                    return Err(CloudError::Denied { store, action: "deleting", key, reason });
                }
            }
        }
        let record = self.layout().record(&step.id);
        if let Some(found) = step.record.as_ref().filter(|record| record.status.is_copied()) {
            let mut marked = found.clone();
            marked.status = BackupStatus::Failed;
            marked.error = Some(MARK.to_owned());
            self.store().put(&record, marked.to_text(), &WriteOptions::default())?;
        }
        self.remove(step.objects.iter().cloned().map(Ok), options)
    }

    fn remove_wal(&self, trim: &CloudWalTrim, options: &CloudDeleteOptions) -> Result<(), CloudError> {
        for directory in self.wal_directories(trim)? {
            self.remove(self.wal_to_remove(&directory, trim), options)?;
        }
        Ok(())
    }

    /// Removes objects as they are named, a batch at a time.
    fn remove(
        &self,
        keys: impl Iterator<Item = Result<String, CloudError>>,
        options: &CloudDeleteOptions,
    ) -> Result<(), CloudError> {
        let size = options.batch_size.unwrap_or(MOST_AT_ONCE).clamp(1, MOST_AT_ONCE);
        let mut batch = Vec::new();
        for key in keys {
            batch.push(key?);
            if batch.len() == size {
                self.store().delete(&batch)?;
                batch.clear();
            }
        }
        if batch.is_empty() { Ok(()) } else { self.store().delete(&batch) }
    }

    /// What executing a plan would remove now. Each backup is followed by the WAL that goes with it.
    ///
    /// # Errors
    /// When the WAL cannot be listed.
    pub fn preview(&self, plan: &CloudDeletePlan) -> Result<Vec<CloudRemoval>, CloudError> {
        let mut removals = Vec::new();
        let mut seen: Vec<&CloudWalTrim> = Vec::new();
        for step in &plan.steps {
            let mut objects = step.objects.clone();
            objects.push(self.layout().record(&step.id));
            removals.push(CloudRemoval::Backup(objects));
            let Some(trim) = &step.trim else { continue };
            let mut single = Vec::new();
            for directory in self.wal_directories(trim)? {
                if directory.whole {
                    removals.push(CloudRemoval::WalDirectory(directory.key));
                    continue;
                }
                for key in self.wal_to_remove(&directory, trim) {
                    let key = key?;
                    // What went with an earlier backup is not there any more then.
                    if !seen.iter().any(|trim| wal::covers(trim, &key)) {
                        single.push(key);
                    }
                }
            }
            if !single.is_empty() {
                removals.push(CloudRemoval::Wal(single));
            }
            seen.push(trim);
        }
        Ok(removals)
    }
}
