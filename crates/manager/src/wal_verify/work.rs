//! Sharing the chunks out to workers, and taking the results back in order.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use tapster_catalog::WalStore;
use walfile::{Lsn, SegmentSize, SystemId};

use super::chunk::{Chunk, ChunkReader, ChunkResult};
use super::join::Join;
use super::landmarks::Landmarks;
use super::line::Line;
use super::report::VerifiedLine;
use super::{WalVerifyError, chunk_length};
use crate::Context;
use crate::event::Progress;

/// More threads than this only wait for the disk.
const MAX_JOBS: usize = 256;

/// A line, and what was found on it.
pub(super) struct Verified {
    pub(super) line: Line,
    pub(super) found: VerifiedLine,
    pub(super) landmarks: Landmarks,
}

/// Verifies each line with its own workers. Backups begin at `begins`, which are in order.
pub(super) fn verify(
    lines: &[Line],
    store: &WalStore<'_>,
    size: SegmentSize,
    system: Option<SystemId>,
    begins: &[Lsn],
    jobs: Option<usize>,
    context: &Context<'_>,
) -> Result<Vec<Verified>, WalVerifyError> {
    let available = || thread::available_parallelism().map_or(1, usize::from);
    let jobs = jobs.unwrap_or_else(available).clamp(1, MAX_JOBS);
    let total = lines.iter().map(Line::segments).sum::<u64>().saturating_mul(size.bytes());
    let mut progress = Progress { done: 0, total: Some(total) };
    let mut verified = Vec::with_capacity(lines.len());
    for line in lines {
        let length = chunk_length(line.segments(), jobs, size);
        let mut join = Join::new(&line.history, size, line.start);
        let reader = ChunkReader {
            store: *store,
            history: &line.history,
            history_lost: line.history_lost,
            system,
            size,
            begins,
            stop: &context.stop,
        };
        in_order(line.chunks(length, size), jobs, &reader, &context.stop, |chunk, result| {
            progress.done += (chunk.last.get() - chunk.first.get() + 1).saturating_mul(size.bytes());
            context.observer.progress(progress);
            join.add(chunk, result);
        })?;
        let (found, landmarks) = join.finish();
        verified.push(Verified { line: line.clone(), found, landmarks });
    }
    Ok(verified)
}

/// Reads the chunks on `jobs` threads and hands the results over in the order of the chunks.
fn in_order(
    chunks: impl Iterator<Item = Chunk> + Send,
    jobs: usize,
    reader: &ChunkReader<'_>,
    stop: &AtomicBool,
    mut take: impl FnMut(Chunk, ChunkResult),
) -> Result<(), WalVerifyError> {
    let queue = Mutex::new(chunks.enumerate());
    let (sender, results) = mpsc::sync_channel(jobs * 2);
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, queue) = (sender.clone(), &queue);
            let work = move || {
                loop {
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((index, chunk)) = next else { return };
                    let result = reader.read(chunk);
                    if sender.send((index, chunk, result)).is_err() {
                        return;
                    }
                }
            };
            thread::Builder::new()
                .name("wal-verify".to_owned())
                .spawn_scoped(scope, work)
                .map_err(WalVerifyError::Thread)?;
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut expected = 0;
        for (index, chunk, result) in results {
            waiting.insert(index, (chunk, result));
            while let Some((chunk, result)) = waiting.remove(&expected) {
                take(chunk, result);
                expected += 1;
            }
        }
        Ok(())
    })
}
