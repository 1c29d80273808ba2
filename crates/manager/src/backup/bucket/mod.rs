//! Backups into an object store: `basebackups_directory` as an address.
//!
//! `postgres`: what the server sends goes straight into uploads. Barman 3.19 has `pg_basebackup` write to a staging directory and
//! stops it (SIGSTOP) while that is full; nothing is staged here. `local-to-cloud`: the files of a server on this host are read while
//! it is held in backup mode, and go out as archives. The objects are the same: `data.tar` and `<oid>.tar`, uncompressed, and
//! `backup.info` beside them.

mod local;
mod stream;

pub(super) use local::LocalToBucket;
pub(super) use stream::StreamToBucket;

use std::io::{self, Write};

use tapster_catalog::BackupRecord;
use tapster_copy::archive::{ArchiveError, ArchiveRelay, RelayOptions, RelayReport};

use super::BackupStepError;
use super::method::Job;
use crate::cloud::CloudServer;
use crate::cloud::backup::objects::{Objects, Times};
use crate::cloud::backup::{CloudBackupError, CloudBackupOptions};
use crate::config::BucketAddress;

/// Where a backup goes.
#[derive(Debug)]
pub(super) struct Target {
    address: BucketAddress,
    server: CloudServer,
}

impl Target {
    /// The bucket of the configuration; `None` when backups are in a directory.
    pub(super) fn of(job: &Job<'_>) -> Result<Option<Self>, BackupStepError> {
        let Some(server) = job.server.backups_bucket()? else { return Ok(None) };
        Ok(job.server.backups_address().map(|address| Self { address: address.clone(), server }))
    }

    /// As Barman names it.
    fn name(&self) -> String {
        format!("{}: {}", self.address.provider(), self.address)
    }

    /// The archives of a backup. `max_bandwidth` in bytes per second.
    fn objects(&self, record: &BackupRecord, job: &Job<'_>, max_bandwidth: Option<u64>) -> (Objects, Times) {
        let settings = &job.server.config.cloud;
        let options = CloudBackupOptions {
            max_archive_size: settings.upload_max_archive_size,
            min_chunk_size: settings.upload_min_chunk_size,
            max_bandwidth,
            ..CloudBackupOptions::default()
        };
        let directory = self.server.layout().backup(&record.id);
        let stop = job.context.stop.clone();
        let objects = Objects::new(self.server.store(), directory, "", &options, record.cluster_size, stop);
        let times = objects.times();
        (objects, times)
    }

    fn relay_options(&self, job: &Job<'_>) -> RelayOptions {
        let mut options = RelayOptions::default();
        options.max_size = job.server.config.cloud.upload_max_archive_size;
        options.mtime = u64::try_from(job.context.now().unix_timestamp()).unwrap_or(0);
        options
    }

    /// Takes away what a try has left that failed. The record stays.
    fn clean(&self, record: &BackupRecord) -> Result<(), BackupStepError> {
        let own = self.server.layout().record(&record.id);
        let mut keys = Vec::new();
        for object in self.server.store().list(&self.server.layout().backup(&record.id)) {
            let key = object.map_err(crate::ObjectStoreError::from)?.key;
            if key != own {
                keys.push(key);
            }
        }
        for keys in keys.chunks(1000) {
            self.server.store().delete(keys).map_err(crate::ObjectStoreError::from)?;
        }
        Ok(())
    }

    fn workers(&self) -> usize {
        self.server.store().options().concurrency.max(1)
    }
}

/// An archive under way, as something to write to.
struct Feed(ArchiveRelay<Objects>);

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.feed(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The relay's own error again.
fn relayed(error: io::Error) -> BackupStepError {
    match error.downcast::<ArchiveError>() {
        Ok(error) => stored(error),
        Err(source) => BackupStepError::Io { path: "archive".into(), source },
    }
}

/// What the store said is told as such.
fn stored(error: ArchiveError) -> BackupStepError {
    match CloudBackupError::from(error) {
        CloudBackupError::Store(error) => BackupStepError::ObjectStore(error.into()),
        CloudBackupError::Archive(error) => BackupStepError::Archive(error),
        other => BackupStepError::ObjectStore(crate::ObjectStoreError::Backup(Box::new(other))),
    }
}

/// Bytes of all archives, as stored.
fn size(relayed: &RelayReport) -> u64 {
    relayed.parts.iter().map(|part| part.size).sum()
}
