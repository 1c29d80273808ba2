//! Backups in an object store, as Barman's cloud tools show them.

use std::fmt::Display;

use serde_json::{Value, json};
use tapster_catalog::record::{PyValue, repr_f64};
use tapster_catalog::{BackupMode, BackupRecord, BackupStatus};
use tapster_manager::cloud::delete::CloudRemoval;
use tapster_manager::cloud::{CloudBackup, CloudCatalog};
use tapster_manager::text::{human_duration, pretty_bytes};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::{Output, json};
use crate::format::python::str_repr;
use crate::format::timestamp::{ctime, iso_datetime, python_datetime};

const TO_THE_SECOND: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// Prints a table, oldest first.
pub(crate) fn list(output: &Output, catalog: &CloudCatalog) {
    output.raw_line(row(["Backup ID", "End Time", "Begin Wal", "Archival Status", "Name"]));
    for backup in catalog.backups.values() {
        let record = &backup.record;
        let end = record.end_time.and_then(|time| time.format(TO_THE_SECOND).ok()).unwrap_or_default();
        let begin_wal = record.begin_wal.map(|name| name.to_string()).unwrap_or_default();
        let name = record.backup_name.as_deref().unwrap_or_default();
        output.raw_line(row([record.id.as_str(), &end, &begin_wal, &archival_status(backup), name]));
    }
}

fn row([id, end, begin_wal, status, name]: [&str; 5]) -> String {
    format!("{id:<20}{end:<25}{begin_wal:<30}{status:<17}{name:<20}")
}

/// What is kept of a complete backup; how far another one has come.
fn archival_status(backup: &CloudBackup) -> String {
    if backup.record.status != BackupStatus::Done {
        return backup.record.status.to_string();
    }
    let keep = backup.keep.as_ref().map(|keep| keep.as_str().to_uppercase());
    keep.filter(|text| !text.is_empty()).map_or_else(String::new, |text| format!("KEEP:{text}"))
}

/// All records, oldest first.
pub(crate) fn list_json(catalog: &CloudCatalog) -> String {
    let records: Vec<String> = catalog.backups.values().map(|backup| record_json(&backup.record)).collect();
    format!("{{\"backups_list\": [{}]}}", records.join(", "))
}

/// One record.
pub(crate) fn show_json(record: &BackupRecord) -> String {
    let server = record.server_name.as_deref().unwrap_or("null");
    format!("{{{}: {}}}", json::value_text(&json!(server)), record_json(record))
}

/// `json.dumps` of a record: its keys in the order of the record, then what Barman adds, times as text in two forms.
fn record_json(record: &BackupRecord) -> String {
    let list = |items: Vec<Value>| if items.is_empty() { Value::Null } else { Value::Array(items) };
    let tablespaces = record.tablespaces.iter().map(|t| json!([t.name, t.oid, t.location])).collect();
    let children = record.children_backup_ids.iter().map(|id| json!(id.to_string())).collect();
    let files = record.included_files.iter().flatten().map(|file| json!(file)).collect();
    let literal = |text: &str| PyValue::parse(text).map_or_else(|_| json!(text).to_string(), |v| python(&v));
    let stats = record.copy_stats.as_ref().filter(|stats| !stats.is_empty());
    let stats = stats.map_or_else(|| "null".to_owned(), |stats| python(&stats.to_value()));
    let mut fields: Vec<(&str, String)> = Vec::with_capacity(40);
    let mut put = |key: &'static str, value: Value| fields.push((key, json::value_text(&value)));
    put("backup_label", json!(record.backup_label.as_deref().map(str_repr)));
    if let Some(name) = &record.backup_name {
        put("backup_name", json!(name));
    }
    put("begin_offset", json!(record.begin_offset));
    put("begin_time", json!(record.begin_time.map(ctime)));
    put("begin_wal", json!(record.begin_wal.map(|name| name.to_string())));
    put("begin_xlog", json!(record.begin_xlog.map(|lsn| lsn.to_string())));
    put("children_backup_ids", list(children));
    put("cluster_size", json!(record.cluster_size));
    put("compression", json!(record.compression));
    put("config_file", json!(record.config_file));
    fields.push(("copy_stats", stats));
    let mut put = |key: &'static str, value: Value| fields.push((key, json::value_text(&value)));
    put("data_checksums", json!(record.data_checksums));
    put("deduplicated_size", json!(record.deduplicated_size));
    put("encryption", json!(record.encryption));
    put("end_offset", json!(record.end_offset));
    put("end_time", json!(record.end_time.map(ctime)));
    put("end_wal", json!(record.end_wal.map(|name| name.to_string())));
    put("end_xlog", json!(record.end_xlog.map(|lsn| lsn.to_string())));
    put("error", json!(record.error));
    put("hba_file", json!(record.hba_file));
    put("ident_file", json!(record.ident_file));
    put("included_files", list(files));
    put("mode", json!(record.mode.as_ref().map(BackupMode::as_str)));
    put("parent_backup_id", json!(record.parent_backup_id.map(|id| id.to_string())));
    put("pgdata", json!(record.pgdata));
    put("server_name", json!(record.server_name));
    put("size", json!(record.size));
    if let Some(snapshots) = &record.snapshots_info {
        fields.push(("snapshots_info", literal(snapshots)));
    }
    let mut put = |key: &'static str, value: Value| fields.push((key, json::value_text(&value)));
    put("status", json!(record.status.as_str()));
    put("summarize_wal", json!(record.summarize_wal));
    put("systemid", json!(record.systemid));
    put("tablespaces", list(tablespaces));
    put("timeline", json!(record.timeline.map(walfile::Timeline::get)));
    put("version", json!(record.version));
    put("xlog_segment_size", json!(record.xlog_segment_size.map(walfile::SegmentSize::bytes)));
    put("backup_id", json!(record.id.as_str()));
    for (key, time) in [("begin_time_iso", record.begin_time), ("end_time_iso", record.end_time)] {
        if let Some(time) = time {
            put(key, json!(iso_datetime(time)));
        }
    }
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
    format!("{{{}}}", fields.join(", "))
}

/// `json.dumps` of a Python value, in its own order.
fn python(value: &PyValue) -> String {
    match value {
        PyValue::None => "null".to_owned(),
        PyValue::Bool(value) => value.to_string(),
        PyValue::Int(number) => number.to_string(),
        PyValue::Float(number) => repr_f64(*number),
        PyValue::Str(text) => json::value_text(&json!(text)),
        PyValue::List(items) | PyValue::Tuple(items) => {
            format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", "))
        }
        PyValue::Dict(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| {
                let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                format!("{}: {}", json::value_text(&json!(key)), python(value))
            });
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
    }
}

/// `None` as Python prints it.
fn text<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "None".to_owned(), |value| value.to_string())
}

/// Prints one record: what a backup host knows besides, such as its WAL, is not in it.
pub(crate) fn show(output: &Output, record: &BackupRecord) {
    let row = |key: &str, value: &dyn Display| output.raw_line(format!("  {key:<23}: {value}"));
    let nested = |key: &str, value: &dyn Display| output.raw_line(format!("    {key:<21}: {value}"));
    let blank = || output.raw_line("");
    output.raw_line(format!("Backup {}:", record.id));
    if let Some(name) = &record.backup_name {
        row("Backup Name", name);
    }
    row("Server Name", &text(record.server_name.as_deref()));
    if let Some(id) = &record.systemid {
        row("System Id", id);
    }
    row("Status", &record.status);
    let copied = record.status.is_copied();
    if copied {
        row("PostgreSQL Version", &text(record.version));
        row("PGDATA directory", &text(record.pgdata.as_deref()));
        if let Some(size) = record.cluster_size.filter(|size| *size > 0) {
            row("Estimated Cluster Size", &pretty_bytes(size));
        }
    }
    blank();
    if record.data_checksums.is_some() || record.summarize_wal.is_some() {
        output.raw_line("  Server information:");
        for (key, value) in [("Checksums", &record.data_checksums), ("WAL summarizer", &record.summarize_wal)]
        {
            if let Some(value) = value {
                nested(key, value);
            }
        }
        blank();
    }
    if !copied {
        if let Some(error) = &record.error {
            row("Error", error);
        }
        return;
    }
    if let Some(snapshots) = &record.snapshots_info {
        output.raw_line("  Snapshot information:");
        nested("Snapshots", snapshots);
        blank();
    }
    if !record.tablespaces.is_empty() {
        output.raw_line("  Tablespaces:");
        for tablespace in &record.tablespaces {
            nested(&tablespace.name, &format!("{} (oid: {})", tablespace.location, tablespace.oid));
        }
        blank();
    }
    output.raw_line("  Base backup information:");
    if let Some(mode) = &record.mode {
        nested("Backup Method", &mode.as_str());
    }
    if let Some(encryption) = &record.encryption {
        nested("Encryption", encryption);
    }
    if let Some(size) = record.deduplicated_size.filter(|size| *size > 0) {
        nested("Backup Size", &pretty_bytes(size));
    }
    if let Some(compression) = record.compression.as_deref().filter(|name| *name != "none") {
        nested("Backup Compression", &compression);
    }
    nested("Timeline", &text(record.timeline));
    nested("Begin WAL", &text(record.begin_wal));
    nested("End WAL", &text(record.end_wal));
    nested("Begin time", &text(record.begin_time.map(python_datetime)));
    nested("End time", &text(record.end_time.map(python_datetime)));
    let seconds = |key| record.copy_stats.as_ref().and_then(|stats| stats.number(key));
    if let Some(copy) = seconds("copy_time").filter(|seconds| *seconds != 0.0) {
        let span = |seconds| human_duration(time::Duration::seconds_f64(seconds));
        let analysis = seconds("analysis_time").filter(|seconds| *seconds >= 1.0);
        let startup = analysis.map_or_else(String::new, |seconds| format!(" + {} startup", span(seconds)));
        nested("Copy time", &format!("{}{startup}", span(copy)));
    }
    nested("Begin Offset", &text(record.begin_offset));
    nested("End Offset", &text(record.end_offset));
    nested("Begin LSN", &text(record.begin_xlog));
    nested("End LSN", &text(record.end_xlog));
    blank();
    if record.mode == Some(BackupMode::Postgres) && !record.children_backup_ids.is_empty() {
        let children: Vec<_> = record.children_backup_ids.iter().map(|id| str_repr(id.as_str())).collect();
        nested("Children Backup(s)", &format!("[{}]", children.join(", ")));
    }
}

/// Prints what a deletion would remove: `prefix` is where the store's keys begin.
pub(crate) fn removals(output: &Output, prefix: &str, removals: &[CloudRemoval]) {
    let full = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}/{key}") };
    for removal in removals {
        let what = match removal {
            CloudRemoval::Backup(keys) | CloudRemoval::Wal(keys) => {
                let keys: Vec<String> = keys.iter().map(|key| str_repr(&full(key))).collect();
                format!("objects [{}]", keys.join(", "))
            }
            CloudRemoval::WalDirectory(key) => format!("all objects under prefix {}/", full(key)),
            _ => continue,
        };
        output.raw_line(format!("Skipping deletion of {what} due to --dry-run option"));
    }
}
