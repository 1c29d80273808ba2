//! The places in object stores that `basebackups_directory` and `wals_directory` name.

use thiserror::Error;

use crate::Server;
use crate::config::BucketAddress;

/// A place in an object store that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ObjectStoreError {
    /// This program can do nothing with object stores.
    #[error("'{address}' is in an object store, and this program was built without the feature 'cloud'")]
    NotBuiltIn {
        /// The place.
        address: String,
    },
    /// The verb needs a directory.
    #[error("{what} is not supported for server '{server}', whose {key} is {address}")]
    Unsupported {
        /// The verb.
        what: &'static str,
        /// Server name.
        server: String,
        /// Which setting.
        key: &'static str,
        /// What it says.
        address: String,
    },
    /// The settings contradict each other, or the store failed.
    #[cfg(feature = "cloud")]
    #[error(transparent)]
    Cloud(#[from] tapster_cloud::CloudError),
    /// A backup could not be put into the store.
    #[cfg(feature = "cloud")]
    #[error(transparent)]
    Backup(Box<crate::cloud::backup::CloudBackupError>),
}

impl Server {
    /// The place of base backups, where it is a bucket.
    pub const fn backups_address(&self) -> Option<&BucketAddress> {
        self.config.backups_place.bucket()
    }

    /// The place of WAL, where it is a bucket.
    pub const fn wals_address(&self) -> Option<&BucketAddress> {
        self.config.wals_place.bucket()
    }

    /// Whether base backups are in an object store.
    pub const fn has_backups_in_bucket(&self) -> bool {
        self.backups_address().is_some()
    }

    /// Whether WAL is in an object store.
    pub const fn has_wals_in_bucket(&self) -> bool {
        self.wals_address().is_some()
    }
}

#[cfg(feature = "cloud")]
mod built_in {
    use std::sync::{Arc, OnceLock};
    use std::time::Duration;

    use tapster_catalog::WalObjects;
    use tapster_cloud::{AzureCredential, CloudError, Encryption, Environment, Store, StoreOptions};

    use walfile::codec::Compression;

    use super::ObjectStoreError;
    use crate::Server;
    use crate::cloud::CloudServer;
    use crate::config::{BucketAddress, BucketProvider, CloudSettings, ServerConfig};

    /// A bucket of the configuration, opened when it is needed first.
    #[derive(Debug)]
    pub(crate) struct Bucket {
        server: String,
        address: BucketAddress,
        settings: CloudSettings,
        /// `compression` of WAL.
        compression: Option<String>,
        jobs: u32,
        environment: Environment,
        opened: OnceLock<CloudServer>,
    }

    impl Bucket {
        pub(crate) fn new(
            config: &ServerConfig,
            address: &BucketAddress,
            environment: &Environment,
        ) -> Arc<Self> {
            Arc::new(Self {
                server: config.name.to_string(),
                address: address.clone(),
                settings: config.cloud.clone(),
                compression: config.compression.clone(),
                jobs: config.parallel_jobs,
                environment: environment.clone(),
                opened: OnceLock::new(),
            })
        }

        /// The server's part of it. Nothing is asked of the store yet.
        pub(crate) fn server(&self) -> Result<CloudServer, ObjectStoreError> {
            if let Some(opened) = self.opened.get() {
                return Ok(opened.clone());
            }
            let server = self.open(self.options()?)?;
            Ok(self.opened.get_or_init(|| server).clone())
        }

        pub(crate) const fn address(&self) -> &BucketAddress {
            &self.address
        }

        /// What WAL archived with these settings ends with.
        pub(crate) fn wal_ending(&self) -> &'static str {
            let compression = match self.compression.as_deref() {
                Some("pygzip") => Some(Compression::Gzip),
                Some("pybzip2") => Some(Compression::Bzip2),
                other => other.and_then(|name| name.parse().ok()),
            };
            compression.map_or("", crate::cloud::wal_ending)
        }

        pub(crate) const fn settings(&self) -> &CloudSettings {
            &self.settings
        }

        fn open(&self, options: StoreOptions) -> Result<CloudServer, ObjectStoreError> {
            let mut environment = self.environment.clone();
            if let Some(region) = &self.settings.aws_region {
                environment.set("AWS_DEFAULT_REGION", region);
            }
            let url = self.address.as_str().parse().map_err(CloudError::from)?;
            let store = Store::open(&url, options, &environment)?;
            Ok(CloudServer::new(store, self.server.as_str()))
        }

        /// As Barman 3.19 passes its keys to its clients (`get_cloud_interface_from_server_config`).
        fn options(&self) -> Result<StoreOptions, ObjectStoreError> {
            let settings = &self.settings;
            let mut options = StoreOptions::default();
            options.profile.clone_from(&settings.aws_profile);
            if let Some(seconds) = settings.aws_read_timeout {
                options.retries.read_timeout = Duration::from_secs(u64::from(seconds.max(1)));
            }
            options.azure_credential = match settings.azure_credential.as_deref() {
                Some("azure-cli") => AzureCredential::Cli,
                Some("managed-identity") => AzureCredential::ManagedIdentity,
                _ => AzureCredential::Default,
            };
            options.encryption = match (settings.aws_encryption.as_deref(), &settings.aws_sse_kms_key_id) {
                _ if self.address.provider() != BucketProvider::S3 => None,
                (Some("aws:kms"), key) => Some(Encryption::Kms { key: key.clone() }),
                // In Barman's words.
                (_, Some(_)) => {
                    let reason = "aws_encryption must be \"aws:kms\" if aws_sse_kms_key_id is specified";
                    let (store, reason) = (self.address.to_string(), reason.to_owned());
                    return Err(CloudError::Options { store, reason }.into());
                }
                (Some(_), None) => Some(Encryption::S3Managed),
                (None, None) => None,
            };
            // One is Barman's default, and no wish.
            if self.jobs > 1 {
                options.concurrency = usize::try_from(self.jobs).unwrap_or(0);
            }
            Ok(options)
        }

        /// Whether the store answers within `patience`, and has the bucket.
        fn test(&self, patience: Duration) -> Result<(), ObjectStoreError> {
            let mut options = self.options()?;
            let retries = &mut options.retries;
            retries.count = 1;
            retries.patience = patience;
            retries.connect_timeout = retries.connect_timeout.min(patience);
            retries.read_timeout = retries.read_timeout.min(patience);
            Ok(self.open(options)?.test()?)
        }
    }

    /// The buckets of one server.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Buckets {
        pub(crate) backups: Option<Arc<Bucket>>,
        pub(crate) wals: Option<Arc<Bucket>>,
    }

    impl Buckets {
        pub(crate) fn of(config: &ServerConfig, environment: &Environment) -> Self {
            let (backups, wals) = (config.backups_place.bucket(), config.wals_place.bucket());
            let bucket = |address: &BucketAddress| Bucket::new(config, address, environment);
            let backups = backups.map(bucket);
            let wals = match (&backups, wals) {
                // One client does for both.
                (Some(backups), Some(wals)) if backups.address() == wals => Some(Arc::clone(backups)),
                (_, wals) => wals.map(bucket),
            };
            Self { backups, wals }
        }
    }

    impl Server {
        /// The same with what the clients of object stores look for in an environment: credentials, endpoints, places of files.
        #[must_use]
        pub fn with_object_stores(mut self, environment: &Environment) -> Self {
            self.buckets = Buckets::of(&self.config, environment);
            self.catalog = self.buckets.attach(self.catalog, &self.config);
            self
        }

        /// Where base backups are, when that is a bucket. Nothing is asked of it yet.
        ///
        /// # Errors
        /// [`ObjectStoreError::Cloud`] when the settings or credentials cannot be used.
        pub fn backups_bucket(&self) -> Result<Option<CloudServer>, ObjectStoreError> {
            self.buckets.backups.as_ref().map(|bucket| bucket.server()).transpose()
        }

        /// Where WAL is, when that is a bucket. Nothing is asked of it yet.
        ///
        /// # Errors
        /// As [`Server::backups_bucket`].
        pub fn wals_bucket(&self) -> Result<Option<CloudServer>, ObjectStoreError> {
            self.buckets.wals.as_ref().map(|bucket| bucket.server()).transpose()
        }

        /// Where WAL goes, for the archiver.
        pub(crate) fn wal_objects(&self) -> Result<Arc<dyn WalObjects>, ObjectStoreError> {
            match (&self.buckets.wals, self.wals_address()) {
                (Some(bucket), _) => Ok(Arc::clone(bucket) as _),
                (None, address) => Err(ObjectStoreError::NotBuiltIn {
                    address: address.map(ToString::to_string).unwrap_or_default(),
                }),
            }
        }

        /// Whether the stores answer, within `patience` each. The error is what is wrong, in Barman's words, and why.
        pub(crate) fn try_buckets(&self, patience: Duration) -> Result<(), (String, ObjectStoreError)> {
            for (what, bucket) in [("backup", &self.buckets.backups), ("WAL", &self.buckets.wals)] {
                let Some(bucket) = bucket else { continue };
                bucket.test(patience).map_err(|error| {
                    let hint = format!(
                        "Could not connect to the cloud provider for {what} storage. Check your credentials and \
                         configuration"
                    );
                    (hint, error)
                })?;
            }
            Ok(())
        }
    }
}

#[cfg(feature = "cloud")]
pub(crate) use built_in::{Bucket, Buckets};

#[cfg(not(feature = "cloud"))]
impl Server {
    pub(crate) fn wal_objects(
        &self,
    ) -> Result<std::sync::Arc<dyn tapster_catalog::WalObjects>, ObjectStoreError> {
        let address = self.wals_address().map(ToString::to_string).unwrap_or_default();
        Err(ObjectStoreError::NotBuiltIn { address })
    }

    /// Nothing can be asked without clients.
    pub(crate) fn try_buckets(&self, _: std::time::Duration) -> Result<(), (String, ObjectStoreError)> {
        match self.backups_address().or(self.wals_address()) {
            None => Ok(()),
            Some(address) => {
                let error = ObjectStoreError::NotBuiltIn { address: address.to_string() };
                Err(("no object store can be used".to_owned(), error))
            }
        }
    }
}
