//! A backup record as `-f json backup` prints it: every field at the top level, as Barman turns them into JSON.

use serde_json::{Map, Value, json};
use tapster_catalog::{BackupMode, BackupRecord};

use crate::format::python::str_repr;
use crate::format::timestamp::ctime;

/// The fields. Times are `ctime`, the label is Python's literal of it, the size of the cluster is a float.
pub(crate) fn fields(record: &BackupRecord) -> Map<String, Value> {
    let children: Vec<_> = record.children_backup_ids.iter().map(ToString::to_string).collect();
    let tablespaces: Vec<_> = record.tablespaces.iter().map(|t| json!([t.name, t.oid, t.location])).collect();
    let list = |items: Vec<Value>| if items.is_empty() { Value::Null } else { Value::Array(items) };
    let stats = record.copy_stats.as_ref().map(|stats| {
        let known = ["analysis_time", "copy_time", "number_of_workers", "total_time"];
        known
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), json!(stats.number(key)?))))
            .collect::<Map<_, _>>()
    });
    let children = if children.is_empty() { Value::Null } else { json!(children.join(",")) };
    #[expect(clippy::cast_precision_loss, reason = "Barman's type")]
    let cluster_size = record.cluster_size.map(|size| size as f64);
    let object = json!({
        "backup_id": record.id.to_string(),
        "backup_label": record.backup_label.as_deref().map(str_repr),
        "begin_offset": record.begin_offset,
        "begin_time": record.begin_time.map(ctime),
        "begin_wal": record.begin_wal.map(|name| name.to_string()),
        "begin_xlog": record.begin_xlog.map(|lsn| lsn.to_string()),
        "children_backup_ids": children,
        "cluster_size": cluster_size,
        "compression": record.compression,
        "config_file": record.config_file,
        "copy_stats": stats,
        "data_checksums": record.data_checksums,
        "deduplicated_size": record.deduplicated_size,
        "encryption": record.encryption,
        "end_offset": record.end_offset,
        "end_time": record.end_time.map(ctime),
        "end_wal": record.end_wal.map(|name| name.to_string()),
        "end_xlog": record.end_xlog.map(|lsn| lsn.to_string()),
        "error": record.error,
        "hba_file": record.hba_file,
        "ident_file": record.ident_file,
        "included_files": record.included_files,
        "mode": record.mode.as_ref().map(BackupMode::as_str),
        "parent_backup_id": record.parent_backup_id.map(|id| id.to_string()),
        "pgdata": record.pgdata,
        "server_name": record.server_name,
        "size": record.size,
        "status": record.status.to_string(),
        "summarize_wal": record.summarize_wal,
        "systemid": record.systemid,
        "tablespaces": list(tablespaces),
        "timeline": record.timeline.map(walfile::Timeline::get),
        "version": record.version,
        "xlog_segment_size": record.xlog_segment_size.map(walfile::SegmentSize::bytes),
    });
    let Value::Object(mut map) = object else { return Map::new() };
    if let Some(name) = &record.backup_name {
        map.insert("backup_name".to_owned(), json!(name));
    }
    map
}
