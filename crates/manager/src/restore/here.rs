//! A restore to this host.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use tapster_copy::delta::Sums;
use tapster_copy::extract::ControlFile;
use tapster_copy::sync::Background;
use tapster_copy::tree::{OverTree, Plan, RESTORE_EXCLUDES, TreeError, TreeOptions};
use tapster_copy::{publish, sync};
use walfile::WalName;

use super::archives::is_archived;
use super::destination::{Destination, Job, NewFile, WalFiles, io_at};
use super::execute::{Bytes, CONTROL};
use super::pace::{Paced, limiter};
use super::{RestoreError, wals};
use crate::event::Event;

/// Threads that bring WAL to disk.
const SYNC_THREADS: usize = 4;

/// Of a plain backup, besides what Barman leaves out: the control file comes last, and the rest is of the old server.
pub(super) const NOT_RESTORED: [&str; 4] =
    ["/global/pg_control", "/recovery.signal", "/standby.signal", "/.tapster-restore"];

/// The data directory on this host.
pub(super) struct Here;

impl Destination for Here {
    fn copy_base(&self, job: Job<'_>) -> Result<ControlFile, RestoreError> {
        let Job { server, plan, context } = job;
        if plan.chain.len() > 1 {
            return server.combine_base(plan, context);
        }
        #[cfg(feature = "cloud")]
        if server.has_backups_in_bucket() {
            return server.download_base(plan, context);
        }
        if is_archived(&plan.record) {
            return server.unpack_base(plan, context);
        }
        copy_trees(job)?;
        server.stored_control(&plan.record)
    }

    fn copy_wals(&self, job: Job<'_>, wals: &WalFiles<'_>) -> Result<(), RestoreError> {
        let status = wals.dir.join("archive_status");
        sync::create_dir_all(wals.dir, 0o700).map_err(TreeError::from)?;
        sync::create_dir_all(&status, 0o700).map_err(TreeError::from)?;
        // What is decompressed goes to disk while the next is.
        let queue = Background::start(SYNC_THREADS);
        wals::side_by_side(wals.names, usize::MAX, |names| {
            for name in names {
                fetch(job, name, wals.dir, &queue)?;
            }
            Ok(())
        })?;
        if let Some(partial) = wals.partial {
            job.context.tell(Event::CopyingPartialWals);
            fetch(job, partial, wals.dir, &queue)?;
        }
        queue.finish().map_err(TreeError::from)?;
        if wals.marked {
            job.context.tell(Event::GeneratingArchiveStatus);
            for name in wals.names {
                let path = status.join(format!("{name}.done"));
                // An empty file is nothing but its name, which goes to disk with the directory.
                create(&path)?;
            }
        }
        sync::directory(&status).map_err(TreeError::from)?;
        sync::directory(wals.dir).map_err(TreeError::from)?;
        Ok(())
    }

    fn read(&self, job: Job<'_>, names: &[String]) -> Result<Vec<Option<Vec<u8>>>, RestoreError> {
        let read = |name: &String| {
            let path = job.plan.destination.join(name);
            match std::fs::read(&path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(source) => Err(RestoreError::Io { path, source }),
            }
        };
        names.iter().map(read).collect()
    }

    fn write(&self, job: Job<'_>, files: Vec<NewFile>) -> Result<(), RestoreError> {
        for file in files {
            let path = job.plan.destination.join(&file.name);
            publish::replace(&path, file.mode, &file.content).map_err(TreeError::from)?;
        }
        Ok(())
    }

    fn missing(&self, job: Job<'_>, names: &[&str]) -> Result<Vec<String>, RestoreError> {
        let missing = names.iter().filter(|name| !job.plan.destination.join(name).exists());
        Ok(missing.map(|name| (*name).to_owned()).collect())
    }

    fn seal(&self, job: Job<'_>, control: &ControlFile) -> Result<(), RestoreError> {
        let destination = &job.plan.destination;
        let manifest = destination.join("backup_manifest");
        if manifest.exists() {
            let aside = destination.join(format!("backup_manifest.{}", job.plan.record.id));
            publish::rename(&manifest, &aside).map_err(TreeError::from)?;
        }
        sync::directory(destination).map_err(TreeError::from)?;
        publish::replace(&destination.join(CONTROL), control.mode, &control.content)
            .map_err(TreeError::from)?;
        Ok(())
    }
}

fn copy_trees(job: Job<'_>) -> Result<(), RestoreError> {
    let Job { server, plan, context } = job;
    let source = server.layout().data_dir(&plan.record.id);
    let threads = plan.options.jobs.unwrap_or(server.config.parallel_jobs as usize).max(2);
    // What the destination holds is compared with the checksums of the backup.
    let sums = match plan.delta {
        Some(_) => Sums::read(&source).map_err(|error| RestoreError::Sums { source: Box::new(error) })?,
        None => None,
    };
    let options = |excludes: &[&str], links: BTreeMap<u32, PathBuf>, prefix: PathBuf| {
        let mut options = TreeOptions::default();
        options.threads = threads;
        options.sync = plan.options.sync;
        options.excludes = excludes.iter().map(|pattern| (*pattern).to_owned()).collect();
        options.tablespaces = links;
        options.root_mode = None;
        options.last = None;
        options.over = plan.delta.as_ref().map(|_| {
            let mut over = OverTree::default();
            over.sums.clone_from(&sums);
            over.prefix = prefix;
            over
        });
        options
    };
    let links: BTreeMap<u32, PathBuf> =
        plan.tablespaces.iter().map(|place| (place.oid, place.location.clone())).collect();
    let mut excludes = RESTORE_EXCLUDES.to_vec();
    excludes.extend(NOT_RESTORED);
    let whole = Plan::new(&source, options(&excludes, links, PathBuf::new()))?;
    let mut trees = vec![(whole, plan.destination.clone())];
    for place in &plan.tablespaces {
        let source = server.layout().tablespace_dir(&plan.record.id, place.oid);
        let prefix = Path::new("pg_tblspc").join(place.oid.to_string());
        let tree = Plan::new(&source, options(&["/.tapster-restore"], BTreeMap::new(), prefix))?;
        trees.push((tree, place.location.clone()));
    }
    let total = trees.iter().map(|(tree, _)| tree.bytes).sum();
    let bytes = Bytes { context, done: AtomicU64::new(0), total };
    let (mut files, mut kept) = (0_u64, 0_u64);
    let names = std::iter::once(None).chain(plan.tablespaces.iter().map(|place| Some(place.name.as_str())));
    for ((tree, target), name) in trees.iter().zip(names) {
        let paced = Paced { inner: &bytes, limiter: limiter(server, plan, name), stop: &context.stop };
        let report = tree.execute(target, &paced, &context.stop).map_err(|error| match error {
            TreeError::Stopped => job.stopped(),
            other => RestoreError::Copy(other),
        })?;
        files = files.saturating_add(report.kept);
        kept = kept.saturating_add(report.kept_bytes);
    }
    plan.tell_kept(files, kept, context);
    for place in &plan.tablespaces {
        link_tablespace(&plan.destination, place.oid, &place.location)?;
    }
    Ok(())
}

/// One file from the archive, on its way to disk.
fn fetch(job: Job<'_>, name: WalName, dir: &Path, queue: &Background) -> Result<(), RestoreError> {
    let path = dir.join(name.to_string());
    let mut wal = wals::Wal::open(job, name)?;
    let mut file = create(&path)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = wal.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        file.write_all(buffer.get(..count).unwrap_or_default()).map_err(io_at(&path))?;
    }
    // The beginning of a segment is filled up with zeros, where replay ends.
    if let Some(size) = wal.whole()? {
        file.set_len(size).map_err(io_at(&path))?;
    }
    Ok(queue.submit(file, path).map_err(TreeError::from)?)
}

fn create(path: &Path) -> Result<File, RestoreError> {
    File::options().write(true).create_new(true).mode(0o600).open(path).map_err(io_at(path))
}

/// Backups taken by file copy hold no links; those over the protocol do, and the copy has already turned them.
fn link_tablespace(destination: &Path, oid: u32, location: &Path) -> Result<(), RestoreError> {
    let link = destination.join("pg_tblspc").join(oid.to_string());
    if std::fs::symlink_metadata(&link).is_ok() {
        return Ok(());
    }
    std::os::unix::fs::symlink(location, &link).map_err(io_at(&link))?;
    sync::directory(&destination.join("pg_tblspc")).map_err(TreeError::from)?;
    Ok(())
}
