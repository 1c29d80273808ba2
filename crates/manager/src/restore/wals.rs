//! WAL out of the archive, for a restore.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tapster_catalog::WalReader;
use walfile::{SegmentSize, WalName};

use super::RestoreError;
use super::destination::Job;

/// One file of the archive, opened.
pub(super) struct Wal<'a> {
    job: Job<'a>,
    name: WalName,
    from: PathBuf,
    reader: WalReader,
    size: SegmentSize,
    found: u64,
}

impl<'a> Wal<'a> {
    pub(super) fn open(job: Job<'a>, name: WalName) -> Result<Self, RestoreError> {
        let size = job.plan.record.segment_size();
        let store = job.server.wal_store().with_segment_size(size);
        let reader = store.open(name, job.plan.options.partial_wal)?;
        Ok(Self { job, name, from: reader.found().path.clone(), reader, size, found: 0 })
    }

    /// The next bytes; zero at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, RestoreError> {
        loop {
            if self.job.context.stopped() {
                return Err(self.job.stopped());
            }
            match self.reader.read(buffer) {
                Ok(count) => {
                    self.found += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(RestoreError::Io { path: self.from.clone(), source }),
            }
        }
    }

    /// After the last byte: to what size the file is to be filled up, where it is the beginning of a segment. Everything else
    /// must be whole.
    pub(super) fn whole(&self) -> Result<Option<u64>, RestoreError> {
        let (WalName::Segment(segment), expected) = (self.name, self.size.bytes()) else { return Ok(None) };
        if self.found == expected {
            return Ok(None);
        }
        let archived = self.job.server.wal_store().find(segment.into(), false)?.is_some();
        if archived || self.found > expected {
            return Err(RestoreError::WalSize { segment, expected, found: self.found });
        }
        Ok(Some(expected))
    }
}

/// Works through the names side by side: one worker for each processor, but no more than `most`. Each takes names from an iterator
/// that ends early when another one has failed.
pub(super) fn side_by_side(
    names: &[WalName],
    most: usize,
    worker: impl Fn(&mut dyn Iterator<Item = WalName>) -> Result<(), RestoreError> + Sync,
) -> Result<(), RestoreError> {
    let next = AtomicUsize::new(0);
    let failure: Mutex<Option<RestoreError>> = Mutex::new(None);
    let lock = || failure.lock().unwrap_or_else(PoisonError::into_inner);
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(most).min(names.len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut mine = std::iter::from_fn(|| {
                    let name = names.get(next.fetch_add(1, Ordering::Relaxed))?;
                    lock().is_none().then_some(*name)
                });
                if let Err(error) = worker(&mut mine) {
                    lock().get_or_insert(error);
                }
            });
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}
