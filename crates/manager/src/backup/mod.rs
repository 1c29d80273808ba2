//! Base backups: one frame for all methods.
//!
//! The order of work is Barman 3.19's, so that its users see what they know: check, lock, record, begin, copy, end, wait for
//! WAL. The frame (this file, `run`, `describe`, `end`) is the same for every `backup_method`; how the files come is behind
//! the seam in `method`. What is different from Barman: files are checked on the way where there is something to check
//! them with, and everything is on disk before the record says so.

#[cfg(feature = "cloud")]
mod bucket;
mod describe;
mod encrypt;
mod end;
mod error;
pub(crate) mod files;
mod incremental;
mod method;
mod options;
mod postgres;
mod run;

#[cfg(feature = "cloud")]
pub(crate) use describe::describe;
pub(crate) use files::Watcher;
#[cfg(feature = "cloud")]
pub(crate) use method::broken;

pub use error::{BackupError, BackupStepError};
pub use incremental::IncrementalError;
pub use options::{BackupName, BackupNameError, BackupOptions};
pub use postgres::FormError;

use std::time::Duration;

use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{BackupId, BackupRecord, BackupStatus};
use walfile::SegmentName;

use self::files::Files;
use self::method::{Job, Method};
use self::postgres::Postgres;
use crate::config::{BackupMethod, HookEvent};
use crate::event::Event;
use crate::{CheckOptions, Context, Server};

/// A finished backup.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BackupReport {
    /// Its record, as stored.
    pub record: BackupRecord,
    /// The last WAL file it needs, where that did not come within [`BackupOptions::wait_timeout`]. The backup is there all
    /// the same, and becomes DONE when the file is archived.
    pub missing_wal: Option<SegmentName>,
    /// Somebody asked to stop while only WAL was waited for, which is no harm to the backup.
    pub wait_interrupted: bool,
}

impl Server {
    /// Takes a base backup and records it.
    ///
    /// # Errors
    /// [`BackupError::Failed`] leaves a record with the status FAILED. A [`BackupError::Step`] from after the copy (the
    /// clean-up of older WAL) leaves a complete backup. All others leave the catalog as it was. Being asked to stop while
    /// waiting for WAL is no error: see [`BackupReport::wait_interrupted`].
    pub fn backup(
        &self,
        options: &BackupOptions,
        context: &Context<'_>,
    ) -> Result<BackupReport, BackupError> {
        if let Some(parent) = &options.incremental {
            self.check_incremental(parent, context)?;
        }
        let job = Job { server: self, options, context };
        #[cfg(feature = "cloud")]
        if let Some(target) = bucket::Target::of(&job)? {
            return self.backup_into(target, &job);
        }
        match self.config.backup_method {
            BackupMethod::Postgres => {
                self.refuse_options(options)?;
                self.backup_by(&Postgres::of(&self.config, options)?, &job)
            }
            BackupMethod::LocalRsync => self.backup_files(&Files::local(&job), &job),
            BackupMethod::Rsync => self.backup_files(&Files::remote(&job), &job),
            BackupMethod::LocalToCloud => Err(self.unsupported(
                "backup_method = local-to-cloud without an address in basebackups_directory".to_owned(),
            )),
            BackupMethod::Snapshot => {
                let method = self.config.text("backup_method").unwrap_or_default();
                Err(self.unsupported(format!("backup_method = {method}")))
            }
        }
    }

    /// Into an object store. What does not go together with one, the check says.
    #[cfg(feature = "cloud")]
    fn backup_into(&self, target: bucket::Target, job: &Job<'_>) -> Result<BackupReport, BackupError> {
        self.refuse_options(job.options)?;
        if job.options.incremental.is_some() {
            return Err(self.unsupported("an incremental backup into an object store".to_owned()));
        }
        match self.config.backup_method {
            BackupMethod::LocalToCloud => {
                let method = bucket::LocalToBucket::new(target, job);
                self.backup_by(&method, job)
            }
            _ => self.backup_by(&bucket::StreamToBucket(target), job),
        }
    }

    /// A file copy, which gets a manifest when one is asked for.
    fn backup_files(&self, files: &Files, job: &Job<'_>) -> Result<BackupReport, BackupError> {
        if self.config.backup_options.exclusive {
            return Err(self.unsupported("backup_options = exclusive_backup".to_owned()));
        }
        let report = self.backup_by(files, job)?;
        if files.makes_manifest(job) {
            job.context
                .tell(Event::ManifestGenerated { backup: report.record.id, server: self.name().to_owned() });
        }
        Ok(report)
    }

    /// Options that the method does not obey.
    fn refuse_options(&self, options: &BackupOptions) -> Result<(), BackupError> {
        if options.manifest == Some(false) {
            return Err(self.unsupported("--no-manifest".to_owned()));
        }
        Ok(())
    }

    fn backup_by<M: Method>(&self, method: &M, job: &Job<'_>) -> Result<BackupReport, BackupError> {
        let Job { options, context, .. } = *job;
        let check =
            self.check(&CheckOptions { timeout: options.check_timeout, ..CheckOptions::default() }, context);
        let failed: Vec<String> = check.blocking().map(|line| line.name.clone()).collect();
        if !failed.is_empty() {
            return Err(BackupError::Check { server: self.name().to_owned(), failed });
        }
        self.create_directories().map_err(BackupStepError::from)?;
        let _lock = match Lock::try_acquire(&self.layout().lock(&LockName::Backup)) {
            Ok(lock) => lock,
            Err(LockError::Busy { .. }) => return Err(BackupError::Running),
            Err(other) => return Err(BackupStepError::from(other).into()),
        };
        self.tidy();
        let started = context.now();
        let mut record = BackupRecord::new(self.free_id(context)?);
        let held = options.incremental.as_ref().map(|parent| self.hold_chain(parent, record.id, context));
        let held = held.transpose()?;
        record.server_name = Some(self.name().to_owned());
        record.mode = Some(method.mode());
        record.backup_name = options.name.as_ref().map(|name| name.as_str().to_owned());
        record.parent_backup_id = options.incremental.as_ref().map(|parent| parent.id);
        self.save(&record)?;

        let mut unmade = None;
        let mut action = "starting backup";
        let result = record
            .parent_backup_id
            .map_or(Ok(()), |parent| self.adopt(parent, record.id))
            .and_then(|()| self.hooks_before_backup(&record, context))
            .and_then(|()| self.run_backup(method, &mut record, job, &mut action, &mut unmade));
        if let Err(source) = result {
            record.status = BackupStatus::Failed;
            let text = source.to_string();
            record.error = Some(format!("failure {action} ({})", text.lines().next().unwrap_or_default()));
            // Why the backup failed matters more than why that could not be written down.
            if let Err(error) = self.save(&record) {
                context.tell(Event::Warning(format!("cannot record that the backup failed: {error}")));
            }
            self.hooks_after_backup(&record, context);
            return Err(BackupError::Failed { id: record.id, action, source: Box::new(source) });
        }
        // What is left is to wait for WAL: whoever deletes the chain from now on takes this backup along.
        drop(held);
        let report = self.end_backup(record, options, started, context)?;
        // The backup is complete all the same.
        match unmade {
            Some(error) => Err(BackupStepError::Manifest(Box::new(error)).into()),
            None => Ok(report),
        }
    }

    fn hooks_before_backup(
        &self,
        record: &BackupRecord,
        context: &Context<'_>,
    ) -> Result<(), BackupStepError> {
        if self.has_hooks(HookEvent::Backup) {
            self.hooks_before(HookEvent::Backup, &self.backup_variables(record), context)?;
            if context.stopped() {
                return Err(BackupStepError::Stopped);
            }
        }
        Ok(())
    }

    pub(super) fn hooks_after_backup(&self, record: &BackupRecord, context: &Context<'_>) {
        if self.has_hooks(HookEvent::Backup) {
            self.hooks_after(HookEvent::Backup, &self.backup_variables(record), context);
        }
    }

    fn unsupported(&self, what: String) -> BackupError {
        BackupError::Unsupported { what, server: self.name().to_owned() }
    }

    /// An id nobody has: the local time, or the next second when it is taken (a clock set back).
    fn free_id(&self, context: &Context<'_>) -> Result<BackupId, BackupStepError> {
        loop {
            let id = BackupId::from_local(context.now());
            let is_here =
                [self.layout().record(&id), self.layout().backup_dir(&id)].iter().any(|path| path.exists());
            let is_there = || self.catalog.backup_objects().map_or(Ok(false), |objects| objects.has_any(&id));
            if !is_here && !is_there()? {
                return Ok(id);
            }
            if context.stopped() {
                return Err(BackupStepError::Stopped);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(super) fn save(&self, record: &BackupRecord) -> Result<(), BackupStepError> {
        Ok(self.catalog.save(record)?)
    }
}
