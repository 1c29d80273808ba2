//! A record as a JSON object.

use std::fmt::Display;
use std::io::{self, Write};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use walfile::Record;
use walfile::record::{Parts, Timestamp};
use walfile::rmgr::{Checkpoint, Description, Payload, Transaction};

/// Writes one line: what every record has in a fixed order, then what this one says.
pub(super) fn write(out: &mut impl Write, record: &Record<'_>, parts: &Parts<'_>) -> io::Result<()> {
    let header = &record.header;
    let record_len = header.total_len.saturating_sub(parts.image_bytes);
    write!(out, "{{\"lsn\": \"{}\", \"prev\": \"{}\", \"end\": \"{}\"", record.lsn, header.prev, record.end)?;
    write!(out, ", \"timeline\": {}, \"rmgr\": \"{}\"", record.timeline, header.rmgr)?;
    match record.type_name() {
        Some(name) => write!(out, ", \"type\": \"{name}\"")?,
        None => write!(out, ", \"type\": \"UNKNOWN ({:x})\"", header.kind())?,
    }
    write!(out, ", \"record_len\": {record_len}, \"total_len\": {}", header.total_len)?;
    write!(out, ", \"xid\": {}, \"blocks\": [", header.xid)?;
    for (index, block) in parts.blocks().enumerate() {
        out.write_all(if index == 0 { b"" } else { b", " })?;
        write!(out, "{{\"rel\": \"{}\", \"fork\": \"{}\"", block.relation, block.fork)?;
        write!(out, ", \"block\": {}, \"fpw\": {}}}", block.block, block.image.is_some())?;
    }
    out.write_all(b"]")?;
    let description = Description::new(record, parts).to_string();
    write!(out, ", \"desc\": {}", Value::from(description.trim_end()))?;
    if let Some(xid) = parts.toplevel_xid {
        write!(out, ", \"toplevel_xid\": {xid}")?;
    }
    if let Some(origin) = parts.origin {
        write!(out, ", \"origin\": {origin}")?;
    }
    if let Ok(payload) = Payload::read(header, parts.main, record.major())
        && let Some(fields) = fields(&payload)
    {
        for (key, value) in &fields {
            write!(out, ", \"{key}\": {value}")?;
        }
    }
    out.write_all(b"}\n")
}

fn text(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).into()
}

/// `null` for a time that the calendar does not have.
fn time(time: Timestamp) -> Value {
    let nanos = i128::from(time.unix_micros()) * 1000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).into()
}

fn list<T: Display>(items: impl Iterator<Item = T>) -> Value {
    items.map(|item| Value::from(item.to_string())).collect()
}

/// What the payload of a record says, for those that are decoded.
fn fields(payload: &Payload<'_>) -> Option<Map<String, Value>> {
    let value = match payload {
        Payload::Commit(end)
        | Payload::Abort(end)
        | Payload::Prepare(end)
        | Payload::CommitPrepared(end)
        | Payload::AbortPrepared(end) => transaction(end),
        Payload::CheckpointShutdown(checkpoint) | Payload::CheckpointOnline(checkpoint) => point(checkpoint),
        Payload::NextOid(oid) => json!({"oid": oid.get()}),
        Payload::BackupEnd(start) => json!({"backup_start": start.to_string()}),
        Payload::RestorePoint(point) => json!({"name": text(point.name), "time": time(point.time)}),
        Payload::FullPageWrites(on) => json!({"full_page_writes": on}),
        Payload::EndOfRecovery(end) => json!({
            "new_timeline": end.timeline.get(),
            "previous_timeline": end.previous_timeline.get(),
            "time": time(end.time),
        }),
        Payload::OverwriteContinued(lost) => json!({"lost": lost.lost.to_string(), "time": time(lost.time)}),
        Payload::FileCreate(file) => {
            json!({"rel": file.relation.to_string(), "created_fork": file.fork.name()})
        }
        Payload::FileTruncate(file) => {
            json!({"rel": file.relation.to_string(), "left_blocks": file.blocks})
        }
        Payload::TableTruncate(truncate) => json!({
            "database": truncate.database.get(),
            "tables": truncate.tables.iter().map(|oid| Value::from(oid.get())).collect::<Value>(),
        }),
        Payload::DatabaseCreate(create) => {
            json!({"database": create.database.get(), "tablespace": create.tablespace.get()})
        }
        Payload::DatabaseDrop(drop) => json!({
            "database": drop.database.get(),
            "tablespaces": drop.tablespaces.iter().map(|oid| Value::from(oid.get())).collect::<Value>(),
        }),
        Payload::TablespaceCreate(tablespace) | Payload::TablespaceDrop(tablespace) => {
            json!({"tablespace": tablespace.tablespace.get(), "path": tablespace.path.map(text)})
        }
        Payload::RunningTransactions(running) => json!({
            "next_xid": running.next_xid.get(),
            "oldest_running_xid": running.oldest_running.get(),
            "latest_completed_xid": running.latest_completed.get(),
        }),
        Payload::Message(message) => json!({
            "database": message.database.get(),
            "transactional": message.transactional,
            "prefix": text(message.prefix),
            "content": text(message.content),
        }),
        _ => return None,
    };
    match value {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

fn transaction(end: &Transaction<'_>) -> Value {
    json!({
        "time": time(end.time),
        "transaction": end.xid.get(),
        "subtransactions": end.subtransactions.iter().map(|xid| Value::from(xid.get())).collect::<Value>(),
        "dropped": list(end.dropped.iter()),
        "gid": end.gid.map(text),
    })
}

fn point(checkpoint: &Checkpoint) -> Value {
    json!({
        "redo": checkpoint.redo.to_string(),
        "checkpoint_timeline": checkpoint.timeline.get(),
        "previous_timeline": checkpoint.previous_timeline.get(),
        "next_xid": checkpoint.next_xid.get(),
        "oldest_active_xid": checkpoint.oldest_active_xid.get(),
        "time": time(checkpoint.time),
    })
}
