//! `barman-cloud-wal-archive`, and the process that does its work with connections that stay.

use std::path::PathBuf;

use tapster_cloud::{Encryption, StoreOptions};
use tapster_manager::cloud::CloudArchiveOptions;
use walfile::codec::{Compression, Level};

use super::common::CloudArgs;
use crate::args::values::positive;

const S3: &str = "Extra options for the aws-s3 cloud provider";
const AZURE: &str = "Extra options for the azure-blob-storage cloud provider";
const GOOGLE: &str = "Extra options for google-cloud-storage cloud provider";

/// Archive a WAL file in an object store (archive_command).
///
/// It also works as Barman's pre_archive_script. With --parallel, the other files that PostgreSQL has ready go out at the same time,
/// and are answered for when their turn comes. A file that is archived already with another content is not replaced: that is an error.
#[derive(Clone, Debug, clap::Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct CloudWalArchiveArgs {
    #[command(flatten)]
    pub(crate) cloud: CloudArgs,
    #[command(flatten)]
    pub(crate) how: ArchiveHow,
    /// this cluster owns the archive from now on, whichever wrote to it before; once, after pg_upgrade
    #[arg(long, hide_short_help = true)]
    pub(crate) take_over: bool,
    /// the bucket and the path in it, such as s3://bucket/path
    #[arg(value_name = "destination_url")]
    pub(crate) url: String,
    /// the server's name below that path
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// the WAL file (%p of archive_command)
    #[arg(value_name = "wal_path")]
    pub(crate) wal_path: Option<PathBuf>,
}

/// Archive WAL for cloud wal-archive, with connections that stay.
///
/// An archive_command with the same options, --parallel among them, then only asks this process, which takes a millisecond where
/// PostgreSQL's next file is there already. When it is not running, the command does the work itself.
#[derive(Clone, Debug, clap::Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct CloudWalDaemonArgs {
    #[command(flatten)]
    pub(crate) cloud: CloudArgs,
    #[command(flatten)]
    pub(crate) how: ArchiveHow,
    /// the bucket and the path in it, such as s3://bucket/path
    #[arg(value_name = "destination_url")]
    pub(crate) url: String,
    /// the server's name below that path
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// the directory pg_wal of the cluster
    #[arg(value_name = "wal_directory")]
    pub(crate) wal_dir: PathBuf,
}

/// How files of a `pg_wal` are archived.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ArchiveHow {
    #[command(flatten)]
    stored: StoredHow,
    /// archive so many files at the same time: others that PostgreSQL has ready go with the one it asks for (default: 1)
    #[arg(short = 'J', long, value_name = "JOBS", default_value = "1", value_parser = positive, hide_default_value = true, hide_short_help = true)]
    parallel: u64,
    /// where is noted what was archived before PostgreSQL asked for it
    #[arg(long, default_value = "/var/tmp/walarchive", hide_short_help = true)]
    spool_dir: PathBuf,
}

/// How WAL is stored.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StoredHow {
    #[command(flatten)]
    compression: WalCompression,
    /// how hard to compress: a number, or low, medium, high
    #[arg(long, value_parser = level, allow_negative_numbers = true)]
    compression_level: Option<Level>,
    #[command(flatten)]
    tags: Tags,
    #[command(flatten)]
    history_tags: HistoryTags,
    /// key of the key management service to encrypt with
    #[arg(long, help_heading = GOOGLE)]
    kms_key_name: Option<String>,
    /// how the store encrypts what it keeps
    #[arg(short = 'e', long = "encryption", value_name = "ENCRYPTION", value_parser = ["AES256", "aws:kms"], help_heading = S3)]
    encryption_name: Option<String>,
    /// key to encrypt with, with aws:kms
    #[arg(long, help_heading = S3)]
    sse_kms_key_id: Option<String>,
    /// name of an encryption scope to encrypt with
    #[arg(long, help_heading = AZURE)]
    encryption_scope: Option<String>,
    /// accepted for compatibility; the size of parts is chosen
    #[arg(long, help_heading = AZURE)]
    max_block_size: Option<String>,
    /// accepted for compatibility
    #[arg(long, help_heading = AZURE)]
    max_concurrency: Option<String>,
    /// accepted for compatibility; up to 16 MiB are one request
    #[arg(long, help_heading = AZURE)]
    max_single_put_size: Option<String>,
}

/// What WAL is compressed with.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(id = "exclusive-wal-compression", multiple = false)]
struct WalCompression {
    /// compress with gzip
    #[arg(short = 'z', long)]
    gzip: bool,
    /// compress with bzip2
    #[arg(short = 'j', long)]
    bzip2: bool,
    /// compress with xz
    #[arg(long)]
    xz: bool,
    /// compress with snappy
    #[arg(long)]
    snappy: bool,
    /// compress with zstd
    #[arg(long)]
    zstd: bool,
    /// compress with lz4
    #[arg(long)]
    lz4: bool,
}

/// What the store keeps beside each object.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "exclusive-wal-tags", multiple = false)]
struct Tags {
    /// tags of all files, each as key,value
    #[arg(long, value_name = "TAGS_LIST", num_args = 0.., value_parser = tag)]
    tags: Vec<(String, String)>,
    /// a tag of all files, as key,value; may be repeated
    #[arg(long, value_name = "TAGS_APPEND", value_parser = tag)]
    tag: Vec<(String, String)>,
}

/// The same of history files.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "exclusive-history-tags", multiple = false)]
struct HistoryTags {
    /// tags of history files instead, each as key,value
    #[arg(long, value_name = "HISTORY_TAGS_LIST", num_args = 0.., value_parser = tag)]
    history_tags: Vec<(String, String)>,
    /// a tag of history files instead, as key,value; may be repeated
    #[arg(long, value_name = "HISTORY_TAGS_APPEND", value_parser = tag)]
    history_tag: Vec<(String, String)>,
}

impl ArchiveHow {
    /// For the archive.
    pub(crate) fn options(&self) -> CloudArchiveOptions {
        let mut options = self.stored.options();
        options.parallel = usize::try_from(self.parallel).unwrap_or(usize::MAX);
        options.spool_dir.clone_from(&self.spool_dir);
        options
    }

    /// For the store.
    pub(crate) fn encrypted(&self, options: StoreOptions) -> StoreOptions {
        self.stored.encrypted(options)
    }
}

impl StoredHow {
    /// For the archive.
    pub(crate) fn options(&self) -> CloudArchiveOptions {
        let mut options = CloudArchiveOptions::default();
        let given = &self.compression;
        options.compression = [
            (given.gzip, Compression::Gzip),
            (given.bzip2, Compression::Bzip2),
            (given.xz, Compression::Xz),
            (given.snappy, Compression::Snappy),
            (given.zstd, Compression::Zstd),
            (given.lz4, Compression::Lz4),
        ]
        .into_iter()
        .find_map(|(given, compression)| given.then_some(compression))
        .unwrap_or_default();
        options.level = self.compression_level.unwrap_or_default();
        let either = |one: &Vec<_>, other: &Vec<_>| if one.is_empty() { other.clone() } else { one.clone() };
        options.tags = either(&self.tags.tag, &self.tags.tags);
        options.history_tags = either(&self.history_tags.history_tag, &self.history_tags.history_tags);
        options
    }

    /// For the store.
    pub(crate) fn encrypted(&self, mut options: StoreOptions) -> StoreOptions {
        options.encryption =
            match (self.encryption_name.as_deref(), &self.encryption_scope, &self.kms_key_name) {
                (Some("aws:kms"), _, _) => Some(Encryption::Kms { key: self.sse_kms_key_id.clone() }),
                (Some(_), _, _) => Some(Encryption::S3Managed),
                (None, Some(scope), _) => Some(Encryption::Scope(scope.clone())),
                (None, None, Some(key)) => Some(Encryption::GoogleKms(key.clone())),
                (None, None, None) => None,
            };
        options
    }
}

/// `key,value`, split at the first comma.
fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once(',').ok_or("Invalid tag format. Expected 'key,value'.")?;
    let (key, value) = (key.trim(), value.trim());
    if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
        return Err("a key has 1 to 128 characters, a value at most 256".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

fn level(text: &str) -> Result<Level, String> {
    match text {
        "low" => Ok(Level::Low),
        "medium" => Ok(Level::Medium),
        "high" => Ok(Level::High),
        number => number.parse().map(Level::Exact).map_err(|_| "a number, low, medium or high".to_owned()),
    }
}
