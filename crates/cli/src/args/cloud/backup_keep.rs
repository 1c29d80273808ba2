//! `barman-cloud-backup-keep`.

use super::common::CloudArgs;
use crate::args::keep::Target;

/// Keep a backup in an object store whatever the retention policy says.
#[derive(Clone, Debug, clap::Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct CloudBackupKeepArgs {
    #[command(flatten)]
    pub(crate) cloud: CloudArgs,
    #[command(flatten)]
    pub(crate) keep: KeepAction,
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

/// What to do.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(id = "exclusive-keep", multiple = false, required = true)]
pub(crate) struct KeepAction {
    /// let go of a backup that is kept
    #[arg(short, long)]
    pub(crate) release: bool,
    /// say whether the backup is kept, and how
    #[arg(short, long)]
    pub(crate) status: bool,
    /// keep it with all WAL that follows, or only with what makes it consistent
    #[arg(long, value_enum)]
    pub(crate) target: Option<Target>,
}
