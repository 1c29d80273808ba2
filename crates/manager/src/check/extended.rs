//! Lines that Barman does not have: what a recovery or the next backup will meet.

use std::collections::BTreeMap;
use std::path::Path;

use tapster_catalog::{BackupId, BackupRecord, BackupType, KeepTarget};
use time::{Duration, OffsetDateTime};
use walfile::SegmentName;

use super::CheckReport;
use crate::remote::Remote;
use crate::text::{human_duration, pretty_bytes};
use crate::verify_restore::last as last_restore_tests;
use crate::wal_verify::{Position, WalVerifyError};
use crate::{Context, Server};

/// Gaps that are named.
const MAX_NAMED: usize = 5;
/// A backup that was proven to start longer ago proves little.
const RESTORE_TEST_AGE: Duration = Duration::days(30);
/// The slot is in danger when what the server may still write is less than this part of what it has fallen behind.
const DANGER: u64 = 4;

/// The backups that miss a stretch of WAL.
type Missing = BTreeMap<(SegmentName, SegmentName), (u64, Vec<BackupId>)>;

impl Server {
    pub(super) fn check_extended(&self, report: &mut CheckReport, context: &Context<'_>) {
        self.check_gaps(report);
        self.check_free_space(report, context);
        self.check_slot_lag(report, context);
        self.check_restore_tests(report, context.now());
        self.check_hidden(report);
    }

    /// Whether all that the files of the configuration say of the server has an effect.
    fn check_hidden(&self, report: &mut CheckReport) {
        let line = "settings without effect";
        let hidden = self.config.hidden.iter().map(|(key, file)| format!("{key} in {}", file.display()));
        let hidden = hidden.collect::<Vec<_>>().join(", ");
        let hint = match hidden.as_str() {
            "" => "none".to_owned(),
            _ => format!("{hidden}: .barman.auto.conf says otherwise, change it with config-update"),
        };
        report.push(line, hidden.is_empty(), Some(hint));
    }

    /// Whether from each backup on all WAL is there that recovery would read; of one that is kept `standalone`, its own.
    fn check_gaps(&self, report: &mut CheckReport) {
        let line = "WAL of backups";
        match self.missing_wal() {
            Err(error) => report.failed(line, error.to_string()),
            Ok((backups, missing)) if missing.is_empty() => {
                let what = if backups == 1 { "backup" } else { "backups" };
                report.push(line, true, Some(format!("nothing is missing for {backups} {what}")));
            }
            Ok((_, missing)) => {
                let named = missing.iter().take(MAX_NAMED).map(|((first, last), (count, backups))| {
                    let what = if first == last {
                        first.to_string()
                    } else {
                        format!("{first} to {last} ({count} segments)")
                    };
                    let who = match backups.as_slice() {
                        [one] => format!("backup {one}"),
                        many => format!(
                            "{} backups from {} on",
                            many.len(),
                            many.first().map(ToString::to_string).unwrap_or_default()
                        ),
                    };
                    format!("{what} for {who}")
                });
                let mut hint = format!("missing: {}", named.collect::<Vec<_>>().join("; "));
                if let Some(more) = missing.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
                    hint.push_str(&format!("; and {more} more gaps"));
                }
                report.failed(line, hint);
            }
        }
    }

    fn missing_wal(&self) -> Result<(usize, Missing), WalVerifyError> {
        let mut records = self.catalog.records()?;
        records.retain(|record| record.status.is_copied() && Position::of(record).is_some());
        let mut missing = Missing::new();
        for record in &records {
            let keep = self.catalog.keep_target(&record.id).ok().flatten();
            let end = record.end_wal.filter(|_| keep == Some(KeepTarget::Standalone));
            for (first, last, count) in self.gaps_behind(record)? {
                // What is kept alone needs no more than its own WAL.
                if end.is_none_or(|end| first <= end) {
                    missing.entry((first, last)).or_insert_with(|| (count, Vec::new())).1.push(record.id);
                }
            }
        }
        Ok((records.len(), missing))
    }

    /// Whether the next backup finds room.
    fn check_free_space(&self, report: &mut CheckReport, context: &Context<'_>) {
        let line = "free space";
        let needed = match self.next_backup_size(context) {
            Ok(needed) => needed,
            Err(error) => return report.failed(line, error),
        };
        let free = match free_bytes(&self.layout().base) {
            Ok(free) => free,
            Err(error) => return report.failed(line, format!("'{}': {error}", self.layout().base.display())),
        };
        let hint = match needed {
            None => format!("{} free, no backup to compare with", pretty_bytes(free)),
            Some(needed) => {
                format!("{} free, the next backup takes about {}", pretty_bytes(free), pretty_bytes(needed))
            }
        };
        report.push(line, needed.is_none_or(|needed| needed <= free), Some(hint)).perfdata = Some(free);
    }

    /// What the last whole backup took, or what the cluster has.
    fn next_backup_size(&self, context: &Context<'_>) -> Result<Option<u64>, String> {
        let records = self.catalog.records().map_err(|error| error.to_string())?;
        let whole = |record: &&BackupRecord| {
            record.status.is_copied()
                && record.backup_type() != BackupType::Incremental
                && record.size.is_some()
        };
        if let Some(last) = records.iter().rfind(whole) {
            // What is linked to the backup before takes nothing.
            return Ok(last.deduplicated_size.filter(|own| *own > 0).or(last.size));
        }
        if !self.asks_postgres() {
            return Ok(None);
        }
        // That the server does not answer is another line's.
        let connection = self.connect(context.stop.clone()).ok();
        Ok(connection.and_then(|mut connection| Remote::new(&mut connection).cluster_size().ok().flatten()))
    }

    /// How far the slot has fallen behind, and whether the server will keep what it still needs.
    fn check_slot_lag(&self, report: &mut CheckReport, context: &Context<'_>) {
        let line = "slot lag";
        let Some(name) = self.config.slot_name.as_deref() else { return };
        if !self.asks_postgres() || !self.config.streaming_archiver {
            return;
        }
        let asked = self.connect_wal_host(context.stop.clone()).map_err(|error| error.to_string());
        let asked = asked.and_then(|mut connection| {
            Remote::new(&mut connection).slot_lag(name).map_err(|error| error.to_string())
        });
        let slot = match asked {
            Ok(Some(slot)) => slot,
            Ok(None) => return report.failed(line, format!("there is no slot '{name}'")),
            Err(error) => return report.failed(line, error),
        };
        let Some(lag) = slot.lag else {
            let why = match slot.wal_status.as_deref() {
                Some("lost") => "the server has removed WAL that it was to keep",
                _ => "nothing was ever received through it",
            };
            return report.failed(line, format!("slot '{name}': {why}"));
        };
        let mut hint = format!("{} behind", pretty_bytes(lag));
        if let Some(status) = &slot.wal_status {
            hint.push_str(&format!(", {status}"));
        }
        if let Some(safe) = slot.safe_wal_size {
            hint.push_str(&format!(", in danger after {} more", pretty_bytes(safe)));
        }
        let status_is_bad = matches!(slot.wal_status.as_deref(), Some("lost" | "unreserved"));
        let is_close = slot.safe_wal_size.is_some_and(|safe| safe < lag / DANGER);
        report.push(line, !(status_is_bad || is_close), Some(hint)).perfdata = Some(lag);
    }

    /// Whether a backup was restored and started not long ago.
    fn check_restore_tests(&self, report: &mut CheckReport, now: OffsetDateTime) {
        let line = "last verified restore";
        let (last, proven) = match last_restore_tests(self.layout()) {
            Ok(tests) => tests,
            Err(error) => return report.failed(line, error.to_string()),
        };
        let age = |seconds: i64| now - OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(now);
        let failure = last.as_ref().filter(|last| !last.proven);
        let (ok, mut hint) = match &proven {
            None => (false, format!("none; 'tapster verify-restore {} latest' makes one", self.name())),
            Some(test) => {
                let backup = test.backup_id.as_deref().unwrap_or("unknown");
                let age = age(test.time);
                let hint = format!("backup {backup}, {} ago", human_duration(age));
                (age <= RESTORE_TEST_AGE && failure.is_none(), hint)
            }
        };
        if let Some(failure) = failure {
            let why = failure.failure.as_deref().unwrap_or("it was not proven");
            hint.push_str(&format!(
                "; the last attempt failed {} ago: {why}",
                human_duration(age(failure.time))
            ));
        }
        report.push(line, ok, Some(hint));
    }
}

/// Bytes that this user may still write.
fn free_bytes(dir: &Path) -> Result<u64, rustix::io::Errno> {
    let existing = dir.ancestors().find(|path| path.exists()).unwrap_or(dir);
    let space = rustix::fs::statvfs(existing)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}
