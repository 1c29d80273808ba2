//! Whole segments on their way from `.partial` to their name, on a thread of their own.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use walfile::{Lsn, SegmentName};

use super::{SegmentCompression, SegmentDirError, SegmentDirOptions};
use crate::durable::{self, Clobber, Disk, DurableError, DurableFile, Publish, Step};
use crate::undo::Undo;
use crate::{same_content, transcode};

/// A segment with all its bytes written.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) file: DurableFile,
    pub(super) path: PathBuf,
    pub(super) name: SegmentName,
    pub(super) end: Lsn,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Job>,
    /// Jobs queued or in work.
    pending: usize,
    /// End of the last segment that is durable under its name.
    durable: Option<Lsn>,
    failure: Option<SegmentDirError>,
    failed: bool,
    closing: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finishes segments in the order they come: sync, rename, sync the directory. Stops at the first failure.
#[derive(Debug)]
pub(super) struct Finisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    depth: usize,
}

impl Finisher {
    pub(super) fn start(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: &SegmentDirOptions,
    ) -> Result<Self, SegmentDirError> {
        let shared = Arc::new(Shared::default());
        let work = Work {
            disk,
            dir: dir.clone(),
            sync: options.sync,
            compression: options.compression,
            file_mode: options.file_mode,
        };
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("segment-finisher".to_owned())
            .spawn(move || run(&theirs, &work))
            .map_err(|e| SegmentDirError::io(Step::Open, &dir, e))?;
        Ok(Self { shared, thread: Some(thread), depth: options.queue_depth.max(1) })
    }

    /// Hands over a segment; waits while the queue is full, so that memory and unsynced data stay bounded.
    pub(super) fn submit(&self, job: Job) -> Result<(), SegmentDirError> {
        let mut state = self.shared.lock();
        while state.pending >= self.depth && !state.failed {
            state = self.wait(state);
        }
        take_failure(&mut state)?;
        state.pending += 1;
        state.queue.push_back(job);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Waits until every segment handed over is durable.
    pub(super) fn drain(&self) -> Result<(), SegmentDirError> {
        let mut state = self.shared.lock();
        while state.pending > 0 && !state.failed {
            state = self.wait(state);
        }
        take_failure(&mut state)
    }

    pub(super) fn is_idle(&self) -> Result<bool, SegmentDirError> {
        let mut state = self.shared.lock();
        take_failure(&mut state)?;
        Ok(state.pending == 0 && !state.failed)
    }

    pub(super) fn durable(&self) -> Option<Lsn> {
        self.shared.lock().durable
    }

    /// Forgets the position of the timeline that was left. Only when drained.
    pub(super) fn forget_position(&self) {
        self.shared.lock().durable = None;
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_failure(state: &mut State) -> Result<(), SegmentDirError> {
    state.failure.take().map_or(Ok(()), Err)
}

impl Drop for Finisher {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed; nothing more was acknowledged.
            drop(thread.join());
        }
    }
}

fn run(shared: &Shared, work: &Work) {
    loop {
        let job = {
            let mut state = shared.lock();
            loop {
                if let Some(job) = state.queue.pop_front() {
                    break job;
                }
                if state.closing {
                    return;
                }
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let end = job.end;
        let done = work.finish(job);
        let mut state = shared.lock();
        match done {
            Ok(()) => {
                state.pending -= 1;
                state.durable = Some(end);
            }
            Err(failure) => {
                state.failure = Some(failure);
                state.failed = true;
            }
        }
        shared.changed.notify_all();
        if state.failed {
            return;
        }
    }
}

struct Work {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    sync: bool,
    compression: SegmentCompression,
    file_mode: u32,
}

impl Work {
    fn finish(&self, mut job: Job) -> Result<(), SegmentDirError> {
        let disk = self.disk.as_ref();
        if let Some((codec, level, suffix)) = self.compression.codec() {
            let target = self.dir.join(format!("{}.{suffix}", job.name));
            self.compress(&job.path, &target, codec, level)?;
            durable::remove_file_unsynced(disk, &job.path)?;
            return Ok(());
        }
        if self.sync {
            job.file.sync()?;
        }
        let target = self.dir.join(job.name.to_string());
        match durable::rename_unsynced(disk, &job.path, &target, Clobber::Refuse) {
            Ok(()) => {}
            Err(DurableError::Exists { path }) => {
                let same = same_content::files(&path, &job.path)
                    .map_err(|e| SegmentDirError::io(Step::Read, &path, e))?;
                if !same {
                    return Err(SegmentDirError::Conflict { path });
                }
                if self.sync {
                    disk.sync_file(&path).map_err(|e| SegmentDirError::io(Step::Sync, &path, e))?;
                }
                durable::remove_file_unsynced(disk, &job.path)?;
            }
            Err(e) => return Err(e.into()),
        }
        if self.sync {
            durable::sync_dir(disk, &self.dir)?;
        }
        Ok(())
    }

    /// The compressed twin is durable before its source goes.
    fn compress(
        &self,
        source: &Path,
        target: &Path,
        codec: walfile::codec::Compression,
        level: walfile::codec::Level,
    ) -> Result<(), SegmentDirError> {
        let read = |e| SegmentDirError::io(Step::Read, source, e);
        let write = |e| SegmentDirError::io(Step::Write, target, e);
        let publish = Publish::create(self.disk.as_ref(), target, Some(self.file_mode))?;
        let input = File::open(source).map_err(read)?;
        let publish = transcode::copy(input, publish, codec, level).map_err(write)?;
        match publish.publish(Clobber::Refuse) {
            Ok(()) => Ok(()),
            Err(DurableError::Exists { path }) => {
                let same = same_content::segments(&path, source, Undo::default())
                    .map_err(|e| SegmentDirError::io(Step::Read, &path, e))?;
                if !same {
                    return Err(SegmentDirError::Conflict { path });
                }
                // Whoever wrote it may not have come to the sync.
                if self.sync {
                    self.disk.sync_file(&path).map_err(|e| SegmentDirError::io(Step::Sync, &path, e))?;
                    durable::sync_dir(self.disk.as_ref(), &self.dir)?;
                }
                Ok(())
            }
            Err(e) => Err(e.into()),
        }
    }
}
