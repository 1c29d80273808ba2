//! Whose WAL a place in a bucket holds: two clusters that archive to one path overwrite or contradict each other's segments, and
//! neither can be restored.
//!
//! `SERVER/identity.json` has the system identifier, in the form of Barman's file of that name; Barman's cloud tools do not look at
//! it. Where there is none, as in a bucket that Barman has filled, an archived segment says it.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use tapster_cloud::{CloudError, PutMode, WriteOptions};
use walfile::{SystemId, WalName};

use super::wal_content::{START, check_start};
use super::wal_objects::StoredWal;
use super::{CloudServer, CloudWalError};
use crate::wal_client::cluster_of;

/// The object holds two numbers.
const LIMIT: u64 = 64 * 1024;

/// So many files of a `pg_wal` are looked at for a segment; those that are kept for later hold no WAL under their names.
const MOST: usize = 1000;

/// Whose WAL is in this `pg_wal`: texts do not say whose they are. `None` when neither the data directory around it can be read nor
/// there is a segment in it.
pub(super) fn system_of(wal_dir: &Path) -> Option<SystemId> {
    let absolute = std::path::absolute(wal_dir).unwrap_or_else(|_| wal_dir.to_owned());
    cluster_of(&absolute).or_else(|| {
        fs::read_dir(&absolute).ok()?.take(MOST).flatten().find_map(|entry| {
            let name = entry.file_name().to_str()?.parse().ok()?;
            let mut start = Vec::with_capacity(START);
            if matches!(name, WalName::Segment(_)) && entry.file_type().ok()?.is_file() {
                File::open(entry.path()).ok()?.take(START as u64).read_to_end(&mut start).ok()?;
            }
            Some(check_start(name, &start).ok()??.1)
        })
    })
}

impl CloudServer {
    pub(super) fn owner_key(&self) -> String {
        format!("{}/identity.json", self.layout().server())
    }

    /// Sees to it that the place belongs to the cluster `own`, of which it is about to get `name`: it is noted as its owner if nobody
    /// is. With `take_over` it is in any case.
    pub(super) fn claim_for(
        &self,
        own: SystemId,
        name: WalName,
        take_over: bool,
    ) -> Result<(), CloudWalError> {
        let key = self.owner_key();
        if take_over {
            return Ok(self.write_owner(own, PutMode::Replace)?);
        }
        // Once more after somebody else was quicker.
        for _ in 0..2 {
            if let Some(found) = self.read_owner(&key)? {
                return self.compare(own, found, key);
            }
            if let Some((stored, found)) = self.owner_of_neighbour(name)? {
                self.compare(own, found, stored.key)?;
            }
            match self.write_owner(own, PutMode::Create) {
                Err(CloudError::Exists { .. }) => {}
                done => return Ok(done?),
            }
        }
        Err(CloudError::Exists { store: self.store().url().to_string(), key }.into())
    }

    fn compare(&self, own: SystemId, found: SystemId, key: String) -> Result<(), CloudWalError> {
        if own == found {
            return Ok(());
        }
        let (store, server) = (self.store().url().to_string(), self.layout().server().to_owned());
        Err(CloudWalError::OtherSystem { store, server, key, found: found.get(), own: own.get() })
    }

    fn write_owner(&self, own: SystemId, mode: PutMode) -> Result<(), CloudError> {
        let mut options = WriteOptions::default();
        options.mode = mode;
        let text = format!("{{\n    \"systemid\": \"{}\"\n}}\n", own.get());
        self.store().put(&self.owner_key(), text.into_bytes(), &options)
    }

    /// The system identifier in `identity.json`; `None` when there is no such object.
    pub(super) fn read_owner(&self, key: &str) -> Result<Option<SystemId>, CloudWalError> {
        let bytes = match self.store().read(key, LIMIT) {
            Ok(bytes) => bytes,
            Err(CloudError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let invalid = |reason: String| CloudError::Invalid {
            store: self.store().url().to_string(),
            key: key.to_owned(),
            reason,
        };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| invalid(e.to_string()))?;
        let number = value.get("systemid").and_then(|id| id.as_str()?.parse().ok());
        let number = number.ok_or_else(|| invalid("it has no system identifier".to_owned()))?;
        Ok(Some(SystemId::new(number)))
    }

    /// The segment that is archived nearest to `name` (before it on its timeline if there is one), and whose WAL it is. Segments that cannot be read say nothing.
    fn owner_of_neighbour(&self, name: WalName) -> Result<Option<(StoredWal, SystemId)>, CloudWalError> {
        let own_dir = name.hash_dir().unwrap_or_default();
        let dirs = self.store().list_dirs(&self.layout().wals())?;
        let mut dirs: Vec<&String> = dirs.iter().filter(|dir| dir.len() == 16).collect();
        let timeline = own_dir.get(..8).unwrap_or_default();
        dirs.sort_by_key(|dir| (dir.starts_with(timeline) && **dir <= own_dir, dir.as_str().to_owned()));
        let Some(dir) = dirs.last() else { return Ok(None) };
        let mut segments = Vec::new();
        for object in self.store().list(&format!("{}/{dir}", self.layout().wals())) {
            segments.extend(
                StoredWal::of(&object?.key)
                    .filter(|s| matches!(s.name, WalName::Segment(_)) && s.name != name),
            );
        }
        segments.sort_by_key(|stored| (stored.name < name, stored.name));
        for stored in segments.into_iter().rev().take(3) {
            let mut start = Vec::with_capacity(START);
            let read = self.open_wal(&stored).and_then(|input| {
                input.take(START as u64).read_to_end(&mut start).map_err(|e| self.unreadable(&stored, e))
            });
            match read {
                Err(CloudWalError::Store(error)) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
            if let Ok(Some((_, system_id))) = check_start(stored.name, &start) {
                return Ok(Some((stored, system_id)));
            }
        }
        Ok(None)
    }
}
