//! `barman-cloud-wal-restore`.

use std::path::PathBuf;

use tapster_manager::cloud::CloudRestoreOptions;

use super::common::CloudArgs;
use crate::args::values::non_negative;

/// Fetch a WAL file from an object store (restore_command).
///
/// Exits with 1 when the store has no such file, and with another code when that is not known. PostgreSQL takes every code up to 125
/// for the end of the archive; so where it would open for writing there, that other code is 255, at which it stops.
#[derive(Clone, Debug, clap::Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct CloudWalRestoreArgs {
    #[command(flatten)]
    pub(crate) cloud: CloudArgs,
    /// do not fetch the beginning of a segment when that is all there is
    #[arg(long)]
    no_partial: bool,
    /// fetch up to this many files at the same time, ahead of the replay (default: 0)
    #[arg(short, long, default_value = "0", value_parser = non_negative, allow_negative_numbers = true, hide_default_value = true)]
    parallel: u64,
    /// where files fetched ahead wait
    #[arg(long, default_value = "/var/tmp/walrestore")]
    spool_dir: PathBuf,
    /// exit with 255 unless the file was fetched or the store says that it has no such file (1); so it is without this option too
    /// where recovery.signal says that the server is no standby
    #[arg(long, hide_short_help = true)]
    pub(crate) fail_hard: bool,
    /// How this program calls itself for what follows WAL_NAME.
    #[arg(long, hide = true)]
    pub(crate) fetch_ahead: bool,
    /// the bucket and the path in it, such as s3://bucket/path
    #[arg(value_name = "source_url")]
    pub(crate) url: String,
    /// the server's name below that path
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// the WAL file (%f of restore_command)
    #[arg(value_name = "wal_name")]
    pub(crate) wal_name: String,
    /// where to put it (%p of restore_command)
    #[arg(value_name = "wal_dest")]
    pub(crate) wal_dest: PathBuf,
}

impl CloudWalRestoreArgs {
    /// For the restore.
    pub(crate) fn options(&self) -> CloudRestoreOptions {
        let mut options = CloudRestoreOptions::default();
        options.no_partial = self.no_partial;
        options.parallel = self.parallel;
        options.spool_dir.clone_from(&self.spool_dir);
        options
    }
}
