//! The end of a backup: the mark on the server, older WAL that nobody needs, waiting for the last segment.

use std::time::{Duration, Instant};

use tapster_catalog::delete::{DeleteError, WalTrim};
use tapster_catalog::{BackupRecord, BackupStatus, CatalogError, TablespaceInfo};
use time::OffsetDateTime;
use walfile::SegmentName;

use super::method::ServerState;
use super::{BackupError, BackupOptions, BackupReport, BackupStepError};
use crate::config::ReuseBackup;
use crate::event::Event;
use crate::remote::Remote;
use crate::restore::parse_target_time;
use crate::{ArchiveOptions, Context, Server};

/// How waiting for WAL ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Waited {
    Archived,
    TimedOut,
    Interrupted,
}

/// How often the archive is looked at while waiting for WAL.
const WAIT_PAUSE: Duration = Duration::from_millis(500);

impl Server {
    /// The record lists what was copied: a tablespace made or dropped between the look at the server and the start of the
    /// copy (a spread checkpoint lies between) would else be forgotten by a restore, or missed by it.
    pub(super) fn settle_tablespaces(
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
    pub(super) fn mark_end_on_server(
        &self,
        record: &mut BackupRecord,
        state: &ServerState,
        context: &Context<'_>,
    ) {
        let fallback = context.now();
        let result = (|| -> Result<Option<OffsetDateTime>, BackupStepError> {
            let mut connection = self.connect(context.stop.clone())?;
            let mut remote = Remote::new(&mut connection);
            let now = remote.now()?.and_then(|text| parse_target_time(&text, |_| fallback.offset()).ok());
            if !state.in_recovery {
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
        if state.in_recovery && self.config.primary_conninfo.is_some() {
            self.switch_on_primary(false, context);
        } else if state.in_recovery {
            context.tell(Event::Warning(
                "the server is a standby: the last WAL of this backup arrives when the primary switches to a new segment"
                    .to_owned(),
            ));
        }
    }

    pub(super) fn end_backup(
        &self,
        mut record: BackupRecord,
        options: &BackupOptions,
        started: OffsetDateTime,
        context: &Context<'_>,
    ) -> Result<BackupReport, BackupError> {
        if let Err(error) = self.purge_if_first(&record, context) {
            self.hooks_after_backup(&record, context);
            return Err(error);
        }
        let links = options.reuse_backup.or(self.config.reuse_backup) == Some(ReuseBackup::Link);
        let deduplicated = record.deduplicated_size.filter(|_| links);
        context.tell(Event::BackupSize { bytes: record.size.unwrap_or(0), deduplicated });
        if let (Some(lsn), Some(segment), Some(offset)) = (record.end_xlog, record.end_wal, record.end_offset)
        {
            context.tell(Event::BackupEnd { lsn, segment, offset });
        }
        let elapsed = (context.now() - started).try_into().unwrap_or_default();
        context.tell(Event::BackupCompleted { started, elapsed });
        let mut waited = Waited::Archived;
        let wanted = record.end_wal.filter(|_| options.wait);
        if let Some(wal) = wanted {
            waited = self.wait_for_wal(wal, options.wait_timeout, context);
        } else {
            // Scripts are told of a backup as soon as it is there, unless its WAL was to be waited for.
            self.hooks_after_backup(&record, context);
            self.archive_quietly(context);
        }
        let looked = self.update_completeness(&mut record);
        if wanted.is_some() {
            self.hooks_after_backup(&record, context);
        }
        looked.map_err(BackupStepError::from)?;
        if record.parent_backup_id.is_some() {
            self.warn_of_mixed_checksums(&record, context);
        }
        if record.status == BackupStatus::WaitingForWals {
            context.tell(Event::BackupWaitingForWals);
        }
        let missing_wal = record.end_wal.filter(|_| waited == Waited::TimedOut);
        Ok(BackupReport { record, missing_wal, wait_interrupted: waited == Waited::Interrupted })
    }

    fn purge_if_first(&self, record: &BackupRecord, context: &Context<'_>) -> Result<(), BackupError> {
        if self.is_first_backup(record)? && !self.config.worm_mode {
            self.purge_before(record, context)?;
        }
        Ok(())
    }

    /// Whether no other backup can need WAL. One whose record cannot be read or is empty may: nobody knows where it begins.
    fn is_first_backup(&self, record: &BackupRecord) -> Result<bool, BackupError> {
        let backups = self.catalog.backups().map_err(BackupStepError::from)?;
        let needs_wal = |other: &BackupRecord| {
            other.status.is_copied()
                || other.status == BackupStatus::Syncing
                || self.catalog.has_lost_record(other)
        };
        if backups.iter().any(|(id, other)| *id != record.id && other.as_ref().map_or(true, needs_wal)) {
            return Ok(false);
        }
        // A catalog that is new here may have had another host before, of which only the store knows.
        let Some(objects) = self.catalog.backup_objects() else { return Ok(true) };
        let stored = objects.records().map_err(|e| BackupStepError::from(CatalogError::from(e)))?;
        Ok(!stored.iter().any(|(id, other)| *id != record.id && other.as_ref().map_or(true, needs_wal)))
    }

    /// No backup needs what was archived before the first one.
    fn purge_before(&self, record: &BackupRecord, context: &Context<'_>) -> Result<(), BackupError> {
        let Some(begin) = record.begin_wal else { return Ok(()) };
        let trim = WalTrim::before(begin);
        let removed = match self.trim_wal(&trim, context) {
            Ok(removed) => removed,
            // A script wants it kept, which is nothing against the backup.
            Err(error @ DeleteError::Aborted { .. }) => {
                context.tell(Event::Warning(format!(
                    "WAL that was archived before the first backup is kept: {error}"
                )));
                return Ok(());
            }
            Err(error) => return Err(BackupStepError::from(error).into()),
        };
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

    /// Ends the segment that the primary of the standby writes, without which the last WAL of the backup would stay there for
    /// as long as the primary has nothing to do.
    fn switch_on_primary(&self, force: bool, context: &Context<'_>) {
        if let Err(error) = self.switch_wal(force, context) {
            context.tell(Event::Warning(format!(
                "cannot make the primary switch to a new WAL segment, which the backup waits for: {error}"
            )));
        }
    }

    /// Whether it is in the archive. While a store does not answer, it is not known to be.
    pub(crate) fn is_archived(&self, wal: SegmentName) -> bool {
        match self.catalog.wal_objects() {
            None => self.layout().wal(wal.into()).exists(),
            Some(objects) => objects.exists(wal.into()).unwrap_or_else(|error| {
                tracing::warn!(server = self.name(), "{error}");
                false
            }),
        }
    }

    /// Waits until `wal` is in the archive.
    fn wait_for_wal(&self, wal: SegmentName, max: Option<Duration>, context: &Context<'_>) -> Waited {
        context.tell(Event::WaitingForWal { wal, server: self.name().to_owned(), max });
        let begin = Instant::now();
        let mut nudge = Nudge::new(self, begin);
        loop {
            self.archive_quietly(context);
            nudge.give(self, context);
            if self.is_archived(wal) {
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

/// Asks the primary of a standby for new segments while WAL is waited for, as often as Barman does: ten times every ten
/// seconds, and after `primary_checkpoint_timeout` with a checkpoint, so that there is something to switch after.
struct Nudge {
    begin: Instant,
    next: Instant,
    left: u32,
    checkpoint: Option<Duration>,
}

const NUDGE_PAUSE: Duration = Duration::from_secs(10);

impl Nudge {
    fn new(server: &Server, begin: Instant) -> Self {
        let is_standby = server.config.primary_conninfo.is_some();
        let seconds = server.config.primary_checkpoint_timeout;
        let checkpoint = (is_standby && seconds > 0).then(|| Duration::from_secs(seconds.into()));
        Self { begin, next: begin + NUDGE_PAUSE, left: if is_standby { 10 } else { 0 }, checkpoint }
    }

    fn give(&mut self, server: &Server, context: &Context<'_>) {
        if self.checkpoint.is_some_and(|after| self.begin.elapsed() >= after) {
            self.checkpoint = None;
            server.switch_on_primary(true, context);
        } else if self.left > 0 && Instant::now() >= self.next {
            self.left -= 1;
            self.next = Instant::now() + NUDGE_PAUSE;
            server.switch_on_primary(false, context);
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
mod tests {
    use tapster_protocol::Environment;

    use super::*;
    use crate::Silent;
    use crate::config::{Config, ConfigSources};

    fn server(home: &std::path::Path, more: &str) -> Server {
        let path = home.join("tapster.conf");
        let text = format!(
            "[barman]\nbarman_home = {}\n[main]\nconninfo = host=none\nstreaming_conninfo = host=none\n\
             backup_method = postgres\nstreaming_archiver = on\n{more}",
            home.display()
        );
        std::fs::write(&path, text).unwrap();
        let config = Config::load(&ConfigSources::file(path)).unwrap();
        Server::open(&config, "main", Environment::default()).unwrap()
    }

    #[test]
    fn a_script_that_wants_older_wal_kept_is_nothing_against_the_backup() {
        for (script, kept) in [("", false), ("pre_wal_delete_retry_script = exit 63\n", true)] {
            let home = tempfile::tempdir().unwrap();
            let server = server(home.path(), script);
            server.create_directories().unwrap();
            let old = server.layout().wal("000000010000000000000001".parse().unwrap());
            std::fs::create_dir_all(old.parent().unwrap()).unwrap();
            std::fs::write(&old, "WAL").unwrap();
            let line = "000000010000000000000001\t3\t1700000000.0\tNone\n";
            std::fs::write(server.layout().xlogdb(), line).unwrap();
            let mut record = BackupRecord::new("20261122T000000".parse().unwrap());
            record.begin_wal = Some("000000010000000000000003".parse().unwrap());
            server.purge_if_first(&record, &Context::new(&Silent)).unwrap();
            assert_eq!(old.exists(), kept, "{script}");
        }
    }

    #[test]
    fn wal_is_only_purged_when_no_other_backup_can_need_it() {
        let home = tempfile::tempdir().unwrap();
        let server = server(home.path(), "");
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
