//! One base backup, from the connection to the last fsync.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tapster_copy::archive::ArchiveCompression;
use tapster_copy::extract::TablespaceTarget;
use tapster_copy::{ChecksumAlgorithm, ExtractOptions, SyncMethod};
use tapster_protocol::{
    BackupEvent, BaseBackupError, BaseBackupStream, ConnectOptions, Connection, ManifestMode, Mode,
    QueryError, ServerVersion, Tablespace,
};
use walfile::{Lsn, Timeline};

use super::destination::Destination;
use super::directories::Directories;
use super::error::BaseBackupToolError;
use super::event::{BaseBackupEvent, DirectoryKind, Progress};
use super::options::{BaseBackupOptions, Target, Wal};
use super::wal::{Begin, WalReceiver};
use super::wal_store::WalPlace;
use crate::tools::recovery_settings;

/// What was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BaseBackupReport {
    /// WAL is needed from here.
    pub start_lsn: Lsn,
    /// Up to here.
    pub stop_lsn: Lsn,
    /// The timeline of the start.
    pub timeline: Timeline,
}

/// Takes a base backup as `pg_basebackup` does. When this returns a report, everything is on disk (unless
/// [`SyncMethod::None`] was asked for).
///
/// # Errors
/// See [`BaseBackupToolError`]. What was made has then been removed, unless [`BaseBackupOptions::clean`] is off or the
/// error is [`BaseBackupToolError::Checksums`].
pub fn run(
    connect: &ConnectOptions,
    options: &BaseBackupOptions,
    observer: &dyn Fn(&BaseBackupEvent<'_>),
    stop: &Arc<AtomicBool>,
) -> Result<BaseBackupReport, BaseBackupToolError> {
    let mut directories = Directories::default();
    let result = Run { connect, options, observer, stop }.take(&mut directories);
    if let Err(error) = &result {
        observer(&BaseBackupEvent::Failed(error));
        if !matches!(error, BaseBackupToolError::Checksums) {
            directories.clean_up(options.clean, observer);
        }
    }
    result
}

struct Run<'a> {
    connect: &'a ConnectOptions,
    options: &'a BaseBackupOptions,
    observer: &'a dyn Fn(&BaseBackupEvent<'_>),
    stop: &'a Arc<AtomicBool>,
}

impl Run<'_> {
    fn tell(&self, event: &BaseBackupEvent<'_>) {
        (self.observer)(event);
    }

    fn take(&self, directories: &mut Directories) -> Result<BaseBackupReport, BaseBackupToolError> {
        self.check()?;
        let mut connection =
            Connection::connect_with_stop(self.connect, Mode::PhysicalReplication, Arc::clone(self.stop))?;
        let version = connection.server_version();
        let mode = directory_mode(&mut connection)?;
        match &self.options.target {
            Target::Plain { directory, wal_directory, .. } => {
                directories.prepare(DirectoryKind::Data, directory, mode)?;
                if let Some(path) = wal_directory {
                    directories.prepare(DirectoryKind::Wal, path, mode)?;
                }
            }
            Target::Tar { directory, .. } => directories.prepare(DirectoryKind::Data, directory, mode)?,
            Target::Stdout { .. } => {}
        }
        let segment_size = connection.wal_segment_size().map_err(failed("SHOW wal_segment_size"))?;
        let identity = connection.identify_system().map_err(failed("IDENTIFY_SYSTEM"))?;
        self.upload_manifest(&mut connection)?;

        self.tell(&BaseBackupEvent::WaitingForCheckpoint);
        let mut stream = connection.base_backup(&self.protocol_options()).map_err(|error| match error {
            error if error.is_stopped() => BaseBackupToolError::Stopped,
            error => BaseBackupToolError::Initiate(error),
        })?;
        self.tell(&BaseBackupEvent::CheckpointDone);
        let (start_lsn, timeline) = (stream.start_lsn(), stream.timeline());
        self.tell(&BaseBackupEvent::Start { lsn: start_lsn, timeline });
        let tablespaces = self.prepare_tablespaces(stream.tablespaces(), directories, mode)?;

        let begin = Begin { lsn: start_lsn, timeline, system_id: identity.system_id, segment_size };
        let receiver = self.start_wal(begin, mode)?;
        let mut destination = self.destination(tablespaces, version, mode)?;
        let copied = self.copy(&mut stream, &mut destination, receiver.as_ref());
        if let Err(error) = copied {
            return Err(match receiver {
                Some(receiver) if receiver.has_failed() => receiver.error(),
                _ => error,
            });
        }
        let end = stream.finish().map_err(broken)?;
        self.tell(&BaseBackupEvent::End { lsn: end.stop_lsn });
        for notice in connection.take_notices() {
            self.tell(&BaseBackupEvent::Notice(&notice));
        }
        if let Some(receiver) = receiver {
            self.tell(&BaseBackupEvent::WaitingForWal);
            receiver.finish(end.stop_lsn, self.stop)?;
        }
        drop(connection);
        if self.options.sync != SyncMethod::None {
            self.tell(&BaseBackupEvent::Syncing);
        }
        destination.finish()?;
        if self.has_manifest(version) && !matches!(self.options.target, Target::Stdout { .. }) {
            self.tell(&BaseBackupEvent::RenamingManifest);
        }
        if end.checksum_failures {
            return Err(BaseBackupToolError::Checksums);
        }
        self.tell(&BaseBackupEvent::Completed);
        Ok(BaseBackupReport { start_lsn, stop_lsn: end.stop_lsn, timeline })
    }

    fn check(&self) -> Result<(), BaseBackupToolError> {
        let options = self.options;
        let opaque = options.server_compression.is_some();
        let refuse = |text| Err(BaseBackupToolError::Unsupported(text));
        match &options.target {
            Target::Plain { .. } => Ok(()),
            Target::Stdout { .. } if options.wal.is_streamed() => {
                refuse("cannot stream write-ahead logs in tar mode to stdout")
            }
            Target::Stdout { .. } if opaque && options.manifest => {
                refuse("cannot inject manifest into a compressed tar file")
            }
            Target::Tar { .. } | Target::Stdout { .. } if opaque && options.standby.is_some() => {
                refuse("cannot write the settings of a standby into an archive that the server compressed")
            }
            _ => Ok(()),
        }
    }

    fn has_manifest(&self, version: ServerVersion) -> bool {
        self.options.manifest && version.major() >= 13
    }

    fn upload_manifest(&self, connection: &mut Connection) -> Result<(), BaseBackupToolError> {
        let Some(path) = &self.options.incremental else { return Ok(()) };
        let mut file = std::fs::File::open(path).map_err(BaseBackupToolError::file("open file", path))?;
        connection.upload_manifest(&mut file).map_err(BaseBackupToolError::Initiate)
    }

    fn protocol_options(&self) -> tapster_protocol::BaseBackupOptions {
        let options = self.options;
        let mut sent = tapster_protocol::BaseBackupOptions::with_label(&options.label);
        sent.progress = options.estimate_size;
        sent.fast_checkpoint = options.fast_checkpoint;
        sent.wal = options.wal == Wal::Fetch;
        // Without WAL in the backup an archive must have it, and the server waits until it does.
        sent.wait = options.wal == Wal::None;
        sent.max_rate = options.max_rate;
        sent.tablespace_map = !matches!(options.target, Target::Plain { .. });
        sent.verify_checksums = options.verify_checksums;
        sent.manifest = match (options.manifest, options.manifest_force_encode) {
            (false, _) => ManifestMode::No,
            (true, false) => ManifestMode::Yes,
            (true, true) => ManifestMode::ForceEncode,
        };
        sent.manifest_checksums.clone_from(&options.manifest_checksums);
        sent.compression.clone_from(&options.server_compression);
        sent.incremental = options.incremental.is_some();
        sent
    }

    /// Where the tablespaces of a plain backup go; their directories are made.
    fn prepare_tablespaces(
        &self,
        tablespaces: &[Tablespace],
        directories: &mut Directories,
        mode: u32,
    ) -> Result<BTreeMap<u32, TablespaceTarget>, BaseBackupToolError> {
        let mapping = match &self.options.target {
            Target::Plain { tablespaces, .. } => tablespaces,
            Target::Stdout { .. } if tablespaces.len() > 1 => {
                return Err(BaseBackupToolError::ManyTablespaces { tablespaces: tablespaces.len() });
            }
            _ => return Ok(BTreeMap::new()),
        };
        let mut targets = BTreeMap::new();
        for tablespace in tablespaces {
            let (Some(oid), Some(location)) = (tablespace.oid, &tablespace.location) else { continue };
            let location = Path::new(location);
            let target = if location.is_absolute() {
                let mapped = mapping.iter().find(|(old, _)| old == location);
                let path = mapped.map_or(location, |(_, new)| new);
                directories.prepare_tablespace(path, mode)?;
                TablespaceTarget::Directory(path.to_owned())
            } else {
                TablespaceTarget::InPlace
            };
            targets.insert(oid, target);
        }
        Ok(targets)
    }

    fn start_wal(&self, begin: Begin, mode: u32) -> Result<Option<WalReceiver>, BaseBackupToolError> {
        let options = self.options;
        if !options.wal.is_streamed() {
            return Ok(None);
        }
        let (directory, plain_mode, gzip): (PathBuf, _, _) = match &options.target {
            Target::Plain { directory, wal_directory, .. } => {
                (wal_directory.clone().unwrap_or_else(|| directory.join("pg_wal")), Some(mode), None)
            }
            // `pg_basebackup` has nothing but gzip for this archive.
            Target::Tar { directory, compression: ArchiveCompression::Gzip(level) } => {
                (directory.clone(), None, Some(*level))
            }
            Target::Tar { directory, .. } => (directory.clone(), None, None),
            Target::Stdout { .. } => return Ok(None),
        };
        let sync = options.sync != SyncMethod::None;
        let place = WalPlace { directory, plain_mode, gzip, sync, time: options.time };
        WalReceiver::start(self.connect, &options.wal, &place, begin, options.status_interval, self.observer)
            .map(Some)
    }

    fn destination(
        &self,
        tablespaces: BTreeMap<u32, TablespaceTarget>,
        version: ServerVersion,
        mode: u32,
    ) -> Result<Destination, BaseBackupToolError> {
        let options = self.options;
        let mut extract = ExtractOptions::default();
        extract.sync = options.sync;
        extract.tablespaces = tablespaces;
        if let Target::Plain { wal_directory, .. } = &options.target {
            extract.wal_directory.clone_from(wal_directory);
        }
        if self.has_manifest(version) {
            // The server has accepted the name by now, so an unknown one is only unknown here.
            extract.checksum = match &options.manifest_checksums {
                None => Some(ChecksumAlgorithm::Crc32c),
                Some(name) => name.parse().ok(),
            };
        }
        let recovery = options.standby.as_ref().map_or_else(Vec::new, |conninfo| {
            recovery_settings::files(version, conninfo, options.wal.permanent_slot())
        });
        Destination::create(options, extract, recovery, mode & 0o640)
    }

    fn copy(
        &self,
        stream: &mut BaseBackupStream<'_>,
        destination: &mut Destination,
        receiver: Option<&WalReceiver>,
    ) -> Result<(), BaseBackupToolError> {
        let sizes: Vec<u64> = stream.tablespaces().iter().filter_map(|t| t.size_kb).collect();
        let total = (!sizes.is_empty())
            .then(|| sizes.iter().fold(0, |sum: u64, kb| sum.saturating_add(kb.saturating_mul(1024))));
        let compressed = self.options.server_compression.is_some();
        let mut progress = Progress { total, tablespaces: stream.tablespaces().len(), ..Progress::default() };
        let mut archive = String::new();
        let (mut archives, mut in_manifest) = (0_usize, false);
        while let Some(event) = stream.next().map_err(broken)? {
            match event {
                BackupEvent::Archive { oid, name } => {
                    archives += 1;
                    progress.tablespaces_done = archives - 1;
                    name.clone_into(&mut archive);
                    destination.archive(oid, name)?;
                }
                BackupEvent::Manifest => {
                    in_manifest = true;
                    progress.tablespaces_done = archives;
                    destination.manifest()?;
                }
                BackupEvent::Data(bytes) => {
                    destination.data(bytes)?;
                    if !compressed && !in_manifest {
                        progress.done = progress.done.saturating_add(bytes.len() as u64);
                    }
                }
                BackupEvent::Progress(bytes) if compressed => progress.done = bytes,
                _ => {}
            }
            self.tell(&BaseBackupEvent::Progress(Progress { archive: &archive, ..progress }));
            if receiver.is_some_and(WalReceiver::has_failed) {
                return Err(BaseBackupToolError::WalThread);
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(BaseBackupToolError::Stopped);
            }
        }
        progress.tablespaces_done = archives;
        self.tell(&BaseBackupEvent::Progress(Progress { archive: "", ..progress }));
        Ok(())
    }
}

/// 0700, or 0750 when the server's own directory lets its group in (11+).
fn directory_mode(connection: &mut Connection) -> Result<u32, BaseBackupToolError> {
    if connection.server_version().major() < 11 {
        return Ok(0o700);
    }
    let text = connection.show("data_directory_mode").map_err(failed("SHOW data_directory_mode"))?;
    let group = u32::from_str_radix(&text, 8).is_ok_and(|mode| mode & 0o050 == 0o050);
    Ok(if group { 0o750 } else { 0o700 })
}

fn failed(command: &'static str) -> impl FnOnce(QueryError) -> BaseBackupToolError {
    move |source| {
        if source.is_stopped() {
            return BaseBackupToolError::Stopped;
        }
        BaseBackupToolError::Command { command: command.to_owned(), source }
    }
}

fn broken(error: BaseBackupError) -> BaseBackupToolError {
    if error.is_stopped() { BaseBackupToolError::Stopped } else { BaseBackupToolError::Stream(error) }
}
