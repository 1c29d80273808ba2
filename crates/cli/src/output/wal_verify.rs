//! `wal verify`: what is valid, what is not, and how far each backup can be recovered.

use serde_json::{Value, json};
use tapster_manager::WalVerifyReport;
use tapster_manager::text::pretty_bytes;
use tapster_manager::wal_verify::{BackupProblem, BackupReach, Commit, VerifiedLine, WalProblem, WalRange};

use super::Output;
use crate::format::timestamp::python_datetime;

/// Prints the report; problems are errors.
pub(crate) fn show(output: &Output, server: &str, report: &WalVerifyReport) {
    if output.is_json() {
        output.json_insert(server, value(report));
        if !report.is_sound() {
            output.mark_failed();
        }
        return;
    }
    let bytes = report.segments().saturating_mul(report.segment_size.bytes());
    let (segments, records) = (report.segments(), report.records());
    output.line(format!(
        "Read {segments} WAL segments ({}) of server {server} with {records} records",
        pretty_bytes(bytes)
    ));
    for line in &report.lines {
        show_line(output, line);
    }
    for backup in &report.backups {
        show_backup(output, backup);
    }
}

fn show_backup(output: &Output, backup: &BackupReach) {
    let (id, begin, consistent) = (&backup.id, backup.begin, backup.consistent);
    match &backup.reach {
        Some(range) if backup.problems.is_empty() => {
            output.line(format!("Backup {id} can be recovered up to {}", end(range)));
        }
        Some(_) => {}
        None => output.error(format!(
            "backup {id} cannot be recovered: its WAL from {begin} to {consistent} is not complete"
        )),
    }
    for problem in &backup.problems {
        output.error(format!("backup {id} cannot be recovered: {problem}"));
    }
}

fn show_line(output: &Output, line: &VerifiedLine) {
    output.line(format!("Timeline {} from {}:", line.timeline, line.start));
    for range in &line.ranges {
        output.line(format!("\tvalid from {} to {}", range.start, end(range)));
    }
    if let Some(end) = &line.end {
        match end.partial {
            Some(partial) => {
                output.line(format!(
                    "\tends in {partial}.partial, which is still being written ({})",
                    end.reason
                ));
            }
            None => output.line(format!("\tends there: {}", end.reason)),
        }
    }
    for problem in &line.problems {
        output.error(format!("timeline {}: {problem}", line.timeline));
    }
    if line.more_problems > 0 {
        output.error(format!("timeline {}: {} more problems", line.timeline, line.more_problems));
    }
}

/// `0/7000000 on timeline 2, last commit at 2026-11-21 08:00:00+00:00`
fn end(range: &WalRange) -> String {
    let commit = range.last_commit.map_or_else(
        || ", without a commit".to_owned(),
        |commit| format!(", last commit at {}", python_datetime(commit.time)),
    );
    format!("{} on timeline {}{commit}", range.end, range.timeline)
}

fn value(report: &WalVerifyReport) -> Value {
    json!({
        "sound": report.is_sound(),
        "start_backup_id": report.backup.map(|id| id.to_string()),
        "xlog_segment_size": report.segment_size.bytes(),
        "timelines": report.lines.iter().map(line_value).collect::<Vec<_>>(),
        "backups": report.backups.iter().map(backup_value).collect::<Vec<_>>(),
    })
}

fn line_value(line: &VerifiedLine) -> Value {
    json!({
        "timeline": line.timeline.get(),
        "start_lsn": line.start.to_string(),
        "segments": line.segments,
        "records": line.records,
        "record_bytes": line.record_bytes,
        "ranges": line.ranges.iter().map(range_value).collect::<Vec<_>>(),
        "problems": line.problems.iter().map(problem_value).collect::<Vec<_>>(),
        "more_problems": line.more_problems,
        "partial": line.end.as_ref().and_then(|end| end.partial).map(|name| format!("{name}.partial")),
        "end": line.end.as_ref().map(|end| end.reason.clone()),
    })
}

fn range_value(range: &WalRange) -> Value {
    let commit = |commit: Commit| {
        json!({
            "lsn": commit.lsn.to_string(),
            "xid": commit.xid.get(),
            "time": python_datetime(commit.time),
        })
    };
    json!({
        "start_lsn": range.start.to_string(),
        "end_lsn": range.end.to_string(),
        "end_timeline": range.timeline.get(),
        "last_commit": range.last_commit.map(commit),
    })
}

fn backup_value(backup: &BackupReach) -> Value {
    json!({
        "backup_id": backup.id.to_string(),
        "begin_lsn": backup.begin.to_string(),
        "consistent_lsn": backup.consistent.to_string(),
        "recoverable": backup.reach.as_ref().filter(|_| backup.is_recoverable()).map(range_value),
        "problems": backup.problems.iter().map(backup_problem_value).collect::<Vec<_>>(),
    })
}

fn backup_problem_value(problem: &BackupProblem) -> Value {
    let text = |lsn: &Option<_>| lsn.as_ref().map(walfile::Lsn::to_string);
    let value = match problem {
        BackupProblem::Label { .. } => json!({"kind": "label"}),
        BackupProblem::Begin { recorded, label } => json!({
            "kind": "begin", "expected": recorded.to_string(), "found": label.to_string(),
        }),
        BackupProblem::Control { .. } => json!({"kind": "control"}),
        BackupProblem::Checkpoint { redo, expected, found } => json!({
            "kind": "checkpoint", "redo": redo.to_string(), "expected": text(expected), "found": text(found),
        }),
        BackupProblem::RedoRecord { at } => json!({"kind": "redo_record", "lsn": at.to_string()}),
        BackupProblem::End { begin, expected, found } => json!({
            "kind": "backup_end",
            "begin": begin.to_string(),
            "expected": expected.to_string(),
            "found": text(found),
        }),
        _ => json!({"kind": "other"}),
    };
    with_message(value, problem)
}

fn problem_value(problem: &WalProblem) -> Value {
    let value = match problem {
        WalProblem::Missing { first, last, count } => json!({
            "kind": "missing", "first": first.to_string(), "last": last.to_string(), "count": count,
        }),
        WalProblem::Damaged { at, timeline, file, reason } => json!({
            "kind": "damaged",
            "lsn": at.to_string(),
            "timeline": timeline.get(),
            "file": file.map(|file| file.to_string()),
            "reason": reason,
        }),
        WalProblem::Timeline { at, expected, found } => json!({
            "kind": "timeline", "lsn": at.to_string(), "expected": expected.get(), "found": found.get(),
        }),
        WalProblem::Switch { at, timeline, expected } => json!({
            "kind": "switch",
            "lsn": at.to_string(),
            "timeline": timeline.get(),
            "expected": expected.to_string(),
        }),
        WalProblem::MissingHistory { timeline } => json!({
            "kind": "missing_history", "timeline": timeline.get(),
        }),
        WalProblem::Join { expected, found } => json!({
            "kind": "join", "expected": expected.to_string(), "found": found.map(|lsn| lsn.to_string()),
        }),
        _ => json!({"kind": "other"}),
    };
    with_message(value, problem)
}

/// With the problem in words.
fn with_message(mut value: Value, problem: &impl std::fmt::Display) -> Value {
    if let Some(map) = value.as_object_mut() {
        map.insert("message".to_owned(), problem.to_string().into());
    }
    value
}
