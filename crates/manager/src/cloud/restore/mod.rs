//! A base backup out of an object store, straight into its final files.
//!
//! As with Barman 3.19's `barman-cloud-restore`, the outcome is a data directory with its tablespaces, as `pg_basebackup` would have
//! made it: where WAL comes from, and where recovery ends, is for whoever starts the server to configure. What is different: first a
//! plan, which can be printed; the ranges of an object come side by side, and so do the archives of tablespaces; everything is compared with the manifest, where the backup
//! has one, and on disk before `global/pg_control` is, so that nothing incomplete can be started.

mod choice;
mod error;
mod fetch;
mod plan;
mod unpack;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tapster_catalog::BackupRecord;
use tapster_copy::extract::{ControlFile, TablespaceTarget};
use tapster_copy::sync;
use tapster_copy::{ChecksumAlgorithm, ExtractOptions, ExtractReport, SyncMethod, TarExtractor, publish};

pub use choice::{CloudBackupChoice, CloudTarget};
pub use error::CloudRestoreError;
pub(super) use fetch::Ranges;
pub use plan::{ArchiveObject, CloudRestorePlan, CloudWal};
use unpack::side_by_side;

use super::CloudServer;
use crate::Context;
use crate::restore::TimelineTarget;

/// Of the old server, and of no use to a new one.
const LEFT_OUT: [&str; 4] = ["tablespace_map", "postmaster.pid", "postmaster.opts", "standby.signal"];

/// Options of [`CloudServer::plan_restore`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloudRestoreOptions {
    /// Which backup.
    pub backup: CloudBackupChoice,
    /// What `auto` goes by.
    pub target: CloudTarget,
    /// What `auto` goes by, too.
    pub timeline: Option<TimelineTarget>,
    /// The new data directory.
    pub destination: PathBuf,
    /// New places of tablespaces, by name; those not named go where they were.
    pub tablespaces: Vec<(String, PathBuf)>,
    /// Ranges of objects that come at the same time, of 8 MiB each, or smaller so that one more of them than these fits into the
    /// [memory](tapster_cloud::StoreOptions::memory) of the store's options; what these say for 0.
    pub connections: usize,
    /// How the files are brought to disk before the restore is done: `syncfs` at its end, which waits for what other programs have
    /// written to the same file system too, or an fsync of each file.
    pub sync: SyncMethod,
}

impl CloudRestoreOptions {
    /// The whole of a backup into that directory.
    pub fn new(backup: CloudBackupChoice, destination: impl Into<PathBuf>) -> Self {
        Self {
            backup,
            target: CloudTarget::End,
            timeline: None,
            destination: destination.into(),
            tablespaces: Vec::new(),
            connections: 0,
            sync: SyncMethod::Syncfs,
        }
    }
}

/// A finished restore.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloudRestoreReport {
    /// The backup.
    pub record: BackupRecord,
    /// Regular files that were written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether each of them was compared with a manifest.
    pub verified: bool,
    /// How long it took.
    pub elapsed: Duration,
}

impl CloudServer {
    /// Does what the plan says.
    ///
    /// # Errors
    /// When the archives do not come, are not whole, or cannot be written. The destination then has no `global/pg_control`.
    pub fn restore(
        &self,
        plan: &CloudRestorePlan,
        context: &Context<'_>,
    ) -> Result<CloudRestoreReport, CloudRestoreError> {
        let begun = Instant::now();
        let (report, control) = self.unpack_all(plan, context)?;
        let path = plan.destination.join("global").join("pg_control");
        publish::replace(&path, control.mode, &control.content)?;
        Ok(CloudRestoreReport {
            record: plan.record.clone(),
            files: report.files,
            bytes: report.bytes,
            verified: report.manifest.is_some(),
            elapsed: begun.elapsed(),
        })
    }

    /// Everything but the control file, on disk.
    pub(crate) fn unpack_all(
        &self,
        plan: &CloudRestorePlan,
        context: &Context<'_>,
    ) -> Result<(ExtractReport, ControlFile), CloudRestoreError> {
        let (report, control) = self.unpack(plan, context)?;
        if !plan.destination.join("backup_label").is_file() {
            return Err(CloudRestoreError::NoLabel { id: plan.record.id });
        }
        // The links in `pg_tblspc` and the files are there; what is left is what nobody sends.
        let (wal, mode) = (plan.destination.join("pg_wal"), mode_of(&control));
        if !wal.exists() {
            sync::create_dir_all(&wal, mode)?;
        }
        for dir in plan.tablespaces.iter().map(|place| &place.location).chain([&plan.destination]) {
            let set = std::fs::set_permissions(dir, Permissions::from_mode(mode));
            set.map_err(|source| CloudRestoreError::Mode { path: dir.clone(), source })?;
            sync::directory(dir)?;
        }
        Ok((report, control))
    }

    /// What can go side by side does: the archives of a tablespace beside those of the data directory.
    fn unpack(
        &self,
        plan: &CloudRestorePlan,
        context: &Context<'_>,
    ) -> Result<(ExtractReport, ControlFile), CloudRestoreError> {
        let mut options = ExtractOptions::default();
        (options.manifest_inside, options.keep_links) = (true, true);
        options.checksum = Some(ChecksumAlgorithm::Crc32c);
        options.sync = plan.options.sync;
        options.skip = LEFT_OUT.map(str::to_owned).to_vec();
        for tablespace in &plan.record.tablespaces {
            let place = plan.tablespaces.iter().find(|place| place.oid == tablespace.oid);
            let target =
                place.map_or(TablespaceTarget::InPlace, |p| TablespaceTarget::Directory(p.location.clone()));
            options.tablespaces.insert(tablespace.oid, target);
        }
        let extractor = TarExtractor::create(&plan.destination, options)?;
        let ranges = Ranges::new(self.store(), plan.options.connections);
        match side_by_side(&ranges, &plan.archives, extractor, plan.stored, context) {
            Err(CloudRestoreError::Store(tapster_cloud::CloudError::Stopped)) => {
                Err(CloudRestoreError::Stopped { destination: plan.destination.clone() })
            }
            extractor => Ok(extractor?.finish_without_control()?),
        }
    }
}

/// A directory that was there has any mode; PostgreSQL starts with two. The files say which it was.
const fn mode_of(control: &ControlFile) -> u32 {
    if control.mode & 0o040 == 0 { 0o700 } else { 0o750 }
}
