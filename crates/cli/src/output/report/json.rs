//! The report as an object.

use serde_json::{Value, json};
use tapster_catalog::BackupType;
use tapster_manager::ServerReport;
use tapster_manager::metrics::RecoverablePoint;
use tapster_manager::report::{ReportedBackup, Restorable, TimelineReport, Window, WindowEnd};
use time::OffsetDateTime;
use walfile::{SegmentNo, SegmentSize};

use super::verdict::Verdict;
use super::words;

/// One server.
pub(super) fn server(report: &ServerReport, verdict: &Verdict) -> Value {
    let size = report.archive.segment_size.unwrap_or_default();
    json!({
        "state": verdict.state.as_str(),
        "verdict": verdict.sentence,
        "concerns": verdict.concerns.iter().map(|concern| {
            json!({"severe": concern.severe, "text": concern.text})
        }).collect::<Vec<_>>(),
        "description": report.description,
        "made": time(report.made),
        "active": report.active,
        "disabled": report.disabled.is_some(),
        "passive": report.passive,
        "retention_policy": report.retention_policy,
        "minimum_redundancy": report.minimum_redundancy,
        "windows": report.archive.windows.iter().map(window).collect::<Vec<_>>(),
        "backups": report.backups.iter().map(backup).collect::<Vec<_>>(),
        "unreadable_backups": report.unreadable.iter().map(|(id, error)| {
            json!({"backup_id": id.to_string(), "error": error.to_string()})
        }).collect::<Vec<_>>(),
        "wal": {
            "segment_size": report.archive.segment_size.map(SegmentSize::bytes),
            "current_timeline": report.archive.current.map(|timeline| timeline.get()),
            "segments": report.archive.segments,
            "bytes": report.archive.bytes,
            "last": report.archive.last.map(time),
            "timelines": report.archive.timelines.iter().map(|it| timeline(it, size)).collect::<Vec<_>>(),
            "sizes": {
                "seconds": report.archive.column_seconds,
                "columns": report.archive.sizes.iter().map(|column| {
                    json!({"begin": time(column.begin), "files": column.files, "bytes": column.bytes})
                }).collect::<Vec<_>>(),
            },
        },
        "postgres": report.postgres.as_ref().map(|postgres| json!({
            "in_recovery": postgres.in_recovery,
            "lsn": postgres.lsn.map(|lsn| lsn.to_string()),
            "flushed": postgres.flushed.map(|lsn| lsn.to_string()),
            "slot_active": postgres.slot_active,
            "slot_lost": postgres.slot_lost,
        })),
        "check": report.check.as_ref().map(|check| check.lines.iter().map(|line| {
            json!({"name": line.name, "ok": line.ok, "hint": line.hint})
        }).collect::<Vec<_>>()),
        "problems": report.problems.iter().map(|(_, problem)| problem).collect::<Vec<_>>(),
    })
}

fn time(time: OffsetDateTime) -> String {
    words::iso(time)
}

fn point(point: &RecoverablePoint) -> Value {
    json!({"lsn": point.lsn.to_string(), "time": point.time.map(time)})
}

fn window(window: &Window) -> Value {
    json!({
        "from": point(&window.from),
        "to": point(&window.to),
        "backup_id": window.backup.to_string(),
        "backups": window.backups,
        "ends_at_gap": window.end == WindowEnd::Gap,
        "standalone": window.end == WindowEnd::Standalone,
    })
}

fn timeline(report: &TimelineReport, size: SegmentSize) -> Value {
    let name = |number: SegmentNo| number.name(report.timeline, size).to_string();
    json!({
        "timeline": report.timeline.get(),
        "parent": report.parent.map(|(parent, _)| parent.get()),
        "begin": report.parent.map(|(_, switch)| switch.to_string()),
        "begun": report.begun.map(time),
        "reason": report.reason,
        "history_lost": report.history_lost,
        "windows": report.windows.iter().map(window).collect::<Vec<_>>(),
        "spans": report.spans.iter().map(|span| json!({
            "first": name(span.first),
            "last": name(span.last),
            "from": span.from.map(time),
            "to": span.to.map(time),
            "bytes": span.bytes,
        })).collect::<Vec<_>>(),
        "spans_left_out": report.spans_left_out,
        "gaps": report.gaps.iter().map(|gap| json!({
            "first": name(gap.first),
            "last": name(gap.last),
            "segments": gap.segments(),
            "needed": gap.needed,
            "after": gap.after.map(time),
            "before": gap.before.map(time),
        })).collect::<Vec<_>>(),
        "gaps_left_out": report.gaps_left_out,
        "missing_segments": report.missing,
    })
}

fn backup(backup: &ReportedBackup) -> Value {
    let record = &backup.listed.record;
    json!({
        "backup_id": record.id.to_string(),
        "backup_name": record.backup_name,
        "backup_type": kind(record.backup_type()),
        "parent_backup_id": record.parent_backup_id.map(|id| id.to_string()),
        "status": backup.listed.status().to_string(),
        "error": record.error,
        "begin_time": record.begin_time.map(time),
        "end_time": record.end_time.map(time),
        "timeline": record.timeline.map(|timeline| timeline.get()),
        "size_bytes": record.size,
        "wal_bytes": backup.listed.wal.own_bytes,
        "later_wal_bytes": backup.listed.wal.later_bytes,
        "keep": backup.keep.map(|target| target.as_str()),
        "restorable": restorable(backup.restorable),
        "retention_status": backup.listed.retention_status(),
        "retention_reason": backup.listed.retention_reason(),
    })
}

/// The word for a kind of backup.
pub(super) const fn kind(kind: BackupType) -> &'static str {
    match kind {
        BackupType::Full => "full",
        BackupType::Incremental => "incremental",
        BackupType::Rsync => "rsync",
        BackupType::Snapshot => "snapshot",
        _ => "unknown",
    }
}

const fn restorable(found: Restorable) -> &'static str {
    match found {
        Restorable::Yes => "yes",
        Restorable::NotCopied => "not copied",
        Restorable::WaitingForWal => "waiting for WAL",
        Restorable::WalMissing => "WAL missing",
        Restorable::ChainBroken { .. } => "chain broken",
        _ => "unknown",
    }
}
