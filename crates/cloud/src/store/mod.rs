//! A bucket below a prefix, with calls that block.

mod failure;
mod reader;
mod runtime;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutOptions,
    TagSet,
};
use time::OffsetDateTime;

pub use reader::ObjectReader;
use runtime::Runtime;
pub use upload::Upload;

use crate::{CloudError, Environment, StoreOptions, StoreUrl};

/// A store: a bucket, and a prefix of all its keys. Cheap to clone; clones share connections, and may be used by many threads.
///
/// Keys are relative to the prefix, without a slash in front.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    url: StoreUrl,
    inner: Arc<dyn ObjectStore>,
    runtime: Runtime,
    options: StoreOptions,
}

/// An object, as a listing has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// The key below the store's prefix.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When it was written.
    pub modified: OffsetDateTime,
    /// The store's name for this content; of objects written in one request, S3 makes it of their MD5.
    pub etag: Option<String>,
}

/// What becomes of an object of that key that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PutMode {
    /// It is replaced.
    #[default]
    Replace,
    /// It stays, and the call fails with [`CloudError::Exists`], decided by the store in one step.
    Create,
}

/// How one object is written.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct WriteOptions {
    /// What becomes of one that is there.
    pub mode: PutMode,
    /// Names and values that the store keeps beside the object.
    pub tags: Vec<(String, String)>,
    /// How large it will be at most, in bytes, if that is known: parts are made large enough for so many of them to be allowed.
    pub expected_size: Option<u64>,
}

impl Store {
    /// Of that bucket, with what `options` and `environment` say. Makes no request.
    ///
    /// # Errors
    /// [`CloudError::Options`] when these cannot be used together.
    pub fn open(
        url: &StoreUrl,
        options: StoreOptions,
        environment: &Environment,
    ) -> Result<Self, CloudError> {
        let inner = crate::connect::connect(url, &options, environment)?;
        Self::new(url.clone(), inner, options)
    }

    /// Of a client that somebody else has made. `url` is what errors call it.
    ///
    /// # Errors
    /// [`CloudError::Options`] when no thread for its connections can be started.
    pub fn new(
        url: StoreUrl,
        inner: Arc<dyn ObjectStore>,
        options: StoreOptions,
    ) -> Result<Self, CloudError> {
        let runtime = Runtime::start().map_err(|e| CloudError::Options {
            store: url.to_string(),
            reason: format!("cannot start a thread: {e}"),
        })?;
        Ok(Self { shared: Arc::new(Shared { url, inner, runtime, options }) })
    }

    /// Where it is.
    pub fn url(&self) -> &StoreUrl {
        &self.shared.url
    }

    /// How it is reached.
    pub fn options(&self) -> &StoreOptions {
        &self.shared.options
    }

    /// What a listing would say of one object.
    ///
    /// # Errors
    /// [`CloudError::NotFound`] when it is not there; others when that is not known.
    pub fn head(&self, key: &str) -> Result<ObjectInfo, CloudError> {
        let (path, inner) = (self.path(key)?, Arc::clone(&self.shared.inner));
        let meta = self.call("looking at", key, async move { inner.head(&path).await })?;
        self.info(meta)
    }

    /// An object, from its first byte or within a range, as a stream of bytes. A broken connection is made anew where it broke.
    ///
    /// # Errors
    /// When the store does not begin to send it. Later errors come from [`ObjectReader`].
    pub fn get(&self, key: &str, range: Option<std::ops::Range<u64>>) -> Result<ObjectReader, CloudError> {
        let (path, inner) = (self.path(key)?, Arc::clone(&self.shared.inner));
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let result = self.call("reading", key, async move { inner.get_opts(&path, options).await })?;
        ObjectReader::new(self.clone(), key, result)
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
        let (path, inner, bytes) = (self.path(key)?, Arc::clone(&self.shared.inner), bytes.into());
        let put = PutOptions {
            mode: match options.mode {
                PutMode::Replace => object_store::PutMode::Overwrite,
                PutMode::Create => object_store::PutMode::Create,
            },
            tags: tags(options),
            attributes: self.attributes(),
            ..PutOptions::default()
        };
        self.call("writing", key, async move { inner.put_opts(&path, bytes.into(), put).await })?;
        Ok(())
    }

    /// Begins to write an object of unknown size. It is nowhere until [`Upload::finish`].
    ///
    /// # Errors
    /// When the key cannot be one.
    pub fn upload(&self, key: &str, options: WriteOptions) -> Result<Upload, CloudError> {
        Upload::new(self.clone(), key, options)
    }

    /// Every object whose key begins with the directory `prefix`, in the order of their keys. Asks for a page at a time.
    pub fn list(&self, prefix: &str) -> impl Iterator<Item = Result<ObjectInfo, CloudError>> + use<> {
        let path = self.path(prefix);
        let (store, prefix) = (self.clone(), prefix.to_owned());
        let mut stream: Option<BoxStream<'static, object_store::Result<ObjectMeta>>> = None;
        let mut ended = false;
        std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let path = match &path {
                Ok(path) => path.clone(),
                Err(error) => {
                    ended = true;
                    let reason = error.to_string();
                    return Some(Err(CloudError::Options { store: store.url().to_string(), reason }));
                }
            };
            let listing = stream.take().unwrap_or_else(|| store.shared.inner.list(Some(&path)));
            let next = store.call("listing", &prefix, async move {
                let mut listing = listing;
                let item = listing.next().await.transpose()?;
                Ok((item, listing))
            });
            match next {
                Ok((Some(meta), listing)) => {
                    stream = Some(listing);
                    Some(store.info(meta))
                }
                Ok((None, _)) => {
                    ended = true;
                    None
                }
                Err(error) => {
                    ended = true;
                    Some(Err(error))
                }
            }
        })
    }

    /// The names of the directories in the directory `prefix`, sorted.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn list_dirs(&self, prefix: &str) -> Result<Vec<String>, CloudError> {
        let (path, inner) = (self.path(prefix)?, Arc::clone(&self.shared.inner));
        let found =
            self.call("listing", prefix, async move { inner.list_with_delimiter(Some(&path)).await })?;
        let mut names: Vec<String> =
            found.common_prefixes.iter().filter_map(|path| path.filename()).map(str::to_owned).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Removes objects, many with one request where the store can. One that is not there is as good as removed.
    ///
    /// # Errors
    /// The first that could not be removed; those after it may be there or not.
    pub fn delete(&self, keys: &[String]) -> Result<(), CloudError> {
        let paths = keys.iter().map(|key| self.path(key)).collect::<Result<Vec<_>, _>>()?;
        let inner = Arc::clone(&self.shared.inner);
        let what = keys.first().map_or("", String::as_str);
        self.call("removing", what, async move {
            let mut results =
                inner.delete_stream(futures_util::stream::iter(paths.into_iter().map(Ok)).boxed());
            while let Some(result) = results.next().await {
                match result {
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
    }

    fn path(&self, key: &str) -> Result<Path, CloudError> {
        let prefix = self.url().prefix();
        let text = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}/{key}") };
        Path::parse(text.trim_end_matches('/'))
            .map_err(|e| CloudError::Options { store: self.url().to_string(), reason: e.to_string() })
    }

    fn info(&self, meta: ObjectMeta) -> Result<ObjectInfo, CloudError> {
        let path = meta.location.as_ref();
        let key = match self.url().prefix() {
            "" => Some(path),
            prefix => path.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')),
        };
        let modified = OffsetDateTime::from_unix_timestamp(meta.last_modified.timestamp()).ok();
        match (key, modified) {
            (Some(key), Some(modified)) => {
                Ok(ObjectInfo { key: key.to_owned(), size: meta.size, modified, etag: meta.e_tag })
            }
            _ => Err(CloudError::Invalid {
                store: self.url().to_string(),
                key: path.to_owned(),
                reason: "it is listed below another prefix or with an impossible time".to_owned(),
            }),
        }
    }

    fn attributes(&self) -> Attributes {
        let class = self.options().storage_class.clone();
        class.map(|class| (Attribute::StorageClass, class)).into_iter().collect()
    }

    fn concurrency(&self) -> usize {
        match self.options().concurrency {
            0 => 4,
            count => count,
        }
    }

    /// No call lasts for ever: its tries end by themselves, and this is the bound of all of them.
    fn deadline(&self) -> Duration {
        let retries = &self.options().retries;
        retries.patience + retries.read_timeout + retries.connect_timeout
    }

    fn call<T: Send + 'static>(
        &self,
        action: &'static str,
        key: &str,
        future: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T, CloudError> {
        let result = self.shared.runtime.wait(self.deadline(), future);
        result.map_err(|error| failure::classify(self.url(), action, key, error))
    }
}

fn tags(options: &WriteOptions) -> TagSet {
    let mut set = TagSet::default();
    for (name, value) in &options.tags {
        set.push(name, value);
    }
    set
}
