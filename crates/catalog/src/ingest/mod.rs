//! `incoming/` and `streaming/` into the archive: Barman's `archive-wal`.
//!
//! For each file: its content is compared with its name; the archive's name must be free, or hold the same bytes; it is
//! compressed under a temporary name and synced; then, a group of files at a time, renamed, the directory synced, the
//! index lines appended and synced, and only then the sources removed. A crash after any step leaves the source or the
//! archived file and its line; running again completes it. Nothing is ever replaced.
//!
//! The work for a file does not depend on how many others wait or lie in the archive.

mod batch;
mod options;
mod prepare;
mod publish;
mod refuse;
mod report;
mod validate;

pub use options::{IngestFile, IngestObserver, IngestOptions, Source};
pub use report::{IngestError, IngestReport, IngestedFile, Outcome, SourceReport};
pub use validate::Invalid;

pub(crate) use prepare::same_as_archived;
pub(crate) use refuse::{Refusal, refuse};

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::ServerLayout;
use crate::durable::{self, Disk};
use crate::locks::{Lock, LockName};
use batch::Batch;
use prepare::{Item, Prepared, prepare};

/// Archives what waits in `streaming/`, then in `incoming/`, under the lock `archive-wal`. Set `stop` to end after the
/// files in hand.
///
/// # Errors
/// [`IngestError::Lock`] with [`Busy`](crate::locks::LockError::Busy) when another run holds the lock. Any other error
/// ends the run with everything before it archived and no source lost.
pub fn ingest(
    disk: &dyn Disk,
    layout: &ServerLayout,
    options: &IngestOptions,
    observer: &mut dyn IngestObserver,
    stop: &AtomicBool,
) -> Result<IngestReport, IngestError> {
    let _lock = Lock::try_acquire(&layout.lock(&LockName::ArchiveWal))?;
    let mut run = Run { disk, layout, options, stop, prepared_dirs: HashSet::new() };
    let mut report = IngestReport::default();
    let sources = [(Source::Streaming, options.streaming), (Source::FileArchival, options.file_archival)];
    for (source, _) in sources.into_iter().filter(|(_, enabled)| *enabled) {
        report.sources.push(run.source(source, observer)?);
    }
    Ok(report)
}

struct Run<'a> {
    disk: &'a dyn Disk,
    layout: &'a ServerLayout,
    options: &'a IngestOptions,
    stop: &'a AtomicBool,
    /// Directories of the archive that exist, and from which the leftovers of crashed runs are gone.
    prepared_dirs: HashSet<PathBuf>,
}

impl<'a> Run<'a> {
    fn source(
        &mut self,
        source: Source,
        observer: &mut dyn IngestObserver,
    ) -> Result<SourceReport, IngestError> {
        let dir = match source {
            Source::Streaming => &self.layout.streaming,
            Source::FileArchival => &self.layout.incoming,
        };
        let Batch { files, unknown, found } = batch::next(source, dir, self.options.batch_size(source))?;
        let run_size = files.len();
        observer.source(source, found, run_size);
        let mut report = SourceReport {
            source,
            found,
            run_size,
            files: Vec::with_capacity(run_size),
            unknown: Vec::with_capacity(unknown.len()),
            aborted: None,
            stopped: false,
        };
        let mut group: Vec<(usize, Item)> = Vec::new();
        for (index, (name, path)) in files.into_iter().enumerate() {
            if self.stop.load(Ordering::Relaxed) {
                report.stopped = true;
                break;
            }
            let item = Item { source, name, path, target: self.layout.wal(name) };
            if let ControlFlow::Break(why) = observer.before(&file_of(&item, index, run_size)) {
                report.aborted = Some(why);
                break;
            }
            group.push((index, item));
            if group.len() >= self.options.group.max(1) {
                self.group(std::mem::take(&mut group), &mut report, observer)?;
            }
        }
        self.group(group, &mut report, observer)?;
        if report.aborted.is_some() || report.stopped {
            return Ok(report);
        }
        for path in unknown {
            let moved = refuse(self.disk, self.layout, &path, Refusal::Unknown, self.options.now)?;
            report.unknown.push((path, moved));
        }
        Ok(report)
    }

    /// Prepares the files side by side and publishes them in order, up to the first that failed.
    fn group(
        &mut self,
        group: Vec<(usize, Item)>,
        report: &mut SourceReport,
        observer: &mut dyn IngestObserver,
    ) -> Result<(), IngestError> {
        if group.is_empty() {
            return Ok(());
        }
        for (_, item) in &group {
            self.prepare_dir(durable::parent(&item.target))?;
        }
        let mut ready = Vec::with_capacity(group.len());
        let mut failure = None;
        for ((index, item), prepared) in group.iter().zip(self.prepare_all(&group)) {
            match prepared {
                Ok(prepared) => ready.push((*index, item, prepared)),
                Err(e) => {
                    failure = Some((*index, item, e));
                    break;
                }
            }
        }
        let (places, prepared): (Vec<_>, Vec<_>) =
            ready.into_iter().map(|(index, item, prepared)| ((index, item), (item, prepared))).unzip();
        let outcomes = publish::publish(self, prepared)?;
        for ((index, item), outcome) in places.into_iter().zip(outcomes) {
            observer.after(&file_of(item, index, report.run_size), &outcome);
            report.files.push(IngestedFile { name: item.name, outcome });
        }
        match failure {
            Some((index, item, error)) => {
                observer.failed(&file_of(item, index, report.run_size), &error);
                Err(error)
            }
            None => Ok(()),
        }
    }

    fn prepare_dir(&mut self, dir: &Path) -> Result<(), IngestError> {
        if !self.prepared_dirs.contains(dir) {
            durable::create_dir_all(self.disk, dir, None)?;
            durable::remove_stale(self.disk, dir)?;
            self.prepared_dirs.insert(dir.to_owned());
        }
        Ok(())
    }

    /// On `workers` threads; the results are in the order of the group.
    fn prepare_all(&self, group: &[(usize, Item)]) -> Vec<Result<Prepared<'a>, IngestError>> {
        let workers = self.options.workers.clamp(1, group.len().max(1));
        if workers == 1 {
            let mut failed = false;
            let until_failure = group.iter().map_while(|(_, item)| {
                let prepared = (!failed).then(|| prepare(self.disk, item, self.options));
                failed = matches!(prepared, Some(Err(_)));
                prepared
            });
            return until_failure.collect();
        }
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(group.len()));
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some((_, item)) = group.get(index) else { return };
                        let prepared = prepare(self.disk, item, self.options);
                        done.lock().unwrap_or_else(PoisonError::into_inner).push((index, prepared));
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_unstable_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, prepared)| prepared).collect()
    }
}

fn file_of(item: &Item, index: usize, count: usize) -> IngestFile<'_> {
    IngestFile {
        source: item.source,
        name: item.name,
        path: &item.path,
        target: &item.target,
        number: index + 1,
        count,
    }
}
