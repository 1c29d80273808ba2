//! What belongs to backups and is not in them: the identity of the cluster, and who is kept.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tapster_catalog::{BackupId, Identity, KeepTarget, durable};

use super::SyncError;
use super::primary::PrimaryInfo;
use super::transfer::{failed, fetched, paths, scratch};
use crate::event::Event;
use crate::{Context, Server};

/// The annotations that came from the primary node, so that those made here stay whatever happens there.
type Carried = BTreeMap<BackupId, String>;

impl Server {
    /// Brings annotations and identity in line with those of the primary node.
    ///
    /// An annotation that was made or released here is left as it is here.
    pub(super) fn carry(&self, info: &PrimaryInfo, context: &Context<'_>) -> Result<(), SyncError> {
        let rsync = self.primary_rsync()?;
        let dir = scratch(&self.layout().meta)?;
        let root = info.config.backup_directory.trim_end_matches('/');
        let mut names = paths(["identity.json"]);
        names.extend(info.backups.keys().map(|id| PathBuf::from(format!("meta/{id}-keep"))));
        if !rsync.fetch(root, &names, dir.path(), None, &context.stop).map_err(failed)? {
            return Ok(());
        }
        if let Some(identity) = Identity::load(&dir.path().join("identity.json"))? {
            match Identity::load(&self.layout().identity())? {
                None => self.save_identity(&identity)?,
                Some(own) if own.system_id == identity.system_id => {}
                Some(own) => context.tell(Event::Warning(format!(
                    "the primary node of server {} is of system {}, this one of {}",
                    self.name(),
                    identity.system_id,
                    own.system_id
                ))),
            }
        }
        let mut carried = self.carried()?;
        let before = carried.clone();
        for id in info.backups.keys() {
            let there = fetched(&dir.path().join(format!("meta/{id}-keep")))?;
            // One that cannot be read, since it is torn, say, was not released.
            let there: Option<KeepTarget> = match there.map(|text| text.trim().parse()).transpose() {
                Ok(there) => there,
                Err(_) => {
                    context.tell(Event::Warning(format!(
                        "the keep annotation of backup {id} on the primary node of server {} cannot be read, what is kept here is left \
                         as it is",
                        self.name()
                    )));
                    continue;
                }
            };
            let here = self.catalog.keep_target(id)?;
            let ours = carried.get(id).and_then(|text| text.parse().ok());
            match (there, here, ours) {
                // Made there: here as well, unless it was released here.
                (Some(there), None, None) => {
                    self.catalog.set_keep_target(id, there)?;
                    carried.insert(*id, there.to_string());
                }
                // Changed there, and untouched here.
                (Some(there), Some(here), Some(ours)) if here == ours && there != here => {
                    self.catalog.set_keep_target(id, there)?;
                    carried.insert(*id, there.to_string());
                }
                // Released there, and untouched here.
                (None, Some(here), Some(ours)) if here == ours => {
                    self.catalog.release_keep(id)?;
                    carried.remove(id);
                }
                (None, _, Some(_)) => drop(carried.remove(id)),
                _ => {}
            }
        }
        // Of a backup that is gone there, what was carried stays with it here, and goes with it.
        let known = self.catalog.records()?;
        let gone =
            |id: &BackupId| !info.backups.contains_key(id) && !known.iter().any(|record| record.id == *id);
        for id in carried.keys().copied().filter(gone).collect::<Vec<_>>() {
            self.catalog.release_keep(&id)?;
            carried.remove(&id);
        }
        if carried != before { self.save_carried(&carried) } else { Ok(()) }
    }

    /// An annotation that comes with its backup.
    pub(super) fn carry_keep(&self, id: &BackupId, keep: KeepTarget) -> Result<(), SyncError> {
        let mut carried = self.carried()?;
        if self.catalog.keep_target(id)?.is_none() && !carried.contains_key(id) {
            self.catalog.set_keep_target(id, keep)?;
            carried.insert(*id, keep.to_string());
            self.save_carried(&carried)?;
        }
        Ok(())
    }

    fn carried_file(&self) -> PathBuf {
        self.layout().meta.join("sync-keep.json")
    }

    fn carried(&self) -> Result<Carried, SyncError> {
        let path = self.carried_file();
        match std::fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| SyncError::Io { path, source: error.into() })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Carried::new()),
            Err(source) => Err(SyncError::Io { path, source }),
        }
    }

    fn save_carried(&self, carried: &Carried) -> Result<(), SyncError> {
        let path = self.carried_file();
        let json = serde_json::to_vec(carried)
            .map_err(|error| SyncError::Io { path: path.clone(), source: error.into() })?;
        Ok(durable::replace(self.catalog.disk(), &path, &json)?)
    }
}
