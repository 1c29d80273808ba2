//! `show-backup`: one backup as text and as JSON.

use serde_json::{Map, Value, json};
use tapster_catalog::{BackupMode, BackupRecord, BackupType};
use tapster_manager::show_backup::BackupDetails;
use tapster_manager::text::{human_duration, pretty_bytes, pretty_size};
use time::OffsetDateTime;

use super::Output;
use crate::format::timestamp::python_datetime;

const OLDEST: &str = "- (this is the oldest base backup)";
const LATEST: &str = "- (this is the latest base backup)";
const TIMELINES: &str =
    "WAL information is inaccurate due to multiple timelines interacting with this backup";

/// Prints it.
pub(crate) fn show(output: &Output, server: &str, details: &BackupDetails) {
    if output.is_json() {
        output.json_insert(server, Value::Object(to_json(details)));
        return;
    }
    for line in to_text(server, details) {
        output.line(line);
    }
}

/// `None` as Python prints it.
fn text<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "None".to_owned(), |value| value.to_string())
}

fn percent(ratio: f64) -> String {
    format!("{:.2}%", ratio * 100.0)
}

fn span(seconds: f64) -> String {
    human_duration(time::Duration::seconds_f64(seconds))
}

/// The type, as far as Barman names one.
fn type_name(record: &BackupRecord) -> &'static str {
    match record.backup_type() {
        BackupType::Full => "full",
        BackupType::Incremental => "incremental",
        BackupType::Rsync => "rsync",
        BackupType::Snapshot => "snapshot",
        _ => "unknown",
    }
}

fn segment_bytes(record: &BackupRecord) -> u64 {
    record.segment_size().bytes()
}

/// How long the analysis before the copy took, when it is worth telling.
fn analysis(record: &BackupRecord) -> Option<f64> {
    record.copy_stats.as_ref()?.number("analysis_time").filter(|seconds| *seconds >= 1.0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count from a record")]
fn workers(record: &BackupRecord) -> u64 {
    let stats = record.copy_stats.as_ref();
    stats.and_then(|stats| stats.number("number_of_workers")).map_or(1, |n| n.max(1.0) as u64)
}

/// Lines of `key: value` below headings.
struct Sheet(Vec<String>);

impl Sheet {
    fn row(&mut self, key: &str, value: impl std::fmt::Display) {
        self.0.push(format!("  {key:<23}: {value}"));
    }

    fn section(&mut self, name: &str) {
        self.0.push(format!("  {name}:"));
    }

    fn nested(&mut self, key: &str, value: impl std::fmt::Display) {
        self.0.push(format!("    {key:<21}: {value}"));
    }

    fn blank(&mut self) {
        self.0.push(String::new());
    }
}

fn to_text(server: &str, details: &BackupDetails) -> Vec<String> {
    let record = details.record();
    let mut sheet = Sheet(vec![format!("Backup {}:", record.id)]);
    if let Some(name) = &record.backup_name {
        sheet.row("Backup Name", name);
    }
    sheet.row("Server Name", server);
    if let Some(id) = &record.systemid {
        sheet.row("System Id", id);
    }
    sheet.row("Status", record.status);
    let copied = record.status.is_copied();
    if copied {
        sheet.row("PostgreSQL Version", text(record.version));
        sheet.row("PGDATA directory", text(record.pgdata.as_deref()));
        if let Some(size) = record.cluster_size {
            sheet.row("Estimated Cluster Size", pretty_bytes(size));
        }
    }
    sheet.blank();
    if record.data_checksums.is_some() || record.summarize_wal.is_some() {
        sheet.section("Server information");
        if let Some(checksums) = &record.data_checksums {
            sheet.nested("Checksums", checksums);
        }
        if let Some(summarizer) = &record.summarize_wal {
            sheet.nested("WAL summarizer", summarizer);
        }
        sheet.blank();
    }
    if !copied {
        if let Some(error) = &record.error {
            sheet.row("Error", error);
        }
        return sheet.0;
    }
    if let Some(snapshots) = &record.snapshots_info {
        sheet.section("Snapshot information");
        sheet.nested("Snapshots", snapshots);
        sheet.blank();
    }
    if !record.tablespaces.is_empty() {
        sheet.section("Tablespaces");
        for tablespace in &record.tablespaces {
            sheet.nested(&tablespace.name, format!("{} (oid: {})", tablespace.location, tablespace.oid));
        }
        sheet.blank();
    }
    base_text(&mut sheet, details);
    wal_text(&mut sheet, details);
    catalog_text(&mut sheet, details);
    sheet.0
}

fn base_text(sheet: &mut Sheet, details: &BackupDetails) {
    let record = details.record();
    let wal = &details.backup.wal;
    sheet.section("Base backup information");
    sheet.nested("Backup Method", text(record.mode.as_ref().map(BackupMode::as_str)));
    if let Some(encryption) = &record.encryption {
        sheet.nested("Encryption", encryption);
    }
    if record.mode == Some(BackupMode::Postgres) {
        sheet.nested("Backup Type", type_name(record));
    }
    if let Some(own) = record.deduplicated_size.or(record.size) {
        let with_wals = pretty_bytes(own.saturating_add(wal.own_bytes));
        let note = if wal.own_bytes > 0 { format!(" ({with_wals} with WALs)") } else { String::new() };
        sheet.nested("Backup Size", format!("{}{note}", pretty_bytes(own)));
    }
    if let Some(compression) = record.compression.as_deref().filter(|name| *name != "none") {
        sheet.nested("Backup Compression", compression);
    }
    if wal.own_bytes > 0 {
        sheet.nested("WAL Size", pretty_bytes(wal.own_bytes));
    }
    if let Some((bytes, ratio)) = details.saved() {
        sheet.nested("Resources saved", format!("{} ({})", pretty_bytes(bytes), percent(ratio)));
    }
    sheet.nested("Timeline", text(record.timeline));
    sheet.nested("Begin WAL", text(record.begin_wal));
    sheet.nested("End WAL", text(record.end_wal));
    if wal.own_count > 0 {
        sheet.nested("Number of WALs", wal.own_count);
    }
    if let Some(saved) = wal.own_saved(segment_bytes(record)).filter(|saved| *saved > 0.0) {
        sheet.nested("WAL compression ratio", percent(saved));
    }
    sheet.nested("Begin time", text(record.begin_time.map(python_datetime)));
    sheet.nested("End time", text(record.end_time.map(python_datetime)));
    if let Some(seconds) = details.copy_seconds().filter(|seconds| *seconds > 0.0) {
        let startup = analysis(record).map_or_else(String::new, |s| format!(" + {} startup", span(s)));
        sheet.nested("Copy time", format!("{}{startup}", span(seconds)));
        if let Some(rate) = details.throughput() {
            let jobs = workers(record);
            let jobs = if jobs > 1 { format!(" ({jobs} jobs)") } else { String::new() };
            sheet.nested("Estimated throughput", format!("{}/s{jobs}", pretty_size(rate)));
        }
    }
    sheet.nested("Begin Offset", text(record.begin_offset));
    sheet.nested("End Offset", text(record.end_offset));
    sheet.nested("Begin LSN", text(record.begin_xlog));
    sheet.nested("End LSN", text(record.end_xlog));
    sheet.blank();
}

fn wal_text(sheet: &mut Sheet, details: &BackupDetails) {
    let wal = &details.backup.wal;
    sheet.section("WAL information");
    sheet.nested("Number of files", wal.later_count);
    sheet.nested("Disk usage", pretty_bytes(wal.later_bytes));
    if let Some(rate) = wal.rate() {
        sheet.nested("WAL rate", format!("{:.2}/hour", rate * 3600.0));
    }
    if let Some(saved) = wal.later_saved(segment_bytes(details.record())).filter(|saved| *saved > 0.0) {
        sheet.nested("Compression ratio", percent(saved));
    }
    sheet.nested("Last available", text(wal.last));
    if !details.timelines.is_empty() {
        let timelines: Vec<_> = details.timelines.iter().map(ToString::to_string).collect();
        sheet.nested("Reachable timelines", timelines.join(", "));
    }
    sheet.blank();
}

fn catalog_text(sheet: &mut Sheet, details: &BackupDetails) {
    let record = details.record();
    sheet.section("Catalog information");
    sheet.nested("Retention Policy", policy(details));
    sheet.nested("Previous Backup", details.previous.map_or_else(|| OLDEST.to_owned(), |id| id.to_string()));
    sheet.nested("Next Backup", details.next.map_or_else(|| LATEST.to_owned(), |id| id.to_string()));
    if !details.timelines.is_empty() {
        sheet.blank();
        sheet.0.push(format!("WARNING: {TIMELINES}"));
    }
    if record.backup_type() == BackupType::Incremental {
        sheet.nested("Root Backup", text(details.root));
        sheet.nested("Parent Backup", text(record.parent_backup_id));
        sheet.nested("Backup chain size", text(details.chain_size));
    }
    if record.mode == Some(BackupMode::Postgres) && !record.children_backup_ids.is_empty() {
        let children: Vec<_> = record.children_backup_ids.iter().map(ToString::to_string).collect();
        sheet.nested("Children Backup(s)", children.join(","));
    }
}

fn policy(details: &BackupDetails) -> String {
    match &details.backup.verdict {
        Some(verdict) => verdict.status.to_string(),
        None => "not enforced".to_owned(),
    }
}

fn to_json(details: &BackupDetails) -> Map<String, Value> {
    let record = details.record();
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| {
        object.insert(key.to_owned(), value);
    };
    put("backup_id", json!(record.id.to_string()));
    put("status", json!(record.status.to_string()));
    if let Some(name) = &record.backup_name {
        put("backup_name", json!(name));
    }
    if let Some(id) = &record.systemid {
        put("system_id", json!(id));
    }
    put(
        "server_information",
        json!({"data_checksums": record.data_checksums, "summarize_wal": record.summarize_wal}),
    );
    if !record.status.is_copied() {
        if let Some(error) = &record.error {
            put("error", json!(error));
        }
        return object;
    }
    put("backup_type", json!(type_name(record)));
    if let Some(size) = record.cluster_size {
        put("cluster_size", json!(pretty_bytes(size)));
        put("cluster_size_bytes", json!(size));
    }
    put("postgresql_version", json!(record.version));
    put("pgdata_directory", json!(record.pgdata));
    let tablespaces: Vec<_> = record
        .tablespaces
        .iter()
        .map(|t| json!({"name": t.name, "location": t.location, "oid": t.oid}))
        .collect();
    put("tablespaces", json!(tablespaces));
    put("base_backup_information", base_json(details));
    put("catalog_information", catalog_json(details));
    put("wal_information", wal_json(details));
    if let Some(snapshots) = &record.snapshots_info {
        put("snapshots_info", json!(snapshots));
    }
    object
}

fn times(time: Option<OffsetDateTime>) -> (Value, Value) {
    (time.map(python_datetime).into(), time.map(|time| time.unix_timestamp().to_string()).into())
}

fn base_json(details: &BackupDetails) -> Value {
    let record = details.record();
    let wal = &details.backup.wal;
    let own = record.deduplicated_size.or(record.size).unwrap_or(0);
    let with_wals = own.saturating_add(wal.own_bytes);
    let (begin_time, begin_timestamp) = times(record.begin_time);
    let (end_time, end_timestamp) = times(record.end_time);
    let mut base = json!({
        "backup_method": record.mode.as_ref().map(BackupMode::as_str),
        "encryption": record.encryption,
        "compression": record.compression,
        "backup_size": pretty_bytes(own),
        "backup_size_bytes": own,
        "backup_size_with_wals": pretty_bytes(with_wals),
        "backup_size_with_wals_bytes": with_wals,
        "wal_size": pretty_bytes(wal.own_bytes),
        "wal_size_bytes": wal.own_bytes,
        "timeline": record.timeline.map(walfile::Timeline::get),
        "begin_wal": record.begin_wal.map(|name| name.to_string()),
        "end_wal": record.end_wal.map(|name| name.to_string()),
        "wal_num": wal.own_count,
        "begin_time": begin_time,
        "begin_time_timestamp": begin_timestamp,
        "end_time": end_time,
        "end_time_timestamp": end_timestamp,
        "begin_offset": record.begin_offset,
        "end_offset": record.end_offset,
        "begin_lsn": record.begin_xlog.map(|lsn| lsn.to_string()),
        "end_lsn": record.end_xlog.map(|lsn| lsn.to_string()),
    });
    let mut put = |key: &str, value: Value| {
        if let Value::Object(map) = &mut base {
            map.insert(key.to_owned(), value);
        }
    };
    if let Some((bytes, ratio)) = details.saved() {
        put("resources_saved", json!(pretty_bytes(bytes)));
        put("resources_saved_bytes", json!(bytes));
        put("resources_saved_percentage", json!(percent(ratio)));
    }
    if let Some(saved) = wal.own_saved(segment_bytes(record)).filter(|saved| *saved > 0.0) {
        put("wal_compression_ratio", json!(percent(saved)));
    }
    if let Some(seconds) = details.copy_seconds().filter(|seconds| *seconds > 0.0) {
        put("copy_time", json!(span(seconds)));
        put("copy_time_seconds", json!(seconds));
        if let Some(seconds) = analysis(record) {
            put("analysis_time", json!(span(seconds)));
            put("analysis_time_seconds", json!(seconds));
        }
        if let Some(rate) = details.throughput() {
            put("throughput", json!(format!("{}/s", pretty_size(rate))));
            #[expect(clippy::cast_possible_truncation, reason = "whole bytes, as Barman cuts them")]
            put("throughput_bytes", json!(rate as i64));
        }
        put("number_of_workers", json!(workers(record)));
    }
    base
}

fn catalog_json(details: &BackupDetails) -> Value {
    let record = details.record();
    let mut catalog = json!({
        "retention_policy": policy(details),
        "previous_backup": details.previous.map_or_else(|| OLDEST.to_owned(), |id| id.to_string()),
        "next_backup": details.next.map_or_else(|| LATEST.to_owned(), |id| id.to_string()),
    });
    let Value::Object(map) = &mut catalog else { return catalog };
    if record.backup_type() == BackupType::Incremental {
        map.insert("root_backup_id".to_owned(), json!(details.root.map(|id| id.to_string())));
        map.insert("parent_backup_id".to_owned(), json!(record.parent_backup_id.map(|id| id.to_string())));
        map.insert("chain_size".to_owned(), json!(details.chain_size));
    }
    if record.mode == Some(BackupMode::Postgres) {
        let children: Vec<_> = record.children_backup_ids.iter().map(ToString::to_string).collect();
        let children = if children.is_empty() { Value::Null } else { json!(children) };
        map.insert("children_backup_ids".to_owned(), children);
    }
    catalog
}

fn wal_json(details: &BackupDetails) -> Value {
    let wal = &details.backup.wal;
    let timelines: Vec<_> = details.timelines.iter().map(ToString::to_string).collect();
    let rate = wal.rate();
    let saved = wal.later_saved(segment_bytes(details.record())).filter(|saved| *saved > 0.0);
    let mut object = json!({
        "no_of_files": wal.later_count,
        "disk_usage": pretty_bytes(wal.later_bytes),
        "disk_usage_bytes": wal.later_bytes,
        "wal_rate": rate.map_or(json!(0), |rate| json!(format!("{:.2}/hour", rate * 3600.0))),
        "wal_rate_per_second": rate.map_or(json!(0), |rate| json!(rate)),
        "compression_ratio": saved.map_or(json!(0), |saved| json!(percent(saved))),
        "last_available": wal.last.map(|name| name.to_string()),
        "timelines": timelines,
    });
    if !details.timelines.is_empty()
        && let Value::Object(map) = &mut object
    {
        map.insert("_WARNING".to_owned(), json!(TIMELINES));
    }
    object
}
