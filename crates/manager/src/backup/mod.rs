//! Base backups over the replication protocol (`backup_method = postgres`).
//!
//! The order of work is Barman 3.19's, so that its users see what they know: check, record, copy, end, wait for WAL.
//! What is different: the files come straight from the server into their place, checked against its manifest on the way,
//! and everything is on disk before the record says so.

mod copy;
mod error;
mod options;

pub use error::{BackupError, BackupStepError};
pub use options::{BackupName, BackupNameError, BackupOptions};

use std::io::Read as _;
use std::time::{Duration, Instant};

use tapster_catalog::delete::WalTrim;
use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{
    BackupId, BackupMode, BackupRecord, BackupStatus, CopyStats, Identity, TablespaceInfo,
};
use time::OffsetDateTime;
use walfile::{BackupLabel, Lsn, SegmentName, Timeline};

use crate::config::BackupMethod;
use crate::event::Event;
use crate::remote::Remote;
use crate::restore::parse_target_time;
use crate::{ArchiveOptions, CheckOptions, Context, Server};

/// A finished backup.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BackupReport {
    /// Its record, as stored.
    pub record: BackupRecord,
    /// The last WAL file it needs, where that did not come within [`BackupOptions::wait_timeout`]. The backup is there all
    /// the same, and becomes DONE when the file is archived.
    pub missing_wal: Option<SegmentName>,
    /// Somebody asked to stop while only WAL was waited for, which is no harm to the backup.
    pub wait_interrupted: bool,
}

/// How waiting for WAL ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Waited {
    Archived,
    TimedOut,
    Interrupted,
}

/// Longest `backup_label` that is read; PostgreSQL's own is below 2 KiB.
const MAX_LABEL: u64 = 64 * 1024;
/// How often the archive is looked at while waiting for WAL.
const WAIT_PAUSE: Duration = Duration::from_millis(500);

/// What the server was like when the backup began.
struct Begin {
    lsn: Option<Lsn>,
    timeline: Option<Timeline>,
    cluster_size: Option<u64>,
    in_recovery: bool,
}

impl Server {
    /// Takes a base backup and records it.
    ///
    /// # Errors
    /// [`BackupError::Failed`] leaves a record with the status FAILED. A [`BackupError::Step`] from after the copy (the
    /// clean-up of older WAL) leaves a complete backup. All others leave the catalog as it was. Being asked to stop while
    /// waiting for WAL is no error: see [`BackupReport::wait_interrupted`].
    pub fn backup(
        &self,
        options: &BackupOptions,
        context: &Context<'_>,
    ) -> Result<BackupReport, BackupError> {
        self.refuse_unsupported()?;
        let check = self.check(&CheckOptions { timeout: options.check_timeout }, context);
        let failed: Vec<String> = check.blocking().map(|line| line.name.clone()).collect();
        if !failed.is_empty() {
            return Err(BackupError::Check { server: self.name().to_owned(), failed });
        }
        self.create_directories().map_err(BackupStepError::from)?;
        let _lock = match Lock::try_acquire(&self.layout().lock(&LockName::Backup)) {
            Ok(lock) => lock,
            Err(LockError::Busy { .. }) => return Err(BackupError::Running),
            Err(other) => return Err(BackupStepError::from(other).into()),
        };
        self.tidy();
        let started = context.now();
        let mut record = BackupRecord::new(self.free_id(context)?);
        record.server_name = Some(self.name().to_owned());
        record.mode = Some(BackupMode::Postgres);
        record.backup_name = options.name.as_ref().map(|name| name.as_str().to_owned());
        self.save(&record)?;

        let mut action = "starting backup";
        if let Err(source) = self.run_backup(&mut record, options, context, &mut action) {
            record.status = BackupStatus::Failed;
            let text = source.to_string();
            record.error = Some(format!("failure {action} ({})", text.lines().next().unwrap_or_default()));
            // Why the backup failed matters more than why that could not be written down.
            if let Err(error) = self.save(&record) {
                context.tell(Event::Warning(format!("cannot record that the backup failed: {error}")));
            }
            return Err(BackupError::Failed { id: record.id, action, source: Box::new(source) });
        }
        self.end_backup(record, options, started, context)
    }

    /// Settings whose being ignored would surprise: better no backup than one that is not what was asked for.
    fn refuse_unsupported(&self) -> Result<(), BackupError> {
        let config = &self.config;
        let refuse = |what: String| Err(BackupError::Unsupported { what, server: self.name().to_owned() });
        if config.backup_method != BackupMethod::Postgres {
            return refuse(format!("backup_method = {}", config.text("backup_method").unwrap_or_default()));
        }
        let keys = [
            "backup_compression",
            "encryption",
            "pre_backup_script",
            "pre_backup_retry_script",
            "post_backup_script",
            "post_backup_retry_script",
        ];
        for key in keys {
            if let Some(value) = config.text(key).filter(|value| !value.is_empty() && *value != "none") {
                return refuse(format!("{key} = {value}"));
            }
        }
        Ok(())
    }

    /// An id nobody has: the local time, or the next second when it is taken (a clock set back).
    fn free_id(&self, context: &Context<'_>) -> Result<BackupId, BackupStepError> {
        loop {
            let id = BackupId::from_local(context.now());
            let taken =
                [self.layout().record(&id), self.layout().backup_dir(&id)].iter().any(|path| path.exists());
            if !taken {
                return Ok(id);
            }
            if context.stopped() {
                return Err(BackupStepError::Stopped);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn save(&self, record: &BackupRecord) -> Result<(), BackupStepError> {
        Ok(self.catalog.save(record)?)
    }

    fn run_backup(
        &self,
        record: &mut BackupRecord,
        options: &BackupOptions,
        context: &Context<'_>,
        action: &mut &'static str,
    ) -> Result<(), BackupStepError> {
        let path = self.layout().backup_dir(&record.id);
        context.tell(Event::BackupStarting { server: self.name().to_owned(), path });
        let begin = self.describe_server(record, context)?;
        record.status = BackupStatus::Started;
        self.save(record)?;
        if let (Some(lsn), Some(timeline)) = (begin.lsn, begin.timeline) {
            let size = record.segment_size();
            let segment = SegmentName::containing(timeline, lsn, size);
            context.tell(Event::BackupPosition { lsn, segment, offset: lsn.offset_in_segment(size) });
        }

        *action = "copying files";
        context.tell(Event::CopyStarting { backup: record.id });
        let copy_started = Instant::now();
        let copied = self.copy_with_retries(record, options, begin.cluster_size, context)?;
        let copy_time = copy_started.elapsed();
        context.tell(Event::CopyDone { elapsed: copy_time });
        context.tell(Event::Finalising);

        *action = "finalising";
        self.read_label(record)?;
        self.settle_tablespaces(record, copied.tablespaces, context)?;
        let size = record.segment_size();
        let timeline = copied.end.timeline;
        record.end_xlog = Some(copied.end.stop_lsn);
        record.end_wal = SegmentName::ending_at(timeline, copied.end.stop_lsn, size);
        record.end_offset = Some(copied.end.stop_lsn.offset_in_segment(size));
        let mut stats = CopyStats::default();
        stats.set_seconds("copy_time", copy_time.as_secs_f64());
        stats.set_seconds("total_time", copy_time.as_secs_f64());
        record.copy_stats = Some(stats);
        if copied.end.checksum_failures {
            let detail = copied.end.server_error.map(|error| error.message);
            return Err(BackupStepError::Checksums { detail });
        }
        self.mark_end_on_server(record, &begin, context);
        let measured = tapster_copy::tree::sizes(&self.layout().backup_dir(&record.id))?;
        record.size = Some(measured.total);
        record.deduplicated_size = Some(measured.deduplicated);
        record.status = BackupStatus::WaitingForWals;
        self.save(record)?;
        Ok(())
    }

    /// Fills in what the record says about the server.
    fn describe_server(
        &self,
        record: &mut BackupRecord,
        context: &Context<'_>,
    ) -> Result<Begin, BackupStepError> {
        let mut connection = self.connect(context.stop.clone())?;
        let version = connection.server_version();
        let mut remote = Remote::new(&mut connection);
        let in_recovery = remote.in_recovery()?;
        let system_id = remote.system_id()?;
        record.version = Some(version.0);
        record.systemid.clone_from(&system_id);
        record.xlog_segment_size = Some(remote.segment_size()?);
        for (name, setting) in remote.files()? {
            match name.as_str() {
                "config_file" => record.config_file = Some(setting),
                "hba_file" => record.hba_file = Some(setting),
                "ident_file" => record.ident_file = Some(setting),
                _ => record.pgdata = Some(setting),
            }
        }
        let included = remote.included_files()?;
        record.included_files = (!included.is_empty()).then_some(included);
        record.tablespaces = remote.tablespaces()?;
        record.data_checksums = Some(remote.show("data_checksums")?);
        if version.major() >= 17 {
            record.summarize_wal = Some(remote.show("summarize_wal")?);
        }
        record.cluster_size = remote.cluster_size()?;
        let lsn = remote.current_lsn()?;
        let timeline = if in_recovery { remote.checkpoint_timeline()? } else { remote.timeline()? };
        record.begin_time =
            remote.now()?.and_then(|text| parse_target_time(&text, |_| context.now().offset()).ok());
        if let Some(found) = system_id {
            self.settle_identity(&found, version.major())?;
        }
        Ok(Begin { lsn, timeline, cluster_size: record.cluster_size, in_recovery })
    }

    /// The catalog belongs to one cluster for ever.
    fn settle_identity(&self, found: &str, major: u32) -> Result<(), BackupStepError> {
        let path = self.layout().identity();
        match Identity::load(&path)? {
            Some(stored) if stored.system_id != found => {
                Err(BackupStepError::Identity { expected: stored.system_id, found: found.to_owned() })
            }
            Some(_) => Ok(()),
            None => Ok(self.save_identity(&Identity::new(found, major.to_string()))?),
        }
    }

    /// The label the server put into the backup says where it begins.
    fn read_label(&self, record: &mut BackupRecord) -> Result<(), BackupStepError> {
        let path = self.layout().data_dir(&record.id).join("backup_label");
        let io = |source| BackupStepError::Io { path: path.clone(), source };
        let mut bytes = Vec::new();
        std::fs::File::open(&path).map_err(io)?.take(MAX_LABEL).read_to_end(&mut bytes).map_err(io)?;
        let problem = |problem: String| BackupStepError::Label { path: path.clone(), problem };
        let label = BackupLabel::parse(&bytes).map_err(|e| problem(e.to_string()))?;
        let text = String::from_utf8(bytes.clone()).map_err(|_| problem("not UTF-8".to_owned()))?;
        record.begin_xlog = Some(label.start_lsn);
        record.begin_wal = Some(label.start_segment);
        record.begin_offset = Some(label.start_lsn.offset_in_segment(record.segment_size()));
        record.timeline = Some(label.timeline.unwrap_or_else(|| label.start_segment.timeline()));
        record.backup_label = Some(text);
        record.end_time = record.end_time.or(record.begin_time);
        Ok(())
    }

    /// The record lists what was copied: a tablespace made or dropped between the look at the server and the start of the
    /// copy (a spread checkpoint lies between) would else be forgotten by a restore, or missed by it.
    fn settle_tablespaces(
        &self,
        record: &mut BackupRecord,
        copied: Vec<(u32, String)>,
        context: &Context<'_>,
    ) -> Result<(), BackupStepError> {
        let same = |known: &[TablespaceInfo]| {
            known.len() == copied.len()
                && copied
                    .iter()
                    .all(|(oid, location)| known.iter().any(|t| t.oid == *oid && t.location == *location))
        };
        if same(&record.tablespaces) {
            return Ok(());
        }
        let mut connection = self.connect(context.stop.clone())?;
        let mut known = Remote::new(&mut connection).tablespaces()?;
        known.append(&mut record.tablespaces);
        let named = |(oid, location): (u32, String)| {
            let name = known.iter().find(|known| known.oid == oid).map(|known| known.name.clone());
            TablespaceInfo { name: name.unwrap_or_else(|| oid.to_string()), oid, location }
        };
        record.tablespaces = copied.into_iter().map(named).collect();
        Ok(())
    }

    /// The end time by the server's clock; a restore point named after the backup; and WAL that goes on, so that the last
    /// segment of the backup gets archived. None of it can make the backup worse, so failures are only told.
    fn mark_end_on_server(&self, record: &mut BackupRecord, begin: &Begin, context: &Context<'_>) {
        let fallback = context.now();
        let result = (|| -> Result<Option<OffsetDateTime>, BackupStepError> {
            let mut connection = self.connect(context.stop.clone())?;
            let mut remote = Remote::new(&mut connection);
            let now = remote.now()?.and_then(|text| parse_target_time(&text, |_| fallback.offset()).ok());
            if !begin.in_recovery {
                remote.create_restore_point(&format!("barman_{}", record.id))?;
            }
            Ok(now)
        })();
        record.end_time = match result {
            Ok(now) => Some(now.unwrap_or(fallback)),
            Err(error) => {
                context.tell(Event::Warning(format!(
                    "cannot mark the end of the backup on the server: {error}"
                )));
                Some(fallback)
            }
        };
        if begin.in_recovery {
            context.tell(Event::Warning(
                "the server is a standby: the last WAL of this backup arrives when the primary switches to a new segment"
                    .to_owned(),
            ));
        }
    }

    fn end_backup(
        &self,
        mut record: BackupRecord,
        options: &BackupOptions,
        started: OffsetDateTime,
        context: &Context<'_>,
    ) -> Result<BackupReport, BackupError> {
        let first = self.is_first_backup(&record)?;
        if first && !self.config.worm_mode {
            self.purge_before(&record, context)?;
        }
        context.tell(Event::BackupSize { bytes: record.size.unwrap_or(0) });
        if let (Some(lsn), Some(segment), Some(offset)) = (record.end_xlog, record.end_wal, record.end_offset)
        {
            context.tell(Event::BackupEnd { lsn, segment, offset });
        }
        let elapsed = (context.now() - started).try_into().unwrap_or_default();
        context.tell(Event::BackupCompleted { started, elapsed });
        let mut waited = Waited::Archived;
        if options.wait
            && let Some(wal) = record.end_wal
        {
            waited = self.wait_for_wal(wal, options.wait_timeout, context);
        } else {
            self.archive_quietly(context);
        }
        self.update_completeness(&mut record).map_err(BackupStepError::from)?;
        if record.status == BackupStatus::WaitingForWals {
            context.tell(Event::BackupWaitingForWals);
        }
        let missing_wal = record.end_wal.filter(|_| waited == Waited::TimedOut);
        Ok(BackupReport { record, missing_wal, wait_interrupted: waited == Waited::Interrupted })
    }

    /// Whether no other backup can need WAL. One whose record cannot be read or is empty may: nobody knows where it begins.
    fn is_first_backup(&self, record: &BackupRecord) -> Result<bool, BackupError> {
        let backups = self.catalog.backups().map_err(BackupStepError::from)?;
        let needs_wal = |other: &BackupRecord| {
            other.status.is_copied()
                || other.status == BackupStatus::Syncing
                || self.catalog.has_lost_record(other)
        };
        Ok(!backups.iter().any(|(id, other)| *id != record.id && other.as_ref().map_or(true, needs_wal)))
    }

    /// No backup needs what was archived before the first one.
    fn purge_before(&self, record: &BackupRecord, context: &Context<'_>) -> Result<(), BackupError> {
        let Some(begin) = record.begin_wal else { return Ok(()) };
        let trim = WalTrim::before(begin);
        let removed = trim.execute(&self.catalog, false, &context.stop).map_err(BackupStepError::from)?;
        context.tell(Event::FirstBackup { server: self.name().to_owned(), removed });
        Ok(())
    }

    /// Archives what is queued; somebody else doing the same is fine.
    pub(crate) fn archive_quietly(&self, context: &Context<'_>) {
        if let Err(error) = self.archive_wal(&ArchiveOptions::default(), context)
            && !error.is_busy()
        {
            context.tell(Event::Warning(error.to_string()));
        }
    }

    /// Waits until `wal` is in the archive.
    fn wait_for_wal(&self, wal: SegmentName, max: Option<Duration>, context: &Context<'_>) -> Waited {
        context.tell(Event::WaitingForWal { wal, server: self.name().to_owned(), max });
        let begin = Instant::now();
        loop {
            self.archive_quietly(context);
            if self.layout().wal(wal.into()).exists() {
                return Waited::Archived;
            }
            if let Some(max) = max
                && begin.elapsed() >= max
            {
                context.tell(Event::WalNotReceived { wal, waited: max });
                return Waited::TimedOut;
            }
            if context.stopped() {
                context.tell(Event::WaitInterrupted { wal });
                return Waited::Interrupted;
            }
            std::thread::sleep(WAIT_PAUSE);
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
mod tests {
    use tapster_protocol::Environment;

    use super::*;
    use crate::config::{Config, ConfigSources};

    fn server(home: &std::path::Path) -> Server {
        let path = home.join("tapster.conf");
        let text = format!(
            "[barman]\nbarman_home = {}\n[main]\nconninfo = host=none\nstreaming_conninfo = host=none\n\
             backup_method = postgres\nstreaming_archiver = on\n",
            home.display()
        );
        std::fs::write(&path, text).unwrap();
        let config = Config::load(&ConfigSources::file(path)).unwrap();
        Server::open(&config, "main", Environment::default()).unwrap()
    }

    #[test]
    fn wal_is_only_purged_when_no_other_backup_can_need_it() {
        let home = tempfile::tempdir().unwrap();
        let server = server(home.path());
        server.create_directories().unwrap();
        let new = BackupRecord::new("20261122T000000".parse().unwrap());
        let mut old = BackupRecord::new("20261121T000000".parse().unwrap());
        for (status, first) in [
            (BackupStatus::Empty, true),
            (BackupStatus::Failed, true),
            (BackupStatus::Syncing, false),
            (BackupStatus::WaitingForWals, false),
            (BackupStatus::Done, false),
        ] {
            old.status = status;
            server.save(&old).unwrap();
            assert_eq!(server.is_first_backup(&new).unwrap(), first, "{status}");
        }
        let empty = server.layout().record(&old.id);
        std::fs::write(&empty, "").unwrap();
        assert!(server.is_first_backup(&new).unwrap(), "no files, no need");
        let files = server.layout().backup_dir(&old.id);
        std::fs::create_dir_all(&files).unwrap();
        assert!(!server.is_first_backup(&new).unwrap(), "an empty record of files that are there");
        std::fs::remove_dir(files).unwrap();
        // As a newer Barman would write it.
        let text = old.to_text() + "unheard_of=1\n";
        std::fs::write(server.layout().record(&old.id), text).unwrap();
        assert!(server.catalog.load(&old.id).is_err());
        assert!(!server.is_first_backup(&new).unwrap(), "an unreadable record");
    }
}
