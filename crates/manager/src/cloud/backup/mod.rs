//! A base backup straight from the replication protocol into an object store.
//!
//! Nothing is kept on this host on the way, which need not be that of the server: what the server sends is compressed and goes out in
//! parts, each file and page is summed up as it passes, and the sums are compared with the server's manifest before the record says
//! DONE. The objects are those of Barman 3.19's `barman-cloud-backup` (`barman/cloud.py`), which reads the cluster's files instead
//! and has to run beside it. Its order of work is kept: a record with the status STARTED, the archives, the record once more. So a
//! backup whose process was killed stays STARTED, and nothing that is not whole was ever DONE.

mod error;
pub(crate) mod objects;
mod options;
mod reservation;

use std::time::{Duration, Instant};

use tapster_catalog::{BackupId, BackupRecord, BackupStatus, TablespaceInfo};
use tapster_copy::ChecksumAlgorithm;
use tapster_copy::archive::{ArchiveRelay, RelayOptions, RelayReport};
use tapster_copy::compress::all_cores;
use tapster_copy::pages::PageRules;
use tapster_protocol::{
    BackupEnd, BackupEvent, BaseBackupOptions, ConnInfo, ConnInfoError, ConnectOptions, Connection,
    Environment, ManifestMode, Mode,
};
use walfile::{BackupLabel, SegmentName};

pub use error::CloudBackupError;
use objects::Objects;
pub use options::CloudBackupOptions;
pub(super) use options::ENDINGS;
use reservation::Reservation;

use super::CloudServer;
use crate::Context;
use crate::backup::{broken, describe};
use crate::event::Progress;
use crate::remote::Remote;
use crate::restore::parse_target_time;

/// How often progress is told.
const PROGRESS_PAUSE: Duration = Duration::from_millis(100);
/// The first major version that sends a backup manifest.
const FIRST_WITH_MANIFEST: u32 = 13;
/// The first that looks at checksums while it sends.
const FIRST_TO_VERIFY_PAGES: u32 = 11;

/// The PostgreSQL server to be backed up. Its role needs `REPLICATION` and Barman's privileges (`pg_read_all_settings`, …).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PostgresSource {
    /// How it is reached, for queries and, with `replication` set, for the stream.
    pub conninfo: ConnInfo,
    /// What libpq would find in its environment.
    pub environment: Environment,
}

/// A finished backup.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloudBackupReport {
    /// Its record, as stored.
    pub record: BackupRecord,
    /// Bytes of all archives, as stored.
    pub stored: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl PostgresSource {
    /// The server behind a connection string.
    pub const fn new(conninfo: ConnInfo, environment: Environment) -> Self {
        Self { conninfo, environment }
    }

    /// How it is reached by who calls itself so, unless it was given another name.
    pub(in crate::cloud) fn resolve(&self, application: &str) -> Result<ConnectOptions, ConnInfoError> {
        let mut conninfo = self.conninfo.clone();
        if conninfo.get("application_name").is_none() {
            conninfo.set("application_name", application)?;
        }
        // Times in answers can then be read whatever the server's DateStyle.
        if conninfo.get("options").is_none() {
            conninfo.set("options", "-cdatestyle=iso")?;
        }
        ConnectOptions::resolve(&conninfo, &self.environment)
    }

    fn connect(&self, mode: Mode, context: &Context<'_>) -> Result<Connection, CloudBackupError> {
        let options = self.resolve("barman_cloud_backup")?;
        Ok(Connection::connect_with_stop(&options, mode, context.stop.clone())?)
    }
}

/// What is known when the stream has come to its end.
struct Streamed {
    end: BackupEnd,
    relayed: RelayReport,
    tablespaces: Vec<(u32, String)>,
}

impl CloudServer {
    /// Takes a base backup of `source` and records it.
    ///
    /// # Errors
    /// [`CloudBackupError::Failed`] leaves a record with the status FAILED, if the store could be reached for that and the record is
    /// this backup's still. All others leave the store as it was.
    pub fn backup(
        &self,
        options: &CloudBackupOptions,
        source: &PostgresSource,
        context: &Context<'_>,
    ) -> Result<CloudBackupReport, CloudBackupError> {
        let begun = Instant::now();
        let mut sql = source.connect(Mode::Sql, context)?;
        let ending = objects::ending(options.compression)?;
        let mut record = BackupRecord::new(BackupId::from_local(context.now()));
        // The name of the configuration's server, of which there is none.
        record.server_name = Some("cloud".to_owned());
        let state = describe(&mut record, &mut sql, context).map_err(Box::new)?;
        let root_mode = root_mode(&mut sql);
        drop(sql);
        let reservation = self.reserve(&mut record, options, context)?;
        tracing::info!("Starting backup '{}'", record.id);
        let directory = self.layout().backup(&record.id);
        let (total, stop) = (record.cluster_size, context.stop.clone());
        let objects = Objects::new(self.store(), directory, ending, options, total, stop);
        let times = objects.times();
        let mut relay = RelayOptions::default();
        (relay.compression, relay.workers) = (options.compression, all_cores().min(16));
        (relay.max_size, relay.root_mode) = (options.max_archive_size, root_mode);
        relay.mtime = u64::try_from(context.now().unix_timestamp()).unwrap_or(0);

        let mut action = "starting backup";
        let result = self
            .stream(
                &mut record,
                &reservation,
                source,
                options,
                objects,
                relay,
                state.checked_segment_blocks,
                &mut action,
                context,
            )
            .and_then(|streamed| {
                action = "finalising";
                finish(&mut record, &streamed, source, state.in_recovery, context)?;
                Ok(streamed)
            });
        record.backup_name = options.name.as_ref().map(|name| name.as_str().to_owned());
        match result {
            Ok(streamed) => {
                let workers = self.store().options().concurrency.max(1);
                record.copy_stats = Some(times.stats(begun, workers));
                record.status = BackupStatus::Done;
                if let Err(error) = self.save(&record, &reservation, options) {
                    let action = "uploading backup.info file";
                    return Err(self.fail(record, &reservation, action, error, options));
                }
                let stored = streamed.relayed.parts.iter().map(|part| part.size).sum();
                let report = CloudBackupReport { record, stored, elapsed: begun.elapsed() };
                report.log();
                Ok(report)
            }
            Err(source) => Err(self.fail(record, &reservation, action, source, options)),
        }
    }

    /// Records that the backup failed. Why it did matters more than why that could not be written down.
    fn fail(
        &self,
        mut record: BackupRecord,
        reservation: &Reservation,
        action: &'static str,
        source: CloudBackupError,
        options: &CloudBackupOptions,
    ) -> CloudBackupError {
        let text = source.to_string();
        let line = text.lines().next().unwrap_or_default();
        record.status = BackupStatus::Failed;
        record.error = Some(format!("failure {action} ({line})"));
        record.copy_stats = None;
        if let Err(error) = self.save(&record, reservation, options) {
            tracing::warn!("cannot record that the backup failed: {error}");
        }
        CloudBackupError::Failed { id: record.id, action, source: Box::new(source) }
    }

    #[expect(clippy::too_many_arguments, reason = "one step of one verb")]
    fn stream(
        &self,
        record: &mut BackupRecord,
        reservation: &Reservation,
        source: &PostgresSource,
        options: &CloudBackupOptions,
        objects: Objects,
        mut relay: RelayOptions,
        checked_segment_blocks: Option<u32>,
        action: &mut &'static str,
        context: &Context<'_>,
    ) -> Result<Streamed, CloudBackupError> {
        let mut connection = source.connect(Mode::PhysicalReplication, context)?;
        let major = connection.server_version().major();
        let has_manifest = major >= FIRST_WITH_MANIFEST;
        let mut request =
            BaseBackupOptions::with_label(format!("Tapster backup {} {}", self.layout().server(), record.id));
        request.fast_checkpoint = options.immediate_checkpoint;
        // As with Barman, whoever is told that the backup is there can rely on the WAL it needs having been archived.
        request.wait = true;
        request.manifest = if has_manifest { ManifestMode::Yes } else { ManifestMode::No };
        let mut stream = connection.base_backup(&request)?;
        let size = record.segment_size();
        record.begin_xlog = Some(stream.start_lsn());
        record.begin_wal = Some(SegmentName::containing(stream.timeline(), stream.start_lsn(), size));
        record.begin_offset = Some(stream.start_lsn().offset_in_segment(size));
        record.timeline = Some(stream.timeline());
        let tablespaces = stream.tablespaces().iter();
        let tablespaces = tablespaces.filter_map(|t| Some((t.oid?, t.location.clone()?))).collect();
        // From now on it is known which WAL it needs, and that nobody else has its id.
        self.save(record, reservation, options)?;

        *action = "uploading data";
        relay.checksum = has_manifest.then_some(ChecksumAlgorithm::Crc32c);
        // Only a server that reads torn pages again sends none of before the start.
        let checked = checked_segment_blocks.filter(|_| major >= FIRST_TO_VERIFY_PAGES);
        relay.pages = checked.map(|segment_blocks| PageRules { segment_blocks, start: stream.start_lsn() });
        // What is a standby here must not make a standby of what is restored.
        relay.skip = ["standby.signal", "recovery.signal"].map(str::to_owned).to_vec();
        let mut relay = ArchiveRelay::new(objects, relay);
        let (mut done, mut told) = (0_u64, Instant::now());
        while let Some(event) = stream.next()? {
            match event {
                BackupEvent::Archive { oid, .. } => relay.start_archive(oid)?,
                BackupEvent::Manifest => relay.start_manifest()?,
                BackupEvent::Data(bytes) => {
                    relay.feed(bytes)?;
                    done = done.saturating_add(bytes.len() as u64);
                    if told.elapsed() >= PROGRESS_PAUSE {
                        told = Instant::now();
                        context.observer.progress(Progress { done, total: record.cluster_size });
                    }
                }
                _ => {}
            }
        }
        let end = stream.finish()?;
        let relayed = relay.finish()?;
        context.observer.progress(Progress { done, total: Some(done) });
        Ok(Streamed { end, relayed, tablespaces })
    }
}

/// Completes the record, and marks the end on the server.
fn finish(
    record: &mut BackupRecord,
    streamed: &Streamed,
    source: &PostgresSource,
    in_recovery: bool,
    context: &Context<'_>,
) -> Result<(), CloudBackupError> {
    let problem = |problem: String| CloudBackupError::Label { problem };
    let report = &streamed.relayed.report;
    let label = report.label.clone().ok_or_else(|| problem("it is not in the archive".to_owned()))?;
    BackupLabel::parse(&label).map_err(|error| problem(error.to_string()))?;
    record.backup_label = Some(String::from_utf8(label).map_err(|_| problem("not UTF-8".to_owned()))?);
    let end = &streamed.end;
    let size = record.segment_size();
    record.end_xlog = Some(end.stop_lsn);
    record.end_wal = SegmentName::ending_at(end.timeline, end.stop_lsn, size);
    record.end_offset = Some(end.stop_lsn.offset_in_segment(size));

    let mut sql = source.connect(Mode::Sql, context)?;
    let mut remote = Remote::new(&mut sql);
    settle_tablespaces(record, &streamed.tablespaces, &mut remote)?;
    let fallback = context.now();
    let now = remote.now()?.and_then(|text| parse_target_time(&text, |_| fallback.offset()).ok());
    record.end_time = Some(now.unwrap_or(fallback));
    // The server counts them, and has their names in its log alone.
    let said = end.server_error.as_ref().map(|error| error.message.clone());
    let seen = broken(report.pages.clone());
    if end.checksum_failures || seen.is_some() {
        return Err(CloudBackupError::Checksums { detail: seen.or(said) });
    }
    if !in_recovery {
        let name = format!("barman_{}", record.id);
        // It can make the backup no worse.
        match remote.create_restore_point(&name) {
            Ok(()) => tracing::info!("Restore point '{name}' successfully created"),
            Err(error) => tracing::warn!("cannot mark the end of the backup on the server: {error}"),
        }
    }
    Ok(())
}

/// The record lists what was copied: a tablespace made or dropped between the look at the server and the start of the copy would else
/// be forgotten by a restore, or missed by it.
fn settle_tablespaces(
    record: &mut BackupRecord,
    copied: &[(u32, String)],
    remote: &mut Remote<'_>,
) -> Result<(), CloudBackupError> {
    let is_known = |(oid, location): &(u32, String)| {
        record.tablespaces.iter().any(|known| known.oid == *oid && known.location == *location)
    };
    if record.tablespaces.len() == copied.len() && copied.iter().all(is_known) {
        return Ok(());
    }
    let mut known = remote.tablespaces()?;
    known.append(&mut record.tablespaces);
    let named = |(oid, location): &(u32, String)| {
        let name = known.iter().find(|known| known.oid == *oid).map(|known| known.name.clone());
        TablespaceInfo {
            name: name.unwrap_or_else(|| oid.to_string()),
            oid: *oid,
            location: location.clone(),
        }
    };
    record.tablespaces = copied.iter().map(named).collect();
    Ok(())
}

/// `data_directory_mode`, where there is one (11 and later).
fn root_mode(sql: &mut Connection) -> u32 {
    let mode = sql.show("data_directory_mode").ok();
    let mode = mode.and_then(|text| u32::from_str_radix(text.trim(), 8).ok());
    mode.map_or(0o700, |mode| mode & 0o050 | 0o700)
}

impl CloudBackupReport {
    fn log(&self) {
        let record = &self.record;
        if let (Some(lsn), Some(wal), Some(offset)) = (record.end_xlog, record.end_wal, record.end_offset) {
            tracing::info!("Backup end at LSN: {lsn} ({wal}, {offset:08X})");
        }
        tracing::info!("Backup completed (elapsed time: {})", crate::text::human_elapsed(self.elapsed));
    }
}
