//! The base backup stream into the catalog's directory.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use tapster_catalog::{BackupId, BackupRecord, durable};
use tapster_copy::extract::{Earlier, TablespaceTarget};
use tapster_copy::manifest::FILE_NAME;
use tapster_copy::pages::PageRules;
use tapster_copy::{ChecksumAlgorithm, ExtractOptions};
use tapster_protocol::{BackupEvent, BaseBackupOptions, Connection, ManifestMode, Tablespace};

use super::destination::Destination;
use super::{Copied, Postgres};
use crate::Server;
use crate::backup::BackupStepError;
use crate::backup::files::previous::newest_usable;
use crate::backup::method::Job;
use crate::event::Progress;

/// The first major version that sends a backup manifest.
const FIRST_WITH_MANIFEST: u32 = 13;
/// The first that looks at checksums while it sends.
pub(in crate::backup) const FIRST_TO_VERIFY_PAGES: u32 = 11;
/// The first that sends the tablespaces inside the data directory as archives.
const FIRST_TO_SEND_IN_PLACE: u32 = 16;
/// How often progress is told.
pub(in crate::backup) const PROGRESS_PAUSE: Duration = Duration::from_millis(100);

pub(super) fn with_retries(
    method: &Postgres,
    checked_segment_blocks: Option<u32>,
    record: &BackupRecord,
    job: &Job<'_>,
) -> Result<Copied, BackupStepError> {
    let dir = job.server.layout().backup_dir(&record.id);
    let clean = || Ok(durable::remove_tree(job.server.catalog.disk(), &dir).map(drop)?);
    super::super::files::with_retries(job, &job.context.stop, clean, || {
        once(method, checked_segment_blocks, record, job)
    })
}

/// What the server is asked for.
pub(in crate::backup) fn request(record: &BackupRecord, job: &Job<'_>, major: u32) -> BaseBackupOptions {
    let Job { server, options, .. } = *job;
    let mut request =
        BaseBackupOptions::with_label(format!("Tapster backup {} {}", server.name(), record.id));
    request.fast_checkpoint = options.immediate_checkpoint.unwrap_or(server.config.immediate_checkpoint);
    request.max_rate = options.bandwidth_limit.or(server.config.bandwidth_limit).filter(|rate| *rate > 0);
    // Waiting for the archiver is our own work: the server would wait for ever where archive_command fails.
    request.wait = false;
    let has_manifest = major >= FIRST_WITH_MANIFEST;
    request.manifest = if has_manifest { ManifestMode::Yes } else { ManifestMode::No };
    request
}

fn once(
    method: &Postgres,
    checked_segment_blocks: Option<u32>,
    record: &BackupRecord,
    job: &Job<'_>,
) -> Result<Copied, BackupStepError> {
    let Job { server, context, .. } = *job;
    let form = &method.form;
    let mut connection =
        server.connect_streaming(&server.config.streaming_backup_name, context.stop.clone())?;
    let major = connection.server_version().major();
    let verifies_pages = major >= FIRST_TO_VERIFY_PAGES;
    let mut request = request(record, job, major);
    let has_manifest = request.manifest == ManifestMode::Yes;

    if let Some(parent) = &record.parent_backup_id {
        upload_manifest(server, parent, &mut connection)?;
        request.incremental = true;
    }
    request.compression = form.server_compression().cloned();
    // What comes is not what the estimate counts: the server tells how far it is.
    request.progress = request.compression.is_some();
    // Whoever unpacks archives makes the links. With the map PostgreSQL 15 leaves out all of `pg_tblspc`, and what is in
    // tablespaces that are directories there comes in no archive of its own.
    let inside = record.tablespaces.iter().any(|tablespace| !Path::new(&tablespace.location).is_absolute());
    request.tablespace_map = form.word().is_some() && !(inside && major < FIRST_TO_SEND_IN_PLACE);

    let mut stream = connection.base_backup(&request)?;
    let dir = server.layout().backup_dir(&record.id);
    durable::create_dir_all(server.catalog.disk(), &dir, None)?;
    let mut extract = ExtractOptions::default();
    extract.checksum = has_manifest.then_some(ChecksumAlgorithm::Crc32c);
    extract.tablespaces = stream.tablespaces().iter().filter_map(|t| target(t, &dir)).collect();
    // Only a server that reads torn pages again sends none of before the start.
    let checked = checked_segment_blocks.filter(|_| verifies_pages);
    extract.pages = checked.map(|segment_blocks| PageRules { segment_blocks, start: stream.start_lsn() });
    let tablespaces = stream.tablespaces().iter().filter_map(|t| Some((t.oid?, t.location.clone()?)));
    let tablespaces = tablespaces.collect();
    if method.links {
        extract.earlier = earlier(record, job)?;
    }
    let mut destination = Destination::create(form, &dir.join("data"), extract)?;
    let mut done = 0u64;
    let mut told = Instant::now();
    while let Some(event) = stream.next()? {
        match event {
            BackupEvent::Archive { oid, name } => destination.start_archive(oid, name)?,
            BackupEvent::Manifest => destination.start_manifest()?,
            BackupEvent::Progress(bytes) => done = bytes,
            BackupEvent::Data(bytes) => {
                destination.feed(bytes)?;
                if !request.progress {
                    done += bytes.len() as u64;
                }
                if told.elapsed() >= PROGRESS_PAUSE {
                    told = Instant::now();
                    context.observer.progress(Progress { done, total: record.cluster_size });
                }
            }
            _ => {}
        }
    }
    let end = stream.finish()?;
    let stored = destination.finish()?;
    context.observer.progress(Progress { done, total: Some(done) });
    durable::sync_dir(server.catalog.disk(), &dir)?;
    Ok(Copied { end, tablespaces, stored })
}

/// The backup before, where there is one with files.
fn earlier(record: &BackupRecord, job: &Job<'_>) -> Result<Option<Earlier>, BackupStepError> {
    let layout = job.server.layout();
    Ok(newest_usable(record, job)?.map(|before| {
        let mut earlier = Earlier::new(layout.data_dir(&before.id));
        let places =
            before.tablespaces.iter().filter(|tablespace| Path::new(&tablespace.location).is_absolute());
        earlier.tablespaces = places.map(|t| (t.oid, layout.tablespace_dir(&before.id, t.oid))).collect();
        earlier
    }))
}

/// Tells the server what the parent has.
fn upload_manifest(
    server: &Server,
    parent: &BackupId,
    connection: &mut Connection,
) -> Result<(), BackupStepError> {
    let path = server.layout().data_dir(parent).join(FILE_NAME);
    let mut manifest = File::open(&path).map_err(|source| BackupStepError::Io { path, source })?;
    Ok(connection.upload_manifest(&mut manifest)?)
}

/// Tablespaces go beside the data directory, as Barman keeps them; in-place ones stay inside it.
fn target(tablespace: &Tablespace, dir: &Path) -> Option<(u32, TablespaceTarget)> {
    let oid = tablespace.oid?;
    let inside = tablespace.location.as_deref().is_some_and(|location| !Path::new(location).is_absolute());
    let target = if inside {
        TablespaceTarget::InPlace
    } else {
        TablespaceTarget::Directory(dir.join(oid.to_string()))
    };
    Some((oid, target))
}
