//! An incremental backup, put together from its chain straight into the destination.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use tapster_catalog::BackupRecord;
use tapster_copy::combine::{CombineOptions, CombineSource, CopyMethod, combine};
use tapster_copy::extract::{ControlFile, TablespaceTarget};
use tapster_copy::manifest::{self, ManifestFile};
use tapster_copy::tree::{RESTORE_EXCLUDES, TreeError};
use tapster_copy::{ChecksumAlgorithm, ExtractOptions, ManifestReader, SyncMethod, sync};

use super::archives::is_archived;
use super::destination::io_at;
use super::execute::Bytes;
use super::pace::{Paced, limiter};
use super::{RestoreError, RestorePlan};
use crate::event::Event;
use crate::{Context, Server};

/// Where backups in archives are unpacked to; inside the destination, which is on the right file system and belongs to us.
const STAGING: &str = ".tapster-staging";

impl Server {
    /// Everything but the control file, which is returned.
    pub(super) fn combine_base(
        &self,
        plan: &RestorePlan,
        context: &Context<'_>,
    ) -> Result<ControlFile, RestoreError> {
        let staging = plan.destination.join(STAGING);
        let mut sources = Vec::new();
        let mut control = None;
        for record in &plan.chain {
            let source = if is_archived(record) {
                let (source, found) = self.stage(record, &staging, plan, context)?;
                control = Some(found);
                source
            } else {
                control = None;
                self.source(record)
            };
            sources.push(source);
        }
        let (backup, destination) = (plan.record.id, plan.destination.clone());
        context.tell(Event::CombineStarting { backup, destination });
        let mut options = CombineOptions::default();
        // The setting is one where nobody has written it.
        let configured = Some(self.config.parallel_jobs as usize).filter(|jobs| *jobs > 1);
        options.threads = plan.options.jobs.or(configured).unwrap_or_else(crate::processors).max(1);
        options.method = plan.combine_method;
        options.sync = plan.options.sync;
        options.without_control_file = true;
        options.over = plan.delta.is_some();
        options.excludes = RESTORE_EXCLUDES
            .iter()
            .chain(&["/recovery.signal", "/standby.signal", "/backup_manifest.tmp", "/.tapster-restore"])
            .map(|pattern| (*pattern).to_owned())
            .collect();
        options.tablespaces =
            plan.tablespaces.iter().map(|place| (place.oid, place.location.clone())).collect();
        let has_manifest = sources.last().is_some_and(|newest| newest.data.join("backup_manifest").exists());
        options.manifest = has_manifest.then_some(ChecksumAlgorithm::Crc32c);
        let total = plan.record.cluster_size.unwrap_or(0);
        let bytes = Bytes { context, done: AtomicU64::new(0), total };
        let paced = Paced { inner: &bytes, limiter: limiter(self, plan, None), stop: &context.stop };
        let report = combine(&sources, &plan.destination, &options, &paced, &context.stop);
        let report = report.map_err(|source| match source {
            _ if context.stopped() => RestoreError::Stopped { destination: plan.destination.clone() },
            source => RestoreError::Combine { id: plan.record.id, source: Box::new(source) },
        })?;
        plan.tell_kept(report.kept, report.kept_bytes, context);
        if report.mixed_checksums {
            context.tell(Event::Warning(
                "only some of the backups have page checksums: disable them on the restored cluster, and enable them again"
                    .to_owned(),
            ));
        }
        if report.oversized > 0 {
            context.tell(Event::Warning(format!(
                "{} incremental files name more blocks than a segment has, as servers before the fix wrote; they were taken \
                 as whole segments",
                report.oversized
            )));
        }
        if staging.exists() {
            std::fs::remove_dir_all(&staging).map_err(io_at(&staging))?;
        }
        sync::directory(&plan.destination).map_err(TreeError::from)?;
        context.tell(Event::CombineDone { backup });
        control.map_or_else(|| self.stored_control(&plan.record), Ok)
    }

    /// What the archives of a chain hold, which is unpacked into the destination before it is put together. All of it lies
    /// there at once.
    pub(super) fn staged_bytes(&self, chain: &[BackupRecord]) -> u64 {
        if chain.len() < 2 {
            return 0;
        }
        let size = |record: &BackupRecord| {
            let data = self.layout().data_dir(&record.id);
            // What is wrong with a manifest is told by who needs it.
            listed_bytes(&data.join(manifest::FILE_NAME)).or(record.size).unwrap_or(0)
        };
        chain.iter().filter(|record| is_archived(record)).map(size).fold(0, u64::saturating_add)
    }

    /// A backup as it lies in the catalog.
    fn source(&self, record: &BackupRecord) -> CombineSource {
        let mut source = CombineSource::new(self.layout().data_dir(&record.id));
        for tablespace in &record.tablespaces {
            let directory = self.layout().tablespace_dir(&record.id, tablespace.oid);
            if directory.is_dir() {
                source.tablespaces.insert(tablespace.oid, directory);
            }
        }
        source
    }

    /// A backup in archives, unpacked.
    fn stage(
        &self,
        record: &BackupRecord,
        staging: &Path,
        plan: &RestorePlan,
        context: &Context<'_>,
    ) -> Result<(CombineSource, ControlFile), RestoreError> {
        let root = staging.join(record.id.to_string());
        let data = root.join("data");
        sync::create_dir_all(&data, 0o700).map_err(TreeError::from)?;
        let mut options = ExtractOptions::default();
        // Read once and removed.
        options.sync = SyncMethod::None;
        let mut tablespaces = BTreeMap::new();
        for tablespace in &record.tablespaces {
            let target = if Path::new(&tablespace.location).is_absolute() {
                let directory: PathBuf = root.join(tablespace.oid.to_string());
                tablespaces.insert(tablespace.oid, directory.clone());
                TablespaceTarget::Directory(directory)
            } else {
                TablespaceTarget::InPlace
            };
            options.tablespaces.insert(tablespace.oid, target);
        }
        let control = self.unpack(record, &data, options, None, plan, context)?;
        let path = data.join("global/pg_control");
        tapster_copy::publish::replace(&path, control.mode, &control.content).map_err(TreeError::from)?;
        let mode = if control.mode & 0o040 == 0 { 0o700 } else { 0o750 };
        for directory in tablespaces.values().chain([&data]) {
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(mode))
                .map_err(io_at(directory))?;
        }
        let mut source = CombineSource::new(data);
        source.tablespaces = tablespaces;
        Ok((source, control))
    }
}

/// The bytes of all files that a manifest lists.
fn listed_bytes(manifest: &Path) -> Option<u64> {
    let mut reader = ManifestReader::new(File::open(manifest).ok()?).ok()?;
    let (mut total, mut file) = (0_u64, ManifestFile::default());
    while reader.next_file(&mut file).ok()? {
        total = total.saturating_add(file.size);
    }
    Some(total)
}

/// The way of copying that is configured or asked for, and whether it was replaced: a hard link would let the restored server
/// write into the backup.
pub(super) fn method(mode: &str) -> (CopyMethod, bool) {
    match mode {
        "clone" => (CopyMethod::Clone, false),
        "copy-file-range" => (CopyMethod::CopyFileRange, false),
        "link" => (CopyMethod::Auto, true),
        _ => (CopyMethod::Auto, false),
    }
}
