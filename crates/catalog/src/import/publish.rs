//! From the staging directory into the catalog.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use walfile::WalName;
use walfile::codec::{Compression, Level};

use super::wals::WalPlan;
use super::{Import, ImportError, ImportPlan, Imported};
use crate::durable::{self, Clobber, DurableError, Publish, Step};
use crate::locks::{Lock, LockError, LockName};
use crate::undo::Undo;
use crate::xlogdb::XlogDb;
use crate::{keep, transcode};

impl Import<'_> {
    /// Checks what came and makes it a backup of the catalog.
    ///
    /// # Errors
    /// When the WAL that came is incomplete, wrong, or contradicts the archive ([`ImportError::Conflict`]), or the storage
    /// fails. The catalog is then as it was.
    pub fn publish(mut self, plan: &ImportPlan, stop: &AtomicBool) -> Result<Imported, ImportError> {
        self.syncer.finish()?;
        self.make_links(plan)?;
        let wals = self.check_wals(plan, stop)?;
        self.stage_record(plan)?;
        sync_dirs(self.catalog, &self.staging)?;
        // A clean-up of old WAL that was planned before this backup was there must not end after it is.
        let layout = self.catalog.layout();
        let _cron = Lock::acquire(&layout.lock(&LockName::Cron), stop).map_err(stopped)?;
        let mut index = XlogDb::lock(self.catalog.disk(), layout, stop).map_err(|error| match error {
            crate::XlogDbError::Lock(LockError::Stopped { .. }) => ImportError::Stopped,
            other => other.into(),
        })?;
        let wals =
            self.compare(wals, &index, Undo { custom: plan.custom.as_ref(), gpg: plan.gpg.as_ref() })?;
        let mut imported =
            Imported { wals: wals.new.len(), already_archived: wals.there, ..Imported::default() };
        if stop.load(Ordering::Relaxed) {
            return Err(ImportError::Stopped);
        }
        let names: Vec<WalName> = wals.new.iter().map(|entry| entry.name).collect();
        let mut placed = Vec::new();
        let done = self.place_all(&names, &mut placed).and_then(|()| {
            self.list(&mut index, wals)?;
            Ok(durable::rename(
                self.catalog.disk(),
                &self.staged_backup(),
                &layout.backup_dir(&self.id),
                // What is no empty directory is never replaced by one.
                Clobber::Replace,
            )?)
        });
        if let Err(error) = done {
            // The rename itself may have happened, with only its durability in doubt: then nothing is taken back.
            if !layout.old_record(&self.id).exists() {
                self.take_back(&mut index, &placed);
                return Err(error);
            }
            imported.unsettled = Some(error.to_string());
        }
        self.published = true;
        drop(index);
        if let Err(error) = self.settle(plan) {
            imported.unsettled = Some(error.to_string());
        }
        Ok(imported)
    }

    fn make_links(&self, plan: &ImportPlan) -> Result<(), ImportError> {
        let (disk, layout) = (self.catalog.disk(), self.catalog.layout());
        for oid in &self.links {
            if !plan.record.tablespaces.iter().any(|tablespace| tablespace.oid == *oid) {
                return Err(ImportError::UnknownTablespace { oid: *oid });
            }
            let path = self.staged_backup().join("data/pg_tblspc").join(oid.to_string());
            self.make_parents(&path)?;
            match durable::symlink_unsynced(disk, &layout.tablespace_dir(&self.id, *oid), &path) {
                Err(DurableError::Exists { path }) => return Err(ImportError::TablespaceLink { path }),
                done => done?,
            }
        }
        Ok(())
    }

    /// Where versions before 3.13.2 and 3.13.3 had record and annotations: inside of the directory.
    fn stage_record(&self, plan: &ImportPlan) -> Result<(), ImportError> {
        let (disk, backup) = (self.catalog.disk(), self.staged_backup());
        durable::replace(disk, &backup.join("backup.info"), plan.record.to_text().as_bytes())?;
        let annotations = backup.join("annotations");
        durable::remove_tree(disk, &annotations)?;
        if let Some(keep) = plan.keep {
            self.make_dir(&annotations, None)?;
            durable::replace(disk, &annotations.join(keep::KEY), keep.as_str().as_bytes())?;
        }
        Ok(())
    }

    /// To where they are now.
    fn settle(&self, plan: &ImportPlan) -> Result<(), DurableError> {
        let (catalog, layout) = (self.catalog, self.catalog.layout());
        if let Some(keep) = plan.keep {
            catalog.set_keep_target(&self.id, keep)?;
        }
        catalog.save(&plan.record)?;
        durable::remove_tree(catalog.disk(), &layout.backup_dir(&self.id).join("annotations"))?;
        durable::remove_file(catalog.disk(), &layout.old_record(&self.id))?;
        Ok(())
    }

    fn place_all(&self, names: &[WalName], placed: &mut Vec<WalName>) -> Result<(), ImportError> {
        let (disk, layout) = (self.catalog.disk(), self.catalog.layout());
        let mut dirs = BTreeSet::new();
        for name in names {
            let target = layout.wal(*name);
            let dir = durable::parent(&target).to_owned();
            if !dirs.contains(&dir) {
                durable::create_dir_all(disk, &dir, None)?;
                dirs.insert(dir);
            }
            let staged = self.staged_wal(*name);
            match durable::rename_unsynced(disk, &staged, &target, Clobber::Refuse) {
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => self.copy(&staged, &target)?,
                done => done?,
            }
            placed.push(*name);
        }
        for dir in dirs {
            durable::sync_dir(disk, &dir)?;
        }
        Ok(())
    }

    /// The archive may lie on another file system than the base backups.
    fn copy(&self, from: &Path, to: &Path) -> Result<(), ImportError> {
        let read = |source| ImportError::Read { path: from.to_owned(), source };
        let metadata = from.metadata().map_err(read)?;
        let input = std::fs::File::open(from).map_err(read)?;
        let publish = Publish::create(self.catalog.disk(), to, None)?;
        let mut publish = transcode::copy(input, publish, Compression::None, Level::Medium)
            .map_err(|e| DurableError::io(Step::Write, to, e))?;
        publish.copy_attributes(&metadata)?;
        publish.publish_unsynced(Clobber::Refuse)?;
        Ok(())
    }

    fn list(&self, index: &mut XlogDb<'_>, wals: WalPlan) -> Result<(), ImportError> {
        Ok(index.merge(wals.new.into_iter().chain(wals.to_list).collect())?)
    }

    /// Takes WAL that was published out of the archive again: out of the index first.
    fn take_back(&self, index: &mut XlogDb<'_>, placed: &[WalName]) {
        let (disk, layout) = (self.catalog.disk(), self.catalog.layout());
        let remove = || -> Result<(), ImportError> {
            let placed: BTreeSet<WalName> = placed.iter().copied().collect();
            index.retain(|entry| !placed.contains(&entry.name))?;
            let mut dirs = BTreeSet::new();
            for name in &placed {
                let path = layout.wal(*name);
                durable::remove_file_unsynced(disk, &path)?;
                dirs.insert(durable::parent(&path).to_owned());
            }
            for dir in dirs {
                durable::sync_dir(disk, &dir)?;
                if dir != layout.wals {
                    durable::remove_dir(disk, &dir)?;
                }
            }
            Ok(())
        };
        let mut remove = remove;
        if let Err(error) = remove() {
            tracing::warn!("imported WAL stays in the archive: {error}");
        }
    }
}

fn stopped(error: LockError) -> ImportError {
    match error {
        LockError::Stopped { .. } => ImportError::Stopped,
        other => ImportError::Lock(other),
    }
}

/// Every directory below `path`; the files in them are synced already.
fn sync_dirs(catalog: &crate::Catalog, path: &Path) -> Result<(), ImportError> {
    let mut dirs = vec![path.to_owned()];
    while let Some(dir) = dirs.pop() {
        let fail = |source| ImportError::Read { path: dir.clone(), source };
        for entry in std::fs::read_dir(&dir).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_type().map_err(fail)?.is_dir() {
                dirs.push(entry.path());
            }
        }
        durable::sync_dir(catalog.disk(), &dir)?;
    }
    Ok(())
}
