//! Carrying out a restore plan.
//!
//! The order keeps a half-done restore from being mistaken for a cluster: files, WAL, settings, everything synced, and only
//! then `global/pg_control`, without which PostgreSQL does not start.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{BackupId, BackupRecord, CatalogError};
use tapster_copy::CopyObserver;
use tapster_copy::extract::ControlFile;
use time::OffsetDateTime;
use walfile::WalName;

use super::control::{self, CONFIGURATION};
use super::destination::{Destination, Job, NewFile, WalFiles, io_at};
use super::elsewhere::Elsewhere;
use super::here::Here;
use super::occupied::Claim;
use super::recovery_conf::{describe_target, recovery_conf, settings_file};
use super::settings::{self, SettingAt};
use super::{RestoreError, RestorePlan};
use crate::event::{Event, Progress};
use crate::{Context, Server};

pub(super) const CONTROL: &str = "global/pg_control";
/// Files Barman reports when they are not in the backup.
const EXPECTED: [&str; 4] = ["postgresql.conf", "pg_hba.conf", "pg_ident.conf", "postgresql.auto.conf"];
/// How long a restore waits for whoever changes the backup. Barman's `check-backup` does so for a moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// What a restore did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RestoreReport {
    /// The plan it followed.
    pub plan: RestorePlan,
    /// Settings that were replaced.
    pub changes: Vec<SettingAt>,
    /// Settings the operator must review.
    pub warnings: Vec<SettingAt>,
    /// Configuration files that are not in the backup.
    pub missing_files: Vec<String>,
    /// When it began.
    pub started: OffsetDateTime,
    /// How long it took.
    pub elapsed: Duration,
}

/// Counts bytes and passes them on.
pub(super) struct Bytes<'a, 'c> {
    pub(super) context: &'a Context<'c>,
    pub(super) done: AtomicU64,
    pub(super) total: u64,
}

impl CopyObserver for Bytes<'_, '_> {
    fn bytes(&self, count: u64) {
        let done = self.done.fetch_add(count, Ordering::Relaxed) + count;
        self.context.observer.progress(Progress { done, total: Some(self.total) });
    }
}

impl Server {
    /// The restore itself, without the scripts around it.
    pub(crate) fn execute_restore(
        &self,
        plan: RestorePlan,
        context: &Context<'_>,
    ) -> Result<RestoreReport, RestoreError> {
        let started = context.now();
        let mut locks = Vec::with_capacity(plan.chain.len());
        for record in &plan.chain {
            locks.push(self.keep_from_deletion(record.id, context)?);
        }
        context.tell(Event::RestoreStarting {
            server: self.name().to_owned(),
            backup: plan.record.id,
            destination: plan.destination.clone(),
            remote: plan.host.as_ref().map(|host| host.command().to_owned()),
        });
        for warning in &plan.warnings {
            context.tell(Event::Warning(warning.clone()));
        }
        if let Some(description) = describe_target(&plan) {
            context.tell(Event::RecoveryTarget { description });
        }
        let job = Job { server: self, plan: &plan, context };
        let elsewhere = plan.host.clone().map(|host| Elsewhere::new(host, &plan.destination));
        let destination: &dyn Destination = elsewhere.as_ref().map_or(&Here, |there| there);
        if plan.options.staging_is_given && plan.chain.len() == 1 {
            context.tell(Event::NothingStaged);
        }
        // What goes to another host is locked there.
        let claim = elsewhere.is_none().then(|| Claim::take(&plan, self.name())).transpose()?;
        if elsewhere.is_none() && plan.delta.is_some() {
            self.clear(&plan, context).map_err(|error| match error {
                error @ RestoreError::ServerRunning { .. } => error,
                _ if context.stopped() => job.stopped(),
                error => error,
            })?;
        }
        context.tell(Event::CopyingBaseBackup);
        for place in &plan.tablespaces {
            context.tell(Event::RestoringTablespace {
                oid: place.oid,
                name: place.name.clone(),
                location: place.location.clone(),
            });
        }
        let steps = || {
            let control = destination.copy_base(job)?;
            if self.holds_archives(&plan.record) {
                judge_control(job, destination, &control)?;
            }
            copy_wals(job, destination)?;
            // One of them may be made for the settings.
            let missing_files = destination.missing(job, &EXPECTED)?;
            let settings = write_settings(job, destination)?;
            destination.seal(job, &control)?;
            Ok((settings, missing_files))
        };
        // Whatever a program that was stopped says, that is why.
        let ((changes, warnings), missing_files) =
            steps().map_err(|error| if context.stopped() { job.stopped() } else { error })?;
        claim.map_or(Ok(()), Claim::release)?;
        let elapsed = (context.now() - started).try_into().unwrap_or_default();
        Ok(RestoreReport { plan, changes, warnings, missing_files, started, elapsed })
    }

    fn keep_from_deletion(&self, id: BackupId, context: &Context<'_>) -> Result<Option<Lock>, RestoreError> {
        let path = self.layout().lock(&LockName::BackupId(id));
        let patience = Instant::now() + LOCK_PATIENCE;
        let lock = loop {
            match Lock::try_share(&path) {
                Ok(lock) => break Some(lock),
                Err(source @ LockError::Busy { .. }) => {
                    if Instant::now() >= patience || context.stopped() {
                        return Err(RestoreError::Busy { id, source });
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
                // A catalog one can only read is still one to restore from.
                Err(error) => {
                    let text = format!("backup {id} must not be deleted while it is restored: {error}");
                    context.tell(Event::Warning(text));
                    break None;
                }
            }
        };
        let is_going = self.catalog.deletions_in_progress()?.contains(&id);
        match self.catalog.load(&id) {
            Ok(_) if !is_going => Ok(lock),
            Ok(_) | Err(CatalogError::Unknown { .. }) => Err(RestoreError::Deleted { id }),
            Err(error) => Err(error.into()),
        }
    }

    /// The control file of a backup that is kept as a directory.
    pub(super) fn stored_control(&self, record: &BackupRecord) -> Result<ControlFile, RestoreError> {
        let path = self.layout().data_dir(&record.id).join(CONTROL);
        ControlFile::read(&path).map_err(io_at(&path))
    }
}

/// What the plan could not see inside the archives.
fn judge_control(
    job: Job<'_>,
    destination: &dyn Destination,
    control: &ControlFile,
) -> Result<(), RestoreError> {
    let files = destination.read(job, &CONFIGURATION.map(str::to_owned))?;
    let found = control::judge(&control.content, &files, &job.plan.record);
    let id = job.plan.record.id;
    let warnings = found.map_err(|problem| RestoreError::Control { id, problem })?;
    warnings.into_iter().for_each(|warning| job.context.tell(Event::Warning(warning)));
    Ok(())
}

fn copy_wals(job: Job<'_>, destination: &dyn Destination) -> Result<(), RestoreError> {
    let Job { plan, context, .. } = job;
    let Some(dir) = &plan.wal_directory else { return Ok(()) };
    context.tell(Event::CopyingWals);
    let mut names: Vec<WalName> = plan.extras.clone();
    names.extend(plan.wal.segments.iter().map(|segment| WalName::Segment(*segment)));
    let partial = plan.wal.partial.filter(|_| plan.options.partial_wal).map(WalName::from);
    // PostgreSQL must not archive again what came out of the archive.
    let marked = !plan.pitr;
    destination.copy_wals(job, &WalFiles { dir, names: &names, partial, marked })
}

/// Neutralises the old server's settings, adds those of the recovery, and leaves Barman's note.
fn write_settings(
    job: Job<'_>,
    destination: &dyn Destination,
) -> Result<(Vec<SettingAt>, Vec<SettingAt>), RestoreError> {
    let Job { server, plan, context } = job;
    let user = server.environment.os_user.clone().unwrap_or_default();
    let conf = recovery_conf(plan, server.name(), &user);
    if conf.is_some() {
        context.tell(Event::GeneratingRecoveryConf);
    }
    if let Some(command) = plan.options.restore_command.as_deref().filter(|_| plan.get_wal) {
        let command = settings::quote(command);
        context.tell(Event::CustomRestoreCommand { command });
    }
    context.tell(Event::IdentifyingDangerousSettings);
    let mut names: Vec<String> = CONFIGURATION.iter().map(|name| (*name).to_owned()).collect();
    let made = settings_file(plan);
    for file in conf.iter().map(|conf| &conf.file).chain(&made) {
        if !names.contains(file) {
            names.push(file.clone());
        }
    }
    let (mut changes, mut warnings, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for (name, original) in names.iter().zip(destination.read(job, &names)?) {
        let added = conf.as_ref().filter(|conf| conf.file == *name);
        if original.is_none() && added.is_none() && made.as_ref() != Some(name) {
            continue;
        }
        let mut result = settings::neutralise(name, original.as_deref().unwrap_or_default());
        if let Some(conf) = added {
            settings::append(&mut result.content, &conf.lines);
        }
        if let Some(original) = original {
            files.push(NewFile::private(format!("{name}.origin"), original));
        }
        files.push(NewFile::private(name, result.content));
        changes.extend(result.changes);
        warnings.extend(result.warnings);
    }
    if let Some(signal) = conf.and_then(|conf| conf.signal) {
        files.push(NewFile::private(signal, Vec::new()));
    }
    let note = plan.record.to_text().into_bytes();
    files.push(NewFile { name: ".barman-recover.info".to_owned(), content: note, mode: 0o644 });
    destination.write(job, files)?;
    Ok((changes, warnings))
}
