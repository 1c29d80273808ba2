//! Files that are complete, being brought to disk while others are still written.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::durable::{DurableError, DurableFile};

/// Threads that wait for `fsync`; together they let the file system commit many files at once.
const THREADS: usize = 8;
/// Files that wait for one of them.
const QUEUE: usize = 64;

#[derive(Debug)]
pub(super) struct Syncer {
    queue: Option<SyncSender<DurableFile>>,
    threads: Vec<JoinHandle<Result<(), DurableError>>>,
}

impl Syncer {
    pub(super) fn start() -> Self {
        let (queue, files) = sync_channel(QUEUE);
        let files = Arc::new(Mutex::new(files));
        let threads = (0..THREADS).map(|_| {
            let files = Arc::clone(&files);
            std::thread::spawn(move || work(&files))
        });
        Self { queue: Some(queue), threads: threads.collect() }
    }

    pub(super) fn push(&self, file: DurableFile) -> Result<(), DurableError> {
        let refused = match &self.queue {
            Some(queue) => queue.send(file).err().map(|error| error.0),
            None => Some(file),
        };
        // Without threads, by our own hand.
        refused.map_or(Ok(()), |mut file| file.sync())
    }

    /// Waits until everything is on disk.
    pub(super) fn finish(&mut self) -> Result<(), DurableError> {
        self.queue = None;
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            let ended = thread.join().unwrap_or_else(|_| Err(DurableError::Poisoned { path: "".into() }));
            result = result.and(ended);
        }
        result
    }
}

fn work(files: &Mutex<Receiver<DurableFile>>) -> Result<(), DurableError> {
    let mut result = Ok(());
    loop {
        let next = files.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(mut file) => result = result.and_then(|()| file.sync()),
            Err(_) => return result,
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        // What is still queued is about to be removed; its threads must not outlive the directory.
        drop(self.finish());
    }
}
