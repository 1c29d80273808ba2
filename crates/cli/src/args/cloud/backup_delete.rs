//! `barman-cloud-backup-delete`.

use super::common::CloudArgs;
use crate::args::values::{int, non_negative};

/// Delete backups in an object store, and the WAL that no other backup needs.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    disable_help_flag = true,
    group = clap::ArgGroup::new("what").args(["backup_id", "retention_policy"]).required(true)
)]
pub(crate) struct CloudBackupDeleteArgs {
    #[command(flatten)]
    pub(crate) cloud: CloudArgs,
    /// the backup to delete: an id, a name, or a word such as 'oldest'
    #[arg(short, long)]
    pub(crate) backup_id: Option<String>,
    /// so many complete backups must be left
    #[arg(short, long, default_value = "0", hide_default_value = true, value_parser = non_negative, allow_negative_numbers = true)]
    pub(crate) minimum_redundancy: u64,
    /// delete every backup that this policy does not need: 'REDUNDANCY n' or 'RECOVERY WINDOW OF n DAYS', WEEKS or MONTHS
    #[arg(short, long)]
    pub(crate) retention_policy: Option<String>,
    /// say what would be deleted, and delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// objects removed with one request (default: as many as the store takes)
    #[arg(long, value_name = "DELETE_BATCH_SIZE", value_parser = int, allow_negative_numbers = true)]
    pub(crate) batch_size: Option<i64>,
    /// leave a backup alone of which an object is locked; costs a request for each of its objects
    #[arg(long)]
    pub(crate) check_object_lock: bool,
    /// the bucket and the path in it, such as s3://bucket/path
    #[arg(value_name = "source_url")]
    pub(crate) url: String,
    /// the server's name below that path
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
}
