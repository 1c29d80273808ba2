//! Which objects a backup in an object store consists of, with the WAL it needs.

use std::collections::BTreeSet;

use tapster_catalog::wal_store::{Needed, WalsOfBackup};
use tapster_catalog::{BackupId, BackupRecord};
use tapster_cloud::{CloudError, ObjectInfo};

use super::CloudServer;
use super::wal_objects::StoredWal;
use crate::list_files::FilesTarget;

impl CloudServer {
    /// Tells `each` every object: the backup's own, with its record, in the order of their keys; then WAL and history files that are
    /// there. Returns whether there is such a backup. What each target stands for is what it stands for on a backup host, but WAL
    /// that is not in the store is not named.
    ///
    /// # Errors
    /// When the store cannot be asked, or the record cannot be understood. What was told before that is right.
    pub fn list_files(
        &self,
        id: &BackupId,
        target: FilesTarget,
        each: &mut dyn FnMut(&ObjectInfo),
    ) -> Result<bool, CloudError> {
        let Some(record) = self.record(id)? else { return Ok(false) };
        if target != FilesTarget::Wal {
            for object in self.store().list(&self.layout().backup(id)) {
                each(&object?);
            }
        }
        match target {
            FilesTarget::Data => {}
            FilesTarget::Standalone => self.list_own_wal(&record, each)?,
            FilesTarget::Wal | FilesTarget::Full => self.list_wal(&record, each)?,
        }
        Ok(true)
    }

    /// Only in the directories that the backup's first and last segments and those between are in.
    fn list_own_wal(
        &self,
        record: &BackupRecord,
        each: &mut dyn FnMut(&ObjectInfo),
    ) -> Result<(), CloudError> {
        let (Some(begin), Some(end)) = (record.begin_wal, record.end_wal) else { return Ok(()) };
        let wals = WalsOfBackup::new(begin, Some(end));
        let (first, last) = (begin.hash_dir(), end.hash_dir());
        let all = self.store().list_dirs(&self.layout().wals())?;
        let directories: BTreeSet<String> =
            all.into_iter().filter(|name| *name >= first && *name <= last).collect();
        for directory in directories {
            for object in self.store().list(&format!("{}/{directory}", self.layout().wals())) {
                let object = object?;
                let wal = StoredWal::of(&object.key);
                let needed = wal.and_then(|wal| wals.judge_name(wal.name).continue_value()?);
                if needed == Some(Needed::ByBackup) {
                    each(&object);
                }
            }
        }
        Ok(())
    }

    fn list_wal(&self, record: &BackupRecord, each: &mut dyn FnMut(&ObjectInfo)) -> Result<(), CloudError> {
        let Some(begin) = record.begin_wal else { return Ok(()) };
        let mut wals = WalsOfBackup::new(begin, record.end_wal);
        let catalog = self.catalog()?;
        let later = catalog.backups.values().map(|backup| &backup.record);
        let next = later.into_iter().find(|other| other.id > record.id && other.status.is_copied());
        wals.next_end = next.and_then(|next| next.end_wal);
        wals.history = true;
        // To the end, unlike an index: the names of history files come between those of timelines.
        for object in self.store().list(&self.layout().wals()) {
            let object = object?;
            let wal = StoredWal::of(&object.key);
            let needed = wal.and_then(|wal| wals.judge_name(wal.name).continue_value()?);
            if needed.is_some() {
                each(&object);
            }
        }
        Ok(())
    }
}
