//! The lines that need only this host.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tapster_catalog::durable::{self, DurableError};
use tapster_catalog::locks::{Lock, LockName};
use tapster_catalog::{BackupRecord, BackupStatus, BackupType, ServerLayout};
use time::OffsetDateTime;
use walfile::SegmentName;

use super::CheckReport;
use crate::remote::Remote;
use crate::text::{human_duration, pretty_bytes, system_text};
use crate::wal_usage::WalUsage;
use crate::{Context, Server, Silent};
use crate::{archive_wal, encryption};

/// Entries of a directory but for temporary files of ours; one that is not there has none. What else keeps it from being read is
/// the reason for a failed line: it must not pass for empty.
fn all_entries(dir: &Path) -> Result<Vec<String>, String> {
    let reason = |error: io::Error| format!("cannot read '{}': {error}", dir.display());
    let read = match std::fs::read_dir(dir) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(reason(error)),
    };
    let mut names = Vec::new();
    for entry in read {
        let name = entry.map_err(reason)?.file_name();
        if !durable::is_temp_name(&name) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// Those that are not hidden.
fn entries(dir: &Path) -> Result<Vec<String>, String> {
    let mut names = all_entries(dir)?;
    names.retain(|name| !name.starts_with('.'));
    Ok(names)
}

impl Server {
    /// "WAL archive" appears only when there is nothing in it and nothing can be got into it.
    pub(super) fn check_archive(&self, report: &mut CheckReport, context: &Context<'_>, timeout: Duration) {
        match self.get_first_wal(context, timeout) {
            Ok(true) => {}
            // One that only streams is set up as soon as its receiver runs; the first segment takes its time.
            Ok(false) if self.is_young() => {}
            Ok(false) => report.failed("WAL archive", "please make sure WAL shipping is setup"),
            Err(reason) => report.failed("WAL archive", reason),
        }
    }

    fn get_first_wal(&self, context: &Context<'_>, timeout: Duration) -> Result<bool, String> {
        // What came before the first backup may have been removed; that one says that WAL is to come.
        let waits = |record: &BackupRecord| record.status == BackupStatus::WaitingForWals;
        if self.archive_has_wal()? || self.catalog.records().is_ok_and(|records| records.iter().any(waits)) {
            return Ok(true);
        }
        // What becomes of single files belongs to archive-wal; the log has it.
        let mut quiet = Context::new(&Silent).with_stop(Arc::clone(&context.stop));
        quiet.clock = context.clock;
        self.archive_quietly(&quiet);
        let switched = !self.archive_has_wal()? && self.config.active && self.force_first_segment(context);
        let patience = Instant::now() + timeout / 3;
        while switched && !self.archive_has_wal()? && Instant::now() < patience && !context.stopped() {
            std::thread::sleep(Duration::from_millis(200));
            self.archive_quietly(&quiet);
        }
        self.archive_has_wal()
    }

    /// Whether nothing but streaming brings WAL, and that is under way and has not come far. A complete segment is archived when
    /// the next begins; two that are still there after an attempt say that archiving fails.
    fn is_young(&self) -> bool {
        let is_complete = |name: &&String| name.parse::<SegmentName>().is_ok();
        let is_received = || {
            matches!(Lock::holder(&self.layout().lock(&LockName::ReceiveWal)), Ok(Some(_)))
                && entries(&self.layout().streaming)
                    .is_ok_and(|names| names.iter().filter(is_complete).count() < 2)
        };
        self.config.active && self.config.streaming_archiver && !self.config.archiver && is_received()
    }

    fn archive_has_wal(&self) -> Result<bool, String> {
        if self.has_wals_in_bucket() {
            // As Barman does: what is archived is in the index, and the index is here.
            let path = self.layout().xlogdb();
            return match std::fs::metadata(&path) {
                Ok(found) => Ok(found.len() > 0),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(format!("cannot read '{}': {error}", path.display())),
            };
        }
        Ok(entries(&self.layout().wals)?.iter().any(|name| ServerLayout::is_hash_dir(name)))
    }

    fn force_first_segment(&self, context: &Context<'_>) -> bool {
        let Ok(mut connection) = self.connect(context.stop.clone()) else { return false };
        let mut remote = Remote::new(&mut connection);
        if !remote.in_recovery().is_ok_and(|standby| !standby) {
            return false;
        }
        // A segment that holds nothing is not switched away from; and one that was streamed is archived when the next begins.
        let mark = |remote: &mut Remote<'_>| remote.create_restore_point("tapster_check").is_ok();
        mark(&mut remote) && remote.switch_wal().is_ok() && mark(&mut remote)
    }

    pub(super) fn check_queues(&self, report: &mut CheckReport) {
        let queues = [
            ("incoming", &self.layout().incoming, self.config.archiver, 0, "archiver"),
            ("streaming", &self.layout().streaming, self.config.streaming_archiver, 1, "streaming_archiver"),
        ];
        for (name, dir, on, spare, option) in queues {
            let names = match entries(dir) {
                Ok(names) => names,
                Err(reason) => {
                    let line =
                        if on { format!("{name} WALs directory") } else { format!("empty {name} directory") };
                    report.failed(line, reason);
                    continue;
                }
            };
            let count = names.iter().filter(|file| !file.ends_with(".tmp")).count().saturating_sub(spare);
            if !on && count > 0 {
                let hint = format!("'{}' must be empty when {option}=off", dir.display());
                report.failed(format!("empty {name} directory"), hint);
            } else if let Some(max) = self.config.max_incoming_wals_queue
                && on
                && count > max as usize
            {
                let hint = format!("there are too many WALs in queue: {count}, max {max}");
                report.failed(format!("{name} WALs directory"), hint);
            }
        }
    }

    pub(super) fn check_directories(&self, report: &mut CheckReport) {
        if self.config.disabled {
            return;
        }
        match self.create_directories() {
            Ok(()) => report.ok("directories"),
            Err(DurableError::Io { path, source, .. }) => {
                report.failed("directories", format!("{}: {}", path.display(), system_text(&source)));
            }
            Err(error) => report.failed("directories", error.to_string()),
        }
    }

    pub(super) fn check_backups(&self, report: &mut CheckReport, context: &Context<'_>, timeout: Duration) {
        if self.config.retention_policy.is_none() && self.config.retention_policy_text.is_some() {
            report.failed("retention policy settings", "see log");
        } else {
            report.ok("retention policy settings");
        }
        let (records, broken) = match self.catalog.backups() {
            Ok(backups) => {
                let mut broken = Vec::new();
                let mut records = Vec::new();
                // What is left of a backup that is being deleted is none; nor did it fail.
                let going = self.catalog.deletions_in_progress().unwrap_or_default();
                for (id, record) in backups.into_iter().filter(|(id, _)| !going.contains(id)) {
                    match record {
                        Ok(record) => records.push(record),
                        Err(error) => broken.push(format!("{id}: {error}")),
                    }
                }
                (records, broken)
            }
            Err(error) => (Vec::new(), vec![error.to_string()]),
        };
        let latest = records.iter().rfind(|record| record.status.is_copied());
        self.check_age_and_size(report, latest, context.now());
        self.check_encryption(report, context);
        self.check_object_stores(report, timeout);
        self.check_wal_age_and_size(report, latest, context);
        self.check_compression(report);
        let failed = records.iter().filter(|r| r.status == BackupStatus::Failed).count() + broken.len();
        let mut hint = format!("there are {failed} failed backups");
        for text in &broken {
            hint.push_str("; unreadable record ");
            hint.push_str(text);
        }
        report.push("failed backups", failed == 0, Some(hint));
        let redundant = records
            .iter()
            .filter(|r| r.status == BackupStatus::Done && r.backup_type() != BackupType::Incremental)
            .count();
        let minimum = self.config.minimum_redundancy as usize;
        report.push(
            "minimum redundancy requirements",
            redundant >= minimum,
            Some(format!("have {redundant} non-incremental backups, expected at least {minimum}")),
        );
    }

    fn check_compression(&self, report: &mut CheckReport) {
        match archive_wal::custom_filter(&self.config) {
            Ok(_) => report.ok("compression settings"),
            Err(error) => report.failed("compression settings", error.to_string()),
        }
    }

    fn check_age_and_size(
        &self,
        report: &mut CheckReport,
        latest: Option<&BackupRecord>,
        now: OffsetDateTime,
    ) {
        let (ok, hint) = match self.config.last_backup_maximum_age {
            None => (true, "no last_backup_maximum_age provided".to_owned()),
            Some(limit) => {
                let age = latest.and_then(|record| record.end_time).map(|end| now - end);
                let text = age.map_or_else(|| "No available backups".to_owned(), human_duration);
                let ok = age.is_some_and(|age| age <= limit);
                (ok, format!("interval provided: {}, latest backup age: {text}", human_duration(limit)))
            }
        };
        report.push("backup maximum age", ok, Some(hint));
        let size = latest.and_then(|record| record.size).unwrap_or(0);
        let (ok, hint) = match self.config.last_backup_minimum_size {
            Some(minimum) if size < minimum => (
                false,
                format!("last backup size {} < {} minimum", pretty_bytes(size), pretty_bytes(minimum)),
            ),
            Some(minimum) => {
                (true, format!("last backup size {} > {} minimum", pretty_bytes(size), pretty_bytes(minimum)))
            }
            None => (true, pretty_bytes(size)),
        };
        report.push("backup minimum size", ok, Some(hint)).perfdata = Some(size);
    }

    fn check_wal_age_and_size(
        &self,
        report: &mut CheckReport,
        latest: Option<&BackupRecord>,
        context: &Context<'_>,
    ) {
        let now = context.now();
        let usage = latest.map(|record| self.wal_usage(record, None, context)).transpose();
        let usage = match usage {
            Ok(usage) => usage.unwrap_or_default(),
            Err(error) => {
                report.failed("wal size", error.to_string());
                WalUsage::default()
            }
        };
        let (ok, hint) = match self.config.last_wal_maximum_age {
            None => (true, "no last_wal_maximum_age provided".to_owned()),
            Some(limit) => match usage.last_time() {
                None => (false, "No WAL files archived for last backup".to_owned()),
                Some(seconds) => {
                    let age = now - (OffsetDateTime::UNIX_EPOCH + time::Duration::seconds_f64(seconds));
                    let text = human_duration(age);
                    (
                        age <= limit,
                        format!("interval provided: {}, latest wal age: {text}", human_duration(limit)),
                    )
                }
            },
        };
        report.push("wal maximum age", ok, Some(hint));
        let line = report.push("wal size", true, Some(pretty_bytes(usage.later_bytes)));
        line.perfdata = Some(usage.later_bytes);
    }

    fn check_encryption(&self, report: &mut CheckReport, context: &Context<'_>) {
        if !encryption::is_on(&self.config) {
            return;
        }
        if let Some(problem) = encryption::problem(&self.config) {
            return report.failed("encryption", problem);
        }
        match self.gpg.clone().with_stop(Arc::clone(&context.stop)).try_encrypt() {
            Ok(()) => {
                report.push("encryption", true, Some("encryption test succeeded".to_owned()));
            }
            Err(error) => report.failed("encryption", format!("encryption test failed: {error}")),
        }
    }

    pub(super) fn check_receiver(&self, report: &mut CheckReport) {
        let line = "receive-wal running";
        match Lock::holder(&self.layout().lock(&LockName::ReceiveWal)) {
            Ok(Some(_)) => report.ok(line),
            Ok(None) => report.failed(line, "See the Barman log file for more details"),
            Err(error) => report.failed(line, error.to_string()),
        }
    }

    pub(super) fn check_errors_directory(&self, report: &mut CheckReport) {
        // Barman counts hidden ones here, and only here.
        let names = match all_entries(&self.layout().errors) {
            Ok(names) => names,
            Err(reason) => return report.failed("archiver errors", reason),
        };
        if names.is_empty() {
            return report.ok("archiver errors");
        }
        let kinds = [("duplicates", ".duplicate"), ("not relevant", ".error"), ("unknown", ".unknown")];
        let mut parts = Vec::new();
        let mut known = 0;
        for (text, suffix) in kinds {
            let count = names.iter().filter(|name| name.ends_with(suffix)).count();
            known += count;
            if count > 0 {
                parts.push(format!("{text}: {count}"));
            }
        }
        if names.len() > known {
            parts.push(format!("unknown failure: {}", names.len() - known));
        }
        report.failed("archiver errors", parts.join(", "));
    }
}
