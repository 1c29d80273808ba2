//! `list-backups`.

use serde_json::{Value, json};
use tapster_catalog::{BackupStatus, BackupType};
use tapster_manager::text::pretty_bytes;
use tapster_manager::{BackupList, ListedBackup};

use super::Output;
use crate::args::list_backups::ListBackupsArgs;
use crate::format::timestamp::ctime;

/// Prints the list of one server.
pub(crate) fn show(output: &Output, server: &str, list: &BackupList, args: &ListBackupsArgs) {
    for (id, error) in &list.unreadable {
        output.warning(format!("backup {id} of server '{server}' cannot be read: {error}"));
    }
    if output.is_json() {
        let item = |backup: &ListedBackup| {
            if args.minimal { json!(backup.record.id.to_string()) } else { to_json(backup, args.explain) }
        };
        output.json_insert(server, list.backups.iter().map(item).collect::<Vec<Value>>());
        return;
    }
    for backup in &list.backups {
        output.line(if args.minimal { backup.record.id.to_string() } else { to_text(server, backup) });
        if args.explain {
            output.line(format!("\t{}", backup.retention_reason()));
        }
    }
}

fn to_text(server: &str, backup: &ListedBackup) -> String {
    let record = &backup.record;
    let mut line = format!("{server} {} ", record.id);
    if let Some(name) = &record.backup_name {
        line.push_str(&format!("'{name}' "));
    }
    line.push_str(match record.backup_type() {
        BackupType::Full => "- F",
        BackupType::Incremental => "- I",
        BackupType::Rsync => "- R",
        BackupType::Snapshot => "- S",
        _ => "-",
    });
    line.push_str(" - ");
    if !backup.is_copied() {
        line.push_str(&backup.status().to_string());
        if backup.deletion_begun {
            line.push_str(" - its deletion has begun");
        }
        return line;
    }
    let end = record.end_time.map_or_else(|| "None".to_owned(), ctime);
    line.push_str(&format!(
        "{end} - Size: {} - WAL Size: {}",
        pretty_bytes(backup.size()),
        pretty_bytes(backup.wal.later_bytes)
    ));
    if record.status == BackupStatus::WaitingForWals {
        line.push_str(&format!(" - {}", record.status));
    }
    let verdict = backup.retention_status();
    if verdict != "-" {
        line.push_str(&format!(" - {verdict}"));
    }
    line
}

fn to_json(backup: &ListedBackup, with_reason: bool) -> Value {
    let record = &backup.record;
    let kind = match record.backup_type() {
        BackupType::Full => "full",
        BackupType::Incremental => "incremental",
        BackupType::Rsync => "rsync",
        BackupType::Snapshot => "snapshot",
        _ => "unknown",
    };
    let mut item = json!({
        "backup_id": record.id.to_string(),
        "backup_type": kind,
        "status": backup.status().to_string(),
    });
    let Value::Object(map) = &mut item else { return item };
    let mut put = |key: &str, value: Value| {
        map.insert(key.to_owned(), value);
    };
    if let Some(name) = &record.backup_name {
        put("backup_name", json!(name));
    }
    if backup.deletion_begun {
        put("deletion_begun", json!(true));
    }
    if with_reason {
        put("retention_reason", json!(backup.retention_reason()));
    }
    if backup.is_copied() {
        put("end_time", json!(record.end_time.map(ctime)));
        put("end_time_timestamp", json!(record.end_time.map(|end| end.unix_timestamp().to_string())));
        put("size", json!(pretty_bytes(backup.size())));
        put("size_bytes", json!(backup.size()));
        put("wal_size", json!(pretty_bytes(backup.wal.later_bytes)));
        put("wal_size_bytes", json!(backup.wal.later_bytes));
        put("retention_status", json!(backup.retention_status()));
    }
    item
}
