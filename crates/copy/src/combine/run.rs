//! The whole: walk the newest backup, share its files out, bring everything to disk.

use std::fs::File;
use std::io::BufWriter;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use super::CombineError;
use super::check::{Checked, check, check_manifest};
use super::header::PREFIX;
use super::index::{Index, Names};
use super::options::{CombineOptions, CombineReport, CombineSource, CopyMethod, place};
use super::output::{self, Finished, Writing};
use super::reading::Reading;
use super::rebuild::Chain;
use crate::manifest::{FILE_NAME, ManifestWriter};
use crate::observer::CopyObserver;
use crate::publish::{rename, temporary_name};
use crate::sync::{self, Background, FileSystem, SyncMethod, at};
use crate::tree::is_excluded;
use crate::{Checksum, ChecksumAlgorithm};

const CONTROL: &str = "global/pg_control";
const LABEL: &str = "backup_label";
/// How many left-out names are kept.
const MAX_SKIPPED: usize = 100;

/// Puts a full backup together from a full one and the incremental ones on top of it, the oldest first, in the directory
/// `target`, which is made if missing and should be empty: no existing file is ever overwritten.
///
/// Every block is written once, taken from the newest backup that has it. `global/pg_control` is written when everything else
/// is on disk, and then the manifest gets its name.
///
/// # Errors
/// When the backups are no chain, a file is not as its manifest says, something cannot be read or written, or the stop flag
/// is raised. There is no `global/pg_control` in `target` then, unless storing that itself failed.
pub fn combine(
    sources: &[CombineSource],
    target: &Path,
    options: &CombineOptions,
    observer: &dyn CopyObserver,
    stop: &AtomicBool,
) -> Result<CombineReport, CombineError> {
    let checked = check(sources)?;
    let newest = sources.last().ok_or(CombineError::NoBackups)?;
    let mut indexes = Vec::new();
    for source in sources {
        let index = Index::load(&source.data, options.verify, &options.excludes)?;
        if let Some(index) = &index {
            check_manifest(index, &checked.control)?;
        }
        indexes.push(index);
    }
    let summary = indexes.last().and_then(Option::as_ref).map(|index| index.summary.clone());
    if options.manifest.is_some() && summary.is_none() {
        return Err(CombineError::NoManifest);
    }
    if !options.verify {
        indexes = Vec::new();
    }
    let chain = Chain {
        sources,
        indexes: &indexes,
        block_size: checked.control.block_size,
        segment_blocks: checked.control.relation_segment_blocks,
    };
    let run = Run {
        chain,
        newest,
        target,
        options,
        observer,
        stop,
        report: Mutex::new(CombineReport {
            mixed_checksums: checked.mixed_checksums,
            ..CombineReport::default()
        }),
        manifest: Mutex::new(None),
        failed: AtomicBool::new(false),
    };
    run.everything(
        &checked,
        summary.as_ref().map(|summary| summary.wal_ranges.as_slice()).unwrap_or_default(),
    )
}

/// A file to be made.
enum Item {
    /// As it is in the newest backup.
    Whole(PathBuf),
    /// From blocks: directory and name.
    Rebuilt(PathBuf, String),
}

type Manifest = (ManifestWriter<BufWriter<File>>, PathBuf);

struct Run<'a> {
    chain: Chain<'a>,
    newest: &'a CombineSource,
    target: &'a Path,
    options: &'a CombineOptions,
    observer: &'a dyn CopyObserver,
    stop: &'a AtomicBool,
    report: Mutex<CombineReport>,
    manifest: Mutex<Option<Manifest>>,
    failed: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run<'_> {
    fn everything(
        self,
        checked: &Checked,
        wal_ranges: &[crate::manifest::WalRange],
    ) -> Result<CombineReport, CombineError> {
        let options = self.options;
        let writes = !options.dry_run;
        let mut file_systems = Vec::new();
        if writes {
            let roots =
                std::iter::once(self.target).chain(options.tablespaces.values().map(PathBuf::as_path));
            for root in roots {
                sync::create_dir_all(root, 0o700)?;
                if options.sync == SyncMethod::Syncfs {
                    file_systems.push(FileSystem::open(root)?);
                }
            }
            self.begin_manifest(checked)?;
        }
        let syncing = writes && options.sync == SyncMethod::Fsync;
        let queue = syncing.then(|| Background::start(options.threads));
        let directories = self.files(queue.as_ref())?;
        if !writes {
            return Ok(self.report.into_inner().unwrap_or_else(PoisonError::into_inner));
        }
        self.label(checked, queue.as_ref())?;
        // Children first: writing into a directory changes its time.
        for (path, mode) in directories.iter().rev() {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode))
                .map_err(at("chmod", path))?;
        }
        if let Some(queue) = queue {
            queue.finish()?;
            for (path, _) in directories.iter().rev() {
                sync::directory(path)?;
            }
        }
        for file_system in &file_systems {
            file_system.sync()?;
        }
        self.control_file()?;
        self.end_manifest(wal_ranges)?;
        Ok(self.report.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_synced(&self) -> bool {
        self.options.sync != SyncMethod::None
    }

    fn algorithm(&self) -> ChecksumAlgorithm {
        self.options.manifest.unwrap_or(ChecksumAlgorithm::None)
    }

    fn place(&self, relative: &Path) -> PathBuf {
        place(self.target, &self.options.tablespaces, relative)
    }

    fn begin_manifest(&self, checked: &Checked) -> Result<(), CombineError> {
        if self.options.manifest.is_none() {
            return Ok(());
        }
        let path = temporary_name(&self.target.join(FILE_NAME));
        let mut open = File::options();
        let file = open.write(true).create_new(true).mode(0o600).open(&path).map_err(at("create", &path))?;
        let writer = ManifestWriter::new(BufWriter::new(file), 2, Some(checked.control.system_id.get()))?;
        *lock(&self.manifest) = Some((writer, path));
        Ok(())
    }

    fn end_manifest(&self, wal_ranges: &[crate::manifest::WalRange]) -> Result<(), CombineError> {
        let Some((writer, path)) = lock(&self.manifest).take() else { return Ok(()) };
        let file = writer.finish(wal_ranges)?.into_inner().map_err(|error| error.into_error());
        let file = file.map_err(at("write", &path))?;
        if self.is_synced() {
            file.sync_all().map_err(at("fsync", &path))?;
        }
        rename(&path, &self.target.join(FILE_NAME))?;
        if self.is_synced() {
            sync::directory(self.target)?;
        }
        Ok(())
    }

    fn create(&self, path: PathBuf) -> Result<Writing<'_>, CombineError> {
        Writing::create(path, self.algorithm(), self.options.over, self.observer, self.stop)
    }

    /// A file of the result that is complete.
    fn end(&self, file: Finished, relative: &Path, mtime: i64) -> Result<(File, PathBuf), CombineError> {
        if file.is_kept {
            let mut report = lock(&self.report);
            report.kept = report.kept.saturating_add(1);
            report.kept_bytes = report.kept_bytes.saturating_add(file.size);
        }
        self.listed(relative, file.size, mtime, file.sum)?;
        Ok((file.file, file.path))
    }

    /// Lists a file of the result.
    fn listed(&self, relative: &Path, size: u64, mtime: i64, checksum: Checksum) -> Result<(), CombineError> {
        {
            let mut report = lock(&self.report);
            report.files = report.files.saturating_add(1);
            report.bytes = report.bytes.saturating_add(size);
        }
        self.observer.file(relative);
        // What a server adds to a backup later is not listed, and WAL never.
        if relative.starts_with("pg_wal") {
            return Ok(());
        }
        if let Some((writer, _)) = lock(&self.manifest).as_mut() {
            use std::os::unix::ffi::OsStrExt;
            let name = relative.as_os_str().as_bytes();
            let mtime = u64::try_from(mtime).unwrap_or(0);
            writer.file(name, size, mtime, self.algorithm(), Some(checksum))?;
        }
        Ok(())
    }

    fn label(&self, checked: &Checked, queue: Option<&Background>) -> Result<(), CombineError> {
        let relative = Path::new(LABEL);
        if let Some(index) = self.chain.indexes.last().and_then(Option::as_ref) {
            let mut hasher = index.algorithm.hasher();
            hasher.update(&checked.newest_label);
            let size = checked.newest_label.len() as u64;
            if index.agrees(relative, size, &hasher.finish()) != Some(true) {
                let (path, algorithm) = (self.newest.path(relative), index.algorithm);
                return Err(CombineError::Checksum { path, algorithm });
            }
        }
        let like = std::fs::metadata(self.newest.path(relative)).map_err(at("read", relative))?;
        let mut file = self.create(self.place(relative))?;
        file.write(&checked.label)?;
        let (file, path) = self.end(file.finish(&like)?, relative, like.mtime())?;
        queue.map_or(Ok(()), |queue| Ok(queue.submit(file, path)?))
    }

    fn control_file(&self) -> Result<(), CombineError> {
        if self.options.without_control_file {
            return Ok(());
        }
        // Never a link: a server writes to it as soon as it starts.
        let file = self.copy_whole(Path::new(CONTROL), CopyMethod::Copy)?;
        if let (Some((file, path)), true) = (file, self.is_synced()) {
            file.sync_all().map_err(at("fsync", &path))?;
            sync::directory(crate::publish::parent(&path))?;
        }
        Ok(())
    }

    /// Makes all files but the last ones; the directories of the result with their modes, parents first.
    fn files(&self, queue: Option<&Background>) -> Result<Vec<(PathBuf, u32)>, CombineError> {
        let (work, items) = sync_channel::<Item>(256);
        let items = Mutex::new(items);
        let failure = Mutex::new(None);
        let walked = std::thread::scope(|scope| {
            for _ in 0..self.options.threads.max(1) {
                scope.spawn(|| {
                    loop {
                        let next = lock(&items).recv();
                        let Ok(item) = next else { return };
                        // After a failure only the queue is emptied.
                        if self.failed.load(Ordering::Relaxed) {
                            continue;
                        }
                        if let Err(error) = self.make(item, queue) {
                            self.failed.store(true, Ordering::Relaxed);
                            lock(&failure).get_or_insert(error);
                        }
                    }
                });
            }
            self.walk(work)
        });
        let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        failure.map_or(walked, Err)
    }

    /// Hands out the files of the newest backup, directory by directory.
    fn walk(&self, work: SyncSender<Item>) -> Result<Vec<(PathBuf, u32)>, CombineError> {
        let mut directories = Vec::new();
        let (listed, mut visited) = (self.chain.indexes.last().and_then(Option::as_ref), Names::default());
        let mut pending = vec![PathBuf::new()];
        while let Some(relative) = pending.pop() {
            let source = self.newest.path(&relative);
            let (target, mode) =
                (self.place(&relative), std::fs::metadata(&source).map_err(at("read", &source))?);
            if !self.options.dry_run {
                output::directory(&target)?;
                self.link_tablespace(&relative, &target)?;
                directories.push((target, mode.mode() & 0o7777));
            }
            for entry in std::fs::read_dir(&source).map_err(at("read", &source))? {
                let entry = entry.map_err(at("read", &source))?;
                if self.stop.load(Ordering::Relaxed) {
                    return Err(CombineError::Stopped);
                }
                if self.failed.load(Ordering::Relaxed) {
                    return Ok(directories);
                }
                let path = relative.join(entry.file_name());
                let kind = entry.file_type().map_err(at("read", &entry.path()))?;
                let is_tablespace = relative == Path::new("pg_tblspc") && kind.is_symlink();
                if is_excluded(&self.options.excludes, &path) {
                    continue;
                }
                if kind.is_dir() || is_tablespace {
                    pending.push(path);
                    continue;
                }
                if let Some(index) = listed.filter(|_| kind.is_file()) {
                    index.visit(&path, &mut visited);
                }
                if !kind.is_file() {
                    let mut report = lock(&self.report);
                    if report.skipped.len() < MAX_SKIPPED {
                        report.skipped.push(path);
                    }
                } else if let Some(item) = item(&relative, path)
                    && work.send(item).is_err()
                {
                    return Err(CombineError::Stopped);
                }
            }
        }
        // A file that is gone would be missing from the result, and from its manifest too.
        if let Some(index) = listed {
            index.check_visited(self.newest, visited, &self.options.excludes)?;
        }
        Ok(directories)
    }

    /// The link to a tablespace that lies elsewhere.
    fn link_tablespace(&self, relative: &Path, target: &Path) -> Result<(), CombineError> {
        let inside = self.target.join(relative);
        if relative.parent() != Some(Path::new("pg_tblspc")) || inside == target {
            return Ok(());
        }
        Ok(std::os::unix::fs::symlink(target, &inside).map_err(at("link", &inside))?)
    }

    fn make(&self, item: Item, queue: Option<&Background>) -> Result<(), CombineError> {
        let made = match item {
            Item::Whole(path) => self.copy_whole(&path, self.options.method)?,
            Item::Rebuilt(directory, name) => self.rebuild(&directory, &name)?,
        };
        if let (Some((file, path)), Some(queue)) = (made, queue) {
            queue.submit(file, path)?;
        }
        Ok(())
    }

    /// A file of the newest backup.
    fn copy_whole(
        &self,
        relative: &Path,
        method: CopyMethod,
    ) -> Result<Option<(File, PathBuf)>, CombineError> {
        let newest = self.chain.sources.len().saturating_sub(1);
        self.copy_from(newest, &self.newest.path(relative), relative, method)
    }

    /// A file of one of the backups, as it is.
    fn copy_from(
        &self,
        source: usize,
        path: &Path,
        relative: &Path,
        method: CopyMethod,
    ) -> Result<Option<(File, PathBuf)>, CombineError> {
        let index = self.chain.indexes.get(source).and_then(Option::as_ref);
        let gone = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let reading =
            Reading::open(path.to_owned(), relative, index)?.ok_or_else(|| at("open", path)(gone()))?;
        let like = reading.metadata.clone();
        if self.options.dry_run {
            reading.finish()?;
            return Ok(None);
        }
        let target = self.place(relative);
        if method == CopyMethod::Link {
            if self.options.over && std::fs::symlink_metadata(&target).is_ok() {
                std::fs::remove_file(&target).map_err(at("remove", &target))?;
            }
            let sums = output::link(reading, &target, self.algorithm(), self.observer, self.stop)?;
            self.listed(relative, sums.0, like.mtime(), sums.1)?;
            return Ok(None);
        }
        let mut file = self.create(target)?;
        file.copy(reading, method)?;
        self.end(file.finish(&like)?, relative, like.mtime()).map(Some)
    }

    fn rebuild(&self, directory: &Path, name: &str) -> Result<Option<(File, PathBuf)>, CombineError> {
        if self.chain.sources.len() < 2 {
            let path = directory.join(format!("{PREFIX}{name}"));
            return Err(CombineError::UnexpectedIncremental { path });
        }
        let plan = self.chain.plan(directory, name)?;
        let relative = directory.join(name);
        {
            let mut report = lock(&self.report);
            report.rebuilt = report.rebuilt.saturating_add(1);
            report.oversized = report.oversized.saturating_add(u64::from(plan.oversized));
        }
        let like = plan.metadata().cloned();
        let plan = match plan.into_same()? {
            Err(plan) => plan,
            Ok(path) => {
                // It came from whichever backup had the whole file last.
                let older = |source: &CombineSource| source.path(&relative) == path;
                let source = self.chain.sources.iter().position(older).unwrap_or(0);
                return self.copy_from(source, &path, &relative, self.options.method);
            }
        };
        let Some(like) = like.filter(|_| !self.options.dry_run) else { return Ok(None) };
        let mut file = self.create(self.place(&relative))?;
        plan.read(&mut |bytes| file.write(bytes))?;
        self.end(file.finish(&like)?, &relative, like.mtime()).map(Some)
    }
}

/// What is to be done with a file; nothing with those that are written at the end.
fn item(directory: &Path, path: PathBuf) -> Option<Item> {
    if [CONTROL, LABEL, FILE_NAME].iter().any(|name| path == Path::new(name)) {
        return None;
    }
    let holds_relations = ["base", "global", "pg_tblspc"].iter().any(|name| directory.starts_with(name));
    let name =
        path.file_name().and_then(|name| name.to_str()?.strip_prefix(PREFIX)).filter(|name| !name.is_empty());
    match name {
        Some(name) if holds_relations => Some(Item::Rebuilt(directory.to_owned(), name.to_owned())),
        _ => Some(Item::Whole(path)),
    }
}
