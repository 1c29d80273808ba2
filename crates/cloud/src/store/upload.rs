//! An object as it goes out.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use bytes::BytesMut;
use object_store::{MultipartUpload, PutMultipartOptions};

use super::{Store, WriteOptions, failure};
use crate::store::runtime::Ended;
use crate::wire::{Call, Last};
use crate::{CloudError, PutMode};

/// S3 takes no part smaller than this, but the last.
const LEAST_PART: usize = 5 << 20;
/// And no more of them.
const MOST_PARTS: u64 = 10_000;

/// A part under way.
#[derive(Debug)]
struct Part {
    call: Arc<Call>,
    deadline: Duration,
    result: Receiver<Result<object_store::Result<()>, tokio::time::error::Elapsed>>,
}

/// An object being written, in parts of equal size that are sent while the next is filled. Dropping it before
/// [`finish`](Self::finish) removes what was sent.
#[derive(Debug)]
pub struct Upload {
    store: Store,
    key: String,
    options: WriteOptions,
    part_size: usize,
    buffer: BytesMut,
    /// Bytes given to [`Write`].
    written: u64,
    sent: Option<Box<dyn MultipartUpload>>,
    under_way: VecDeque<Part>,
}

impl Upload {
    pub(super) fn new(store: Store, key: &str, options: WriteOptions) -> Result<Self, CloudError> {
        store.path(key)?;
        let memory = match store.options().memory {
            0 => 64 << 20,
            memory => memory,
        };
        let largest = memory / (store.concurrency() + 1);
        let needed = options.expected_size.unwrap_or(0).div_ceil(MOST_PARTS);
        let part_size =
            usize::try_from(needed).unwrap_or(usize::MAX).max(largest.min(8 << 20)).max(LEAST_PART);
        Ok(Self {
            store,
            key: key.to_owned(),
            options,
            part_size,
            buffer: BytesMut::new(),
            written: 0,
            sent: None,
            under_way: VecDeque::new(),
        })
    }

    /// Bytes of one part.
    pub const fn part_size(&self) -> usize {
        self.part_size
    }

    /// Bytes written so far.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Makes the object of what was written. It is durable, and listed, when this returns. Returns its size in bytes.
    ///
    /// # Errors
    /// When the store did not take it all; it is then not listed.
    pub fn finish(mut self) -> Result<u64, CloudError> {
        if self.sent.is_none() {
            // Small enough for one request, which can also refuse to replace.
            let bytes = self.buffer.split().freeze();
            self.store.put(&self.key, bytes, &self.options)?;
            return Ok(self.written);
        }
        if !self.buffer.is_empty() {
            self.send()?;
        }
        while !self.under_way.is_empty() {
            self.await_oldest()?;
        }
        if self.options.mode == PutMode::Create && self.store.head(&self.key).is_ok() {
            let (store, key) = (self.store.url().to_string(), self.key.clone());
            return Err(CloudError::Exists { store, key });
        }
        if let Some(mut upload) = self.sent.take() {
            let call = Arc::new(Call::creating(self.options.mode == PutMode::Create));
            let (result, upload) = self.store.call_of(&call, "writing", &self.key, 0, async move {
                let result = upload.complete().await;
                Ok((result, upload))
            })?;
            if let Err(error) = result {
                // The answer to an earlier try was lost: the upload is gone because it has become the object.
                if call.requests() > 1 && is_ended(&call) && self.has_become_the_object() {
                    return Ok(self.written);
                }
                self.sent = Some(upload);
                let ended = Ended::Failed(error);
                return Err(failure::classify(self.store.url(), "writing", &self.key, ended, &call));
            }
        }
        Ok(self.written)
    }

    fn has_become_the_object(&self) -> bool {
        self.store.head(&self.key).is_ok_and(|info| info.size == self.written)
    }

    /// Sends what the buffer holds as a part.
    fn send(&mut self) -> Result<(), CloudError> {
        while self.under_way.len() >= self.store.concurrency() {
            self.await_oldest()?;
        }
        if self.sent.is_none() {
            let (path, inner) = (self.store.path(&self.key)?, Arc::clone(&self.store.shared.inner));
            let options = PutMultipartOptions {
                tags: self.store.tags(&self.options),
                attributes: self.store.attributes(&self.options),
                ..PutMultipartOptions::default()
            };
            let begin = async move { inner.put_multipart_opts(&path, options).await };
            self.sent = Some(self.store.call("writing", &self.key, begin)?);
        }
        let Some(upload) = &mut self.sent else { return Ok(()) };
        let size = self.buffer.len() as u64;
        let part = upload.put_part(self.buffer.split().freeze().into());
        let (call, deadline) = (Arc::<Call>::default(), self.store.deadline(size));
        let part = Arc::clone(&call).run(part);
        let part = async move { tokio::time::timeout(deadline, part).await };
        let result = self.store.shared.runtime.begin(part);
        self.under_way.push_back(Part { call, deadline, result });
        Ok(())
    }

    fn await_oldest(&mut self) -> Result<(), CloudError> {
        let Some(part) = self.under_way.pop_front() else { return Ok(()) };
        let ended = match part.result.recv() {
            Ok(Ok(Ok(()))) => return Ok(()),
            Ok(Ok(Err(error))) => Ended::Failed(error),
            Ok(Err(_)) => Ended::TimedOut(part.deadline),
            Err(_) => Ended::Lost,
        };
        Err(failure::classify(self.store.url(), "writing", &self.key, ended, &part.call))
    }
}

fn is_ended(call: &Call) -> bool {
    matches!(call.last(), Last::Refused(answer) if answer.code.as_deref() == Some("NoSuchUpload"))
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(self.part_size);
        }
        let count = bytes.len().min(self.part_size - self.buffer.len());
        self.buffer.extend_from_slice(bytes.get(..count).unwrap_or_default());
        self.written += count as u64;
        if self.buffer.len() == self.part_size {
            self.send().map_err(io::Error::other)?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(mut upload) = self.sent.take() {
            let abort = async move { upload.abort().await };
            if let Err(error) = self.store.call("giving up", &self.key, abort) {
                tracing::warn!(%error, "parts of an object that was given up stay in the store");
            }
        }
    }
}
