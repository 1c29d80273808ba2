//! The log itself (`pg_control.h`, `xlog_internal.h`).

use std::fmt;

use super::Description;
use super::input::{Input, Result};
use super::timestamp::At;
use super::xact::Text;
use crate::record::{FullXid, Timestamp};

const fn wal_level(value: u32) -> &'static str {
    match value {
        0 => "minimal",
        1 => "replica",
        2 => "logical",
        _ => "?",
    }
}

const fn on_off(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}

pub(super) fn describe(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    match record.kind() {
        0x00 => checkpoint(record, f, &mut main, "shutdown"),
        0x10 => checkpoint(record, f, &mut main, "online"),
        0x30 => Ok(write!(f, "{}", main.u32()?)?),
        0x50 => Ok(write!(f, "{}", main.lsn()?)?),
        0x60 => parameters(record, f, &mut main),
        0x70 => {
            main.skip(8)?;
            Ok(write!(f, "{}", Text(main.text()))?)
        }
        0x80 => Ok(write!(f, "{}", main.bool()?)?),
        0x90 => {
            let (time, timeline, before) = (main.i64()?, main.u32()?, main.u32()?);
            let time = At(Timestamp::from_micros(time), record.zone);
            write!(f, "tli {timeline}; prev tli {before}; time {time}")?;
            level_if(f, record.major >= 17, &mut main, "; ")
        }
        0xD0 => {
            let (lsn, time) = (main.lsn()?, Timestamp::from_micros(main.i64()?));
            Ok(write!(f, "lsn {lsn}; time {}", At(time, record.zone))?)
        }
        0xE0 => level_if(f, record.major >= 17, &mut main, ""),
        _ => Ok(()),
    }
}

fn level_if(f: &mut fmt::Formatter<'_>, there: bool, main: &mut Input<'_>, before: &str) -> Result {
    if there {
        write!(f, "{before}wal_level {}", wal_level(main.u32()?))?;
    }
    Ok(())
}

fn checkpoint(
    record: &Description<'_>,
    f: &mut fmt::Formatter<'_>,
    main: &mut Input<'_>,
    kind: &str,
) -> Result {
    let (redo, timeline, before, full_pages) = (main.lsn()?, main.u32()?, main.u32()?, main.bool()?);
    main.skip(3)?;
    write!(f, "redo {redo}; tli {timeline}; prev tli {before}; fpw {full_pages}; ")?;
    // Epoch and number stood apart up to 11; since then they are one number, aligned to eight bytes.
    let next = if record.major < 12 {
        let epoch = main.u32()?;
        FullXid::new(u64::from(epoch) << 32 | u64::from(main.u32()?))
    } else {
        let level = main.u32()?;
        if record.major >= 17 {
            write!(f, "wal_level {}; ", wal_level(level))?;
        }
        FullXid::new(main.u64()?)
    };
    let [oid, multi, offset] = [main.u32()?, main.u32()?, main.u32()?];
    let [oldest, oldest_database, oldest_multi, multi_database] =
        [main.u32()?, main.u32()?, main.u32()?, main.u32()?];
    if record.major >= 12 {
        main.skip(4)?;
    }
    main.skip(8)?; // when
    let [first_time, last_time, running] = [main.u32()?, main.u32()?, main.u32()?];
    write!(f, "xid {}:{}; oid {oid}; multi {multi}; offset {offset}; ", next.epoch(), next.xid())?;
    write!(f, "oldest xid {oldest} in DB {oldest_database}; ")?;
    write!(f, "oldest multi {oldest_multi} in DB {multi_database}; ")?;
    write!(f, "oldest/newest commit timestamp xid: {first_time}/{last_time}; ")?;
    Ok(write!(f, "oldest running xid {running}; {kind}")?)
}

fn parameters(record: &Description<'_>, f: &mut fmt::Formatter<'_>, main: &mut Input<'_>) -> Result {
    write!(f, "max_connections={} max_worker_processes={} ", main.i32()?, main.i32()?)?;
    if record.major >= 12 {
        write!(f, "max_wal_senders={} ", main.i32()?)?;
    }
    write!(f, "max_prepared_xacts={} max_locks_per_xact={} ", main.i32()?, main.i32()?)?;
    write!(f, "wal_level={} ", wal_level(main.u32()?))?;
    let (hints, times) = (main.bool()?, main.bool()?);
    Ok(write!(f, "wal_log_hints={} track_commit_timestamp={}", on_off(hints), on_off(times))?)
}
