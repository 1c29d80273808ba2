//! Walker and workers.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::directories::Directories;
use super::file::{Copier, Outcome, sync_all};
use super::limit::Limiter;
use super::walk::{Entry, skip, walk};
use super::{LiveOptions, LiveReport, LiveTree, Span};
use crate::observer::CopyObserver;
use crate::pages::PageReport;
use crate::sync::{FileSystem, at};
use crate::tree::TreeError;

/// Files that wait for a worker.
const QUEUE: usize = 1024;
/// Up to so many written files are synced one by one; with more, their file system is, as a whole.
const MAX_SINGLE: usize = 256;
/// So many bytes are left to the kernel before it is told to write them, while the copy goes on.
const WRITE_BACK: u64 = 128 * 1024 * 1024;

struct Shared<'a> {
    trees: &'a [LiveTree],
    limiters: Vec<Option<Limiter>>,
    written: AtomicU64,
    state: Mutex<State>,
    failed: AtomicBool,
}

#[derive(Default)]
struct State {
    failure: Option<TreeError>,
    report: LiveReport,
    /// The files written so far, as long as they are few.
    written: Option<Vec<PathBuf>>,
    pages: PageReport,
    /// For each tree.
    times: Vec<Span>,
}

impl Shared<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: TreeError) {
        self.failed.store(true, Ordering::Relaxed);
        self.state().failure.get_or_insert(error);
    }
}

/// Copies the trees into their targets, without `global/pg_control`; when this returns, all of it is on disk.
///
/// # Errors
/// The first failure that is not just a file vanishing. What was copied so far stays.
pub fn copy(
    trees: &[LiveTree],
    options: &LiveOptions,
    observer: &dyn CopyObserver,
    stop: &AtomicBool,
) -> Result<LiveReport, TreeError> {
    let mut file_systems: Vec<(u64, FileSystem)> = Vec::new();
    for tree in trees {
        // Held open from before the first write, so that no error is missed.
        crate::sync::create_dir_all(&tree.target, 0o700)?;
        let device = tree.target.metadata().map_err(at("read", &tree.target))?.dev();
        let file_system = FileSystem::open(&tree.target)?;
        if !(file_system.is_at_once() && file_systems.iter().any(|(known, _)| *known == device)) {
            file_systems.push((device, file_system));
        }
    }
    let shared = Shared {
        trees,
        limiters: trees.iter().map(|tree| tree.limit.map(Limiter::new)).collect(),
        written: AtomicU64::new(0),
        state: Mutex::new(State {
            written: Some(Vec::new()),
            times: vec![Span::default(); trees.len()],
            ..State::default()
        }),
        failed: AtomicBool::new(false),
    };
    let mut directories = Directories::default();
    let (queue, work) = sync_channel(QUEUE);
    let work = Mutex::new(work);
    let copied = AtomicBool::new(false);
    let mut walked = LiveReport::default();
    let walking = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.threads.max(1))
            .map(|_| scope.spawn(|| worker(&shared, &work, options, observer, stop)))
            .collect();
        let writer = scope.spawn(|| write_back(&shared, &file_systems, &copied));
        let begin = Instant::now();
        let result = feed(&shared, &queue, &mut directories, &mut walked, stop);
        walked.walk = begin.elapsed();
        drop(queue);
        let lost = workers.into_iter().any(|worker| worker.join().is_err());
        copied.store(true, Ordering::Relaxed);
        writer.thread().unpark();
        if lost || writer.join().is_err() {
            shared.fail(TreeError::Worker);
        }
        result
    });
    let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = state.failure {
        return Err(error);
    }
    walking?;
    directories.finish()?;
    match &state.written {
        Some(few) => {
            sync_all(few)?;
            directories.sync()?;
        }
        None => file_systems.iter().try_for_each(|(_, file_system)| file_system.sync())?,
    }
    let mut report = state.report;
    report.walk = walked.walk;
    report.vanished += walked.vanished;
    report.absent.append(&mut walked.absent);
    report.skipped.append(&mut walked.skipped);
    report.pages = options.pages.map(|_| state.pages);
    report.trees = trees.iter().zip(state.times).map(|(tree, span)| span.of(&tree.label)).collect();
    Ok(report)
}

fn feed(
    shared: &Shared<'_>,
    queue: &SyncSender<(usize, PathBuf)>,
    directories: &mut Directories,
    report: &mut LiveReport,
    stop: &AtomicBool,
) -> Result<(), TreeError> {
    for (index, tree) in shared.trees.iter().enumerate() {
        walk(tree, report, &mut |entry| {
            let path = match entry {
                Entry::Directory(path, mode) if path.as_os_str().is_empty() => {
                    directories.root(&tree.target, mode)?;
                    return Ok(true);
                }
                Entry::Directory(path, mode) => {
                    directories.make(tree.target.join(path), mode)?;
                    return Ok(true);
                }
                Entry::File(path) => path,
            };
            Ok(!shared.failed.load(Ordering::Relaxed)
                && !stop.load(Ordering::Relaxed)
                && queue.send((index, path)).is_ok())
        })
        .inspect_err(|_| shared.failed.store(true, Ordering::Relaxed))?;
    }
    if stop.load(Ordering::Relaxed) { Err(TreeError::Stopped) } else { Ok(()) }
}

fn worker(
    shared: &Shared<'_>,
    work: &Mutex<Receiver<(usize, PathBuf)>>,
    options: &LiveOptions,
    observer: &dyn CopyObserver,
    stop: &AtomicBool,
) {
    let mut copier = Copier { options, observer, stop, pages: PageReport::default(), buffer: Vec::new() };
    loop {
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((index, path)) = next else { break };
        if shared.failed.load(Ordering::Relaxed) {
            continue;
        }
        if stop.load(Ordering::Relaxed) {
            shared.fail(TreeError::Stopped);
            continue;
        }
        let Some(tree) = shared.trees.get(index) else { continue };
        let begin = Instant::now();
        let limiter = shared.limiters.get(index).and_then(Option::as_ref);
        match copier.one(tree, limiter, &path) {
            Ok(outcome) => {
                observer.file(&path);
                note(shared, index, outcome, begin, tree.target.join(&path));
            }
            Err(error) => shared.fail(error),
        }
    }
    shared.state().pages.merge(copier.pages);
}

fn note(shared: &Shared<'_>, index: usize, outcome: Outcome, begin: Instant, target: PathBuf) {
    let end = Instant::now();
    let mut state = shared.state();
    let report = &mut state.report;
    match outcome {
        Outcome::Vanished => report.vanished += 1,
        Outcome::Skipped => skip(report, target),
        Outcome::Reused(bytes) => {
            report.files += 1;
            report.bytes += bytes;
            report.reused += 1;
            report.reused_bytes += bytes;
        }
        Outcome::Copied(bytes) => {
            report.files += 1;
            report.bytes += bytes;
            shared.written.fetch_add(bytes, Ordering::Relaxed);
            match &mut state.written {
                Some(few) if few.len() < MAX_SINGLE => few.push(target),
                many => *many = None,
            }
        }
    }
    if let Some(span) = state.times.get_mut(index) {
        span.note(begin, end);
    }
}

/// Has the disk work while the copy goes on: what was written meanwhile need not be waited for at its end.
fn write_back(shared: &Shared<'_>, file_systems: &[(u64, FileSystem)], copied: &AtomicBool) {
    let mut synced = 0;
    while !copied.load(Ordering::Relaxed) {
        std::thread::park_timeout(Duration::from_millis(200));
        let written = shared.written.load(Ordering::Relaxed);
        if written.saturating_sub(synced) < WRITE_BACK || copied.load(Ordering::Relaxed) {
            continue;
        }
        synced = written;
        // File by file it would begin anew with the first one each time.
        for (_, file_system) in file_systems.iter().filter(|(_, file_system)| file_system.is_at_once()) {
            if let Err(error) = file_system.sync() {
                return shared.fail(error.into());
            }
        }
    }
}
