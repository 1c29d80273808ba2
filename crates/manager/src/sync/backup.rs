//! `sync-backup`: one backup from the primary node.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{
    BackupId, BackupRecord, BackupStatus, DurableError, KeepTarget, ServerLayout, durable, next_of,
    previous_of,
};
use tapster_copy::live::{Reference, Reuse, Rules};
use tapster_copy::rsync::{Rsync, RsyncError, RsyncTree};
use tapster_copy::sync::FileSystem;

use super::SyncError;
use super::decide::Decision;
use super::primary::PrimaryInfo;
use super::transfer::{failed, fetched, paths, scratch};
use crate::backup::Watcher;
use crate::event::Event;
use crate::{Context, Server};

/// What became of a backup.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SyncedBackup {
    /// It was copied, and is `DONE` if all its WAL is here, else `WAITING_FOR_WALS`. Barman has it `DONE` at once.
    Copied(Box<BackupRecord>),
    /// It was here already.
    Already,
    /// The primary node has it no longer; it stays here until the retention policy is done with it.
    LocalOnly,
    /// The retention policy here would delete it at once.
    Obsolete,
    /// The primary node has it no longer, and only a part of it was here, which is gone.
    Purged,
}

/// Beside the record of a copy that broke off: what is there was brought to disk, so that its files can be told by size and time.
const RESUME: &str = "sync-resume";
/// How long somebody may work on the backup that another one builds on, before that is for the next run.
const PATIENCE: Duration = Duration::from_secs(30);

impl Server {
    /// Copies a backup from the primary node, by what [`Self::fetch_primary_info`] has kept: Barman's `sync-backup`.
    ///
    /// The record is `SYNCING` until all files are here and on disk. What an earlier attempt has copied is not copied again. A
    /// backup that the primary node deletes meanwhile does not become a backup here.
    ///
    /// # Errors
    /// When it is not copied; the record is `FAILED` then if the copy had begun, but `SYNCING` if it was stopped.
    pub fn sync_backup(&self, backup: &str, context: &Context<'_>) -> Result<SyncedBackup, SyncError> {
        let server = || self.name().to_owned();
        if !self.config.is_passive() {
            return Err(SyncError::NotPassive { server: server() });
        }
        let info = self.load_primary_info()?;
        let absent = |_| SyncError::Absent { backup: backup.chars().take(80).collect(), server: server() };
        let id: BackupId = backup.parse().map_err(absent)?;
        match self.decide_sync(&id, &info, context)? {
            Decision::Copy(_) | Decision::Purge(_) => {}
            Decision::Synced => return Ok(SyncedBackup::Already),
            Decision::LocalOnly => return Ok(SyncedBackup::LocalOnly),
            Decision::Obsolete => return Ok(SyncedBackup::Obsolete),
        }
        self.create_directories()?;
        let lock = |name| match Lock::try_acquire(&self.layout().lock(&name)) {
            Err(LockError::Busy { .. }) => Err(SyncError::BackupBusy { backup: id, server: server() }),
            other => Ok(other?),
        };
        let _sync = lock(LockName::SyncBackup(id))?;
        // Somebody may have worked on it until now.
        match self.decide_sync(&id, &info, context)? {
            Decision::Copy(remote) => {
                // So that nobody deletes what is being copied.
                let _backup = lock(LockName::BackupId(id))?;
                self.copy_backup(*remote, &info, context)
            }
            Decision::Purge(local) => {
                context.tell(Event::Warning(format!(
                    "Backup {id} is absent on {} server and is incomplete locally, purging local backup",
                    self.name()
                )));
                durable::remove_file(self.catalog.disk(), &self.layout().annotation(&id, RESUME))?;
                let plan = self.plan_delete(&local)?;
                self.delete(&plan, context)?;
                Ok(SyncedBackup::Purged)
            }
            Decision::Synced => Ok(SyncedBackup::Already),
            Decision::LocalOnly => Ok(SyncedBackup::LocalOnly),
            Decision::Obsolete => Ok(SyncedBackup::Obsolete),
        }
    }

    fn copy_backup(
        &self,
        mut record: BackupRecord,
        info: &PrimaryInfo,
        context: &Context<'_>,
    ) -> Result<SyncedBackup, SyncError> {
        let (id, layout) = (record.id, self.layout());
        let resume = layout.annotation(&id, RESUME);
        // What was copied before the host went down, say, may be there by name and time only.
        let in_doubt = layout.backup_dir(&id).is_dir() && !resume.exists();
        let records = self.catalog.records()?;
        // Children that are not here would be looked for in vain; each that comes is entered then.
        record.children_backup_ids.retain(|child| records.iter().any(|other| other.id == *child));
        record.status = BackupStatus::Syncing;
        record.error = None;
        self.catalog.save(&record)?;
        // Before the files: one that is `DONE` is known to what it builds on, whenever the power goes.
        self.enter_in_parent(&record, context)?;
        // From here on it says nothing any more.
        durable::remove_file(self.catalog.disk(), &resume)?;
        let copied = self.copy_files(&record, &records, info, in_doubt, context);
        match copied.and_then(|keep| self.finish_copy(&mut record, keep, context)) {
            Ok(()) => Ok(SyncedBackup::Copied(Box::new(record))),
            Err(error) => {
                // A doubt that was not cleared to the end stays.
                if !in_doubt && self.sync_partial(&id).is_ok() {
                    durable::write_new(self.catalog.disk(), &resume, b"", None)?;
                }
                if matches!(error, SyncError::Stopped) || context.stopped() {
                    return Err(SyncError::Stopped);
                }
                let reason = error.to_string();
                let error = SyncError::Backup { backup: id, server: self.name().to_owned(), reason };
                record.status = BackupStatus::Failed;
                record.error = Some(error.to_string().lines().next().unwrap_or_default().to_owned());
                self.catalog.save(&record)?;
                Err(error)
            }
        }
    }

    /// Brings what was copied so far to disk.
    fn sync_partial(&self, id: &BackupId) -> Result<(), SyncError> {
        let dir = self.layout().backup_dir(id);
        let failed = |error| SyncError::Rsync(RsyncError::from(error));
        FileSystem::open(&dir).and_then(|file_system| file_system.sync()).map_err(failed)
    }

    /// Returns how the backup is kept there.
    fn copy_files(
        &self,
        record: &BackupRecord,
        records: &[BackupRecord],
        info: &PrimaryInfo,
        in_doubt: bool,
        context: &Context<'_>,
    ) -> Result<Option<KeepTarget>, SyncError> {
        let (id, layout) = (record.id, self.layout());
        let begin = Instant::now();
        let mut rsync = self.primary_rsync()?;
        let source = format!("{}/{id}", info.config.basebackups_directory.trim_end_matches('/'));
        let mut tree = RsyncTree::new("basebackup", &source, layout.backup_dir(&id), left_out(record));
        tree.limit = self.bandwidth_limit();
        tree.reference = reference(layout, record, records);
        if record.compression.is_some() || record.encryption.is_some() {
            // Archives are never like those of another backup, and a long one is to go on where it broke off.
            (rsync.reuse, tree.reference) = (Reuse::Off, None);
        }
        let existed = layout.backup_dir(&id).is_dir();
        durable::create_dir_all(self.catalog.disk(), &layout.backup_dir(&id), None)?;
        context.tell(Event::CopyStarting { backup: id, program: "rsync", jobs: None, to: None });
        let observer = Watcher::new(context, record.size);
        let retried = |attempt: u32, error: &RsyncError| {
            context.tell(Event::RsyncRetry {
                attempt,
                error: error.to_string(),
                retry_in: rsync.retry_sleep,
            });
        };
        if existed {
            rsync.prepare_again(&tree, &context.stop).map_err(failed)?;
        }
        rsync.in_doubt = in_doubt;
        rsync.copy(std::slice::from_ref(&tree), None, &observer, &retried, &context.stop).map_err(failed)?;
        observer.finish();
        let keep = self.confirm(&rsync, &id, info, context)?;
        self.link_tablespaces(record)?;
        for dir in [layout.backup_dir(&id), layout.base.clone()] {
            durable::sync_dir(self.catalog.disk(), &dir)?;
        }
        context.tell(Event::CopyDone { elapsed: begin.elapsed() });
        Ok(keep)
    }

    /// Whether the primary node has the backup still, now that all is here that it had when the copy began: else a part of it may
    /// have been gone before.
    fn confirm(
        &self,
        rsync: &Rsync,
        id: &BackupId,
        info: &PrimaryInfo,
        context: &Context<'_>,
    ) -> Result<Option<KeepTarget>, SyncError> {
        let dir = scratch(&self.layout().meta)?;
        let meta = format!("{}/meta", info.config.backup_directory.trim_end_matches('/'));
        let [record, deleting, keep] =
            ["backup.info", "delete_this", "keep"].map(|key| format!("{id}-{key}"));
        let names = paths([&record, &deleting, &keep]);
        rsync.fetch(&meta, &names, dir.path(), None, &context.stop).map_err(failed)?;
        let gone = || SyncError::Absent { backup: id.to_string(), server: self.name().to_owned() };
        if fetched(&dir.path().join(&deleting))?.is_some() {
            return Err(gone());
        }
        if fetched(&dir.path().join(&record))?.is_none() {
            // Where versions before 3.13.2 have it.
            let old = format!("{}/{id}", info.config.basebackups_directory.trim_end_matches('/'));
            rsync.fetch(&old, &paths(["backup.info"]), dir.path(), None, &context.stop).map_err(failed)?;
            fetched(&dir.path().join("backup.info"))?.ok_or_else(gone)?;
        }
        let data = self.layout().data_dir(id);
        if std::fs::read_dir(&data).map_or(true, |mut entries| entries.next().is_none()) {
            return Err(gone());
        }
        // One that cannot be read, since it is torn, say, keeps it there, and so it does here.
        Ok(fetched(&dir.path().join(&keep))?.map(|text| text.trim().parse().unwrap_or(KeepTarget::Full)))
    }

    /// As a backup by streaming has them: into its own directories.
    fn link_tablespaces(&self, record: &BackupRecord) -> Result<(), SyncError> {
        let links = self.layout().data_dir(&record.id).join("pg_tblspc");
        for space in record.tablespaces.iter().filter(|_| links.is_dir()) {
            let target = self.layout().tablespace_dir(&record.id, space.oid);
            if !target.is_dir() {
                continue;
            }
            match durable::symlink_unsynced(self.catalog.disk(), &target, &links.join(space.oid.to_string()))
            {
                Err(DurableError::Exists { .. }) => {}
                done => done?,
            }
        }
        if links.is_dir() {
            durable::sync_dir(self.catalog.disk(), &links)?;
        }
        Ok(())
    }

    fn finish_copy(
        &self,
        record: &mut BackupRecord,
        keep: Option<KeepTarget>,
        context: &Context<'_>,
    ) -> Result<(), SyncError> {
        if let Some(keep) = keep {
            self.carry_keep(&record.id, keep)?;
        }
        // Another child that came meanwhile may have written it as it was before.
        self.enter_in_parent(record, context)?;
        // Without its WAL it is no backup yet, for the sake of which the retention policy may delete another.
        let complete = self.wal_is_complete(record).unwrap_or(false);
        record.status = if complete { BackupStatus::Done } else { BackupStatus::WaitingForWals };
        Ok(self.catalog.save(record)?)
    }

    /// A parent's record names its children. It is written under its lock, since whoever looks for its WAL writes it as well;
    /// under a shared one, since it may be restored for hours.
    fn enter_in_parent(&self, record: &BackupRecord, context: &Context<'_>) -> Result<(), SyncError> {
        let Some(id) = record.parent_backup_id else { return Ok(()) };
        if self.catalog.load(&id)?.children_backup_ids.contains(&record.id) {
            return Ok(());
        }
        let _lock = self.wait_for_backup(id, context)?;
        let mut parent = self.catalog.load(&id)?;
        if !parent.children_backup_ids.contains(&record.id) {
            parent.children_backup_ids.push(record.id);
            parent.children_backup_ids.sort_unstable();
            self.catalog.save(&parent)?;
        }
        Ok(())
    }

    fn wait_for_backup(&self, id: BackupId, context: &Context<'_>) -> Result<Lock, SyncError> {
        let path = self.layout().lock(&LockName::BackupId(id));
        let patience = Instant::now() + PATIENCE;
        loop {
            match Lock::try_share(&path) {
                Err(LockError::Busy { .. }) if context.stopped() => return Err(SyncError::Stopped),
                Err(LockError::Busy { .. }) if Instant::now() < patience => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(LockError::Busy { .. }) => {
                    return Err(SyncError::ParentBusy { parent: id, server: self.name().to_owned() });
                }
                other => return Ok(other?),
            }
        }
    }
}

/// Everything but the record, which lies elsewhere now, Barman's old lock, and the links to tablespaces, which lead to places of
/// the primary node.
fn left_out(record: &BackupRecord) -> Rules {
    let mut elsewhere: BTreeSet<PathBuf> = ["backup.info", ".backup.lock"].map(PathBuf::from).into();
    elsewhere.extend(
        record.tablespaces.iter().map(|space| PathBuf::from(format!("data/pg_tblspc/{}", space.oid))),
    );
    Rules::Stored { elsewhere }
}

/// The next backup, which will stay longer, else the one before.
fn reference(layout: &ServerLayout, record: &BackupRecord, records: &[BackupRecord]) -> Option<Reference> {
    let (other, since) = match next_of(records, &record.id) {
        Some(next) => (next, record.begin_time),
        None => {
            let previous = previous_of(records, &record.id)?;
            (previous, previous.begin_time)
        }
    };
    let dir = layout.backup_dir(&other.id);
    let usable = other.systemid == record.systemid && other.compression.is_none() && dir.is_dir();
    usable.then(|| Some(Reference::new(dir, since?.unix_timestamp()))).flatten()
}
