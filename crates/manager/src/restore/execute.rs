//! Carrying out a restore plan.
//!
//! The order keeps a half-done restore from being mistaken for a cluster: files, WAL, settings, everything synced, and only
//! then `global/pg_control`, without which PostgreSQL does not start.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{BackupId, CatalogError};
use tapster_copy::extract::ControlFile;
use tapster_copy::tree::{Plan, RESTORE_EXCLUDES, TreeError, TreeOptions};
use tapster_copy::{CopyObserver, publish, sync};
use time::OffsetDateTime;
use walfile::{SegmentName, WalName};

use super::archives::is_archived;
use super::recovery_conf::{describe_target, recovery_conf};
use super::settings::{self, SettingAt};
use super::{RestoreError, RestorePlan};
use crate::event::{Event, Progress};
use crate::{Context, Server};

const CONTROL: &str = "global/pg_control";
/// Configuration files that are looked through.
const CONFIGURATION: [&str; 2] = ["postgresql.conf", "postgresql.auto.conf"];
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

pub(super) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> RestoreError + '_ {
    move |source| RestoreError::Io { path: path.to_owned(), source }
}

impl Server {
    /// Carries out a plan. The backup is locked as long as that takes, so that neither we nor Barman delete it meanwhile;
    /// several restores of one backup may run side by side.
    ///
    /// # Errors
    /// When the backup is gone or in use, or where it broke off; the destination then has no `pg_control`.
    pub fn restore(&self, plan: RestorePlan, context: &Context<'_>) -> Result<RestoreReport, RestoreError> {
        let started = context.now();
        let mut locks = Vec::with_capacity(plan.chain.len());
        for record in &plan.chain {
            locks.push(self.keep_from_deletion(record.id, context)?);
        }
        context.tell(Event::RestoreStarting {
            server: self.name().to_owned(),
            backup: plan.record.id,
            destination: plan.destination.clone(),
        });
        for warning in &plan.warnings {
            context.tell(Event::Warning(warning.clone()));
        }
        if let Some(description) = describe_target(&plan) {
            context.tell(Event::RecoveryTarget { description });
        }
        let control = self.copy_base(&plan, context)?;
        if let Some(dir) = &plan.wal_directory {
            self.copy_wals(&plan, dir, context)?;
        }
        let (changes, warnings) = self.write_settings(&plan, context)?;
        let missing_files = EXPECTED
            .iter()
            .filter(|name| !plan.destination.join(name).exists())
            .map(|name| (*name).to_owned())
            .collect();
        self.seal(&plan, control)?;
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

    /// Everything but the control file, which is returned where it is not a file of the backup.
    fn copy_base(
        &self,
        plan: &RestorePlan,
        context: &Context<'_>,
    ) -> Result<Option<ControlFile>, RestoreError> {
        context.tell(Event::CopyingBaseBackup);
        for place in &plan.tablespaces {
            context.tell(Event::RestoringTablespace {
                oid: place.oid,
                name: place.name.clone(),
                location: place.location.clone(),
            });
        }
        if plan.chain.len() > 1 {
            return self.combine_base(plan, context);
        }
        if is_archived(&plan.record) {
            return self.unpack_base(plan, context).map(Some);
        }
        self.copy_trees(plan, context)?;
        Ok(None)
    }

    fn copy_trees(&self, plan: &RestorePlan, context: &Context<'_>) -> Result<(), RestoreError> {
        let source = self.layout().data_dir(&plan.record.id);
        let threads = plan.options.jobs.unwrap_or(self.config.parallel_jobs as usize).max(2);
        let options = |excludes: &[&str], links: BTreeMap<u32, PathBuf>| {
            let mut options = TreeOptions::default();
            options.threads = threads;
            options.excludes = excludes.iter().map(|pattern| (*pattern).to_owned()).collect();
            options.tablespaces = links;
            options.root_mode = None;
            options.last = None;
            options
        };
        let links: BTreeMap<u32, PathBuf> =
            plan.tablespaces.iter().map(|place| (place.oid, place.location.clone())).collect();
        let mut excludes = RESTORE_EXCLUDES.to_vec();
        excludes.extend(["/global/pg_control", "/recovery.signal", "/standby.signal"]);
        let mut trees = vec![(Plan::new(&source, options(&excludes, links))?, plan.destination.clone())];
        for place in &plan.tablespaces {
            let source = self.layout().tablespace_dir(&plan.record.id, place.oid);
            trees.push((Plan::new(&source, options(&[], BTreeMap::new()))?, place.location.clone()));
        }
        let total = trees.iter().map(|(tree, _)| tree.bytes).sum();
        let bytes = Bytes { context, done: AtomicU64::new(0), total };
        for (tree, target) in &trees {
            tree.execute(target, &bytes, &context.stop).map_err(|error| match error {
                TreeError::Stopped => RestoreError::Stopped { destination: plan.destination.clone() },
                other => RestoreError::Copy(other),
            })?;
        }
        for place in &plan.tablespaces {
            link_tablespace(&plan.destination, place.oid, &place.location)?;
        }
        Ok(())
    }

    fn copy_wals(&self, plan: &RestorePlan, dir: &Path, context: &Context<'_>) -> Result<(), RestoreError> {
        context.tell(Event::CopyingWals);
        let status = dir.join("archive_status");
        sync::create_dir_all(dir, 0o700).map_err(TreeError::from)?;
        sync::create_dir_all(&status, 0o700).map_err(TreeError::from)?;
        let mut names: Vec<WalName> = plan.extras.clone();
        names.extend(plan.wal.segments.iter().map(|segment| WalName::Segment(*segment)));
        self.fetch_all(plan, &names, dir, context)?;
        if let Some(partial) = plan.wal.partial.filter(|_| plan.options.partial_wal) {
            context.tell(Event::CopyingPartialWals);
            self.fetch(plan, partial.into(), dir, context)?;
        }
        if !plan.pitr {
            // PostgreSQL must not archive again what came out of the archive.
            context.tell(Event::GeneratingArchiveStatus);
            for name in &names {
                let path = status.join(format!("{name}.done"));
                create(&path)?.sync_all().map_err(io_at(&path))?;
            }
        }
        sync::directory(&status).map_err(TreeError::from)?;
        sync::directory(dir).map_err(TreeError::from)?;
        Ok(())
    }

    /// Decompresses side by side: one thread for each processor, one file each at a time.
    fn fetch_all(
        &self,
        plan: &RestorePlan,
        names: &[WalName],
        dir: &Path,
        context: &Context<'_>,
    ) -> Result<(), RestoreError> {
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<RestoreError>> = Mutex::new(None);
        let has_failed = || failure.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(names.len().max(1));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if has_failed() {
                            return;
                        }
                        if let Err(error) = self.fetch(plan, *name, dir, context) {
                            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        }
                    }
                });
            }
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// One file from the archive, durably, under the name PostgreSQL will ask for.
    fn fetch(
        &self,
        plan: &RestorePlan,
        name: WalName,
        dir: &Path,
        context: &Context<'_>,
    ) -> Result<(), RestoreError> {
        if context.stopped() {
            return Err(RestoreError::Stopped { destination: plan.destination.clone() });
        }
        let size = plan.record.segment_size();
        let store = self.wal_store().with_segment_size(size);
        let mut reader = store.open(name, plan.options.partial_wal)?;
        let from = reader.found().path.clone();
        let path = dir.join(name.to_string());
        let mut file = create(&path)?;
        let mut buffer = vec![0; 256 * 1024];
        let mut written = 0u64;
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(RestoreError::Io { path: from, source }),
            };
            file.write_all(buffer.get(..count).unwrap_or_default()).map_err(io_at(&path))?;
            written += count as u64;
        }
        if let WalName::Segment(segment) = name {
            self.whole_segment(segment, &file, written, size.bytes(), &path)?;
        }
        file.sync_all().map_err(io_at(&path))
    }

    /// The beginning of a segment is filled up with zeros, where replay ends; anything else must be whole.
    fn whole_segment(
        &self,
        segment: SegmentName,
        file: &File,
        found: u64,
        expected: u64,
        path: &Path,
    ) -> Result<(), RestoreError> {
        if found == expected {
            return Ok(());
        }
        let whole = self.wal_store().find(segment.into(), false)?.is_some();
        if whole || found > expected {
            return Err(RestoreError::WalSize { segment, expected, found });
        }
        file.set_len(expected).map_err(io_at(path))
    }

    /// Neutralises the old server's settings and adds those of the recovery.
    fn write_settings(
        &self,
        plan: &RestorePlan,
        context: &Context<'_>,
    ) -> Result<(Vec<SettingAt>, Vec<SettingAt>), RestoreError> {
        let user = self.environment.os_user.clone().unwrap_or_default();
        let conf = recovery_conf(plan, self.name(), &user);
        if conf.is_some() {
            context.tell(Event::GeneratingRecoveryConf);
        }
        context.tell(Event::IdentifyingDangerousSettings);
        let mut files: Vec<String> = CONFIGURATION.iter().map(|name| (*name).to_owned()).collect();
        if let Some(conf) = &conf
            && !files.contains(&conf.file)
        {
            files.push(conf.file.clone());
        }
        let (mut changes, mut warnings) = (Vec::new(), Vec::new());
        for name in files {
            let path = plan.destination.join(&name);
            let original = match std::fs::read(&path) {
                Ok(bytes) => Some(bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(source) => return Err(RestoreError::Io { path, source }),
            };
            let added = conf.as_ref().filter(|conf| conf.file == name);
            if original.is_none() && added.is_none() {
                continue;
            }
            let mut result = settings::neutralise(&name, original.as_deref().unwrap_or_default());
            if let Some(conf) = added {
                settings::append(&mut result.content, &conf.lines);
            }
            if let Some(original) = &original {
                replace(&plan.destination.join(format!("{name}.origin")), original)?;
            }
            replace(&path, &result.content)?;
            changes.extend(result.changes);
            warnings.extend(result.warnings);
        }
        if let Some(signal) = conf.and_then(|conf| conf.signal) {
            replace(&plan.destination.join(signal), &[])?;
        }
        Ok((changes, warnings))
    }

    /// What Barman leaves in the destination; and at last the control file.
    fn seal(&self, plan: &RestorePlan, control: Option<ControlFile>) -> Result<(), RestoreError> {
        let destination = &plan.destination;
        let manifest = destination.join("backup_manifest");
        if manifest.exists() {
            let aside = destination.join(format!("backup_manifest.{}", plan.record.id));
            publish::rename(&manifest, &aside).map_err(TreeError::from)?;
        }
        publish::replace(&destination.join(".barman-recover.info"), 0o644, plan.record.to_text().as_bytes())
            .map_err(TreeError::from)?;
        sync::directory(destination).map_err(TreeError::from)?;
        let (content, mode) = match control {
            Some(control) => (control.content, control.mode),
            None => {
                let source = self.layout().data_dir(&plan.record.id).join(CONTROL);
                let content = std::fs::read(&source).map_err(io_at(&source))?;
                (content, source.metadata().map_err(io_at(&source))?.mode() & 0o777)
            }
        };
        publish::replace(&destination.join(CONTROL), mode, &content).map_err(TreeError::from)?;
        Ok(())
    }
}

fn create(path: &Path) -> Result<File, RestoreError> {
    File::options().write(true).create_new(true).mode(0o600).open(path).map_err(io_at(path))
}

fn replace(path: &Path, content: &[u8]) -> Result<(), RestoreError> {
    Ok(publish::replace(path, 0o600, content).map_err(TreeError::from)?)
}

/// Backups taken by file copy hold no links; those over the protocol do, and the copy has already turned them.
fn link_tablespace(destination: &Path, oid: u32, location: &Path) -> Result<(), RestoreError> {
    let link = destination.join("pg_tblspc").join(oid.to_string());
    if std::fs::symlink_metadata(&link).is_ok() {
        return Ok(());
    }
    std::os::unix::fs::symlink(location, &link).map_err(io_at(&link))?;
    sync::directory(&destination.join("pg_tblspc")).map_err(TreeError::from)?;
    Ok(())
}
