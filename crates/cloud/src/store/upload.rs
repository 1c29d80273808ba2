//! An object as it goes out.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::HeaderMap;
use object_store::{MultipartUpload, PutMultipartOptions};
use tokio::sync::Mutex;

use super::parts::{MOST, Patient, Plan};
use super::{Store, WriteOptions, etag, failure};
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
/// expected](WriteOptions::expected_size). After that size, and 5,000 parts in any case, the others are of half of the memory.
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
    /// What the store called those that it took.
    etags: Vec<Option<[u8; 16]>>,
    /// Whether its end was asked for and it is not known what became of that.
    is_unclear: bool,
}

impl Upload {
    pub(super) fn new(store: Store, key: &str, options: WriteOptions) -> Result<Self, CloudError> {
        store.path(key)?;
        let plan = Plan::new(store.options(), options.expected_size).map_err(|needed| {
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
            etags: Vec::new(),
            is_unclear: false,
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
        let Some(upload) = self.sent.take() else { return Ok(()) };
        let call = Arc::new(Call::creating(self.options.mode == PutMode::Create));
        // It is wanted back when its end does not come in time.
        let upload = Arc::new(Mutex::new(upload));
        let ending = Arc::clone(&upload);
        let end = async move { ending.lock().await.complete().await };
        let Err(error) = self.store.call_of(&call, "writing", &self.key, 0, end) else { return Ok(()) };
        // The answer to an earlier try was lost, it seems: the upload is gone because it has become the object.
        if call.requests() > 1 && is_ended(&call) {
            return self.find_the_object(error);
        }
        self.sent = Arc::into_inner(upload).map(Mutex::into_inner);
        self.is_unclear = !matches!(call.last(), Last::Refused(_)) || error.is_unreachable();
        Err(error)
    }

    /// The upload is gone: whether that made the object, or somebody removed it and the object is another's. `error` is what to say
    /// if it did not.
    fn find_the_object(&self, error: CloudError) -> Result<(), CloudError> {
        let call = Arc::new(Call::default());
        let Ok(info) = self.store.head_once(&call, &self.key) else { return Err(error) };
        if self.options.mode == PutMode::Create {
            // Who may not replace looks at what is there.
            return Err(CloudError::Exists { store: self.store.url().to_string(), key: self.key.clone() });
        }
        let is_opaque = matches!(call.last(), Last::Success(headers) if has_opaque_names(&headers));
        let is_ours = match info.etag.filter(|_| !is_opaque) {
            Some(etag) => etag::is_of(&self.etags, &etag),
            None => None,
        };
        if info.size == self.written && is_ours.unwrap_or(true) { Ok(()) } else { Err(error) }
    }

    /// Sends what the buffer holds as a part.
    fn send(&mut self) -> Result<(), CloudError> {
        if !Plan::has_room(self.parts) {
            let reason = format!("it has {MOST} parts, and more is to come: larger parts take more memory");
            let (store, key) = (self.store.url().to_string(), self.key.clone());
            return Err(CloudError::Failed { store, action: "writing", key, reason, status: None });
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
            Some(Ok(Ok(()))) => {
                let etag = match part.call.last() {
                    Last::Success(headers) => etag::of_part(&headers),
                    _ => None,
                };
                self.etags.push(etag);
                return Ok(());
            }
            Some(Ok(Err(error))) => Ended::Failed(error),
            Some(Err(_)) => Ended::TimedOut(part.deadline),
            None => Ended::Lost,
        };
        Err(failure::classify(self.store.url(), "writing", &self.key, ended, &part.call))
    }
}

/// As S3 says that an upload has become an object or was removed; and Azure, whose blocks wait for no block list any more.
fn is_ended(call: &Call) -> bool {
    let Last::Refused(answer) = call.last() else { return false };
    matches!(answer.code.as_deref(), Some("NoSuchUpload" | "InvalidBlockList"))
}

/// With keys of a key service or of the client, no name is a sum of the content.
fn has_opaque_names(headers: &HeaderMap) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    header("x-amz-server-side-encryption").is_some_and(|kind| kind.starts_with("aws:kms"))
        || header("x-amz-server-side-encryption-customer-algorithm").is_some()
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
        let Some(mut upload) = self.sent.take() else { return };
        // Not every store keeps an object whose upload is given up after its end.
        if self.is_unclear {
            match self.store.head(&self.key) {
                Err(CloudError::NotFound { .. }) => {}
                Ok(info) if info.size != self.written => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "parts of an object that was given up may stay in the store");
                    return;
                }
            }
        }
        let abort = async move { upload.abort().await };
        if let Err(error) = self.store.call("giving up", &self.key, abort) {
            tracing::warn!(%error, "parts of an object that was given up stay in the store");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use object_store::memory::InMemory;
    use object_store::{PutPayload, PutResult, UploadPart};

    use super::*;
    use crate::StoreOptions;

    /// Its end does not come.
    #[derive(Debug)]
    struct Endless {
        parts: Box<dyn MultipartUpload>,
        is_given_up: Arc<AtomicBool>,
    }

    #[async_trait::async_trait]
    impl MultipartUpload for Endless {
        fn put_part(&mut self, data: PutPayload) -> UploadPart {
            self.parts.put_part(data)
        }

        async fn complete(&mut self) -> object_store::Result<PutResult> {
            std::future::pending().await
        }

        async fn abort(&mut self) -> object_store::Result<()> {
            self.is_given_up.store(true, Ordering::SeqCst);
            self.parts.abort().await
        }
    }

    #[test]
    fn an_upload_whose_end_does_not_come_is_given_up_unless_the_object_is_there() {
        const SIZE: usize = 9 << 20;
        let check = |there: Option<usize>, is_given_up: bool| {
            let mut options = StoreOptions::default();
            options.retries.patience = Duration::ZERO;
            options.retries.connect_timeout = Duration::ZERO;
            options.retries.read_timeout = Duration::from_secs(4);
            let store =
                Store::new("s3://bucket".parse().unwrap(), Arc::new(InMemory::new()), options).unwrap();
            let mut upload = store.upload("key", WriteOptions::default()).unwrap();
            upload.write_all(&vec![1; SIZE]).unwrap();
            let seen = Arc::new(AtomicBool::new(false));
            let parts = upload.sent.take().unwrap();
            upload.sent = Some(Box::new(Endless { parts, is_given_up: Arc::clone(&seen) }));
            if let Some(size) = there {
                store.put("key", vec![2; size], &WriteOptions::default()).unwrap();
            }
            let error = upload.finish().unwrap_err();
            assert!(error.is_unreachable(), "{error}");
            assert_eq!(seen.load(Ordering::SeqCst), is_given_up, "{there:?}");
        };
        std::thread::scope(|scope| {
            for (there, is_given_up) in [(None, true), (Some(7), true), (Some(SIZE), false)] {
                scope.spawn(move || check(there, is_given_up));
            }
        });
    }
}
