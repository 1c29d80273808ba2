//! An object as it comes in.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::{GetOptions, GetRange, GetResult};

use super::{ObjectInfo, Store, etag};
use crate::CloudError;

pub(super) const CHANGED: &str = "it was replaced or removed while it was read";

/// The bytes of an object, in the order of their coming. An [`io::Error`] of it holds a [`CloudError`].
pub struct ObjectReader {
    store: Store,
    info: ObjectInfo,
    /// Bytes of the object or its range that have not come.
    left: u64,
    size: u64,
    chunk: Bytes,
    stream: Option<BoxStream<'static, object_store::Result<Bytes>>>,
    /// The first byte of the range in the object.
    start: u64,
    /// Where a connection broke last. It is not made anew twice at the same place.
    broken_at: Option<u64>,
}

impl std::fmt::Debug for ObjectReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectReader")
            .field("info", &self.info)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl ObjectReader {
    pub(super) fn new(store: Store, result: GetResult) -> Result<Self, CloudError> {
        let start = result.range.start;
        let size = result.range.end.saturating_sub(start);
        let info = store.info(result.meta.clone())?;
        let stream = Some(result.into_stream());
        Ok(Self { store, info, left: size, size, chunk: Bytes::new(), stream, start, broken_at: None })
    }

    /// What the store says of the whole object.
    pub const fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// Bytes of the object, or of the range that was asked for.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes, without copying them; none at the end.
    ///
    /// # Errors
    /// When they do not come.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, CloudError> {
        if !self.chunk.is_empty() {
            return Ok(Some(std::mem::take(&mut self.chunk)));
        }
        loop {
            let Some(mut stream) = self.stream.take() else { return Ok(None) };
            let result = self.store.call("reading", &self.info.key, async move {
                let chunk = stream.next().await.transpose()?;
                Ok((chunk, stream))
            });
            let (chunk, stream) = match result {
                Ok(next) => next,
                Err(CloudError::NotFound { .. }) => return Err(self.wrong(CHANGED)),
                Err(error) => {
                    self.resume(error)?;
                    continue;
                }
            };
            return match chunk {
                Some(chunk) => {
                    self.left = self
                        .left
                        .checked_sub(chunk.len() as u64)
                        .ok_or_else(|| self.wrong("it is longer than announced"))?;
                    self.stream = Some(stream);
                    Ok(Some(chunk))
                }
                None if self.left > 0 => Err(self.wrong("it ends early")),
                None => Ok(None),
            };
        }
    }

    /// Asks for what is left, if it is of the same object still. The provider's client does the same, a few times in all; this goes on
    /// as long as some bytes come each time.
    fn resume(&mut self, error: CloudError) -> Result<(), CloudError> {
        let at = self.start + (self.size - self.left);
        let (CloudError::Unreachable { .. }, Some(etag)) = (&error, self.info.etag.clone()) else {
            return Err(error);
        };
        if self.left == 0 || self.broken_at.replace(at) == Some(at) {
            return Err(error);
        }
        tracing::debug!(%error, at, "the connection is made anew where it broke");
        let (path, inner) = (self.store.path(&self.info.key)?, Arc::clone(&self.store.shared.inner));
        let range = Some(GetRange::Bounded(at..at + self.left));
        let options = GetOptions { range, if_match: Some(etag.clone()), ..GetOptions::default() };
        let result =
            self.store.call("reading", &self.info.key, async move { inner.get_opts(&path, options).await });
        match result {
            Ok(result)
                if result.meta.e_tag.as_ref().is_some_and(|found| etag::is_same(&etag, found))
                    && result.range == (at..at + self.left) =>
            {
                self.stream = Some(result.into_stream());
                Ok(())
            }
            Ok(_) | Err(CloudError::Exists { .. } | CloudError::NotFound { .. }) => Err(self.wrong(CHANGED)),
            Err(error) => Err(error),
        }
    }

    /// Everything that is left, in memory.
    pub(super) fn into_bytes(mut self) -> Result<Vec<u8>, CloudError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.next_chunk()? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn wrong(&self, what: &str) -> CloudError {
        let reason = format!("{what} ({} of {} bytes are missing)", self.left, self.size);
        CloudError::Invalid { store: self.store.url().to_string(), key: self.info.key.clone(), reason }
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.next_chunk().map_err(io::Error::other)? {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.chunk.len());
        if let Some(target) = buffer.get_mut(..count) {
            self.chunk.copy_to_slice(target);
        }
        Ok(count)
    }
}
