//! rsync from the primary node.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tapster_copy::live::Reuse;
use tapster_copy::rsync::{Rsync, RsyncError};
use tapster_copy::tree::TreeError;

use super::SyncError;
use crate::Server;
use crate::backup::in_path_prefix;
use crate::config::ReuseBackup;

/// A host that vanished without a word would be waited for for ever. What the configured command says itself comes first, and counts.
pub(super) const PATIENT_SSH: &str = "-o ServerAliveInterval=30 -o ServerAliveCountMax=10";

impl Server {
    /// `rsync` through `primary_ssh_command`, for files that do not change.
    pub(super) fn primary_rsync(&self) -> Result<Rsync, SyncError> {
        let config = &self.config;
        let Some(ssh) = config.primary_ssh_command.as_deref() else {
            return Err(SyncError::NotPassive { server: self.name().to_owned() });
        };
        let mut rsync = Rsync::default();
        if let Some(program) = in_path_prefix(config.path_prefix.as_deref(), "rsync") {
            rsync.program = program;
        }
        rsync.ssh_command = Some(format!("{ssh} {PATIENT_SSH}"));
        rsync.compress = config.network_compression;
        rsync.jobs = usize::try_from(config.parallel_jobs.max(1)).unwrap_or(1);
        rsync.batch_size = config.parallel_jobs_start_batch_size;
        rsync.batch_period = Duration::from_secs(config.parallel_jobs_start_batch_period.into());
        rsync.retry_times = config.basebackup_retry_times;
        rsync.retry_sleep = Duration::from_secs(config.basebackup_retry_sleep.into());
        rsync.strict = true;
        rsync.reuse = match config.reuse_backup {
            Some(ReuseBackup::Link) => Reuse::Link,
            Some(ReuseBackup::Copy) => Reuse::Copy,
            Some(ReuseBackup::Off) | None => Reuse::Off,
        };
        Ok(rsync)
    }

    pub(super) const fn bandwidth_limit(&self) -> Option<u32> {
        match self.config.bandwidth_limit {
            Some(0) | None => None,
            limit => limit,
        }
    }
}

pub(super) fn failed(error: RsyncError) -> SyncError {
    match error {
        RsyncError::Stopped | RsyncError::Tree(TreeError::Stopped) => SyncError::Stopped,
        other => other.into(),
    }
}

/// A directory for a few small files, which goes with the value.
pub(super) fn scratch(near: &Path) -> Result<tempfile::TempDir, SyncError> {
    tempfile::tempdir().map_err(|source| SyncError::Io { path: near.to_owned(), source })
}

/// The content of a small file that was fetched; `None` when it did not come.
pub(super) fn fetched(path: &Path) -> Result<Option<String>, SyncError> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(64 * 1024).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SyncError::Io { path: path.to_owned(), source }),
    }
}

pub(super) fn paths(names: impl IntoIterator<Item = impl Into<PathBuf>>) -> Vec<PathBuf> {
    names.into_iter().map(Into::into).collect()
}
