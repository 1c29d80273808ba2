//! `verify-restore`: what the restored server was like.

use serde_json::{Value, json};
use tapster_manager::text::{human_elapsed, pretty_bytes};
use tapster_manager::verify_restore::{CheckOutcome, VerifyRestoreReport};

use super::Output;
use crate::format::timestamp::python_datetime;

/// Prints the result.
pub(crate) fn show(output: &Output, server: &str, report: &VerifyRestoreReport) {
    if output.is_json() {
        output.json_insert(server, to_json(report));
    } else {
        to_text(output, server, report);
    }
    if let Some(problem) = &report.shortfall {
        output.error(format!("not all WAL was replayed: {problem}"));
    }
    for (name, outcome) in [("pg_amcheck", &report.amcheck), ("the SQL file", &report.sql)] {
        if outcome.as_ref().is_some_and(|outcome| !outcome.passed) {
            output.error(format!("{name} failed on the restored server"));
        }
    }
}

fn to_text(output: &Output, server: &str, report: &VerifyRestoreReport) {
    let line = |text: String| output.line(text);
    for warning in &report.warnings {
        output.warning(warning);
    }
    for (name, outcome) in [("pg_amcheck", &report.amcheck), ("SQL", &report.sql)] {
        let Some(outcome) = outcome else { continue };
        let verdict = if outcome.passed { "passed" } else { "FAILED" };
        line(format!("{name}: {verdict} (time: {})", human_elapsed(outcome.elapsed)));
        outcome.output.iter().for_each(|text| line(format!("\t{text}")));
    }
    line(format!("Databases: {}", report.databases.len()));
    for database in &report.databases {
        line(format!("\t{} ({})", database.name, pretty_bytes(database.size)));
    }
    if let Some(lsn) = report.consistent {
        line(format!("Consistent at: {lsn}"));
    }
    if let Some(lsn) = report.reached {
        line(format!("Replayed up to: {lsn}, timeline {}", report.timeline));
    }
    if let Some(time) = &report.last_transaction {
        line(format!("Last transaction: {time}"));
    }
    if let Some(text) = &report.stopped {
        line(format!("Target: {text}"));
    }
    line(format!(
        "Time: {} (restore {}, recovery {})",
        human_elapsed(report.elapsed),
        human_elapsed(report.restore_elapsed),
        human_elapsed(report.recovery_elapsed)
    ));
    if let Some(path) = &report.kept {
        line(format!("Kept in: {}", path.display()));
    }
    if report.is_proven() {
        output.info(format!(
            "Backup {} of server {server} was restored and started with {}",
            report.backup, report.postgres
        ));
    }
}

fn to_json(report: &VerifyRestoreReport) -> Value {
    let check = |outcome: &Option<CheckOutcome>| {
        outcome.as_ref().map(|outcome| {
            json!({"passed": outcome.passed, "output": outcome.output, "elapsed_seconds": outcome.elapsed.as_secs_f64()})
        })
    };
    let databases: Vec<Value> = report
        .databases
        .iter()
        .map(|database| json!({"name": database.name, "size": database.size}))
        .collect();
    json!({
        "backup_id": report.backup.to_string(),
        "proven": report.is_proven(),
        "postgres": report.postgres,
        "timeline": report.timeline.get(),
        "consistent_lsn": report.consistent.map(|lsn| lsn.to_string()),
        "reached_lsn": report.reached.map(|lsn| lsn.to_string()),
        "last_transaction": report.last_transaction,
        "target": report.stopped,
        "shortfall": report.shortfall,
        "databases": databases,
        "amcheck": check(&report.amcheck),
        "sql": check(&report.sql),
        "warnings": report.warnings,
        "start_time": python_datetime(report.started),
        "start_time_timestamp": report.started.unix_timestamp().to_string(),
        "restore_seconds": report.restore_elapsed.as_secs_f64(),
        "recovery_seconds": report.recovery_elapsed.as_secs_f64(),
        "elapsed_seconds": report.elapsed.as_secs_f64(),
        "kept": report.kept.as_ref().map(|path| path.display().to_string()),
    })
}
