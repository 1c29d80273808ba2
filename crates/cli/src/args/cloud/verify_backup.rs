//! `cloud verify-backup`.

use super::common::{CloudArgs, MemoryArgs};
use crate::args::values::positive;

/// Compare a backup in an object store with its manifest.
///
/// Its archives are read, and unpacked as they come; nothing of them is stored. It ends with 1 when something is wrong with the backup,
/// or when there is no manifest in it, as in the backups of Barman's own tool.
#[derive(Clone, Debug, clap::Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct CloudVerifyBackupArgs {
    #[command(flatten)]
    pub(crate) cloud: CloudArgs,
    /// do not look whether the WAL is there that the backup needs
    #[arg(long)]
    pub(crate) no_wal: bool,
    /// parts of an archive that are fetched at the same time (default: 4)
    #[arg(short, long, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) jobs: Option<u64>,
    #[command(flatten)]
    pub(crate) memory: MemoryArgs,
    /// the bucket and the path in it, such as s3://bucket/path
    #[arg(value_name = "source_url")]
    pub(crate) url: String,
    /// the server's name below that path
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// an id, a name, 'latest' or 'oldest'
    #[arg(value_name = "backup_id")]
    pub(crate) backup: String,
}
