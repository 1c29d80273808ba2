//! What becomes of one backup, by what each of the two nodes has (the table of Barman's `check_sync_required`).

use std::io::Read as _;

use tapster_catalog::{BackupId, BackupRecord, BackupStatus, CatalogError};
use tapster_retention::Status;
use walfile::{LongPageHeader, SegmentName, SystemId};

use super::SyncError;
use super::primary::PrimaryInfo;
use crate::completeness::failed_for_wal;
use crate::{Context, Server};

/// What is to be done.
#[derive(Debug)]
pub(super) enum Decision {
    /// It is to be copied; this is its record there.
    Copy(Box<BackupRecord>),
    /// It is here, and there.
    Synced,
    /// It is here, and there no longer.
    LocalOnly,
    /// The retention policy here would delete it at once.
    Obsolete,
    /// It is no longer there, and only half here.
    Purge(Box<BackupRecord>),
}

impl Server {
    pub(super) fn decide_sync(
        &self,
        id: &BackupId,
        info: &PrimaryInfo,
        context: &Context<'_>,
    ) -> Result<Decision, SyncError> {
        let server = || self.name().to_owned();
        // A record that cannot be read is here in some way, and what was copied replaces it.
        let local = match self.catalog.load(id) {
            Ok(record) => Some(Some(record)),
            Err(CatalogError::Unknown { .. }) => None,
            Err(CatalogError::Record(_)) => Some(None),
            Err(error) => return Err(error.into()),
        };
        if let Some(reason) = info.unusable.get(id) {
            return Err(SyncError::Unusable { backup: *id, server: server(), reason: reason.clone() });
        }
        let remote = info.backups.get(id);
        match (remote, local) {
            (None, None) => Err(SyncError::Absent { backup: id.to_string(), server: server() }),
            (None, Some(Some(record))) if is_half(&record) => Ok(Decision::Purge(Box::new(record))),
            (None, Some(_)) => Ok(Decision::LocalOnly),
            // One whose WAL was missing is copied, and cron looks for that.
            (Some(_), Some(Some(record))) if is_here(&record) => Ok(Decision::Synced),
            (Some(remote), _) => {
                if remote.snapshots_info.is_some() {
                    let reason = "it consists of snapshots of volumes".to_owned();
                    return Err(SyncError::Unusable { backup: *id, server: server(), reason });
                }
                if let Some(reason) = self.foreign_wal(remote) {
                    return Err(SyncError::Unusable { backup: *id, server: server(), reason });
                }
                if self.is_obsolete_here(remote, context)? {
                    return Ok(Decision::Obsolete);
                }
                if let Some(parent) = remote.parent_backup_id
                    && !self.catalog.load(&parent).is_ok_and(|record| is_here(&record))
                {
                    return Err(SyncError::NoParent { backup: *id, parent, server: server() });
                }
                Ok(Decision::Copy(Box::new(remote.clone())))
            }
        }
    }

    /// Whether the retention policy would delete the backup if it were here.
    fn is_obsolete_here(&self, remote: &BackupRecord, context: &Context<'_>) -> Result<bool, SyncError> {
        if self.config.retention_policy.is_none() {
            return Ok(false);
        }
        let mut records = self.catalog.records()?;
        records.retain(|record| record.status != BackupStatus::Empty && record.id != remote.id);
        let at = records.partition_point(|record| record.id < remote.id);
        records.insert(at, remote.clone());
        let verdicts = self.verdicts(&records, context);
        Ok(verdicts.get(at).is_some_and(|verdict| verdict.status == Status::Obsolete))
    }
}

impl Server {
    /// What is archived here under the names of the backup's own WAL and is of another cluster. Nothing in the archive is
    /// replaced, so the backup could never be restored, but by the names it would look complete. After an upgrade of the
    /// cluster no name comes again.
    fn foreign_wal(&self, remote: &BackupRecord) -> Option<String> {
        let expected: SystemId = remote.systemid.as_ref()?.parse().ok()?;
        [remote.begin_wal, remote.end_wal].into_iter().flatten().find_map(|name| {
            let found = self.archived_system(name)?;
            (found != expected).then(|| {
                format!("it is of system {expected}, but the archive here has a {name} of system {found}")
            })
        })
    }

    /// The cluster that an archived segment is of; `None` when that cannot be told without starting a process.
    fn archived_system(&self, name: SegmentName) -> Option<SystemId> {
        let store = self.wal_store();
        let raw = store.open_raw(name.into(), false).ok()?;
        if raw.encryption.is_some() || raw.custom {
            return None;
        }
        let mut bytes = [0; LongPageHeader::LEN];
        store.open(name.into(), false).ok()?.read_exact(&mut bytes).ok()?;
        Some(LongPageHeader::parse(&bytes).ok()?.system_id)
    }
}

/// Whether all files of a backup are here, whatever WAL is: an increment may be put on it.
fn is_here(record: &BackupRecord) -> bool {
    record.status.is_copied() || failed_for_wal(record)
}

/// A copy that was begun and is not whole. One that lacks nothing but WAL is.
pub(super) fn is_half(record: &BackupRecord) -> bool {
    matches!(record.status, BackupStatus::Failed | BackupStatus::Syncing) && !failed_for_wal(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_only_wal_is_not_half_copied() {
        let mut record = BackupRecord::new("20260101T000000".parse().unwrap());
        record.status = BackupStatus::Syncing;
        assert!(is_half(&record));
        record.status = BackupStatus::Failed;
        record.error = Some("rsync ended".to_owned());
        assert!(is_half(&record));
        record.error = Some("At least one WAL file is missing. The first missing WAL file is X".to_owned());
        assert!(!is_half(&record));
    }

    /// As Barman has them on the way from one node to another: an increment is copied when all files of what it builds on are here.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own files")]
    fn an_increment_does_not_wait_for_the_wal_of_its_parent() {
        use crate::config::{Config, ConfigSources};
        let home = tempfile::tempdir().unwrap();
        let conf = home.path().join("conf");
        let text = format!(
            "[barman]\nbarman_home = {}\n[main]\nprimary_ssh_command = false\n",
            home.path().display()
        );
        std::fs::write(&conf, text).unwrap();
        let config = Config::load(&ConfigSources::file(conf)).unwrap();
        let server = Server::open(&config, "main", tapster_protocol::Environment::default()).unwrap();
        server.create_directories().unwrap();
        let mut parent = BackupRecord::new("20260101T000000".parse().unwrap());
        let mut child = BackupRecord::new("20260102T000000".parse().unwrap());
        child.status = BackupStatus::Done;
        child.parent_backup_id = Some(parent.id);
        let mut info = PrimaryInfo::default();
        info.backups.insert(child.id, child.clone());
        let mut decide = |error: &str| {
            (parent.status, parent.error) = (BackupStatus::Failed, Some(error.to_owned()));
            server.catalog.save(&parent).unwrap();
            server.decide_sync(&child.id, &info, &Context::new(&crate::Silent))
        };
        assert!(matches!(decide("rsync ended"), Err(SyncError::NoParent { .. })));
        let lacking = "At least one WAL file is missing. The first missing WAL file is X";
        assert!(matches!(decide(lacking), Ok(Decision::Copy(_))));
    }
}
