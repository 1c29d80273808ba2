//! `status`: a few lines about a server.

use serde_json::{Map, Value, json};
use tapster_manager::config::mask_passwords;
use tapster_manager::live_status::{LiveStatus, WalShipping};
use tapster_manager::status::ServerStatus;
use tapster_manager::text::pretty_bytes;

use super::Output;
use crate::format::timestamp::ctime;

/// Key, description and text of a line.
type Line = (&'static str, &'static str, String);

/// Prints them.
pub(crate) fn show(output: &Output, server: &str, status: &ServerStatus) {
    if status.unreadable > 0 {
        output.warning(format!("{} backup records of server '{server}' cannot be read", status.unreadable));
    }
    let lines = lines(status);
    if output.is_json() {
        let object: Map<String, Value> = lines
            .into_iter()
            .map(|(key, description, text)| {
                (key.to_owned(), json!({"description": description, "message": mask_passwords(&text)}))
            })
            .collect();
        output.json_insert(server, Value::Object(object));
        return;
    }
    output.line(format!("Server {server}:"));
    for (_, description, text) in lines {
        output.line(format!("\t{description}: {text}"));
    }
}

fn flag(value: bool) -> String {
    if value { "True" } else { "False" }.to_owned()
}

fn or_none<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "None".to_owned(), |value| value.to_string())
}

fn lines(status: &ServerStatus) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(description) = &status.description {
        lines.push(("description", "Description", description.clone()));
    }
    lines.push(("active", "Active", flag(status.active)));
    lines.push(("disabled", "Disabled", flag(status.disabled)));
    lines.push(("active_model", "Active configuration model", or_none(status.active_model.as_ref())));
    if let Some(live) = &status.live {
        postgres(live, &mut lines);
        if let Some(shipping) = &live.shipping {
            archiver(shipping, &mut lines);
        }
    }
    lines.push(("passive_node", "Passive node", flag(status.primary_ssh_command.is_some())));
    let retention = status.retention_policy.as_ref().map_or_else(
        || "not enforced".to_owned(),
        |policy| format!("enforced (mode: auto, retention: {policy}, WAL retention: MAIN)"),
    );
    lines.push(("retention_policies", "Retention policies", retention));
    lines.push(("backups_number", "No. of available backups", status.backups.to_string()));
    lines.push(("first_backup", "First available backup", or_none(status.first_backup)));
    lines.push(("last_backup", "Last available backup", or_none(status.last_backup)));
    let word = if status.is_redundant() { "satisfied" } else { "FAILED" };
    let redundancy = format!("{word} ({}/{})", status.redundancy, status.minimum_redundancy);
    lines.push(("minimum_redundancy", "Minimum redundancy requirements", redundancy));
    if let Some(command) = &status.primary_ssh_command {
        lines.push(("primary_ssh_command", "SSH command to primary server", command.clone()));
    }
    lines
}

fn postgres(live: &LiveStatus, lines: &mut Vec<Line>) {
    let known = live.postgres.as_ref().and_then(|postgres| Some((postgres, postgres.version_text.as_ref()?)));
    let Some((postgres, version)) = known else {
        let text = "FAILED trying to get PostgreSQL version".to_owned();
        lines.push(("pg_version", "PostgreSQL version", text));
        return;
    };
    lines.push(("pg_version", "PostgreSQL version", version.clone()));
    let state = if postgres.in_recovery == Some(true) { "in archive recovery" } else { "in production" };
    lines.push(("is_in_recovery", "Cluster state", state.to_owned()));
    if let Some(size) = postgres.size {
        lines.push(("current_size", "Current data size", pretty_bytes(size)));
    }
    if let Some(directory) = postgres.settings.get("data_directory") {
        lines.push(("data_directory", "PostgreSQL Data directory", directory.clone()));
    }
    if let Some(segment) = postgres.segment {
        lines.push(("current_xlog", "Current WAL segment", segment.to_string()));
    }
}

fn archiver(shipping: &WalShipping, lines: &mut Vec<Line>) {
    if shipping.mode.is_none() {
        return;
    }
    let command = shipping.command.clone().filter(|command| !command.is_empty());
    let command = command.unwrap_or_else(|| "FAILED (please set it accordingly to documentation)".to_owned());
    lines.push(("archive_command", "PostgreSQL 'archive_command' setting", command));
    let counters = shipping.counters.clone().unwrap_or_default();
    let last = counters.last_archived_wal.map(|wal| match counters.last_archived_time {
        Some(time) => format!("{wal}, at {}", ctime(time)),
        None => wal,
    });
    let last = last.unwrap_or_else(|| "No WAL segment shipped yet".to_owned());
    lines.push(("last_archived_wal", "Last archived WAL", last));
    if let Some(count) = counters.failed_count {
        let last = match (count, counters.last_failed_wal, counters.last_failed_time) {
            (1.., Some(wal), Some(time)) => format!(" ({wal} at {})", ctime(time)),
            _ => String::new(),
        };
        lines.push(("failed_count", "Failures of WAL archiver", format!("{count}{last}")));
    }
    let rate = counters.per_second.and_then(|text| text.parse::<f64>().ok()).filter(|rate| *rate > 0.0);
    if let Some(rate) = rate {
        let text = format!("{:.2}/hour", rate * 3600.0);
        lines.push(("server_archived_wals_per_hour", "Server WAL archiving rate", text));
    }
}
