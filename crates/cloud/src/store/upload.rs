//! An object as it goes out.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use object_store::{MultipartUpload, PutMultipartOptions};

use super::parts::{MOST, Patient, Plan};
use super::{Store, WriteOptions, failure};
use crate::store::runtime::{Begun, Ended};
use crate::wire::{Call, Last};
use crate::{CloudError, PutMode};

/// A part under way.
#[derive(Debug)]
struct Part {
    call: Arc<Call>,
    deadline: Duration,
    result: Begun<Result<object_store::Result<()>, tokio::time::error::Elapsed>>,
}

/// An object being written, in parts that are sent while the next is filled. Dropping it before [`finish`](Self::finish) removes what
/// was sent.
///
/// It holds at most the memory of the [options](crate::StoreOptions::memory): one part more than there are requests at once. Parts are
/// of 8 MiB, or larger so that no more than 10,000 of them are needed for [the size that is
/// expected](WriteOptions::expected_size). When that is not known and there are 5,000 already, the others are of half of the memory.
/// Each part is sent again by itself when it did not arrive, until the patience of the options ends.
#[derive(Debug)]
pub struct Upload {
    store: Store,
    key: String,
    options: WriteOptions,
    plan: Plan,
    /// Parts that were sent.
    parts: u64,
    buffer: BytesMut,
    /// Bytes given to [`Write`].
    written: u64,
    sent: Option<Box<dyn MultipartUpload>>,
    under_way: VecDeque<Part>,
}

impl Upload {
    pub(super) fn new(store: Store, key: &str, options: WriteOptions) -> Result<Self, CloudError> {
        store.path(key)?;
        let (memory, concurrency) = (store.options().memory, store.options().concurrency);
        let plan = Plan::new(memory, concurrency, options.expected_size).map_err(|needed| {
            let size = options.expected_size.unwrap_or_default();
            let reason = format!(
                "an object of {size} bytes in at most {MOST} parts takes {} MiB of memory, and fewer are allowed",
                needed.div_ceil(1 << 20)
            );
            CloudError::Options { store: store.url().to_string(), reason }
        })?;
        Ok(Self {
            store,
            key: key.to_owned(),
            options,
            plan,
            parts: 0,
            buffer: BytesMut::new(),
            written: 0,
            sent: None,
            under_way: VecDeque::new(),
        })
    }

    /// Bytes of the part that is being filled.
    pub const fn part_size(&self) -> usize {
        self.plan.size_of(self.parts)
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
        if self.options.mode == PutMode::Create {
            self.store.must_be_new(&self.key)?;
        }
        self.complete()?;
        Ok(self.written)
    }

    fn complete(&mut self) -> Result<(), CloudError> {
        let Some(mut upload) = self.sent.take() else { return Ok(()) };
        let call = Arc::new(Call::creating(self.options.mode == PutMode::Create));
        let (result, upload) = self.store.call_of(&call, "writing", &self.key, 0, async move {
            let result = upload.complete().await;
            Ok((result, upload))
        })?;
        let Err(error) = result else { return Ok(()) };
        // The answer to an earlier try was lost: the upload is gone because it has become the object.
        if call.requests() > 1 && is_ended(&call) && self.has_become_the_object() {
            return Ok(());
        }
        self.sent = Some(upload);
        Err(failure::classify(self.store.url(), "writing", &self.key, Ended::Failed(error), &call))
    }

    fn has_become_the_object(&self) -> bool {
        self.store.head(&self.key).is_ok_and(|info| info.size == self.written)
    }

    /// Sends what the buffer holds as a part.
    fn send(&mut self) -> Result<(), CloudError> {
        if !Plan::has_room(self.parts) {
            let reason = format!("it has {MOST} parts, and more is to come: larger parts take more memory");
            let (store, key) = (self.store.url().to_string(), self.key.clone());
            return Err(CloudError::Failed { store, action: "writing", key, reason });
        }
        while self.under_way.len() >= self.plan.concurrency_at(self.parts) {
            self.await_oldest()?;
        }
        if self.sent.is_none() {
            let (path, inner) = (self.store.path(&self.key)?, Arc::clone(&self.store.shared.inner));
            let options = PutMultipartOptions {
                tags: self.store.tags(&self.options),
                attributes: self.store.attributes(&self.options),
                ..PutMultipartOptions::default()
            };
            let options = options.with_retry_policy(Arc::new(Patient(self.store.options().retries)));
            let begin = async move { inner.put_multipart_opts(&path, options).await };
            self.sent = Some(self.store.call("writing", &self.key, begin)?);
        }
        let Some(upload) = &mut self.sent else { return Ok(()) };
        let size = self.buffer.len() as u64;
        let part = upload.put_part(self.buffer.split().freeze().into());
        self.parts += 1;
        // Tries begin anew until patience ends.
        let deadline = self.store.deadline(size) + self.store.options().retries.patience;
        let call = Arc::<Call>::default();
        let part = Arc::clone(&call).run(part);
        let part = async move { tokio::time::timeout(deadline, part).await };
        let result = self.store.shared.runtime.begin(part);
        self.under_way.push_back(Part { call, deadline, result });
        Ok(())
    }

    fn await_oldest(&mut self) -> Result<(), CloudError> {
        let Some(part) = self.under_way.pop_front() else { return Ok(()) };
        let ended = match part.result.wait() {
            Some(Ok(Ok(()))) => return Ok(()),
            Some(Ok(Err(error))) => Ended::Failed(error),
            Some(Err(_)) => Ended::TimedOut(part.deadline),
            None => Ended::Lost,
        };
        Err(failure::classify(self.store.url(), "writing", &self.key, ended, &part.call))
    }
}

fn is_ended(call: &Call) -> bool {
    matches!(call.last(), Last::Refused(answer) if answer.code.as_deref() == Some("NoSuchUpload"))
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.part_size();
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(size);
        }
        let count = bytes.len().min(size - self.buffer.len());
        self.buffer.extend_from_slice(bytes.get(..count).unwrap_or_default());
        self.written += count as u64;
        if self.buffer.len() == size {
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
        // What is under way would come after the end of the upload, and stay.
        self.under_way.clear();
        if let Some(mut upload) = self.sent.take() {
            let abort = async move { upload.abort().await };
            if let Err(error) = self.store.call("giving up", &self.key, abort) {
                tracing::warn!(%error, "parts of an object that was given up stay in the store");
            }
        }
    }
}
