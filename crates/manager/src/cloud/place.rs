//! A server's place in a store, before anybody connects to it: what is known here needs no connection.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use tapster_cloud::{CloudError, Environment, Store, StoreIdentity, StoreOptions, StoreUrl};

use super::wal_archive::{is_archived_ahead, wal_name};
use super::wal_daemon::{DaemonAnswer, archive_by_daemon};
use super::wal_restore::take_from_spool;
use super::{
    CloudArchiveOptions, CloudArchiveReport, CloudArchived, CloudRestoreOptions, CloudRestored, CloudServer,
    CloudWalError,
};

/// Where a server's base backups and WAL are, and how one gets there. Making one asks nobody; [`open`](Self::open) does not either.
#[derive(Clone, Debug)]
pub struct CloudPlace {
    url: StoreUrl,
    options: StoreOptions,
    environment: Environment,
    server: String,
}

impl CloudPlace {
    /// The server of this name below that URL.
    pub fn new(
        url: StoreUrl,
        options: StoreOptions,
        environment: Environment,
        server: impl Into<String>,
    ) -> Self {
        Self { url, options, environment, server: server.into() }
    }

    /// The same, ready for requests.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open(&self) -> Result<CloudServer, CloudError> {
        let store = Store::open(&self.url, self.options.clone(), &self.environment)?;
        Ok(CloudServer::new(store, self.server.as_str()))
    }

    fn identity(&self) -> StoreIdentity {
        StoreIdentity::of(&self.url, &self.options, &self.environment)
    }

    /// [`CloudServer::wal_archive`], by whoever is quickest: what is noted as archived is only looked up; a process that runs
    /// [`CloudServer::serve_wal_archive`] for this place and `pg_wal` has its connections; and what that one cannot do is done here.
    ///
    /// # Errors
    /// As [`CloudServer::wal_archive`].
    pub fn archive_wal(
        &self,
        path: &Path,
        options: &CloudArchiveOptions,
        stop: &AtomicBool,
    ) -> Result<CloudArchiveReport, CloudWalError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let name = wal_name(&path)?;
        let by_others =
            |archived| CloudArchiveReport { name, archived, ahead: Vec::new(), warnings: Vec::new() };
        let identity = self.identity();
        if is_archived_ahead(&identity, &self.server, &path, options)? {
            return Ok(by_others(CloudArchived::Ahead));
        }
        let why = match archive_by_daemon(&identity, &self.server, &path, &self.options, options) {
            Some(DaemonAnswer::Archived(archived)) => return Ok(by_others(archived)),
            // Its credentials may have ended, its files be out of its sight.
            Some(DaemonAnswer::Failed(why)) => Some(why),
            None => None,
        };
        let mut report = self.open()?.wal_archive(&path, options, stop)?;
        report.warnings.extend(
            why.map(|why| {
                format!("the process that archives for others could not, which is done here: {why}")
            }),
        );
        Ok(report)
    }

    /// [`CloudServer::wal_restore`], without a connection for what waits in the spool.
    ///
    /// # Errors
    /// As [`CloudServer::wal_restore`].
    pub fn restore_wal(
        &self,
        name: &str,
        destination: &Path,
        options: &CloudRestoreOptions,
        stop: &AtomicBool,
    ) -> Result<CloudRestored, CloudWalError> {
        let identity = self.identity();
        // A spool that cannot be used is looked at again, where that is an error.
        match take_from_spool(&identity, &self.server, name, destination, options, stop) {
            Ok(Some(taken)) => Ok(taken),
            _ => self.open()?.wal_restore(name, destination, options, stop),
        }
    }
}
