//! A bucket below a prefix, with calls that block.

mod bucket;
mod download;
mod etag;
mod failure;
mod list;
mod list_after;
mod lock;
mod objects;
mod parts;
mod range;
mod reader;
mod runtime;
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::path::Path;
use object_store::{Attribute, Attributes, ClientOptions, ObjectMeta, ObjectStore, TagSet};
use time::OffsetDateTime;

pub use download::DownloadOptions;
pub use lock::{Lock, LockMode};
pub use range::RangeRead;
pub use reader::ObjectReader;
use runtime::Runtime;
pub use upload::Upload;

use crate::connect::{Connected, Owner};
use crate::wire::{self, Call, Connector};
use crate::{CloudError, Environment, Provider, StoreIdentity, StoreOptions, StoreUrl};

/// A store: a bucket, and a prefix of all its keys. Cheap to clone; clones share connections, and may be used by many threads.
///
/// Keys are relative to the prefix, without a slash in front.
///
/// ```no_run
/// use std::io::Write as _;
/// use tapster_cloud::{Environment, Store, StoreOptions, WriteOptions};
///
/// let environment: Environment = [("AWS_ACCESS_KEY_ID", "…"), ("AWS_SECRET_ACCESS_KEY", "…")].into_iter().collect();
/// let store = Store::open(&"s3://backups/production".parse()?, StoreOptions::default(), &environment)?;
/// let mut upload = store.upload("main/base/20261121T003347/data.tar", WriteOptions::default())?;
/// upload.write_all(b"of any size")?;
/// upload.finish()?; // Only now it is there.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    url: StoreUrl,
    identity: StoreIdentity,
    inner: Arc<dyn ObjectStore>,
    owner: Option<(Owner, Connector, ClientOptions)>,
    decides: bool,
    runtime: Runtime,
    options: StoreOptions,
    /// Whether a call has succeeded, so that the bucket is there.
    has_answered: AtomicBool,
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
    /// It stays, and the call fails with [`CloudError::Exists`]. Amazon and Azure decide that in one step, Google for what is written
    /// in one request. Other stores are asked for it, and whether the object is there is looked at before: of two writers at the same
    /// moment both may win there, if the store does not know conditional writes (Garage).
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
        let connected = crate::connect::connect(url, &options, environment)?;
        let identity = StoreIdentity::of(url, &options, environment);
        Self::begin(url.clone(), identity, connected, options)
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
        let identity = StoreIdentity::of(&url, &options, &Environment::default());
        Self::begin(url, identity, Connected { store: inner, owner: None, decides: true }, options)
    }

    fn begin(
        url: StoreUrl,
        identity: StoreIdentity,
        connected: Connected,
        options: StoreOptions,
    ) -> Result<Self, CloudError> {
        let Connected { store: inner, owner, decides } = connected;
        let runtime = Runtime::start().map_err(|e| CloudError::Options {
            store: url.to_string(),
            reason: format!("cannot start a thread: {e}"),
        })?;
        Ok(Self {
            shared: Arc::new(Shared {
                url,
                identity,
                inner,
                owner,
                decides,
                runtime,
                options,
                has_answered: AtomicBool::new(false),
            }),
        })
    }

    /// Where it is.
    pub fn url(&self) -> &StoreUrl {
        &self.shared.url
    }

    /// Which place that is, whatever it is called.
    pub fn identity(&self) -> &StoreIdentity {
        &self.shared.identity
    }

    /// How it is reached.
    pub fn options(&self) -> &StoreOptions {
        &self.shared.options
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
                let etag = meta.e_tag.map(etag::quoted);
                Ok(ObjectInfo { key: key.to_owned(), size: meta.size, modified, etag })
            }
            _ => Err(CloudError::Invalid {
                store: self.url().to_string(),
                key: path.to_owned(),
                reason: "it is listed below another prefix or with an impossible time".to_owned(),
            }),
        }
    }

    /// What is kept beside an object. Google has no tags; what Barman calls so is the object's own metadata there.
    fn attributes(&self, options: &WriteOptions) -> Attributes {
        let class = self.options().storage_class.clone();
        let mut attributes: Attributes =
            class.map(|class| (Attribute::StorageClass, class)).into_iter().collect();
        if self.url().provider() == Provider::Google {
            for (name, value) in &options.tags {
                attributes.insert(Attribute::Metadata(name.clone().into()), value.clone().into());
            }
        }
        attributes
    }

    fn tags(&self, options: &WriteOptions) -> TagSet {
        let mut set = TagSet::default();
        if self.url().provider() != Provider::Google {
            for (name, value) in &options.tags {
                set.push(name, value);
            }
        }
        set
    }

    /// # Errors
    /// [`CloudError::Exists`] when the object is there, and others when that is not known.
    fn must_be_new(&self, key: &str) -> Result<(), CloudError> {
        match self.head(key) {
            Err(CloudError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(CloudError::Exists { store: self.url().to_string(), key: key.to_owned() }),
        }
    }

    /// No call lasts for ever: its tries end by themselves, and this is the bound of all of them. `bytes` are what is sent.
    fn deadline(&self, bytes: u64) -> Duration {
        let retries = &self.options().retries;
        retries.patience + retries.connect_timeout + wire::time_for(retries, bytes)
    }

    fn call<T: Send + 'static>(
        &self,
        action: &'static str,
        key: &str,
        future: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T, CloudError> {
        self.call_of(&Arc::default(), action, key, 0, future)
    }

    /// The same, when what came back beside the result is wanted, or `bytes` are sent.
    fn call_of<T: Send + 'static>(
        &self,
        call: &Arc<Call>,
        action: &'static str,
        key: &str,
        bytes: u64,
        future: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T, CloudError> {
        let result = self.shared.runtime.wait(self.deadline(bytes), call, future);
        if result.is_ok() {
            self.shared.has_answered.store(true, Ordering::Relaxed);
        }
        result.map_err(|error| failure::classify(self.url(), action, key, error, call))
    }
}
