//! `barman-cloud-backup-show`.

use super::common::CloudArgs;

/// Show what is known about a backup in an object store.
#[derive(Clone, Debug, clap::Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct CloudBackupShowArgs {
    #[command(flatten)]
    pub(crate) cloud: CloudArgs,
    /// output format, console or json (default: console)
    #[arg(long, default_value = "console", hide_default_value = true)]
    pub(crate) format: String,
    /// the bucket and the path in it, such as s3://bucket/path
    #[arg(value_name = "source_url")]
    pub(crate) url: String,
    /// the server's name below that path
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// an id, a name, or a word such as 'latest'
    #[arg(value_name = "backup_id")]
    pub(crate) backup: String,
}
