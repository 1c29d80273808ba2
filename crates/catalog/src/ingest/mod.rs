//! `incoming/` and `streaming/` into the archive: Barman's `archive-wal`.
//!
//! For each file: its content is compared with its name; the archive's name must be free, or hold the same WAL; it is
//! compressed under a temporary name and synced; then, a group of files at a time, renamed, the directory synced, the
//! index lines appended and synced, and only then the sources removed. A crash after any step leaves the source or the
//! archived file and its line; running again completes it. Nothing is ever replaced. A file that cannot be read stays where
//! it is, and those behind it are archived.
//!
//! The work for a file does not depend on how many others wait or lie in the archive; what is kept in memory of a file that
//! waits is its name.

mod batch;
mod link;
mod listed;
mod options;
mod pipeline;
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
pub(crate) use validate::{check as check_file, check_encrypted};

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use walfile::WalName;

use crate::ServerLayout;
use crate::durable::{self, Disk};
use crate::locks::{Lock, LockName};
use batch::Batch;
use listed::Listed;
use pipeline::{CloseAtEnd, Pipeline};
use prepare::{Item, Prepared, prepare};

/// Threads that wait for `fsync`. Each costs a stack; together they let the file system commit many files at once.
const SYNCERS: usize = 16;

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
    let mut prepared_dirs = HashSet::new();
    let mut report = IngestReport::default();
    let sources = [(Source::Streaming, options.streaming), (Source::FileArchival, options.file_archival)];
    for (source, _) in sources.into_iter().filter(|(_, enabled)| *enabled) {
        let dir = source.dir(layout);
        let Batch { files, unknown, found } = batch::next(source, dir)?;
        let size = match options.batch_size(source) {
            0 => files.len(),
            limit => files.len().min(limit),
        };
        let run = Run { disk, layout, options, stop, source, dir, files: &files, size };
        report.sources.push(run.run(found, unknown, &mut prepared_dirs, observer)?);
    }
    Ok(report)
}

/// One source's run.
struct Run<'a> {
    disk: &'a dyn Disk,
    layout: &'a ServerLayout,
    options: &'a IngestOptions,
    stop: &'a AtomicBool,
    source: Source,
    dir: &'a Path,
    files: &'a [WalName],
    /// Files to archive in this run. Those that cannot be taken and stay do not count, or they would hold up the others.
    size: usize,
}

/// How far a run has come.
struct Progress<'r> {
    report: SourceReport,
    /// Directories of the archive that exist, and from which the leftovers of crashed runs are gone.
    prepared_dirs: &'r mut HashSet<PathBuf>,
    /// Which files of the run the index lists, once that was looked up.
    listed: Listed,
    /// Files that could not be taken.
    stayed: usize,
    observer: &'r mut dyn IngestObserver,
    /// So many files are done.
    done: usize,
    /// The observer was asked about so many files.
    asked: usize,
    /// The file at which the run stopped with an error.
    failed: Option<usize>,
}

impl<'a> Run<'a> {
    fn run(
        &self,
        found: usize,
        unknown: Vec<PathBuf>,
        prepared_dirs: &mut HashSet<PathBuf>,
        observer: &mut dyn IngestObserver,
    ) -> Result<SourceReport, IngestError> {
        observer.source(self.source, found, self.size);
        let report = SourceReport::new(self.source, found, self.size);
        let listed = Listed::default();
        let mut progress =
            Progress { report, prepared_dirs, listed, stayed: 0, observer, done: 0, asked: 0, failed: None };
        let workers = self.options.workers.clamp(1, self.files.len().max(1));
        let group = self.options.group.max(1);
        let mut run = if workers == 1 || group == 1 {
            self.one_after_another(group, &mut progress)
        } else {
            self.side_by_side(workers, &mut progress)
        };
        if group > 1 && run.as_ref().is_err_and(IngestError::is_out_of_space) {
            // The temporary files of those that were under way took the room, and are gone by now. One at a time, each file's
            // source makes room for the next.
            progress.failed = None;
            run = self.one_after_another(1, &mut progress);
        }
        if let Err(error) = run {
            if let Some((index, item)) = progress.failed.and_then(|index| Some((index, self.item(index)?))) {
                progress.observer.failed(&self.file(&item, index), &error);
            }
            return Err(error);
        }
        let mut report = progress.report;
        if report.aborted.is_some() || report.stopped {
            return Ok(report);
        }
        for path in unknown {
            match refuse(self.disk, self.layout, &path, Refusal::Unknown, self.options.now) {
                Ok(moved) => report.unknown.push((path, moved)),
                // It does no harm where it is, and must not keep the WAL beside it out of the archive.
                Err(error) => report.unmovable.push((path, error.to_string())),
            }
        }
        Ok(report)
    }

    /// From where the run has come to, so many files with one sync of the index.
    fn one_after_another(&self, group: usize, progress: &mut Progress<'_>) -> Result<(), IngestError> {
        let mut next = progress.done;
        loop {
            let until = self.admit(next, next + group, progress)?;
            if until == next {
                return Ok(());
            }
            let mut failed = false;
            let prepared = (next..until).map_while(|index| {
                let prepared = (!failed).then(|| self.prepare(index).and_then(Prepared::synced));
                failed = matches!(prepared, Some(Err(_)));
                prepared
            });
            let prepared = prepared.collect();
            self.publish(next, prepared, progress)?;
            if progress.has_ended() {
                return Ok(());
            }
            next = until;
        }
    }

    fn side_by_side(&self, workers: usize, progress: &mut Progress<'_>) -> Result<(), IngestError> {
        let pipeline = Pipeline::new(self.stop);
        std::thread::scope(|scope| {
            let _close = CloseAtEnd(&pipeline);
            for _ in 0..workers {
                scope.spawn(|| pipeline.work(|index| self.prepare(index)));
            }
            for _ in 0..SYNCERS.min(self.options.group).min(self.files.len()) {
                scope.spawn(|| pipeline.sync());
            }
            let (mut published, mut admitted) = (0, 0);
            loop {
                if !progress.has_ended() {
                    admitted = self.admit(admitted, published + 2 * self.options.group, progress)?;
                    pipeline.admit(admitted);
                }
                let count = self.options.group.min(admitted - published);
                let prepared = pipeline.take(published, count);
                progress.report.stopped |= self.stop.load(Ordering::Relaxed) && prepared.len() < count;
                if prepared.is_empty() {
                    return Ok(());
                }
                let first = published;
                published += prepared.len();
                self.publish(first, prepared, progress)?;
            }
        })
    }

    /// Asks the observer about the files from `from` up to `until`, and makes their directories. Returns how far it came.
    fn admit(&self, from: usize, until: usize, progress: &mut Progress<'_>) -> Result<usize, IngestError> {
        let until = until.min(self.files.len()).min(self.size + progress.stayed);
        for index in from..until {
            if self.stop.load(Ordering::Relaxed) {
                progress.report.stopped = true;
                return Ok(index);
            }
            let Some(item) = self.item(index) else { return Ok(index) };
            if index >= progress.asked {
                if let ControlFlow::Break(why) = progress.observer.before(&self.file(&item, index)) {
                    progress.report.aborted = Some(why);
                    return Ok(index);
                }
                progress.asked = index + 1;
            }
            let dir = durable::parent(&item.target);
            if self.options.objects.is_none() && !progress.prepared_dirs.contains(dir) {
                durable::create_dir_all(self.disk, dir, None)?;
                durable::remove_stale(self.disk, dir)?;
                progress.prepared_dirs.insert(dir.to_owned());
            }
        }
        Ok(until)
    }

    fn prepare(&self, index: usize) -> pipeline::Result<'a> {
        match self.item(index) {
            Some(item) => prepare(self.disk, &item, self.options),
            None => Ok(Prepared::Vanished),
        }
    }

    /// Publishes the files from `first` on, in order, up to the first that failed.
    fn publish(
        &self,
        first: usize,
        prepared: Vec<pipeline::Result<'a>>,
        progress: &mut Progress<'_>,
    ) -> Result<(), IngestError> {
        let mut ready = Vec::with_capacity(prepared.len());
        let mut failure = None;
        for (index, prepared) in (first..).zip(prepared) {
            let Some(item) = self.item(index) else { break };
            match prepared {
                Ok(prepared) => ready.push((item, prepared)),
                Err(error) => {
                    failure = Some(error);
                    progress.failed = Some(index);
                    break;
                }
            }
        }
        let (items, prepared): (Vec<_>, Vec<_>) = ready.into_iter().unzip();
        let outcomes = publish::publish(self, &mut progress.listed, items.iter().zip(prepared))?;
        for ((index, item), outcome) in (first..).zip(&items).zip(outcomes) {
            progress.observer.after(&self.file(item, index), &outcome);
            progress.stayed += usize::from(outcome.stays());
            progress.report.count(item.name, outcome);
            progress.done = index + 1;
        }
        failure.map_or(Ok(()), Err)
    }

    fn item(&self, index: usize) -> Option<Item> {
        let name = *self.files.get(index)?;
        // A WAL file's name has one spelling.
        let path = self.dir.join(name.to_string());
        let target = match &self.options.objects {
            Some(objects) => objects.place(name),
            None => self.layout.wal(name),
        };
        Some(Item { source: self.source, name, path, target })
    }

    fn file<'i>(&self, item: &'i Item, index: usize) -> IngestFile<'i> {
        IngestFile {
            source: item.source,
            name: item.name,
            path: &item.path,
            target: &item.target,
            number: index + 1,
            count: self.size.max(index + 1),
        }
    }
}

impl Progress<'_> {
    const fn has_ended(&self) -> bool {
        self.report.aborted.is_some() || self.report.stopped
    }
}
