//! What a PostgreSQL server, its archiver and the programs of this host tell at this moment: the live part of
//! `show-servers`, `status` and `diagnose`.

mod archiver;
mod postgres;
mod programs;

pub use archiver::{ArchiverCounters, WalShipping};
pub use postgres::{PostgresStatus, StreamingStatus};
pub use programs::ClientProgram;

use crate::config::BackupMethod;
use crate::{Context, Server};

/// The live status of a server. What is not asked for (the method or archiver is another one, the server is inactive,
/// passive, or has no usable connection string) is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LiveStatus {
    /// What the normal connection tells.
    pub postgres: Option<PostgresStatus>,
    /// What the replication connection tells.
    pub streaming: Option<StreamingStatus>,
    /// `archive_command` and its success, when the configuration has `archiver = on`.
    pub shipping: Option<WalShipping>,
    /// PostgreSQL's `pg_receivewal` on this host, when the configuration has `streaming_archiver = on`. Barman runs it; this
    /// library does not.
    pub pg_receivewal: Option<ClientProgram>,
    /// Whether `synchronous_standby_names` names our receiver; unknown when the server did not answer.
    pub synchronous: Option<bool>,
    /// PostgreSQL's `pg_basebackup` on this host, with `backup_method = postgres`. Barman runs it; this library does not.
    pub pg_basebackup: Option<ClientProgram>,
}

impl Server {
    /// Asks everybody. Nobody's silence is an error: what is not known is not there.
    ///
    /// The facts are those that Barman 3.19 gathers for `show-servers`.
    pub fn live_status(&self, context: &Context<'_>) -> LiveStatus {
        let mut status = LiveStatus::default();
        let config = &self.config;
        if !config.active || config.is_passive() {
            return status;
        }
        let streams = config.backup_method == BackupMethod::Postgres || config.streaming_archiver;
        if self.has_usable("conninfo", config.conninfo.as_deref()) {
            let (postgres, shipping) = self.ask_normally(context);
            status.synchronous = postgres.names_standby(&config.streaming_archiver_name);
            status.postgres = Some(postgres);
            status.shipping = config.archiver.then_some(shipping);
        } else if config.archiver {
            status.shipping = Some(WalShipping::default());
        }
        if streams && self.has_usable("streaming_conninfo", config.streaming_conninfo.as_deref()) {
            status.streaming = Some(self.ask_streaming(context));
        }
        let major = status.streaming.as_ref().and_then(|streaming| streaming.version).map(|v| v.major());
        let program =
            |names: &[&str]| ClientProgram::find(names, config.path_prefix.as_deref(), major, &context.stop);
        status.pg_receivewal =
            config.streaming_archiver.then(|| program(&["pg_receivewal", "pg_receivexlog"]));
        status.pg_basebackup =
            (config.backup_method == BackupMethod::Postgres).then(|| program(&["pg_basebackup"]));
        status
    }

    /// Whether there is a connection string that can be read.
    fn has_usable(&self, key: &'static str, conninfo: Option<&str>) -> bool {
        conninfo.is_some() && self.options(key, conninfo, "barman").is_ok()
    }
}
