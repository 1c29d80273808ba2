//! What a restore from an object store would do, found out before anything is written.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tapster_catalog::BackupRecord;
use walfile::SegmentName;
use walfile::codec::Compression;

use super::{CloudRestoreError, CloudRestoreOptions};
use crate::cloud::CloudServer;
use crate::cloud::backup::ENDINGS;
use crate::cloud::wal_objects::StoredWal;
use crate::restore::{
    BackupChoice, RestoreOptions, TablespacePlace, absolute, check_places, is_empty, place_tablespaces,
};

/// An archive of the backup.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ArchiveObject {
    /// The tablespace; `None` for the data directory.
    pub tablespace: Option<u32>,
    /// Which of its parts, counted from 0.
    pub part: u32,
    /// The object.
    pub key: String,
    /// Bytes, as stored.
    pub size: u64,
    /// What it is compressed with.
    pub compression: Compression,
    /// The store's name for its content.
    pub etag: Option<String>,
}

/// The WAL that is there for the backup, on its own timeline.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CloudWal {
    /// Segments between the begin and the end of the backup that are not there. Without them it cannot be recovered.
    pub missing: Vec<SegmentName>,
    /// Segments from its begin on without a gap.
    pub segments: u64,
    /// The last of these.
    pub last: Option<SegmentName>,
}

/// A restore that can begin.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloudRestorePlan {
    /// The backup.
    pub record: BackupRecord,
    /// The new data directory.
    pub destination: PathBuf,
    /// Where the tablespaces go.
    pub tablespaces: Vec<TablespacePlace>,
    /// All archives, in the order in which they are unpacked.
    pub archives: Vec<ArchiveObject>,
    /// Bytes of all of them, as stored.
    pub stored: u64,
    /// The WAL that is there.
    pub wal: CloudWal,
    /// What it was made with.
    pub options: CloudRestoreOptions,
}

impl CloudServer {
    /// Finds out what a restore would do. Asks the store for listings and records, and writes nothing.
    ///
    /// # Errors
    /// When there is no such backup, an archive of it is missing, or it cannot go where it is to.
    pub fn plan_restore(&self, options: &CloudRestoreOptions) -> Result<CloudRestorePlan, CloudRestoreError> {
        let record = self.choose(&options.backup, options.target, options.timeline)?;
        if record.snapshots_info.is_some() {
            return Err(CloudRestoreError::Snapshots { id: record.id });
        }
        tracing::info!("Restoring from backup_id: {}", record.id);
        let archives = self.archives(&record)?;
        let destination = absolute(&options.destination)?;
        let mut places = RestoreOptions::new(BackupChoice::Auto, &destination);
        for (name, location) in &options.tablespaces {
            // As a shell means it, not from the new data directory.
            places.tablespaces.push((name.clone(), absolute(location)?));
        }
        let tablespaces = place_tablespaces(&record, &places, &destination)?;
        check_places(&destination, &tablespaces)?;
        for path in [&destination].into_iter().chain(tablespaces.iter().map(|place| &place.location)) {
            if !is_empty(path)? {
                return Err(CloudRestoreError::NotEmpty { path: path.clone() });
            }
        }
        let wal = self.wal_for(&record)?;
        let stored = archives.iter().map(|archive| archive.size).sum();
        let options = options.clone();
        let plan = CloudRestorePlan { record, destination, tablespaces, archives, stored, wal, options };
        plan.check_space()?;
        Ok(plan)
    }

    /// The archives of a backup, those written first in front.
    pub(crate) fn archives(&self, record: &BackupRecord) -> Result<Vec<ArchiveObject>, CloudRestoreError> {
        let directory = self.layout().backup(&record.id);
        let mut found = Vec::new();
        for object in self.store().list(&directory) {
            let object = object?;
            let name = object.key.strip_prefix(&directory).and_then(|rest| rest.strip_prefix('/'));
            let Some((tablespace, part, compression)) = name.and_then(archive) else { continue };
            let is_known = |oid| record.tablespaces.iter().any(|tablespace| tablespace.oid == oid);
            if !tablespace.is_none_or(is_known) {
                continue;
            }
            let (key, size, etag) = (object.key, object.size, object.etag);
            tracing::info!(
                "Found file from backup '{}' of server '{}': {key}",
                record.id,
                self.layout().server()
            );
            let archive = ArchiveObject { tablespace, part, key, size, compression, etag };
            found.push((object.modified, archive));
        }
        let expected = record.tablespaces.iter().map(|tablespace| Some(tablespace.oid)).chain([None]);
        for tablespace in expected {
            let parts: BTreeSet<u32> =
                found.iter().filter(|(_, a)| a.tablespace == tablespace).map(|(_, a)| a.part).collect();
            let stem = tablespace.map_or_else(|| "data".to_owned(), |oid| oid.to_string());
            let missing = (0..parts.len().max(1))
                .find(|part| u32::try_from(*part).map_or(true, |part| !parts.contains(&part)));
            if let Some(part) = missing {
                let number = if part == 0 { String::new() } else { format!("_{part:04}") };
                let key = format!("{directory}/{stem}{number}");
                let server = self.layout().server().to_owned();
                return Err(CloudRestoreError::MissingArchive { key, server });
            }
        }
        // The manifest lists the files in this order. The data directory has it at its end.
        found.sort_by_key(|(modified, archive)| {
            let base = archive.tablespace.is_none();
            (base, (!base).then_some(*modified), archive.tablespace, archive.part)
        });
        Ok(found.into_iter().map(|(_, archive)| archive).collect())
    }

    /// Looks only into the directories from the begin of the backup on, as far as they follow one another.
    pub(in crate::cloud) fn wal_for(&self, record: &BackupRecord) -> Result<CloudWal, CloudRestoreError> {
        let mut wal = CloudWal::default();
        let (Some(begin), Some(end)) = (record.begin_wal, record.end_wal) else { return Ok(wal) };
        let size = record.segment_size();
        let (mut next, mut directory, mut there) = (begin, String::new(), BTreeSet::new());
        let mut is_whole = true;
        loop {
            if next.hash_dir() != directory {
                directory = next.hash_dir();
                let objects = self.store().list(&format!("{}/{directory}", self.layout().wals()));
                there = objects
                    .map(|object| Ok(StoredWal::of(&object?.key).map(|stored| stored.name)))
                    .collect::<Result<BTreeSet<_>, CloudRestoreError>>()?;
            }
            let is_needed = next <= end;
            if there.contains(&Some(next.into())) {
                if is_whole {
                    wal.segments = wal.segments.saturating_add(1);
                    wal.last = Some(next);
                }
            } else if is_needed {
                is_whole = false;
                wal.missing.push(next);
            } else {
                break;
            }
            match next.next(size) {
                Ok(Some(following)) if is_whole || is_needed => next = following,
                _ => break,
            }
        }
        Ok(wal)
    }
}

impl CloudRestorePlan {
    /// What is compressed takes at least as much room; all of it together what it took on the server.
    fn check_space(&self) -> Result<(), CloudRestoreError> {
        let mut needs: BTreeMap<u64, (PathBuf, u64)> = BTreeMap::new();
        let place = |oid: Option<u32>| {
            let found = self.tablespaces.iter().find(|place| Some(place.oid) == oid);
            found.map_or(self.destination.as_path(), |place| place.location.as_path())
        };
        for archive in &self.archives {
            let Some((device, path)) = device(place(archive.tablespace)) else { continue };
            let (_, bytes) = needs.entry(device).or_insert((path, 0));
            *bytes = bytes.saturating_add(archive.size);
        }
        let is_packed = self.archives.iter().any(|archive| archive.compression != Compression::None);
        if let (1, true, Some(total)) = (needs.len(), is_packed, self.record.cluster_size) {
            needs.values_mut().for_each(|(_, bytes)| *bytes = (*bytes).max(total));
        }
        for (path, needed) in needs.into_values() {
            let Ok(stat) = rustix::fs::statvfs(&path) else { continue };
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            if free < needed {
                return Err(CloudRestoreError::Space { path, free, needed });
            }
        }
        Ok(())
    }
}

/// The file system on which a place will be, and the part of its path that exists.
fn device(place: &Path) -> Option<(u64, PathBuf)> {
    place.ancestors().find_map(|dir| Some((dir.metadata().ok()?.dev(), dir.to_owned())))
}

/// By its name: `data.tar`, `data_0001.tar.gz`, `16384.tar.lz4`.
fn archive(name: &str) -> Option<(Option<u32>, u32, Compression)> {
    let (stem, ending) = name.split_once(".tar")?;
    let (_, compression) = ENDINGS.iter().find(|(known, _)| *known == ending)?;
    let (stem, part) = match stem.split_once('_') {
        None => (stem, 0),
        Some((stem, number)) => (stem, number.parse().ok().filter(|number| *number > 0)?),
    };
    let tablespace = match stem {
        "data" => None,
        oid => Some(oid.parse().ok()?),
    };
    Some((tablespace, part, *compression))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_known_by_their_names() {
        for (name, expected) in [
            ("data.tar", Some((None, 0, Compression::None))),
            ("data_0012.tar.gz", Some((None, 12, Compression::Gzip))),
            ("16384.tar.snappy", Some((Some(16384), 0, Compression::Snappy))),
            ("16384_10000.tar.bz2", Some((Some(16384), 10_000, Compression::Bzip2))),
            ("data.tar.lz4", Some((None, 0, Compression::Lz4))),
            ("backup.info", None),
            ("data.tar.rar", None),
            ("data_x.tar", None),
            ("data_0000.tar", None),
            ("datax.tar", None),
            ("annotations/keep", None),
        ] {
            assert_eq!(archive(name), expected, "{name}");
        }
    }
}
