//! Objects in ranges that come side by side and are taken in order, within the memory that the store's options allow.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tapster_cloud::{CloudError, RangeRead, Store};
use tapster_copy::Unpacker;

use super::{ArchiveObject, CloudRestoreError};

/// Bytes of a range, if there is the memory.
const RANGE: u64 = 8 << 20;
/// Smaller ones cost more than they bring.
const LEAST: u64 = 1 << 20;
/// The memory when the options do not say.
const MEMORY: u64 = 64 << 20;
/// A range that broke off is asked for so often in all; the store's own tries are within each.
const TRIES: u32 = 3;
/// How often is looked whether to go on.
const LOOK: Duration = Duration::from_millis(250);

/// Reads the archives of one backup. Those that are read at the same time share connections and memory.
pub(in crate::cloud) struct Ranges<'s> {
    store: &'s Store,
    size: u64,
    connections: usize,
    buffers: Arc<Buffers>,
}

/// How large ranges are, and how many come at once: with the one that is unpacked, they take no more than the memory.
fn shares(memory: usize, connections: usize) -> (u64, u64) {
    let memory = if memory == 0 { MEMORY } else { (memory as u64).max(2 * LEAST) };
    let connections = (connections as u64).min(memory / LEAST - 1);
    (RANGE.min(memory / (connections + 1)), connections)
}

impl<'s> Ranges<'s> {
    /// `connections` ranges at once; what the store's options say for 0.
    pub(in crate::cloud) fn new(store: &'s Store, connections: usize) -> Self {
        let options = store.options();
        let connections = if connections == 0 { options.connections() } else { connections };
        let (size, connections) = shares(options.memory, connections);
        let connections = usize::try_from(connections).unwrap_or(1);
        Self { store, size, connections, buffers: Arc::new(Buffers::new(connections + 1)) }
    }

    /// How many archives can be unpacked at once.
    pub(super) const fn connections(&self) -> usize {
        self.connections
    }

    /// Hands an archive over as it comes, and says of each piece how long it was. `is_over` is looked at now and then.
    pub(in crate::cloud) fn feed(
        &self,
        unpacker: &mut Unpacker,
        archive: &ArchiveObject,
        is_over: &dyn Fn() -> bool,
        came: &mut dyn FnMut(u64),
    ) -> Result<(), CloudRestoreError> {
        unpacker.start_archive(archive.tablespace, archive.compression)?;
        let mut under_way: VecDeque<Asked> = VecDeque::new();
        let mut next = 0;
        loop {
            while next < archive.size && under_way.len() < self.connections {
                // What others hold comes back; what this one holds does when it goes on.
                let Some(buffer) = self.buffers.take(under_way.is_empty(), is_over)? else { break };
                let range = next..(next + self.size).min(archive.size);
                next = range.end;
                under_way.push_back(self.ask(archive, range, buffer, 1)?);
            }
            let Some(first) = under_way.pop_front() else { return Ok(()) };
            let bytes = self.await_range(archive, first, is_over)?;
            let count = bytes.len() as u64;
            unpacker.give(Lent { bytes, owner: Arc::clone(&self.buffers) })?;
            came(count);
        }
    }

    fn ask(
        &self,
        archive: &ArchiveObject,
        range: Range<u64>,
        buffer: Vec<u8>,
        tries: u32,
    ) -> Result<Asked, CloudError> {
        let read = self.store.begin_range(&archive.key, range.clone(), archive.etag.as_deref(), buffer)?;
        Ok(Asked { range, tries, read })
    }

    fn await_range(
        &self,
        archive: &ArchiveObject,
        mut asked: Asked,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Vec<u8>, CloudError> {
        loop {
            if is_over() {
                return Err(CloudError::Stopped);
            }
            match asked.read.wait(LOOK) {
                None => {}
                Some((bytes, Ok(()))) => return Ok(bytes),
                Some((buffer, Err(error))) => {
                    let Asked { range, tries, .. } = asked;
                    if tries >= TRIES || error.is_not_found() {
                        return Err(error);
                    }
                    tracing::warn!("{error}; bytes {range:?} of {} are asked for again", archive.key);
                    asked = self.ask(archive, range, buffer, tries + 1)?;
                }
            }
        }
    }
}

/// A range under way.
struct Asked {
    range: Range<u64>,
    tries: u32,
    read: RangeRead,
}

/// A few buffers that are used again and again.
struct Buffers {
    free: Mutex<Vec<Vec<u8>>>,
    came_back: Condvar,
}

impl Buffers {
    /// They take memory when they are first used.
    fn new(count: usize) -> Self {
        Self { free: Mutex::new(vec![Vec::new(); count]), came_back: Condvar::new() }
    }

    /// One that is free, or, if it `must` be, the next that comes back.
    fn take(&self, must: bool, is_over: &dyn Fn() -> bool) -> Result<Option<Vec<u8>>, CloudError> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let buffer = free.pop();
            if buffer.is_some() || !must {
                return Ok(buffer);
            }
            if is_over() {
                return Err(CloudError::Stopped);
            }
            free = self.came_back.wait_timeout(free, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A buffer that goes back to the others when it was read.
struct Lent {
    bytes: Vec<u8>,
    owner: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.bytes);
        self.owner.free.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        self.owner.came_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_kept_whatever_is_asked_for() {
        assert_eq!(shares(0, 4), (RANGE, 4));
        for memory in [1_usize, 1 << 20, 3 << 20, 10 << 20, 64 << 20, 1 << 30] {
            for connections in [1, 4, 8, 64] {
                let (size, connections) = shares(memory, connections);
                assert!(connections > 0 && size >= LEAST, "{memory}");
                assert!((connections + 1) * size <= (memory as u64).max(2 * LEAST), "{memory} {connections}");
            }
        }
    }

    #[test]
    fn a_buffer_that_was_read_is_there_again() {
        let buffers = Arc::new(Buffers::new(1));
        let go_on = || false;
        let bytes = buffers.take(true, &go_on).unwrap().unwrap();
        let lent = Lent { bytes, owner: Arc::clone(&buffers) };
        assert_eq!(buffers.take(false, &go_on).unwrap(), None);
        assert!(matches!(buffers.take(true, &|| true), Err(CloudError::Stopped)));
        let reader = std::thread::spawn(move || drop(lent));
        assert!(buffers.take(true, &go_on).unwrap().is_some());
        reader.join().unwrap();
    }
}
