//! What a backup can be told.

use std::time::Duration;

use tapster_catalog::{BackupId, BackupRecord};
use thiserror::Error;

use crate::config::ReuseBackup;

/// Options of [`Server::backup`](crate::Server::backup).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BackupOptions {
    /// A friendly name, stored in the record.
    pub name: Option<BackupName>,
    /// Take only what changed since this backup was taken (PostgreSQL 17 and later).
    pub incremental: Option<Box<BackupRecord>>,
    /// Whether to wait until the last WAL the backup needs is in the archive.
    pub wait: bool,
    /// How long to wait at most; without it for ever.
    pub wait_timeout: Option<Duration>,
    /// A fast checkpoint instead of a spread one; the configuration's `immediate_checkpoint` without it.
    pub immediate_checkpoint: Option<bool>,
    /// Bandwidth in KB/s; the configuration's `bandwidth_limit` without it.
    pub bandwidth_limit: Option<u32>,
    /// Further attempts after a failed copy; the configuration's `basebackup_retry_times` without it.
    pub retry_times: Option<u32>,
    /// Pause before each of them; the configuration's `basebackup_retry_sleep` without it.
    pub retry_sleep: Option<Duration>,
    /// What becomes of files that the previous backup has already; the configuration's `reuse_backup` without it.
    pub reuse_backup: Option<ReuseBackup>,
    /// Workers of a file copy; the configuration's `parallel_jobs` without it.
    pub jobs: Option<u32>,
    /// How many of them are started at once over ssh; the configuration's `parallel_jobs_start_batch_size` without it.
    pub jobs_start_batch_size: Option<u32>,
    /// Seconds between two such batches; the configuration's `parallel_jobs_start_batch_period` without it.
    pub jobs_start_batch_period: Option<u32>,
    /// Seconds between signs of life on the session that holds the server in backup mode, zero for none; the
    /// configuration's `keepalive_interval` without it.
    pub keepalive_interval: Option<u32>,
    /// Whether a file copy gets a manifest at its end; the configuration's `autogenerate_manifest` without it.
    pub manifest: Option<bool>,
    /// How long the checks before the backup may take; the configuration's `check_timeout` without it.
    pub check_timeout: Option<Duration>,
}

/// A friendly name for a backup: one line of text that is neither an id nor one of Barman's shortcuts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BackupName(String);

/// A name no backup can have.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("Backup name '{name}' {problem}")]
#[non_exhaustive]
pub struct BackupNameError {
    /// The name.
    pub name: String,
    /// Why not.
    pub problem: &'static str,
}

/// Barman's shortcuts (`RESERVED_BACKUP_IDS`).
const RESERVED: [&str; 8] =
    ["latest", "last", "oldest", "first", "last-failed", "latest-full", "last-full", "auto"];

impl BackupName {
    /// Checks a name.
    ///
    /// # Errors
    /// When it is empty, reserved, looks like an id, or does not fit on one line of a record.
    pub fn new(name: &str) -> Result<Self, BackupNameError> {
        let fail = |problem| Err(BackupNameError { name: name.chars().take(128).collect(), problem });
        if name.trim().is_empty() {
            fail("is not allowed: it is empty")
        } else if RESERVED.contains(&name) {
            fail("is not allowed: it is reserved")
        } else if name.parse::<BackupId>().is_ok() {
            fail("is not allowed: it looks like a backup id")
        } else if name != name.trim() || name == "None" || name.chars().any(char::is_control) {
            fail("cannot be stored: blanks around it, control characters and the word None do not survive")
        } else if name.len() > 1024 {
            fail("is longer than 1024 bytes")
        } else {
            Ok(Self(name.to_owned()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for bad in ["", " ", "latest", "auto", "20261121T000542", "a\nb", " a", "None"] {
            assert!(BackupName::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(BackupName::new("before upgrade").unwrap().as_str(), "before upgrade");
    }
}
