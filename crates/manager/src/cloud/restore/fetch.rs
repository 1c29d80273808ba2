//! An object in ranges that come side by side and are taken in order.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use tapster_cloud::{CloudError, Store};

use super::{ArchiveObject, CloudRestoreError};
use crate::Context;

/// Bytes of a range.
pub(super) const RANGE: u64 = 8 << 20;
/// A range that broke off is asked for so often in all; the store's own tries are within each.
const TRIES: u32 = 3;

/// As the store sent them.
type Chunks = Vec<Bytes>;

/// Gives the bytes of `archive` to `take`. At most `connections` ranges are in memory.
pub(super) fn fetch(
    store: &Store,
    archive: &ArchiveObject,
    connections: usize,
    context: &Context<'_>,
    mut take: impl FnMut(&[u8]) -> Result<(), CloudRestoreError>,
) -> Result<(), CloudRestoreError> {
    let mut under_way: VecDeque<Receiver<Result<Chunks, CloudError>>> = VecDeque::new();
    let mut next = 0;
    loop {
        while next < archive.size && under_way.len() < connections.max(1) {
            let range = next..(next + RANGE).min(archive.size);
            next = range.end;
            let (store, key, etag) = (store.clone(), archive.key.clone(), archive.etag.clone());
            let (done, result) = sync_channel(1);
            std::thread::spawn(move || {
                // Nobody listens when the restore has failed.
                let _ = done.send(range_of(&store, &key, etag.as_deref(), &range));
            });
            under_way.push_back(result);
        }
        let Some(first) = under_way.pop_front() else { return Ok(()) };
        let chunks = loop {
            if context.stopped() {
                return Err(CloudError::Stopped.into());
            }
            match first.recv_timeout(Duration::from_millis(250)) {
                Ok(result) => break result?,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(_) => return Err(CloudError::Stopped.into()),
            }
        };
        for chunk in chunks {
            take(&chunk)?;
        }
    }
}

fn range_of(
    store: &Store,
    key: &str,
    etag: Option<&str>,
    range: &std::ops::Range<u64>,
) -> Result<Chunks, CloudError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match once(store, key, etag, range) {
            Err(error) if tries < TRIES && !error.is_not_found() => {
                tracing::warn!("{error}; bytes {range:?} of {key} are asked for again");
            }
            result => return result,
        }
    }
}

fn once(
    store: &Store,
    key: &str,
    etag: Option<&str>,
    range: &std::ops::Range<u64>,
) -> Result<Chunks, CloudError> {
    let mut reader = store.get(key, Some(range.clone()))?;
    let wrong = |reason: &str| CloudError::Invalid {
        store: store.url().to_string(),
        key: key.to_owned(),
        reason: reason.to_owned(),
    };
    if reader.size() != range.end - range.start {
        return Err(wrong("it has become shorter"));
    }
    if let (Some(listed), Some(found)) = (etag, reader.info().etag.as_deref())
        && listed != found
    {
        return Err(wrong("it was replaced since it was listed"));
    }
    let mut chunks = Chunks::new();
    while let Some(chunk) = reader.next_chunk()? {
        chunks.push(chunk);
    }
    Ok(chunks)
}
