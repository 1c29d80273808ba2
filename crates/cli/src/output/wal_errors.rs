//! `wal errors`: why each file was refused, and what happened to it.

use serde_json::{Value, json};
use tapster_catalog::errors_dir::{ErrorKind, Verdict};
use tapster_manager::text::pretty_bytes;
use tapster_manager::wal_errors::{WalErrorsEntry, WalErrorsStep};
use tapster_manager::{WalErrorsAction, WalErrorsReport};

use super::Output;

/// Prints the report.
pub(crate) fn show(output: &Output, server: &str, action: WalErrorsAction, report: &WalErrorsReport) {
    if output.is_json() {
        let files: Vec<Value> = report.entries.iter().map(value).collect();
        output.json_insert(server, json!({"planned_only": report.planned_only, "files": files}));
        return;
    }
    if report.entries.is_empty() {
        return output.line(format!("No file in the errors directory of server {server}"));
    }
    for entry in &report.entries {
        let file = &entry.file;
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        output.line(format!("{name} - {} - {}", pretty_bytes(file.size), reason(&file.verdict)));
        let would = if report.planned_only { "would be " } else { "" };
        match entry.step {
            WalErrorsStep::Retried => output.line(format!("\t{would}put back into the queue")),
            WalErrorsStep::Discarded => output.line(format!("\t{would}removed")),
            _ if action != WalErrorsAction::List => output.line("\tstays"),
            _ => {}
        }
    }
}

fn reason(verdict: &Verdict) -> String {
    match verdict {
        Verdict::SameAsArchived => "the archive has the same WAL".to_owned(),
        Verdict::DiffersFromArchived { at: Some(at) } => {
            format!("the archive has this name with other content, from byte {at} on")
        }
        Verdict::DiffersFromArchived { at: None } => {
            "the archive has this name with other content".to_owned()
        }
        Verdict::NotArchived => "is what its name says, and is not in the archive".to_owned(),
        Verdict::Invalid(reason) => reason.to_string(),
        Verdict::NoWal => "no WAL file".to_owned(),
        Verdict::Unreadable(problem) => format!("cannot be read: {problem}"),
        _ => "unknown".to_owned(),
    }
}

fn value(entry: &WalErrorsEntry) -> Value {
    let file = &entry.file;
    json!({
        "name": file.path.file_name().unwrap_or_default().to_string_lossy(),
        "original": file.original,
        "moved": file.moved,
        "kind": match file.kind {
            ErrorKind::Duplicate => "duplicate",
            ErrorKind::Unknown => "unknown",
            ErrorKind::Other => "other",
        },
        "size": file.size,
        "verdict": match file.verdict {
            Verdict::SameAsArchived => "same_as_archived",
            Verdict::DiffersFromArchived { .. } => "differs_from_archived",
            Verdict::NotArchived => "not_archived",
            Verdict::Invalid(_) => "invalid",
            Verdict::NoWal => "no_wal",
            _ => "unreadable",
        },
        "reason": reason(&file.verdict),
        "first_difference": match file.verdict {
            Verdict::DiffersFromArchived { at } => at,
            _ => None,
        },
        "action": match entry.step {
            WalErrorsStep::Retried => "retry",
            WalErrorsStep::Discarded => "discard",
            _ => "keep",
        },
    })
}
