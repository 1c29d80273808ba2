//! What a server needs every minute: archive, receive, complete backups, enforce the retention policy.

use std::io;

use tapster_catalog::delete::{DeleteError, DeletePlan};
use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{BackupId, BackupRecord, BackupStatus, CatalogError, DurableError};
use tapster_retention::Status;
use thiserror::Error;

use crate::completeness::failed_for_wal;
use crate::event::Event;
use crate::processes::{ProcessError, Task};
use crate::{Context, Server, SyncError, WalTrimError};

/// Work for a process of its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CronJob {
    /// `archive-wal`.
    ArchiveWal,
    /// `receive-wal`, which does not end.
    ReceiveWal,
    /// `check-backup`.
    CheckBackup(BackupId),
    /// `sync-backup`.
    SyncBackup(BackupId),
    /// `sync-wals`.
    SyncWals,
}

impl CronJob {
    /// The command to run and its arguments, for the server of this name.
    pub fn command(&self, server: &str) -> Vec<String> {
        match self {
            Self::ArchiveWal => vec!["archive-wal".to_owned(), server.to_owned()],
            Self::ReceiveWal => vec!["receive-wal".to_owned(), server.to_owned()],
            Self::CheckBackup(id) => vec!["check-backup".to_owned(), server.to_owned(), id.to_string()],
            Self::SyncBackup(id) => vec!["sync-backup".to_owned(), server.to_owned(), id.to_string()],
            Self::SyncWals => vec!["sync-wals".to_owned(), server.to_owned()],
        }
    }
}

/// What kept a server's `cron` from its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CronError {
    /// The directories of the catalog cannot be made.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// A lock cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Backups or markers cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A process was not started.
    #[error("cannot start {}: {source}", job.command(server).join(" "))]
    Launch {
        /// What it was to do.
        job: CronJob,
        /// Server name.
        server: String,
        /// Why not.
        source: io::Error,
    },
    /// A receiver that should not run cannot be ended.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// What went wrong in a round that went on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CronTrouble {
    /// The primary node of a passive server was not asked.
    #[error("Failed to retrieve the primary node status: {0}")]
    Sync(SyncError),
    /// A backup is still there.
    #[error(transparent)]
    Retention(RetentionError),
}

/// Why a backup is still there although the retention policy is done with it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RetentionError {
    /// WAL that is older than it may get was not removed.
    #[error("Cannot remove old WAL of server {server}: {source}")]
    Wal {
        /// Server name.
        server: String,
        /// Why not.
        source: WalTrimError,
    },
    /// It was not deleted.
    #[error("Cannot delete backup ({server} {backup}): {source}")]
    Delete {
        /// Server name.
        server: String,
        /// The backup.
        backup: BackupId,
        /// Why not.
        source: DeleteError,
    },
}

impl Server {
    /// One round of Barman's `cron` for this server. What takes long is handed to `launch`, which is to start it in a
    /// process that outlives this one; what is already running is not started again. A passive server asks its primary node, and
    /// one backup and the new WAL are copied.
    ///
    /// A primary node that does not answer, and backups that could not be deleted, are returned; they do not stop the round.
    ///
    /// # Errors
    /// [`CronError`]; another round that is running is none.
    pub fn cron(
        &self,
        launch: &mut dyn FnMut(&CronJob) -> io::Result<()>,
        context: &Context<'_>,
    ) -> Result<Vec<CronTrouble>, CronError> {
        self.create_directories()?;
        let server = || self.name().to_owned();
        let _lock = match Lock::try_acquire(&self.layout().lock(&LockName::Cron)) {
            Ok(lock) => lock,
            Err(LockError::Busy { .. }) => {
                context.tell(Event::CronBusy { server: server(), task: Task::Cron });
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.into()),
        };
        let mut troubles = Vec::new();
        if self.config.is_passive() {
            match self.sync_work(context) {
                Ok(work) => {
                    let jobs = work.backup.map(CronJob::SyncBackup).into_iter();
                    for job in jobs.chain(work.wals.then_some(CronJob::SyncWals)) {
                        self.launch(job, launch, context)?;
                    }
                }
                Err(error) => troubles.push(CronTrouble::Sync(error)),
            }
        } else {
            self.cron_wal(launch, context)?;
        }
        self.tidy_imports();
        let records = self.catalog.records()?;
        for record in self.worth_checking(&records) {
            if self.is_free(&LockName::BackupId(record.id))? {
                self.launch(CronJob::CheckBackup(record.id), launch, context)?;
            }
        }
        if !context.stopped() {
            let failed = self.enforce_retention(&records, context)?;
            troubles.extend(failed.into_iter().map(CronTrouble::Retention));
        }
        Ok(troubles)
    }

    /// Barman checks the oldest backup that waits for WAL, and no other while that one does. If its WAL never comes, others
    /// would wait as long; so those that have theirs are checked too, and those that FAILED for want of WAL that came later.
    fn worth_checking<'r>(&self, records: &'r [BackupRecord]) -> Vec<&'r BackupRecord> {
        let waits = |record: &&BackupRecord| record.status == BackupStatus::WaitingForWals;
        let oldest = records.iter().find(waits).map(|record| record.id);
        // What cannot be told here, the check will tell.
        let changed = |record: &BackupRecord| self.completeness_changed(record).unwrap_or(true);
        records
            .iter()
            .filter(|record| waits(record) || failed_for_wal(record))
            .filter(|record| oldest == Some(record.id) || changed(record))
            .collect()
    }

    fn cron_wal(
        &self,
        launch: &mut dyn FnMut(&CronJob) -> io::Result<()>,
        context: &Context<'_>,
    ) -> Result<(), CronError> {
        if self.is_free(&LockName::ArchiveWal)? {
            self.launch(CronJob::ArchiveWal, launch, context)?;
        } else {
            context.tell(Event::CronBusy { server: self.name().to_owned(), task: Task::ArchiveWal });
        }
        if self.config.streaming_archiver {
            // One that is running is as it should be.
            if self.is_free(&LockName::ReceiveWal)? {
                self.launch(CronJob::ReceiveWal, launch, context)?;
            }
            return Ok(());
        }
        match self.terminate(Task::ReceiveWal.as_str()) {
            // The daemon ends its receiver itself, when it is told of the new configuration.
            Ok(_) | Err(ProcessError::NoSuchProcess { .. } | ProcessError::Daemon { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Somebody may take it in the next moment; then one of the two processes ends at once.
    fn is_free(&self, lock: &LockName) -> Result<bool, LockError> {
        Ok(Lock::holder(&self.layout().lock(lock))?.is_none())
    }

    fn launch(
        &self,
        job: CronJob,
        launch: &mut dyn FnMut(&CronJob) -> io::Result<()>,
        context: &Context<'_>,
    ) -> Result<(), CronError> {
        context.tell(Event::CronStarting { server: self.name().to_owned(), job: job.clone() });
        launch(&job).map_err(|source| CronError::Launch { job, server: self.name().to_owned(), source })
    }

    /// Deletes what the retention policy is done with, oldest first, and finishes deletions that were interrupted.
    pub(crate) fn enforce_retention(
        &self,
        records: &[BackupRecord],
        context: &Context<'_>,
    ) -> Result<Vec<RetentionError>, CronError> {
        if self.config.incomplete {
            context.tell(Event::Warning(format!(
                "a part of the configuration cannot be read: nothing is deleted from server {} by the retention policy",
                self.name()
            )));
            return Ok(Vec::new());
        }
        let mut failed = Vec::new();
        if let Err(source) = self.trim_without_backups(context) {
            failed.push(RetentionError::Wal { server: self.name().to_owned(), source });
        }
        if self.retention_rules().is_none() {
            return Ok(failed);
        }
        let begun = self.catalog.deletions_in_progress()?;
        let orphans: Vec<BackupId> = records
            .iter()
            .filter(|record| record.status.is_copied() && !begun.contains(&record.id))
            .filter(|record| self.catalog.is_orphan(record))
            .map(|record| record.id)
            .collect();
        for id in &orphans {
            context.tell(Event::Orphan {
                backup: *id,
                files: self.catalog.place_of(id),
                record: self.layout().record(id),
            });
        }
        // What is not there is no redundancy; one that others build on stays in the picture with them.
        let counts = |record: &&BackupRecord| {
            !orphans.contains(&record.id)
                || records.iter().any(|other| other.parent_backup_id == Some(record.id))
        };
        let counted: Vec<BackupRecord> = records.iter().filter(counts).cloned().collect();
        let verdicts = self.verdicts(&counted, context);
        let obsolete = |id: &BackupId, status: Option<Status>| {
            begun.contains(id) || status.is_some_and(|status| status == Status::Obsolete)
        };
        let obsolete = counted
            .iter()
            .enumerate()
            .filter(|(index, record)| {
                obsolete(&record.id, verdicts.get(*index).map(|verdict| verdict.status))
            })
            .map(|(_, record)| &record.id)
            // Where the files are that its record speaks of, nobody knows: perhaps on a disk that is not there now.
            .filter(|id| !orphans.contains(id));
        for id in obsolete {
            if context.stopped() {
                break;
            }
            // A deletion takes the incremental backups that build on it along.
            let record = match self.catalog.load(id) {
                Ok(record) => record,
                Err(CatalogError::Unknown { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let deleted = match self.plan_retention(&record) {
                // What was read at the beginning of the round may be long past: deleting takes its time.
                Ok(plan) if !self.is_done_with(&plan, context)? => continue,
                Ok(plan) => {
                    context.tell(Event::EnforcingRetention { server: self.name().to_owned(), backup: *id });
                    self.delete_obsolete(&plan, context)
                }
                Err(error) => Err(error),
            };
            if let Err(DeleteError::InUse { .. } | DeleteError::Lock(LockError::Busy { .. })) = deleted {
                context.tell(Event::Warning(format!(
                    "Another action is in progress for the backup {id} of server {}, skipping retention policy application",
                    self.name()
                )));
            } else if let Err(source) = deleted {
                failed.push(RetentionError::Delete { server: self.name().to_owned(), backup: *id, source });
            }
        }
        Ok(failed)
    }

    /// Whether the retention policy is done, as the catalog is now, with everything that the plan takes: each is obsolete, FAILED
    /// with what it builds on, gone, or its deletion has begun; and nothing else has come that builds on it.
    pub(crate) fn is_done_with(
        &self,
        plan: &DeletePlan,
        context: &Context<'_>,
    ) -> Result<bool, CatalogError> {
        let begun = self.catalog.deletions_in_progress()?;
        let records = self.catalog.records()?;
        let verdicts = self.verdicts(&records, context);
        let root = plan.steps.last().map(|step| step.record.id);
        let goes = |id: &BackupId| {
            let judged = records.iter().zip(&verdicts).find(|(record, _)| record.id == *id);
            begun.contains(id)
                || judged.is_none_or(|(record, verdict)| {
                    let failed = record.status == BackupStatus::Failed && root != Some(*id);
                    verdict.status == Status::Obsolete || failed
                })
        };
        let is_planned = |id: &BackupId| plan.steps.iter().any(|step| step.record.id == *id);
        let is_new = |record: &BackupRecord| {
            record.parent_backup_id.is_some_and(|parent| is_planned(&parent)) && !is_planned(&record.id)
        };
        Ok(plan.steps.iter().all(|step| goes(&step.record.id)) && !records.iter().any(is_new))
    }

    /// Looks again whether the WAL `record` needs has arrived, and saves what came of it. Returns the status.
    ///
    /// # Errors
    /// When the archive cannot be read, the record not be saved, or somebody works on the backup; also when it has FAILED and
    /// not for want of WAL that is there now.
    pub fn check_backup(&self, record: &mut BackupRecord) -> Result<BackupStatus, CheckBackupError> {
        let failed = record.status == BackupStatus::Failed;
        if failed && !failed_for_wal(record) {
            return Err(CheckBackupError::Failed);
        }
        let _lock = Lock::try_acquire(&self.layout().lock(&LockName::BackupId(record.id)))?;
        // Somebody may have worked on it until now.
        *record = self.catalog.load(&record.id)?;
        self.update_completeness(record)?;
        if failed && record.status == BackupStatus::Failed {
            return Err(CheckBackupError::Failed);
        }
        Ok(record.status)
    }
}

impl CheckBackupError {
    /// Whether somebody else works on the backup.
    pub const fn is_busy(&self) -> bool {
        matches!(self, Self::Lock(LockError::Busy { .. }))
    }
}

/// A backup that was not checked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckBackupError {
    /// It did not end well, whatever WAL there is.
    #[error("The validity of a failed backup cannot be checked")]
    Failed,
    /// Somebody works on it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It is gone.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The archive or the record cannot be used.
    #[error(transparent)]
    Completeness(#[from] crate::CompletenessError),
}
