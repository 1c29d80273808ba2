//! Reading a record.

use std::path::Path;
use std::str::FromStr;

use time::UtcOffset;
use walfile::SegmentSize;

use super::{
    BackupMode, BackupRecord, CopyStats, LiteralError, PyValue, RecordError, RecordProblem, TablespaceInfo,
    timestamp,
};
use crate::BackupId;

/// Records are a few kilobytes; one with 10,000 tablespaces is about two megabytes.
const MAX_RECORD: u64 = 16 << 20;

impl BackupRecord {
    /// Reads the text of a record. `local` is the zone of times that carry none (old versions wrote such).
    ///
    /// # Errors
    /// When the text is not a record; the first problem found.
    pub fn parse(id: BackupId, bytes: &[u8], local: UtcOffset) -> Result<Self, RecordProblem> {
        let text = str::from_utf8(bytes).map_err(|_| RecordProblem::Encoding)?;
        let mut record = Self::new(id);
        for line in text.split('\n') {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once('=').ok_or_else(|| RecordProblem::NoEquals(shorten(line)))?;
            let value = Some(value.trim()).filter(|value| *value != "None");
            record.set(key.trim(), value, local)?;
        }
        Ok(record)
    }

    /// Reads a record file.
    ///
    /// # Errors
    /// When the file cannot be read or is not a record.
    pub fn read(id: BackupId, path: &Path, local: UtcOffset) -> Result<Self, RecordError> {
        use std::io::Read as _;
        let invalid = |problem| RecordError::Invalid { path: path.to_owned(), problem };
        let file = std::fs::File::open(path).map_err(|e| RecordError::io(path, e))?;
        let mut bytes = Vec::new();
        file.take(MAX_RECORD + 1).read_to_end(&mut bytes).map_err(|e| RecordError::io(path, e))?;
        if bytes.len() as u64 > MAX_RECORD {
            return Err(invalid(RecordProblem::TooLarge(bytes.len() as u64)));
        }
        Self::parse(id, &bytes, local).map_err(invalid)
    }

    fn set(&mut self, key: &str, value: Option<&str>, local: UtcOffset) -> Result<(), RecordProblem> {
        let own = || value.map(str::to_owned);
        match key {
            "backup_label" => self.backup_label = literal("backup_label", value, string)?,
            "backup_name" => self.backup_name = own(),
            "begin_offset" => self.begin_offset = typed("begin_offset", value, "an offset")?,
            "begin_time" => self.begin_time = time("begin_time", value, local)?,
            "begin_wal" => self.begin_wal = typed("begin_wal", value, "a WAL segment name")?,
            "begin_xlog" => self.begin_xlog = typed("begin_xlog", value, "a WAL position")?,
            "children_backup_ids" => self.children_backup_ids = ids(value)?,
            "cluster_size" => self.cluster_size = typed("cluster_size", value, "a number of bytes")?,
            "compression" => self.compression = own(),
            "config_file" => self.config_file = own(),
            "copy_stats" => self.copy_stats = literal("copy_stats", value, copy_stats)?,
            "data_checksums" => self.data_checksums = own(),
            "deduplicated_size" => {
                self.deduplicated_size = typed("deduplicated_size", value, "a number of bytes")?;
            }
            "encryption" => self.encryption = own(),
            "end_offset" => self.end_offset = typed("end_offset", value, "an offset")?,
            "end_time" => self.end_time = time("end_time", value, local)?,
            "end_wal" => self.end_wal = typed("end_wal", value, "a WAL segment name")?,
            "end_xlog" => self.end_xlog = typed("end_xlog", value, "a WAL position")?,
            "error" => self.error = own(),
            "hba_file" => self.hba_file = own(),
            "ident_file" => self.ident_file = own(),
            "included_files" => self.included_files = literal("included_files", value, strings)?,
            "mode" => self.mode = value.map(BackupMode::from),
            "parent_backup_id" => self.parent_backup_id = typed("parent_backup_id", value, "a backup id")?,
            "pgdata" => self.pgdata = own(),
            "server_name" => self.server_name = own(),
            "size" => self.size = typed("size", value, "a number of bytes")?,
            "snapshots_info" => self.snapshots_info = own(),
            "status" => self.status = typed("status", value, "a backup status")?.unwrap_or_default(),
            "summarize_wal" => self.summarize_wal = own(),
            "systemid" => self.systemid = own(),
            "tablespaces" => {
                self.tablespaces = literal("tablespaces", value, tablespaces)?.unwrap_or_default();
            }
            "timeline" => self.timeline = typed("timeline", value, "a timeline")?,
            "version" => self.version = typed("version", value, "a version number")?,
            "xlog_segment_size" => self.xlog_segment_size = segment_size(value)?,
            _ => return Err(RecordProblem::UnknownKey(shorten(key))),
        }
        Ok(())
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

fn wrong(key: &'static str, value: &str, expected: &'static str) -> RecordProblem {
    RecordProblem::Value { key, value: shorten(value), expected }
}

fn typed<T: FromStr>(
    key: &'static str,
    value: Option<&str>,
    expected: &'static str,
) -> Result<Option<T>, RecordProblem> {
    value.map(|text| text.parse().map_err(|_| wrong(key, text, expected))).transpose()
}

fn time(
    key: &'static str,
    value: Option<&str>,
    local: UtcOffset,
) -> Result<Option<time::OffsetDateTime>, RecordProblem> {
    value.map(|text| timestamp::parse(text, local).ok_or_else(|| wrong(key, text, "a time"))).transpose()
}

fn segment_size(value: Option<&str>) -> Result<Option<SegmentSize>, RecordProblem> {
    let bytes: Option<u64> = typed("xlog_segment_size", value, "a segment size")?;
    let fail = |_| wrong("xlog_segment_size", value.unwrap_or_default(), "a segment size");
    bytes.map(|bytes| SegmentSize::new(bytes).map_err(fail)).transpose()
}

fn ids(value: Option<&str>) -> Result<Vec<BackupId>, RecordProblem> {
    let fail = |id| wrong("children_backup_ids", id, "a backup id");
    let ids = value.into_iter().flat_map(|text| text.split(',')).filter(|id| !id.is_empty());
    ids.map(|id| id.trim().parse().map_err(|_| fail(id))).collect()
}

/// `read` turns the value into its type; `Err` is what was expected instead.
fn literal<T>(
    key: &'static str,
    value: Option<&str>,
    read: fn(PyValue) -> Result<T, &'static str>,
) -> Result<Option<T>, RecordProblem> {
    let Some(text) = value else { return Ok(None) };
    match PyValue::parse(text).map_err(|source: LiteralError| RecordProblem::Literal { key, source })? {
        PyValue::None => Ok(None),
        parsed => read(parsed).map(Some).map_err(|expected| wrong(key, text, expected)),
    }
}

fn string(value: PyValue) -> Result<String, &'static str> {
    match value {
        PyValue::Str(text) => Ok(text),
        _ => Err("a string"),
    }
}

fn strings(value: PyValue) -> Result<Vec<String>, &'static str> {
    let expected = "a list of strings";
    match value {
        PyValue::List(items) | PyValue::Tuple(items) => {
            items.into_iter().map(|item| string(item).map_err(|_| expected)).collect()
        }
        _ => Err(expected),
    }
}

fn copy_stats(value: PyValue) -> Result<CopyStats, &'static str> {
    match value {
        PyValue::Dict(pairs) => Ok(CopyStats::from_pairs(pairs)),
        _ => Err("a dictionary"),
    }
}

fn tablespaces(value: PyValue) -> Result<Vec<TablespaceInfo>, &'static str> {
    let one = |item: &PyValue| match item.items()? {
        [PyValue::Str(name), PyValue::Int(oid), PyValue::Str(location)] => Some(TablespaceInfo {
            name: name.clone(),
            oid: u32::try_from(*oid).ok()?,
            location: location.clone(),
        }),
        _ => None,
    };
    value.items().and_then(|items| items.iter().map(one).collect()).ok_or("a list of (name, oid, location)")
}
