//! A backup record as an object: the keys of `backup.info` in their order, then the id and the times in ISO form.

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use tapster_catalog::record::PyValue;
use tapster_catalog::{BackupMode, BackupRecord};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const CTIME: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]"
);

/// What Barman's `to_json` makes of a record.
pub(super) struct RecordJson<'a>(pub(super) &'a BackupRecord);

impl Serialize for RecordJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.0;
        let text = |value: Option<&dyn std::fmt::Display>| value.map(ToString::to_string);
        let repr = |text: &Option<String>| {
            // Barman hands out the literal of its own file here.
            text.as_ref().map(|text| PyValue::Str(text.clone()).to_string())
        };
        let children: Vec<&str> = record.children_backup_ids.iter().map(|id| id.as_str()).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("backup_label", &repr(&record.backup_label))?;
        if record.backup_name.is_some() {
            map.serialize_entry("backup_name", &record.backup_name)?;
        }
        map.serialize_entry("begin_offset", &record.begin_offset)?;
        map.serialize_entry("begin_time", &record.begin_time.map(ctime))?;
        map.serialize_entry("begin_wal", &text(record.begin_wal.as_ref().map(|v| v as _)))?;
        map.serialize_entry("begin_xlog", &text(record.begin_xlog.as_ref().map(|v| v as _)))?;
        let joined = Some(children.join(",")).filter(|ids| !ids.is_empty());
        map.serialize_entry("children_backup_ids", &joined)?;
        map.serialize_entry("cluster_size", &record.cluster_size)?;
        map.serialize_entry("compression", &record.compression)?;
        map.serialize_entry("config_file", &record.config_file)?;
        let stats = record.copy_stats.as_ref().filter(|stats| !stats.is_empty());
        map.serialize_entry("copy_stats", &stats.map(|stats| Python(stats.to_value())))?;
        map.serialize_entry("data_checksums", &record.data_checksums)?;
        map.serialize_entry("deduplicated_size", &record.deduplicated_size)?;
        map.serialize_entry("encryption", &record.encryption)?;
        map.serialize_entry("end_offset", &record.end_offset)?;
        map.serialize_entry("end_time", &record.end_time.map(ctime))?;
        map.serialize_entry("end_wal", &text(record.end_wal.as_ref().map(|v| v as _)))?;
        map.serialize_entry("end_xlog", &text(record.end_xlog.as_ref().map(|v| v as _)))?;
        map.serialize_entry("error", &record.error)?;
        map.serialize_entry("hba_file", &record.hba_file)?;
        map.serialize_entry("ident_file", &record.ident_file)?;
        let included = record.included_files.as_ref().filter(|files| !files.is_empty());
        map.serialize_entry("included_files", &included)?;
        map.serialize_entry("mode", &record.mode.as_ref().map(BackupMode::as_str))?;
        map.serialize_entry("parent_backup_id", &record.parent_backup_id)?;
        map.serialize_entry("pgdata", &record.pgdata)?;
        map.serialize_entry("server_name", &record.server_name)?;
        map.serialize_entry("size", &record.size)?;
        if let Some(info) = &record.snapshots_info {
            // What is no literal goes as the text it is.
            let info = PyValue::parse(info).unwrap_or_else(|_| PyValue::Str(info.clone()));
            map.serialize_entry("snapshots_info", &Python(info))?;
        }
        map.serialize_entry("status", record.status.as_str())?;
        map.serialize_entry("summarize_wal", &record.summarize_wal)?;
        map.serialize_entry("systemid", &record.systemid)?;
        let spaces: Vec<_> =
            record.tablespaces.iter().map(|space| (&space.name, space.oid, &space.location)).collect();
        map.serialize_entry("tablespaces", &Some(spaces).filter(|spaces| !spaces.is_empty()))?;
        map.serialize_entry("timeline", &record.timeline.map(walfile::Timeline::get))?;
        map.serialize_entry("version", &record.version)?;
        map.serialize_entry("xlog_segment_size", &record.xlog_segment_size.map(walfile::SegmentSize::bytes))?;
        map.serialize_entry("backup_id", &record.id)?;
        if let Some(time) = record.begin_time {
            map.serialize_entry("begin_time_iso", &isoformat(time))?;
        }
        if let Some(time) = record.end_time {
            map.serialize_entry("end_time_iso", &isoformat(time))?;
        }
        map.end()
    }
}

/// A literal as the JSON value of the same meaning, dictionaries in their order.
struct Python(PyValue);

impl Serialize for Python {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            PyValue::None => serializer.serialize_unit(),
            PyValue::Bool(value) => serializer.serialize_bool(*value),
            PyValue::Int(value) => serializer.serialize_i64(*value),
            PyValue::Float(value) => serializer.serialize_f64(*value),
            PyValue::Str(text) => serializer.serialize_str(text),
            PyValue::List(items) | PyValue::Tuple(items) => {
                serializer.collect_seq(items.iter().map(|item| Self(item.clone())))
            }
            PyValue::Dict(pairs) => serializer.collect_map(pairs.iter().map(|(key, value)| {
                let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                (key, Self(value.clone()))
            })),
        }
    }
}

fn ctime(time: OffsetDateTime) -> String {
    // Formatting fails only for components a full date-time does not have.
    time.format(CTIME).unwrap_or_default()
}

/// `2026-11-21T00:06:28.902082+00:00`.
fn isoformat(time: OffsetDateTime) -> String {
    tapster_catalog::record::format_time(time).replacen(' ', "T", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of the primary that the capture was made on, and what its `sync-info` said of it.
    #[test]
    fn a_record_is_written_as_barman_does() {
        let text = "backup_label='START \\'x\\'\\n'\nbegin_time=2026-11-01 00:06:28+02:00\nchildren_backup_ids=20261121T000629,20261121T000630\n\
                    copy_stats={'total_time': 2.804269, 'copy_time': 1.5}\nincluded_files=['/a']\nmode=postgres\nstatus=DONE\n\
                    tablespaces=[('tbs1', 16386, '/t')]\ntimeline=1\nxlog_segment_size=16777216\n";
        let id = "20261121T000628".parse().unwrap();
        let record = BackupRecord::parse(id, text.as_bytes(), time::UtcOffset::UTC).unwrap();
        let json = serde_json::to_string(&RecordJson(&record)).unwrap();
        assert!(json.starts_with(r#"{"backup_label":"\"START 'x'\\n\"","begin_offset":null,"#), "{json}");
        for part in [
            r#""begin_time":"Sun Nov  1 00:06:28 2026""#,
            r#""children_backup_ids":"20261121T000629,20261121T000630""#,
            r#""copy_stats":{"total_time":2.804269,"copy_time":1.5}"#,
            r#""included_files":["/a"],"mode":"postgres""#,
            r#""tablespaces":[["tbs1",16386,"/t"]],"timeline":1"#,
            r#""backup_id":"20261121T000628","begin_time_iso":"2026-11-01T00:06:28+02:00"}"#,
        ] {
            assert!(json.contains(part), "{part}: {json}");
        }
        let _: serde_json::Value = serde_json::from_str(&json).unwrap();
    }
}
