//! One object at a time, and the removal of many.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::StreamExt as _;
use object_store::{GetOptions, GetRange, ObjectStoreExt as _, PutOptions};

use super::{ObjectInfo, ObjectReader, PutMode, Store, Upload, WriteOptions};
use crate::wire::{Answer, Call, Last};
use crate::{CloudError, Provider};

impl Store {
    /// What a listing would say of one object.
    ///
    /// # Errors
    /// [`CloudError::NotFound`] when it is not there; others when that is not known.
    pub fn head(&self, key: &str) -> Result<ObjectInfo, CloudError> {
        let call = Arc::new(Call::default());
        match self.head_once(&call, key) {
            Err(error) => match call.last() {
                Last::Refused(answer) if answer.is_bare => self.head_again(key, error, &answer),
                _ => Err(error),
            },
            done => done,
        }
    }

    pub(super) fn head_once(&self, call: &Arc<Call>, key: &str) -> Result<ObjectInfo, CloudError> {
        let (path, inner) = (self.path(key)?, Arc::clone(&self.shared.inner));
        let meta = self.call_of(call, "looking at", key, 0, async move { inner.head(&path).await })?;
        self.info(meta)
    }

    /// An answer to `HEAD` has no words. Where a reason matters, or it may not be the object that is missing, it is asked for with a
    /// request whose answer has some.
    fn head_again(&self, key: &str, error: CloudError, answer: &Answer) -> Result<ObjectInfo, CloudError> {
        let is_clear = answer.code.is_some() || matches!(error, CloudError::Unreachable { .. });
        let is_there = self.shared.has_answered.load(Ordering::Relaxed) && answer.is_signed;
        if is_clear || (answer.status == 404 && is_there) {
            return Err(error);
        }
        match self.get(key, Some(0..1)) {
            // It came between the two requests.
            Ok(_) => self.head_once(&Arc::default(), key),
            // It did, and it is empty.
            Err(error) if error.is_out_of_range() => self.head_once(&Arc::default(), key),
            Err(error) => Err(error),
        }
    }

    /// An object, from its first byte or within a range, as a stream of bytes. A broken connection is made anew where it broke.
    ///
    /// # Errors
    /// When the store does not begin to send it. Later errors come from [`ObjectReader`].
    pub fn get(&self, key: &str, range: Option<std::ops::Range<u64>>) -> Result<ObjectReader, CloudError> {
        self.get_of(key, range, None)
    }

    /// The same, when it must be the content of that name.
    pub(super) fn get_of(
        &self,
        key: &str,
        range: Option<std::ops::Range<u64>>,
        etag: Option<String>,
    ) -> Result<ObjectReader, CloudError> {
        let (path, inner) = (self.path(key)?, Arc::clone(&self.shared.inner));
        let range = range.map(GetRange::Bounded);
        let options = GetOptions { range, if_match: etag, ..GetOptions::default() };
        let result = self.call("reading", key, async move { inner.get_opts(&path, options).await })?;
        ObjectReader::new(self.clone(), result)
    }

    /// The whole of a small object.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`CloudError::Invalid`] when it is larger than `limit` bytes.
    pub fn read(&self, key: &str, limit: u64) -> Result<Vec<u8>, CloudError> {
        let reader = self.get(key, None)?;
        if reader.size() > limit {
            let reason = format!("it has {} bytes, more than {limit}", reader.size());
            return Err(CloudError::Invalid { store: self.url().to_string(), key: key.to_owned(), reason });
        }
        reader.into_bytes()
    }

    /// Writes an object in one request. It is durable, and listed, when this returns.
    ///
    /// # Errors
    /// When the store did not say that it has it. It may have it nevertheless if the answer was lost.
    pub fn put(&self, key: &str, bytes: impl Into<Bytes>, options: &WriteOptions) -> Result<(), CloudError> {
        let bytes = bytes.into();
        if options.mode == PutMode::Replace {
            return self.put_once(key, bytes, options, object_store::PutMode::Overwrite);
        }
        if !self.shared.decides {
            self.must_be_new(key)?;
        }
        match self.put_once(key, bytes.clone(), options, object_store::PutMode::Create) {
            // A store that knows no conditions: a look right before has to do.
            Err(error) if error.is_not_implemented() => {
                self.must_be_new(key)?;
                self.put_once(key, bytes, options, object_store::PutMode::Overwrite)
            }
            done => done,
        }
    }

    fn put_once(
        &self,
        key: &str,
        bytes: Bytes,
        options: &WriteOptions,
        mode: object_store::PutMode,
    ) -> Result<(), CloudError> {
        let (path, inner) = (self.path(key)?, Arc::clone(&self.shared.inner));
        let (tags, attributes) = (self.tags(options), self.attributes(options));
        let put = PutOptions { mode, tags, attributes, ..PutOptions::default() };
        let size = bytes.len() as u64;
        let put = async move { inner.put_opts(&path, bytes.into(), put).await };
        self.call_of(&Arc::default(), "writing", key, size, put)?;
        Ok(())
    }

    /// Begins to write an object of unknown size. It is nowhere until [`Upload::finish`].
    ///
    /// # Errors
    /// When the key cannot be one.
    pub fn upload(&self, key: &str, options: WriteOptions) -> Result<Upload, CloudError> {
        Upload::new(self.clone(), key, options)
    }

    /// Removes objects, many with one request where the store can. One that is not there is as good as removed.
    ///
    /// # Errors
    /// The first that could not be removed; those after it may be there or not.
    pub fn delete(&self, keys: &[String]) -> Result<(), CloudError> {
        let paths = keys.iter().map(|key| self.path(key)).collect::<Result<Vec<_>, _>>()?;
        let inner = Arc::clone(&self.shared.inner);
        let what = keys.first().map_or("", String::as_str);
        let call = Arc::new(Call::default());
        let (seen, is_s3) = (Arc::clone(&call), self.url().provider() == Provider::S3);
        self.call_of(&call, "removing", what, 0, async move {
            let mut results =
                inner.delete_stream(futures_util::stream::iter(paths.into_iter().map(Ok)).boxed());
            while let Some(result) = results.next().await {
                match result {
                    Ok(_) => {}
                    // S3 says that of the bucket only, as one request is of many objects.
                    Err(object_store::Error::NotFound { .. })
                        if !(is_s3 && matches!(seen.last(), Last::Refused(_))) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    }
}
