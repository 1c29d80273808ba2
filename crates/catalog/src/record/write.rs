//! Writing a record.

use std::fmt::{Display, Write as _};

use super::{BackupMode, BackupRecord, PyValue, timestamp};

impl BackupRecord {
    /// The text of the record: every key in alphabetical order, `backup_name` and `snapshots_info` only when set.
    /// A line break inside a text value becomes a blank, as it would end the line.
    pub fn to_text(&self) -> String {
        let mut out = Lines(String::with_capacity(2048));
        out.put("backup_label", self.backup_label.as_deref().filter(|t| !t.is_empty()).map(py_str));
        if self.backup_name.is_some() {
            out.text("backup_name", self.backup_name.as_deref());
        }
        out.put("begin_offset", self.begin_offset);
        out.put("begin_time", self.begin_time.map(timestamp::format));
        out.put("begin_wal", self.begin_wal);
        out.put("begin_xlog", self.begin_xlog);
        let children: Vec<&str> = self.children_backup_ids.iter().map(crate::BackupId::as_str).collect();
        out.put("children_backup_ids", Some(children.join(",")).filter(|ids| !ids.is_empty()));
        out.put("cluster_size", self.cluster_size);
        out.text("compression", self.compression.as_deref());
        out.text("config_file", self.config_file.as_deref());
        out.put(
            "copy_stats",
            self.copy_stats.as_ref().filter(|s| !s.is_empty()).map(super::CopyStats::to_value),
        );
        out.text("data_checksums", self.data_checksums.as_deref());
        out.put("deduplicated_size", self.deduplicated_size);
        out.text("encryption", self.encryption.as_deref());
        out.put("end_offset", self.end_offset);
        out.put("end_time", self.end_time.map(timestamp::format));
        out.put("end_wal", self.end_wal);
        out.put("end_xlog", self.end_xlog);
        out.text("error", self.error.as_deref());
        out.text("hba_file", self.hba_file.as_deref());
        out.text("ident_file", self.ident_file.as_deref());
        let files = self.included_files.as_deref().filter(|files| !files.is_empty());
        out.put("included_files", files.map(|f| PyValue::List(f.iter().map(|f| py_str(f)).collect())));
        out.text("mode", self.mode.as_ref().map(BackupMode::as_str));
        out.put("parent_backup_id", self.parent_backup_id);
        out.text("pgdata", self.pgdata.as_deref());
        out.text("server_name", self.server_name.as_deref());
        out.put("size", self.size);
        if self.snapshots_info.is_some() {
            out.text("snapshots_info", self.snapshots_info.as_deref());
        }
        out.put("status", Some(self.status));
        out.text("summarize_wal", self.summarize_wal.as_deref());
        out.text("systemid", self.systemid.as_deref());
        out.put("tablespaces", self.tablespaces_value());
        out.put("timeline", self.timeline);
        out.put("version", self.version);
        out.put("xlog_segment_size", self.xlog_segment_size.map(walfile::SegmentSize::bytes));
        out.0
    }

    fn tablespaces_value(&self) -> Option<PyValue> {
        let tuple = |t: &super::TablespaceInfo| {
            PyValue::Tuple(vec![py_str(&t.name), PyValue::Int(t.oid.into()), py_str(&t.location)])
        };
        (!self.tablespaces.is_empty()).then(|| PyValue::List(self.tablespaces.iter().map(tuple).collect()))
    }
}

fn py_str(text: &str) -> PyValue {
    PyValue::Str(text.to_owned())
}

struct Lines(String);

impl Lines {
    fn put(&mut self, key: &str, value: Option<impl Display>) {
        // Writing to a string cannot fail.
        let _ = match value {
            Some(value) => writeln!(self.0, "{key}={value}"),
            None => writeln!(self.0, "{key}=None"),
        };
    }

    fn text(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) if value.contains(['\n', '\r']) => {
                self.put(key, Some(value.trim().replace(['\n', '\r'], " ")));
            }
            value => self.put(key, value),
        }
    }
}
