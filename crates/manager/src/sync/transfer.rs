//! rsync from the primary node.

use std::path::{Path, PathBuf};

use tapster_copy::live::Reuse;
use tapster_copy::rsync::{Rsync, RsyncError};
use tapster_copy::tree::TreeError;

use super::SyncError;
use crate::Server;
use crate::config::ReuseBackup;
use crate::rsync::configured;

/// A host that vanished without a word would be waited for for ever. What the configured command says itself comes first, and counts.
pub(super) const PATIENT_SSH: &str = "-o ServerAliveInterval=30 -o ServerAliveCountMax=10";

impl Server {
    /// `rsync` through `primary_ssh_command`, for files that do not change.
    pub(super) fn primary_rsync(&self) -> Result<Rsync, SyncError> {
        let config = &self.config;
        let Some(ssh) = config.primary_ssh_command.as_deref() else {
            return Err(SyncError::NotPassive { server: self.name().to_owned() });
        };
        let mut rsync = configured(config);
        rsync.ssh_command = Some(format!("{ssh} {PATIENT_SSH}"));
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
