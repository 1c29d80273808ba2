//! `backup`.

use std::path::PathBuf;

use super::values::{backup_name, non_negative, positive, si_size};

/// `--reuse-backup`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum ReuseBackup {
    /// Copy unchanged files from the previous backup.
    Copy,
    /// Hard-link them.
    Link,
    /// Take everything from the server.
    Off,
}

/// Take a base backup.
///
/// When the command ends, the backup is on disk. It can be restored when the WAL up to its end has arrived, too: --wait waits
/// for that.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct BackupArgs {
    /// begin with a fast checkpoint
    #[arg(long, overrides_with = "no_immediate_checkpoint")]
    immediate_checkpoint: bool,
    /// let the server spread the first checkpoint
    #[arg(long, overrides_with = "immediate_checkpoint")]
    no_immediate_checkpoint: bool,
    /// take only what changed since that backup (an id, a name, 'latest' or 'latest-full')
    #[arg(long, value_name = "BACKUP_ID")]
    pub(crate) incremental: Option<String>,
    /// use unchanged files of the previous backup ('link' when no way is named)
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "link")]
    pub(crate) reuse_backup: Option<ReuseBackup>,
    /// how often a failed copy is tried again
    #[arg(long, value_parser = non_negative, allow_negative_numbers = true)]
    retry_times: Option<u64>,
    /// seconds between the tries
    #[arg(long, value_parser = non_negative, allow_negative_numbers = true)]
    pub(crate) retry_sleep: Option<u64>,
    /// do not try again
    #[arg(long, overrides_with = "retry_times")]
    no_retry: bool,
    /// copy with this many workers
    #[arg(long, short, value_name = "NJOBS", value_parser = positive, allow_negative_numbers = true)]
    pub(crate) jobs: Option<u64>,
    /// seconds over which one batch of workers is started
    #[arg(long, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) jobs_start_batch_period: Option<u64>,
    /// workers started in one batch
    #[arg(long, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) jobs_start_batch_size: Option<u64>,
    /// at most this many kilobytes per second; 0 means no limit
    #[arg(long, value_name = "KBPS", value_parser = non_negative, allow_negative_numbers = true)]
    pub(crate) bwlimit: Option<u64>,
    /// wait until all WAL the backup needs is archived
    #[arg(long, short)]
    pub(crate) wait: bool,
    /// seconds to wait with --wait
    #[arg(long, value_name = "TIMEOUT", value_parser = non_negative, allow_negative_numbers = true)]
    pub(crate) wait_timeout: Option<u64>,
    /// seconds between signs of life on the server's session during a file copy; 0 turns them off
    #[arg(long, value_parser = non_negative, allow_negative_numbers = true)]
    pub(crate) keepalive_interval: Option<u64>,
    /// a name by which commands can refer to this backup
    #[arg(long, value_name = "BACKUP_NAME", value_parser = backup_name)]
    pub(crate) name: Option<String>,
    /// write a backup manifest after a file copy
    #[arg(long, overrides_with = "no_manifest")]
    manifest: bool,
    /// write none
    #[arg(long, overrides_with = "manifest")]
    no_manifest: bool,
    /// seconds after which the checks before the backup count as failed; 0 means no limit
    #[arg(long, value_parser = non_negative, allow_negative_numbers = true)]
    pub(crate) check_timeout: Option<u64>,
    /// where parts of a backup wait for their upload
    #[allow(dead_code, reason = "Barman has it; nothing is staged here")]
    #[arg(long)]
    pub(crate) cloud_staging_directory: Option<PathBuf>,
    /// how large that directory may grow (default 30Gi)
    #[allow(dead_code, reason = "Barman has it; nothing is staged here")]
    #[arg(long, value_parser = si_size)]
    pub(crate) cloud_staging_max_size: Option<u64>,
    /// servers to back up, or 'all'
    #[arg(value_name = "server_name", required = true)]
    pub(crate) servers: Vec<String>,
}

impl BackupArgs {
    /// The checkpoint asked for, if one was.
    pub(crate) fn immediate_checkpoint(&self) -> Option<bool> {
        super::switch(self.immediate_checkpoint, self.no_immediate_checkpoint)
    }

    /// Whether to write a manifest, if that was said.
    pub(crate) fn manifest(&self) -> Option<bool> {
        super::switch(self.manifest, self.no_manifest)
    }

    /// `--retry-times`, or 0 with `--no-retry`.
    pub(crate) fn retry_times(&self) -> Option<u64> {
        if self.no_retry { Some(0) } else { self.retry_times }
    }
}
