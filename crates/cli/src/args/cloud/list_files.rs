//! `cloud list-files`.

use super::common::CloudArgs;
use crate::args::list_files::Target;

/// List the objects of a backup in an object store, and the WAL that goes with it.
#[derive(Clone, Debug, clap::Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct CloudListFilesArgs {
    #[command(flatten)]
    pub(crate) cloud: CloudArgs,
    /// data: the backup's own objects; standalone: these and the WAL that makes it consistent; wal: WAL from its beginning up to the
    /// next backup; full: data and wal. Default: standalone
    #[arg(long, value_enum, default_value = "standalone", hide_default_value = true)]
    pub(crate) target: Target,
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
