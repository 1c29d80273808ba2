//! Whether there is room for what is restored, on each file system it goes to.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::archives::{self, is_archived};
use super::{RestorePlan, RestorePlanError};
use crate::Server;

/// What goes to one file system.
#[derive(Debug, Default)]
struct Need {
    bytes: u64,
    /// A place on it.
    path: PathBuf,
}

impl Server {
    /// Files that can be shared with the backup need no room, but nobody knows that beforehand; and of an incremental backup or of
    /// one in archives nobody knows what of it lies in a tablespace. So this only refuses what is clearly too little. `staged` is
    /// what is unpacked next to the destination on the way.
    pub(super) fn check_space(&self, plan: &RestorePlan, staged: u64) -> Result<(), RestorePlanError> {
        let mut needs: BTreeMap<u64, Need> = BTreeMap::new();
        let mut add = |place: &Path, bytes: u64| {
            if let Some((device, path)) = device(place) {
                let need = needs.entry(device).or_insert_with(|| Need { bytes: 0, path });
                need.bytes = need.bytes.saturating_add(bytes);
            }
        };
        let record = &plan.record;
        // What archives hold takes the room it had on the server.
        let is_less = is_archived(record) || plan.chain.len() > 1;
        let total = if is_less { record.cluster_size } else { record.size }.unwrap_or(0);
        let home = device(&plan.destination).map(|(device, _)| device);
        let is_elsewhere = |place: &Path| device(place).map(|(device, _)| device) != home;
        let mut rest = Some(total);
        for place in plan.tablespaces.iter().filter(|place| is_elsewhere(&place.location)) {
            let there = match (self.holds_archives(record), plan.chain.len()) {
                (true, 1) => self.archive_bytes(plan, place.oid),
                (false, 1) => tree_bytes(&self.layout().tablespace_dir(&record.id, place.oid)),
                _ => 0,
            };
            add(&place.location, there);
            // Compressed it is only a part of what it was.
            rest = if is_less { None } else { rest.map(|rest| rest.saturating_sub(there)) };
        }
        add(&plan.destination, rest.unwrap_or(0).saturating_add(staged));
        if let Some(dir) = &plan.wal_directory {
            let segments = plan.wal.segments.len() as u64 + u64::from(plan.wal.partial.is_some());
            add(dir, segments.saturating_mul(record.segment_size().bytes()));
        }
        // What is there goes, or is kept.
        for (device, Need { bytes: needed, path }) in needs {
            let Ok(stat) = rustix::fs::statvfs(&path) else { continue };
            let present = plan.delta.as_ref().and_then(|delta| delta.present.get(&device)).copied();
            let free = stat.f_bavail.saturating_mul(stat.f_frsize).saturating_add(present.unwrap_or(0));
            if free < needed {
                return Err(RestorePlanError::Space { path, free, needed });
            }
        }
        Ok(())
    }

    fn archive_bytes(&self, plan: &RestorePlan, oid: u32) -> u64 {
        #[cfg(feature = "cloud")]
        if self.has_backups_in_bucket() {
            let own = plan.archives.iter().filter(|archive| archive.tablespace == Some(oid));
            return own.map(|archive| archive.size).sum();
        }
        let data = self.layout().data_dir(&plan.record.id);
        let found = archives::find(&data, &plan.record).ok().and_then(Result::ok).unwrap_or_default();
        found.iter().find_map(|archive| archive.stored_bytes(oid)).unwrap_or(0)
    }
}

/// The file system on which a place will be, and the part of its path that exists.
fn device(place: &Path) -> Option<(u64, PathBuf)> {
    place.ancestors().find_map(|dir| Some((dir.metadata().ok()?.dev(), dir.to_owned())))
}

/// Bytes of the files below a directory, as far as it can be read.
fn tree_bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => tree_bytes(&entry.path()),
            Ok(metadata) if metadata.is_file() => metadata.len(),
            _ => 0,
        })
        .fold(0, u64::saturating_add)
}
