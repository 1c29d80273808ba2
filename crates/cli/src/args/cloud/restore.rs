//! `barman-cloud-restore`.

use std::path::PathBuf;

use super::common::{CloudArgs, MemoryArgs};
use crate::args::restore::SyncMethod;
use crate::args::values::{TargetTli, positive, target_tli};

const S3: &str = "Extra options for the aws-s3 cloud provider";
const AZURE: &str = "Extra options for the azure-blob-storage cloud provider";
const GOOGLE: &str = "Extra options for google-cloud-storage cloud provider";

/// What `auto` goes by.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "exclusive-target", multiple = false)]
pub(crate) struct CloudTargets {
    /// with 'auto': the newest backup that ends before this position
    #[arg(long)]
    pub(crate) target_lsn: Option<String>,
    /// with 'auto': the newest backup that ends before this time, such as "2026-11-21 00:07:20.915+00"
    #[arg(long)]
    pub(crate) target_time: Option<String>,
}

/// Restore a base backup from an object store.
///
/// First it is planned: which backup, whether all of its archives are there, where everything goes. --dry-run shows that. The outcome
/// is a data directory; restore_command and a target are for its configuration.
#[derive(Clone, Debug, clap::Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct CloudRestoreArgs {
    #[command(flatten)]
    pub(crate) cloud: CloudArgs,
    /// put a tablespace elsewhere; may be repeated
    #[arg(long, value_name = "NAME:LOCATION")]
    pub(crate) tablespace: Vec<String>,
    /// refused: snapshots of disks are not supported
    #[arg(long)]
    pub(crate) snapshot_recovery_instance: Option<String>,
    /// only with snapshots of disks
    #[arg(long, value_name = "GCP_ZONE")]
    snapshot_recovery_zone: Option<String>,
    /// only with snapshots of disks
    #[arg(long, help_heading = S3)]
    aws_region: Option<String>,
    /// only with snapshots of disks
    #[arg(long, help_heading = GOOGLE)]
    gcp_zone: Option<String>,
    /// only with snapshots of disks
    #[arg(long, help_heading = AZURE)]
    azure_resource_group: Option<String>,
    /// with 'auto': a backup of this timeline, a number or 'latest'
    #[arg(long, value_parser = target_tli, allow_negative_numbers = true)]
    pub(crate) target_tli: Option<TargetTli>,
    #[command(flatten)]
    pub(crate) targets: CloudTargets,
    /// only show what would be done
    #[arg(long, hide_short_help = true)]
    pub(crate) dry_run: bool,
    /// parts of an archive that are fetched at the same time (default: 4)
    #[arg(short, long, value_parser = positive, allow_negative_numbers = true, hide_short_help = true)]
    pub(crate) jobs: Option<u64>,
    #[command(flatten)]
    pub(crate) memory: MemoryArgs,
    /// how the files are brought to disk: all at once, with what others write there, or one by one
    #[arg(long, value_enum, value_name = "METHOD", default_value = "syncfs", hide_short_help = true)]
    pub(crate) sync_method: SyncMethod,
    /// the bucket and the path in it, such as s3://bucket/path
    #[arg(value_name = "source_url")]
    pub(crate) url: String,
    /// the server's name below that path
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// an id, a name, 'latest', 'oldest', or 'auto' for the newest that ends before the target
    #[arg(value_name = "backup_id")]
    pub(crate) backup: String,
    /// the new data directory, which must be empty or absent
    #[arg(value_name = "recovery_dir")]
    pub(crate) destination: PathBuf,
}
