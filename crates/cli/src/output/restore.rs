//! `restore`: what a person must know before the server is started, and the plan of a dry run.

use serde_json::{Value, json};
use tapster_manager::restore::{RecoveryTarget, SettingAt, StopAt, StopPoint};
use tapster_manager::text::{human_elapsed, pretty_bytes};
use tapster_manager::{RestorePlan, RestoreReport};

use super::Output;
use crate::format::timestamp::python_datetime;

/// How many names of files a dry run prints.
const MOST_REMOVED: usize = 50;

/// The file that got the recovery settings.
fn recovery_file(plan: &RestorePlan) -> String {
    match plan.record.version {
        Some(version) if version < 120_000 => "recovery.conf".to_owned(),
        _ => plan.options.recovery_conf_filename.clone().unwrap_or_else(|| "postgresql.auto.conf".to_owned()),
    }
}

/// Prints the result.
pub(crate) fn show(output: &Output, report: &RestoreReport) {
    if output.is_json() { to_json(output, report) } else { to_text(output, report) }
}

/// In Barman's words, to whom a setting that is gone has Python's value for nothing.
fn setting_line(setting: &SettingAt) -> String {
    let value = setting.value.as_deref().unwrap_or("None");
    format!("{} line {}: {} = {value}", setting.file, setting.line, setting.key)
}

fn to_text(output: &Output, report: &RestoreReport) {
    let say = |text: &str| output.info(text);
    if !report.changes.is_empty() {
        for text in ["", "IMPORTANT", "These settings have been modified to prevent data losses", ""] {
            say(text);
        }
        report.changes.iter().for_each(|setting| say(&setting_line(setting)));
    }
    if !report.warnings.is_empty() {
        for text in
            ["", "WARNING", "You are required to review the following options as potentially dangerous", ""]
        {
            say(text);
        }
        report.warnings.iter().for_each(|setting| say(&setting_line(setting)));
    }
    if !report.missing_files.is_empty() {
        for text in [
            "",
            "WARNING",
            "The following configuration files have not been saved during backup, hence they have not been restored.",
            "You need to manually restore them in order to start the restored PostgreSQL instance:",
            "",
        ] {
            say(text);
        }
        report.missing_files.iter().for_each(|name| say(&format!("    {name}")));
    }
    if report.plan.get_wal {
        say("");
        say("WARNING: 'get-wal' is in the specified 'recovery_options'.");
        say(&format!(
            "Before you start up the PostgreSQL server, please review the {} file",
            recovery_file(&report.plan)
        ));
        say(
            "inside the target directory. Make sure that 'restore_command' can be executed by the PostgreSQL user.",
        );
    }
    say("");
    say(&format!(
        "Restore operation completed (start time: {}, elapsed time: {})",
        python_datetime(report.started),
        human_elapsed(report.elapsed)
    ));
    say("Your PostgreSQL server has been successfully prepared for recovery!");
}

fn settings(settings: &[SettingAt]) -> Value {
    settings.iter().map(|s| json!([s.file, s.line, s.key, s.value])).collect()
}

fn to_json(output: &Output, report: &RestoreReport) {
    output.json_insert("changes_count", report.changes.len());
    output.json_insert("changes", settings(&report.changes));
    if !report.changes.is_empty() {
        output.warning(
            "IMPORTANT! Some settings have been modified to prevent data losses. See 'changes' key.",
        );
    }
    output.json_insert("warnings_count", report.warnings.len());
    output.json_insert("warnings", settings(&report.warnings));
    if !report.warnings.is_empty() {
        output.warning(
            "WARNING! You are required to review the options as potentially dangerous. See 'warnings' key.",
        );
    }
    output.json_insert("missing_files", json!(report.missing_files));
    if !report.missing_files.is_empty() {
        output.warning(
            "WARNING! Some configuration files have not been saved during backup, hence they have not been restored. See \
             'missing_files' key.",
        );
    }
    if report.plan.get_wal {
        output.warning(
            "WARNING: 'get-wal' is in the specified 'recovery_options'. Before you start up the PostgreSQL server, please \
             review the recovery configuration inside the target directory. Make sure that 'restore_command' can be \
             executed by the PostgreSQL user.",
        );
    }
    output.json_insert("recovery_start_time", python_datetime(report.started));
    output.json_insert("recovery_start_time_timestamp", report.started.unix_timestamp().to_string());
    output.json_insert("recovery_elapsed_time", human_elapsed(report.elapsed));
    output.json_insert("recovery_elapsed_time_seconds", report.elapsed.as_secs_f64());
}

fn target(target: &RecoveryTarget) -> Value {
    let (kind, value) = match target {
        RecoveryTarget::Time(time) => ("time", json!(python_datetime(*time))),
        RecoveryTarget::Lsn(lsn) => ("lsn", json!(lsn.to_string())),
        RecoveryTarget::Xid(xid) => ("xid", json!(xid)),
        RecoveryTarget::Name(name) => ("name", json!(name)),
        RecoveryTarget::Immediate => ("immediate", Value::Null),
        _ => ("end", Value::Null),
    };
    json!({"kind": kind, "value": value})
}

fn stop_value(stop: &StopPoint) -> Value {
    json!({
        "kind": stop.what.as_str(),
        "lsn": stop.lsn.to_string(),
        "end": stop.end.to_string(),
        "timeline": stop.timeline.get(),
        "xid": stop.xid.map(|xid| xid.get()),
        "time": stop.time.map(python_datetime),
        "included": stop.included,
    })
}

/// Such as `just after the commit of transaction 749 at 0/5000148 on timeline 1, of 2026-11-21 00:07:20+00:00`.
pub(crate) fn stop_text(stop: &StopPoint) -> String {
    let side = if stop.included { "just after" } else { "just before" };
    let what = match (stop.what, stop.xid) {
        (StopAt::Consistency, _) => {
            return format!(
                "as soon as the backup is consistent, at {} on timeline {}",
                stop.lsn, stop.timeline
            );
        }
        (StopAt::Position, _) => "the first record from".to_owned(),
        (StopAt::RestorePoint, _) => "the restore point at".to_owned(),
        (what, Some(xid)) => format!("the {} of transaction {xid} at", what.as_str()),
        (what, None) => format!("a {} at", what.as_str()),
    };
    let time = stop.time.map(|time| format!(", of {}", python_datetime(time))).unwrap_or_default();
    format!("{side} {what} {} on timeline {}{time}", stop.lsn, stop.timeline)
}

/// Prints a plan that is not carried out.
pub(crate) fn show_plan(output: &Output, server: &str, plan: &RestorePlan) {
    let (first, last) = (plan.wal.segments.first(), plan.wal.segments.last());
    if output.is_json() {
        let tablespaces: Vec<_> = plan
            .tablespaces
            .iter()
            .map(|place| json!({"name": place.name, "oid": place.oid, "location": place.location.display().to_string()}))
            .collect();
        output.json_insert(
            server,
            json!({
                "backup_id": plan.record.id.to_string(),
                "remote_command": plan.host.as_ref().map(|host| host.command()),
                "destination": plan.destination.display().to_string(),
                "tablespaces": tablespaces,
                "pitr": plan.pitr,
                "target": target(&plan.options.target),
                "stop": plan.stop.as_ref().map(stop_value),
                "postgresql_version": plan.record.version,
                "required_bytes": plan.record.size,
                "get_wal": plan.get_wal,
                "timeline": plan.wal.timeline.get(),
                "wal_files": plan.wal.segments.len(),
                "first_wal": first.map(ToString::to_string),
                "last_wal": last.map(ToString::to_string),
                "partial_wal": plan.wal.partial.map(|name| name.to_string()),
                "reach": plan.wal.reach.to_string(),
                "wal_directory": plan.wal_directory.as_ref().map(|dir| dir.display().to_string()),
                "delta": plan.delta.as_ref().map(|delta| json!({
                    "present_bytes": delta.present_bytes,
                    "emptied": delta.emptied,
                    "removed": delta.removed.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
                    "not_archived": delta.set_aside.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    "unfinished_backup_id": delta.unfinished.as_ref().and_then(|unfinished| unfinished.backup.clone()),
                })),
                "warnings": plan.warnings,
            }),
        );
        return;
    }
    for warning in &plan.warnings {
        output.warning(warning);
    }
    output.line(format!("Would restore backup {} of server {server}", plan.record.id));
    if let Some(host) = &plan.host {
        output.line(format!("\tRemote command: {}", host.command()));
    }
    output.line(format!(
        "\tDestination: {} ({})",
        plan.destination.display(),
        pretty_bytes(plan.record.size.unwrap_or(0))
    ));
    if let Some(staging) = &plan.staging {
        output.line(format!("\tPut together on this host in: {}", staging.display()));
    }
    for place in &plan.tablespaces {
        output.line(format!(
            "\tTablespace {} (oid: {}): {}",
            place.name,
            place.oid,
            place.location.display()
        ));
    }
    if let Some(delta) = &plan.delta {
        let kept = if delta.emptied { "nothing of which is kept" } else { "of which is kept what is right" };
        output.line(format!(
            "\tThere already: {}, {kept}; {} files and directories are removed",
            pretty_bytes(delta.present_bytes),
            delta.removed.len()
        ));
        delta
            .removed
            .iter()
            .take(MOST_REMOVED)
            .for_each(|path| output.line(format!("\t\t{}", path.display())));
        if delta.removed.len() > MOST_REMOVED {
            output.line("\t\t…; all of them with -f json");
        }
    }
    output.line(format!("\tTimeline: {}", plan.wal.timeline));
    if let Some(stop) = &plan.stop {
        output.line(format!("\tRecovery stops {}", stop_text(stop)));
    }
    if let (Some(first), Some(last)) = (first, last) {
        output.line(format!("\tWAL: {} files, {first} to {last}", plan.wal.segments.len()));
    }
    if let Some(partial) = plan.wal.partial {
        output.line(format!("\tPartial WAL: {partial}"));
    }
    output.line(format!("\tThe archive is whole up to: {}", plan.wal.reach));
    match &plan.wal_directory {
        Some(dir) => output.line(format!("\tWAL is copied to: {}", dir.display())),
        None => output.line("\tWAL is fetched with get-wal while recovering"),
    }
    output.line("Nothing was written.");
}
