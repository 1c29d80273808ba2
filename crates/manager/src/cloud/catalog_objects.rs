//! The bucket behind a catalog of this host: what Barman 3.19 does with `basebackups_directory` and `wals_directory` as addresses.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tapster_catalog::{
    ArchivedObject, BackupId, BackupObjects, BackupRecord, Catalog, FoundBackup, KeepTarget, NotArchived,
    ObjectsError, RecordError, WalObjects,
};
use tapster_cloud::{CloudError, WriteOptions};
use walfile::codec::{Compression, Level};
use walfile::{SegmentName, Timeline, WalName};

use super::delete::{CloudDeleteOptions, CloudDeleteStep};
use super::wal_objects::StoredWal;
use super::{CloudArchiveOptions, CloudKeep, CloudServer, CloudWalError};
use crate::config::ServerConfig;
use crate::local_now;
use crate::object_store::{Bucket, Buckets};

/// Objects removed between two looks whether to stop, where nothing else is said.
const BATCH: usize = 1000;

impl Buckets {
    /// Has a catalog look into the buckets.
    pub(crate) fn attach(&self, mut catalog: Catalog, config: &ServerConfig) -> Catalog {
        if let Some(bucket) = &self.backups {
            // As with Barman: a server that is not active may be another host's, whose backups are to be restored here.
            catalog = catalog.with_backup_objects(Arc::clone(bucket) as _, !config.active);
        }
        if let Some(bucket) = &self.wals {
            catalog = catalog.with_wal_objects(Arc::clone(bucket) as _);
        }
        catalog
    }
}

impl Bucket {
    fn open_for_objects(&self) -> Result<CloudServer, ObjectsError> {
        self.server().map_err(ObjectsError::new)
    }

    /// A key as Barman shows it: with the prefix of the address and without the bucket.
    fn path(&self, key: &str) -> PathBuf {
        let Ok(server) = self.server() else { return PathBuf::from(key) };
        match server.store().url().prefix() {
            "" => PathBuf::from(key),
            prefix => PathBuf::from(format!("{prefix}/{key}")),
        }
    }

    fn delete_options(&self) -> CloudDeleteOptions {
        let mut options = CloudDeleteOptions::at(local_now());
        options.batch_size = self.settings().delete_batch_size;
        options.check_locks = self.settings().aws_check_object_lock;
        options
    }
}

impl BackupObjects for Bucket {
    fn place(&self, id: &BackupId) -> PathBuf {
        self.server().map_or_else(
            |_| PathBuf::from(self.address().as_str()),
            |server| self.path(&server.layout().backup(id)),
        )
    }

    fn save_record(&self, record: &BackupRecord) -> Result<(), ObjectsError> {
        let server = self.open_for_objects()?;
        let key = server.layout().record(&record.id);
        let put = server.store().put(&key, record.to_text().into_bytes(), &WriteOptions::default());
        put.map_err(ObjectsError::new)
    }

    fn records(&self) -> Result<Vec<FoundBackup>, ObjectsError> {
        let server = self.open_for_objects()?;
        let catalog = server.catalog().map_err(ObjectsError::new)?;
        let unreadable = catalog.unreadable.into_iter().map(|(id, error)| {
            let path = self.path(&server.layout().record(&id));
            (id, Err(RecordError::Io { path, source: io::Error::other(error) }))
        });
        let readable = catalog.backups.into_iter().map(|(id, backup)| (id, Ok(backup.record)));
        Ok(readable.chain(unreadable).collect())
    }

    fn has_any(&self, id: &BackupId) -> Result<bool, ObjectsError> {
        let server = self.open_for_objects()?;
        let first = server.store().list(&server.layout().backup(id)).next().transpose();
        first.map(|found| found.is_some()).map_err(ObjectsError::new)
    }

    fn files(&self, id: &BackupId, each: &mut dyn FnMut(&Path)) -> Result<(), ObjectsError> {
        let server = self.open_for_objects()?;
        for object in server.store().list(&server.layout().backup(id)) {
            each(&self.path(&object.map_err(ObjectsError::new)?.key));
        }
        Ok(())
    }

    fn has_archives(&self, id: &BackupId) -> Result<bool, ObjectsError> {
        let server = self.open_for_objects()?;
        for object in server.store().list(&server.layout().backup(id)) {
            if server.is_archive(&object.map_err(ObjectsError::new)?.key) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn keep(&self, id: &BackupId) -> Result<Option<KeepTarget>, ObjectsError> {
        let keep = self.open_for_objects()?.keep_of(id).map_err(ObjectsError::new)?;
        // What says something unknown protects.
        Ok(keep.map(|keep| match keep {
            CloudKeep::Target(target) => target,
            CloudKeep::Unknown(_) => KeepTarget::Full,
        }))
    }

    fn annotate(&self, id: &BackupId, keep: Option<KeepTarget>) -> Result<(), ObjectsError> {
        let server = self.open_for_objects()?;
        let key = server.layout().annotation(id, "keep");
        let done = match keep {
            Some(target) => {
                server.store().put(&key, target.as_str().as_bytes().to_vec(), &WriteOptions::default())
            }
            None => server.store().delete(&[key]),
        };
        done.map_err(ObjectsError::new)
    }

    fn remove(&self, record: &BackupRecord, stop: &AtomicBool) -> Result<bool, ObjectsError> {
        let server = self.open_for_objects()?;
        let options = self.delete_options();
        let own = server.layout().record(&record.id);
        let mut objects = Vec::new();
        for object in server.store().list(&server.layout().backup(&record.id)) {
            let key = object.map_err(ObjectsError::new)?.key;
            if key != own {
                objects.push(key);
            }
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        // What says who it is goes with the backup; the marker here says that it was to go.
        let step = CloudDeleteStep { id: record.id, record: Some(record.clone()), objects, trim: None };
        server.remove_step(&step, &options).map_err(ObjectsError::new)?;
        Ok(true)
    }
}

/// Tells what is wrong with a file from what is wrong with the store.
fn not_archived(error: CloudWalError) -> NotArchived {
    match error {
        CloudWalError::NotThisWal { problem, .. } => NotArchived::Invalid { problem: problem.to_string() },
        // A codec says so of what it cannot decompress.
        CloudWalError::Read { source, .. }
            if matches!(
                source.kind(),
                io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::Other
            ) =>
        {
            NotArchived::Invalid { problem: format!("it cannot be decompressed: {source}") }
        }
        CloudWalError::Read { source, .. } => NotArchived::Unreadable(source),
        CloudWalError::Changed { .. } => NotArchived::Changed,
        error => ObjectsError::new(error).into(),
    }
}

impl WalObjects for Bucket {
    fn place(&self, name: WalName) -> PathBuf {
        self.server().map_or_else(
            |_| PathBuf::from(self.address().as_str()),
            // As Barman names it: by what WAL is compressed with now.
            |server| self.path(&format!("{}{}", server.layout().wal(name), self.wal_ending())),
        )
    }

    fn exists(&self, name: WalName) -> Result<bool, ObjectsError> {
        let server = self.open_for_objects()?;
        let forms = server.forms(name).map_err(ObjectsError::new)?;
        Ok(forms.iter().any(|stored| stored.name == name))
    }

    fn open(&self, name: WalName, decompressed: bool) -> Result<Option<Box<dyn Read + Send>>, ObjectsError> {
        let server = self.open_for_objects()?;
        for stored in server.forms(name).map_err(ObjectsError::new)? {
            if stored.name != name {
                continue;
            }
            let opened = if decompressed {
                server.open_wal(&stored)
            } else {
                let raw = server.store().get(&stored.key, None);
                raw.map(|raw| Box::new(raw) as _).map_err(CloudWalError::Store)
            };
            match opened {
                // It was removed since.
                Err(CloudWalError::Store(CloudError::NotFound { .. })) => {}
                opened => return opened.map(Some).map_err(ObjectsError::new),
            }
        }
        Ok(None)
    }

    fn archive(
        &self,
        name: WalName,
        path: &Path,
        compression: Compression,
        level: Level,
    ) -> Result<ArchivedObject, NotArchived> {
        let server = self.open_for_objects()?;
        let mut options = CloudArchiveOptions::default();
        (options.compression, options.level) = (compression, level);
        server.archive_queued(name, path, &options).map_err(not_archived)
    }

    fn names(&self, since: Option<SegmentName>, each: &mut dyn FnMut(WalName)) -> Result<(), ObjectsError> {
        let server = self.open_for_objects()?;
        server.wal_names(since, each).map_err(ObjectsError::new)
    }

    fn histories(&self) -> Result<Vec<Timeline>, ObjectsError> {
        let server = self.open_for_objects()?;
        let files = server.store().list_files(&server.layout().wals()).map_err(ObjectsError::new)?;
        let timelines = files.iter().filter_map(|object| match StoredWal::of(&object.key)?.name {
            WalName::History(timeline) => Some(timeline),
            _ => None,
        });
        Ok(timelines.collect())
    }

    fn newest_segments(&self) -> Result<BTreeMap<Timeline, SegmentName>, ObjectsError> {
        let server = self.open_for_objects()?;
        server.newest_segments().map_err(ObjectsError::new)
    }

    fn remove(
        &self,
        before: Option<SegmentName>,
        goes: &dyn Fn(WalName) -> bool,
        stop: &AtomicBool,
    ) -> Result<bool, ObjectsError> {
        let server = self.open_for_objects()?;
        let size = self.settings().delete_batch_size.unwrap_or(BATCH).clamp(1, BATCH);
        server.remove_wals(before, goes, size, stop).map_err(ObjectsError::new)
    }
}

impl CloudServer {
    /// What there is in the directories of positions from that of `since` on, of any timeline.
    fn wal_names(&self, since: Option<SegmentName>, each: &mut dyn FnMut(WalName)) -> Result<(), CloudError> {
        let wals = self.layout().wals();
        // The upper half of a position, behind the timeline.
        let first = since.map(|segment| segment.hash_dir());
        let first = first.as_deref().and_then(|dir| dir.get(8..));
        for dir in self.store().list_dirs(&wals)? {
            if dir.get(8..) < first {
                continue;
            }
            for object in self.store().list(&format!("{wals}/{dir}")) {
                if let Some(stored) = StoredWal::of(&object?.key) {
                    each(stored.name);
                }
            }
        }
        Ok(())
    }

    /// The newest archived segment of each timeline: one listing of the directories, and one of a directory per timeline.
    pub(super) fn newest_segments(&self) -> Result<BTreeMap<Timeline, SegmentName>, CloudError> {
        let mut newest = BTreeMap::new();
        let wals = self.layout().wals();
        let mut dirs = self.store().list_dirs(&wals)?;
        dirs.sort_unstable();
        for dir in dirs.iter().rev() {
            let Some(Ok(timeline)) = dir.get(..8).map(Timeline::from_hex) else { continue };
            if newest.contains_key(&timeline) {
                continue;
            }
            let mut last = None;
            for object in self.store().list(&format!("{wals}/{dir}")) {
                if let Some(WalName::Segment(segment)) = StoredWal::of(&object?.key).map(|stored| stored.name)
                    && segment.timeline() == timeline
                {
                    last = last.max(Some(segment));
                }
            }
            newest.extend(last.map(|last| (timeline, last)));
        }
        Ok(newest)
    }

    /// Removes WAL, a batch at a time. History files stay: they are small, and say how timelines hang together.
    fn remove_wals(
        &self,
        before: Option<SegmentName>,
        goes: &dyn Fn(WalName) -> bool,
        size: usize,
        stop: &AtomicBool,
    ) -> Result<bool, CloudError> {
        let wals = self.layout().wals();
        let last = before.map(|segment| segment.hash_dir());
        let mut batch = Vec::new();
        for dir in self.store().list_dirs(&wals)? {
            // Names are compared as text, as Barman does.
            if last.as_ref().is_some_and(|last| dir > *last) {
                continue;
            }
            for object in self.store().list(&format!("{wals}/{dir}")) {
                let key = object?.key;
                if StoredWal::of(&key).is_some_and(|stored| goes(stored.name)) {
                    batch.push(key);
                }
                if batch.len() == size {
                    if stop.load(Ordering::Relaxed) {
                        return Ok(false);
                    }
                    self.store().delete(&batch)?;
                    batch.clear();
                }
            }
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        if !batch.is_empty() {
            self.store().delete(&batch)?;
        }
        Ok(true)
    }
}
