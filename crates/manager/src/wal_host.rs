//! Which server WAL comes from: that of `conninfo`, or another of the same cluster, such as a standby.
//!
//! As Barman's, `wal_streaming_conninfo` stands in for `streaming_conninfo` and `wal_conninfo` for `conninfo` wherever WAL is
//! received and its slot looked at; with the first alone, normal connections go there too. Base backups and `switch-wal` are
//! not touched by them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tapster_protocol::{ConnectOptions, Connection, Mode};

use crate::Server;
use crate::server::ServerConnectError;

/// A setting that is there and not blank.
fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.trim().is_empty())
}

impl Server {
    /// The settings that stand in for others where WAL is received: what is replaced, and by which connection string.
    pub fn wal_overrides(&self) -> Vec<(&'static str, &str)> {
        let streaming = given(self.config.wal_streaming_conninfo.as_ref());
        let normal = given(self.config.wal_conninfo.as_ref()).or(streaming);
        let both = [("streaming_conninfo", streaming), ("conninfo", normal)];
        both.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// Whether the host that WAL comes from is another than that of `conninfo`, as far as the connection strings tell.
    pub fn has_own_wal_host(&self) -> bool {
        self.wal_conninfo().1 != self.config.conninfo.as_deref()
    }

    /// The name of the setting that [`Server::connect_wal_host`] goes by.
    pub(crate) fn wal_key(&self) -> &'static str {
        self.wal_conninfo().0
    }

    /// The name of the setting that [`Server::connect_wal_streaming`] goes by.
    pub(crate) fn wal_streaming_key(&self) -> &'static str {
        self.wal_streaming_conninfo().0
    }

    fn wal_conninfo(&self) -> (&'static str, Option<&str>) {
        let streaming = given(self.config.wal_streaming_conninfo.as_ref());
        match (given(self.config.wal_conninfo.as_ref()), streaming) {
            (Some(normal), _) => ("wal_conninfo", Some(normal)),
            (None, Some(streaming)) => ("wal_streaming_conninfo", Some(streaming)),
            (None, None) => ("conninfo", self.config.conninfo.as_deref()),
        }
    }

    pub(crate) fn wal_streaming_conninfo(&self) -> (&'static str, Option<&str>) {
        match given(self.config.wal_streaming_conninfo.as_ref()) {
            Some(text) => ("wal_streaming_conninfo", Some(text)),
            None => ("streaming_conninfo", self.config.streaming_conninfo.as_deref()),
        }
    }

    /// A normal connection to the host WAL comes from: `wal_conninfo`, else `wal_streaming_conninfo`, else `conninfo`.
    ///
    /// # Errors
    /// As [`Server::connect`].
    pub fn connect_wal_host(&self, stop: Arc<AtomicBool>) -> Result<Connection, ServerConnectError> {
        let (key, conninfo) = self.wal_conninfo();
        self.connect_with(key, conninfo, "barman", Mode::Sql, stop)
    }

    /// A replication connection to the host WAL comes from: `wal_streaming_conninfo`, else `streaming_conninfo`.
    ///
    /// # Errors
    /// As [`Server::connect`].
    pub fn connect_wal_streaming(
        &self,
        application_name: &str,
        stop: Arc<AtomicBool>,
    ) -> Result<Connection, ServerConnectError> {
        let (key, conninfo) = self.wal_streaming_conninfo();
        self.connect_with(key, conninfo, application_name, Mode::PhysicalReplication, stop)
    }

    /// The options of such a connection, for those who connect again by themselves.
    pub(crate) fn wal_streaming_options(
        &self,
        application_name: &str,
    ) -> Result<ConnectOptions, ServerConnectError> {
        let (key, conninfo) = self.wal_streaming_conninfo();
        self.options(key, conninfo, application_name)
    }

    /// A normal connection to the primary: `primary_conninfo`, which is set when `conninfo` leads to a standby.
    ///
    /// # Errors
    /// As [`Server::connect`].
    pub fn connect_primary(&self, stop: Arc<AtomicBool>) -> Result<Connection, ServerConnectError> {
        match given(self.config.primary_conninfo.as_ref()) {
            Some(primary) => self.connect_with("primary_conninfo", Some(primary), "barman", Mode::Sql, stop),
            None => self.connect(stop),
        }
    }
}
