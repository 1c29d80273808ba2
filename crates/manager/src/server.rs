//! One PostgreSQL server as the configuration describes it: the place where the verbs begin.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tapster_catalog::custom_filter::CustomFilter;
use tapster_catalog::durable::{self, DurableError};
use tapster_catalog::{Catalog, Gpg, Identity, ServerLayout, WalStore};
use tapster_protocol::{
    ConnInfo, ConnInfoError, ConnectError, ConnectOptions, Connection, Environment, Mode,
};
use thiserror::Error;

use crate::config::{Config, ServerConfig};
use crate::{archive_wal, encryption};

/// A server of the configuration with its catalog. Each verb is a method, in the file named after it.
#[derive(Debug)]
pub struct Server {
    pub(crate) config: ServerConfig,
    pub(crate) catalog: Catalog,
    pub(crate) environment: Environment,
    /// The filters of `compression = custom`, if they can be used; without them archiving fails, and other WAL can be read.
    pub(crate) custom: Option<CustomFilter>,
    /// The configuration file, for the scripts this server runs.
    pub(crate) config_path: PathBuf,
    /// Encrypts what is stored when `encryption` says so, and decrypts what was.
    pub(crate) gpg: Gpg,
    /// Where backups and WAL are that are not in directories.
    #[cfg(feature = "cloud")]
    pub(crate) buckets: crate::object_store::Buckets,
}

/// A server that cannot be worked with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No section of that name.
    #[error("Unknown server '{name}'")]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// Its backups or its WAL are in an object store, of which this program knows nothing.
    #[error("server '{server}': {source}")]
    ObjectStore {
        /// Its name.
        server: String,
        /// Why.
        source: crate::ObjectStoreError,
    },
}

/// A connection to the server that could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerConnectError {
    /// The connection string is unusable.
    #[error("{key}: {source}")]
    ConnInfo {
        /// Which setting.
        key: &'static str,
        /// What is wrong.
        source: ConnInfoError,
    },
    /// The setting is missing.
    #[error("{key} is not set for server '{server}'")]
    Missing {
        /// Which setting.
        key: &'static str,
        /// Server name.
        server: String,
    },
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl Server {
    /// The server called `name`.
    ///
    /// # Errors
    /// When the configuration has no such server.
    pub fn open(config: &Config, name: &str, environment: Environment) -> Result<Self, OpenError> {
        let config_path = config.path.clone();
        let config =
            config.servers.get(name).ok_or_else(|| OpenError::Unknown { name: name.to_owned() })?.clone();
        #[cfg(not(feature = "cloud"))]
        if let Some(address) = config.backups_place.bucket().or(config.wals_place.bucket()) {
            let source = crate::ObjectStoreError::NotBuiltIn { address: address.to_string() };
            return Err(OpenError::ObjectStore { server: name.to_owned(), source });
        }
        let catalog = Catalog::open(config.layout(), local_offset());
        #[cfg(feature = "cloud")]
        let buckets = crate::object_store::Buckets::of(&config, &tapster_cloud::Environment::default());
        #[cfg(feature = "cloud")]
        let catalog = buckets.attach(catalog, &config);
        let custom = archive_wal::custom_filter(&config).ok().flatten();
        let gpg = encryption::gpg(&config);
        Ok(Self {
            config,
            catalog,
            environment,
            custom,
            config_path,
            gpg,
            #[cfg(feature = "cloud")]
            buckets,
        })
    }

    /// Its configuration.
    pub const fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.config.name.as_str()
    }

    /// Its catalog.
    pub const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Makes the directories of the catalog that are missing; none for what is in an object store.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn create_directories(&self) -> Result<(), DurableError> {
        let layout = self.layout();
        let elsewhere = [
            self.has_backups_in_bucket().then_some(layout.base.as_path()),
            self.has_wals_in_bucket().then_some(layout.wals.as_path()),
        ];
        let here = layout.directories().into_iter().filter(|dir| !elsewhere.contains(&Some(*dir)));
        for dir in here.chain([layout.lock_dir.as_path()]) {
            durable::create_dir_all(self.catalog.disk(), dir, None)?;
        }
        Ok(())
    }

    /// A directory without which the volume of the catalog is not there: that of the archive, or of its index where the archive is in
    /// an object store. What comes from PostgreSQL is compared with the archive later then, when it is stored there.
    pub(crate) fn wal_home(&self) -> &Path {
        let layout = self.layout();
        if self.has_wals_in_bucket() { &layout.meta } else { &layout.wals }
    }

    /// Writes `identity.json` unless it is there.
    pub(crate) fn save_identity(&self, identity: &Identity) -> Result<(), DurableError> {
        identity.save_if_absent(self.catalog.disk(), &self.layout().identity()).map(|_| ())
    }

    pub(crate) fn layout(&self) -> &ServerLayout {
        self.catalog.layout()
    }

    /// Its WAL, whatever it is compressed and encrypted with.
    pub(crate) fn wal_store(&self) -> WalStore<'_> {
        WalStore::new(self.layout())
            .with_custom_filter(self.custom.as_ref())
            .with_gpg(Some(&self.gpg))
            .with_objects(self.catalog.wal_objects())
    }

    /// A normal connection (`conninfo`).
    ///
    /// # Errors
    /// When the connection string is unusable or the server cannot be reached.
    pub fn connect(&self, stop: Arc<AtomicBool>) -> Result<Connection, ServerConnectError> {
        self.connect_with("conninfo", self.config.conninfo.as_deref(), "barman", Mode::Sql, stop)
    }

    /// A replication connection (`streaming_conninfo`), under the name the server's statistics and
    /// `synchronous_standby_names` know.
    ///
    /// # Errors
    /// As [`Server::connect`].
    pub fn connect_streaming(
        &self,
        application_name: &str,
        stop: Arc<AtomicBool>,
    ) -> Result<Connection, ServerConnectError> {
        let conninfo = self.config.streaming_conninfo.as_deref();
        self.connect_with("streaming_conninfo", conninfo, application_name, Mode::PhysicalReplication, stop)
    }

    pub(crate) fn connect_with(
        &self,
        key: &'static str,
        conninfo: Option<&str>,
        application_name: &str,
        mode: Mode,
        stop: Arc<AtomicBool>,
    ) -> Result<Connection, ServerConnectError> {
        let options = self.options(key, conninfo, application_name)?;
        Ok(Connection::connect_with_stop(&options, mode, stop)?)
    }

    pub(crate) fn options(
        &self,
        key: &'static str,
        conninfo: Option<&str>,
        application_name: &str,
    ) -> Result<ConnectOptions, ServerConnectError> {
        let conninfo = conninfo
            .filter(|text| !text.trim().is_empty())
            .ok_or_else(|| ServerConnectError::Missing { key, server: self.name().to_owned() })?;
        let fail = |source| ServerConnectError::ConnInfo { key, source };
        let mut conninfo = ConnInfo::parse(conninfo).map_err(fail)?;
        conninfo.set("application_name", application_name).map_err(fail)?;
        // Barman asks for it, so that times in answers can be read whatever the server's DateStyle.
        if conninfo.get("options").is_none() {
            conninfo.set("options", "-cdatestyle=iso").map_err(fail)?;
        }
        ConnectOptions::resolve(&conninfo, &self.environment).map_err(fail)
    }
}

/// The zone of times that old records hold without one.
fn local_offset() -> time::UtcOffset {
    time::UtcOffset::current_local_offset().unwrap_or(time::UtcOffset::UTC)
}
