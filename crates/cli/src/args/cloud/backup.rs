//! `barman-cloud-backup`.

use super::common::{CloudArgs, MemoryArgs};
use super::connection::{ConnectionArgs, DatabaseArgs};
use super::sizes::size;
use crate::args::values::{backup_name, positive};

const S3: &str = "Extra options for the aws-s3 cloud provider";
const AZURE: &str = "Extra options for the azure-blob-storage cloud provider";
const GOOGLE: &str = "Extra options for google-cloud-storage cloud provider";

/// `-e`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum EncryptionName {
    /// With keys of the store.
    #[value(name = "AES256")]
    Aes256,
    /// With keys of the key management service.
    #[value(name = "aws:kms")]
    Kms,
}

/// What the archives are compressed with.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(id = "exclusive-compression", multiple = false)]
pub(crate) struct CompressionArgs {
    /// compress with gzip
    #[arg(short = 'z', long)]
    pub(crate) gzip: bool,
    /// compress with bzip2
    #[arg(short = 'j', long)]
    pub(crate) bzip2: bool,
    /// compress with snappy
    #[arg(long)]
    pub(crate) snappy: bool,
    /// compress with lz4
    #[arg(long)]
    pub(crate) lz4: bool,
}

/// Options of snapshots of disks, which are refused.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SnapshotArgs {
    /// refused: snapshots of disks are not supported
    #[arg(long)]
    snapshot_instance: Option<String>,
    /// refused: snapshots of disks are not supported
    #[arg(long, value_name = "NAME")]
    snapshot_disk: Vec<String>,
    /// only with snapshots of disks
    #[arg(long, value_name = "GCP_ZONE")]
    snapshot_zone: Option<String>,
    /// only with snapshots of disks
    #[arg(long, value_name = "GCP_PROJECT", help_heading = GOOGLE)]
    snapshot_gcp_project: Option<String>,
    /// only with snapshots of disks
    #[arg(long, help_heading = GOOGLE)]
    gcp_project: Option<String>,
    /// key of the key management service to encrypt with
    #[arg(long, help_heading = GOOGLE)]
    pub(crate) kms_key_name: Option<String>,
    /// only with snapshots of disks
    #[arg(long, help_heading = GOOGLE)]
    gcp_zone: Option<String>,
}

/// More of these.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SnapshotLockArgs {
    /// only with snapshots of disks
    #[arg(long, help_heading = S3)]
    aws_region: Option<String>,
    /// only with snapshots of disks
    #[arg(long, value_parser = positive, allow_negative_numbers = true, help_heading = S3)]
    aws_await_snapshots_timeout: Option<u64>,
    /// only with snapshots of disks
    #[arg(long, value_parser = ["governance", "compliance"], help_heading = S3)]
    aws_snapshot_lock_mode: Option<String>,
    /// only with snapshots of disks
    #[arg(long, value_parser = positive, allow_negative_numbers = true, help_heading = S3)]
    aws_snapshot_lock_cool_off_period: Option<u64>,
    #[command(flatten)]
    end: SnapshotLockEnd,
}

/// Until when they are locked.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "exclusive-lock-end", multiple = false)]
struct SnapshotLockEnd {
    /// only with snapshots of disks
    #[arg(long, help_heading = S3)]
    aws_snapshot_lock_expiration_date: Option<String>,
    /// only with snapshots of disks
    #[arg(long, value_parser = positive, allow_negative_numbers = true, help_heading = S3)]
    aws_snapshot_lock_duration: Option<u64>,
}

/// Take a base backup of a server into an object store.
///
/// The files come over the replication protocol and go out in parts: this may run on any host, and needs no disk. The role needs the
/// REPLICATION attribute, and a line for 'replication' in pg_hba.conf.
#[derive(Clone, Debug, clap::Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct CloudBackupArgs {
    #[command(flatten)]
    pub(crate) cloud: CloudArgs,
    #[command(flatten)]
    pub(crate) compression: CompressionArgs,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// do the first checkpoint as fast as possible
    #[arg(long)]
    pub(crate) immediate_checkpoint: bool,
    /// parts of an upload that are sent at the same time (default: 2)
    #[arg(short = 'J', long, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) jobs: Option<u64>,
    #[command(flatten)]
    pub(crate) memory: MemoryArgs,
    /// an archive that gets larger than this is continued in another object (default: 100GB)
    #[arg(short = 'S', long, value_parser = size)]
    pub(crate) max_archive_size: Option<u64>,
    /// size of a part of an upload, at least
    #[arg(long, value_parser = size)]
    pub(crate) min_chunk_size: Option<u64>,
    /// bytes sent per second, at most
    #[arg(long, value_parser = size)]
    pub(crate) max_bandwidth: Option<u64>,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// a name for the backup, to be used instead of its id
    #[arg(short, long, value_name = "BACKUP_NAME", value_parser = backup_name)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) snapshots: SnapshotArgs,
    #[command(flatten)]
    pub(crate) tags: TagArgs,
    /// how the store encrypts what it keeps
    #[arg(short, long, value_enum, help_heading = S3)]
    pub(crate) encryption: Option<EncryptionName>,
    /// key to encrypt with, with aws:kms
    #[arg(long, help_heading = S3)]
    pub(crate) sse_kms_key_id: Option<String>,
    #[command(flatten)]
    locks: SnapshotLockArgs,
    /// name of an encryption scope to encrypt with
    #[arg(long, help_heading = AZURE)]
    pub(crate) encryption_scope: Option<String>,
    /// only with snapshots of disks
    #[arg(long, help_heading = AZURE)]
    azure_subscription_id: Option<String>,
    /// only with snapshots of disks
    #[arg(long, help_heading = AZURE)]
    azure_resource_group: Option<String>,
    /// the bucket and the path in it, such as s3://bucket/path
    #[arg(value_name = "destination_url")]
    pub(crate) url: String,
    /// the server's name below that path
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
}

/// What the store keeps beside each object.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "exclusive-tags", multiple = false)]
pub(crate) struct TagArgs {
    /// tags of all objects, each as key,value
    #[arg(long, value_name = "TAGS_LIST", num_args = 0.., value_parser = tag)]
    pub(crate) tags: Vec<Tag>,
    /// a tag of all objects, as key,value; may be repeated
    #[arg(long, value_name = "TAGS_APPEND", value_parser = tag)]
    pub(crate) tag: Vec<Tag>,
}

/// A key and a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Tag(pub(crate) String, pub(crate) String);

fn tag(text: &str) -> Result<Tag, String> {
    let (key, value) = text.split_once(',').ok_or_else(|| format!("invalid tag, not key,value: '{text}'"))?;
    Ok(Tag(key.trim().to_owned(), value.trim().to_owned()))
}

impl SnapshotArgs {
    /// Whether a backup of snapshots was asked for. The other options do nothing without these, as in Barman.
    pub(crate) fn are_asked_for(&self) -> bool {
        self.snapshot_instance.is_some() || !self.snapshot_disk.is_empty()
    }
}
