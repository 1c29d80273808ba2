//! `barman-cloud-backup`.

use tapster_cloud::{Encryption, StoreOptions};
use tapster_manager::cloud::backup::CloudBackupOptions;
use tapster_manager::{BackupName, Context, Silent};
use walfile::codec::Compression;

use super::{Tool, jobs, source};
use crate::args::cloud::backup::{CloudBackupArgs, CompressionArgs, EncryptionName, Tag, TagArgs};
use crate::environment;
use crate::failure::Failure;
use crate::session::Session;

/// What errors call it.
const VERB: &str = "backup";
/// Barman runs its tool as a hook script of its own backups, too.
const HOOK: &str = "BARMAN_HOOK";

/// Takes a base backup into the store.
pub(crate) fn run(args: &CloudBackupArgs, session: &Session) -> Result<(), Failure> {
    session.watch_signals()?;
    let tool = Tool { verb: VERB, args: &args.cloud, url: &args.url, server: &args.server };
    tool.run_with(store_options(args), |server| {
        let refuse = |problem: &str| Err(Failure::cloud_refused(VERB, problem));
        if args.snapshots.are_asked_for() {
            return refuse("Backups by snapshots of disks are not supported");
        }
        if environment::of_clouds().get(HOOK).is_some() {
            return refuse("Uploading a backup of Barman as its hook script is not supported");
        }
        if args.sse_kms_key_id.is_some() && args.encryption != Some(EncryptionName::Kms) {
            return refuse("Encryption type must be \"aws:kms\" if SSE KMS Key ID is specified");
        }
        let mut options = CloudBackupOptions::default();
        let name = args.name.as_deref().map(BackupName::new).transpose();
        options.name = name.map_err(|error| Failure::cloud_refused(VERB, &error.to_string()))?;
        options.compression = compression(args.compression);
        options.max_archive_size = args.max_archive_size.unwrap_or(options.max_archive_size);
        options.min_chunk_size = args.min_chunk_size;
        options.max_bandwidth = args.max_bandwidth;
        options.immediate_checkpoint = args.immediate_checkpoint;
        options.tags = tags(&args.tags)?;
        let source = source(&args.connection, &args.database)?;
        let context = Context::new(&Silent).with_stop(session.stop.clone());
        let report = server.backup(&options, &source, &context);
        report.map(drop).map_err(|error| Failure::cloud_backup(&error))
    })
}

fn store_options(args: &CloudBackupArgs) -> StoreOptions {
    let mut options = args.memory.within(args.cloud.store_options());
    options.concurrency = jobs(args.jobs).unwrap_or(2);
    options.encryption = match (args.encryption, &args.encryption_scope, &args.snapshots.kms_key_name) {
        (Some(EncryptionName::Aes256), ..) => Some(Encryption::S3Managed),
        (Some(EncryptionName::Kms), ..) => Some(Encryption::Kms { key: args.sse_kms_key_id.clone() }),
        (None, Some(scope), _) => Some(Encryption::Scope(scope.clone())),
        (None, None, Some(key)) => Some(Encryption::GoogleKms(key.clone())),
        (None, None, None) => None,
    };
    options
}

const fn compression(args: CompressionArgs) -> Compression {
    match args {
        CompressionArgs { gzip: true, .. } => Compression::Gzip,
        CompressionArgs { bzip2: true, .. } => Compression::Bzip2,
        CompressionArgs { snappy: true, .. } => Compression::Snappy,
        CompressionArgs { lz4: true, .. } => Compression::Lz4,
        _ => Compression::None,
    }
}

/// S3 takes ten of them.
fn tags(args: &TagArgs) -> Result<Vec<(String, String)>, Failure> {
    let refuse = |problem: &str| Failure::cloud_refused(VERB, problem);
    let given = if args.tag.is_empty() { &args.tags } else { &args.tag };
    let mut tags: Vec<(String, String)> = Vec::new();
    for Tag(key, value) in given.iter().cloned() {
        if tags.iter().any(|(known, _)| *known == key) {
            return Err(refuse(&format!("Duplicate tag keys found: {key}. Tag keys must be unique.")));
        }
        tags.push((key, value));
    }
    if tags.len() > 10 {
        return Err(refuse(
            "Maximum number of tags per object exceeded. S3 allows no more than 10 tags per object.",
        ));
    }
    Ok(tags)
}
