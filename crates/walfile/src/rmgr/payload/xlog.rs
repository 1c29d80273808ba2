//! Records of the log itself (`pg_control.h`, `xlog_internal.h`).

use crate::record::{Fields, FullXid, Oid, Timestamp, Xid};
use crate::{Lsn, Timeline, WalLevel};

/// A checkpoint (`CheckPoint`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// Where replay begins after this checkpoint.
    pub redo: Lsn,
    /// The timeline.
    pub timeline: Timeline,
    /// The timeline before, when a new one begins here; the same otherwise.
    pub previous_timeline: Timeline,
    /// `full_page_writes`.
    pub full_page_writes: bool,
    /// `wal_level`; PostgreSQL 17 and later.
    pub wal_level: Option<WalLevel>,
    /// The next transaction.
    pub next_xid: FullXid,
    /// The next object identifier.
    pub next_oid: Oid,
    /// The next multixact.
    pub next_multixact: u32,
    /// The oldest transaction that may still stand in a table.
    pub oldest_xid: Xid,
    /// When it was made. Whole seconds.
    pub time: Timestamp,
    /// The oldest transaction that was running; [`Xid::INVALID`] in a shutdown checkpoint.
    pub oldest_active_xid: Xid,
}

impl Checkpoint {
    pub(super) fn read(main: &[u8], major: u16) -> Option<Self> {
        let mut fields = Fields::new(main);
        let redo = Lsn::new(fields.u64()?);
        let timeline = Timeline::new(fields.u32()?)?;
        let previous_timeline = Timeline::new(fields.u32()?)?;
        let full_page_writes = fields.u8()? != 0;
        fields.skip(3)?;
        // Epoch and number stood apart up to 11; since then they are one number, aligned to eight bytes.
        // In 17 wal_level took the place of the padding.
        let word = fields.u32()?;
        let next_xid = if major < 12 {
            FullXid::new(u64::from(word) << 32 | u64::from(fields.u32()?))
        } else {
            FullXid::new(fields.u64()?)
        };
        let wal_level = if major < 17 { None } else { Some(WalLevel::from_value(word)?) };
        let (next_oid, next_multixact) = (Oid::new(fields.u32()?), fields.u32()?);
        fields.skip(4)?; // the next member of a multixact
        let oldest_xid = Xid::new(fields.u32()?);
        fields.skip(12)?; // its database, the oldest multixact and its database
        if major >= 12 {
            fields.skip(4)?;
        }
        let time = Timestamp::from_unix_seconds(fields.i64()?);
        fields.skip(8)?; // the range of commit timestamps
        let oldest_active_xid = Xid::new(fields.u32()?);
        Some(Self {
            redo,
            timeline,
            previous_timeline,
            full_page_writes,
            wal_level,
            next_xid,
            next_oid,
            next_multixact,
            oldest_xid,
            time,
            oldest_active_xid,
        })
    }
}

/// The end of recovery, where a timeline may begin (`xl_end_of_recovery`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct EndOfRecovery {
    /// When.
    pub time: Timestamp,
    /// The timeline that begins.
    pub timeline: Timeline,
    /// The timeline before.
    pub previous_timeline: Timeline,
    /// `wal_level`; PostgreSQL 17 and later.
    pub wal_level: Option<WalLevel>,
}

impl EndOfRecovery {
    pub(super) fn read(main: &[u8], major: u16) -> Option<Self> {
        let mut fields = Fields::new(main);
        Some(Self {
            time: Timestamp::from_micros(fields.i64()?),
            timeline: Timeline::new(fields.u32()?)?,
            previous_timeline: Timeline::new(fields.u32()?)?,
            wal_level: if major < 17 { None } else { Some(WalLevel::from_value(fields.u32()?)?) },
        })
    }
}

/// A restore point (`pg_create_restore_point`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RestorePoint<'a> {
    /// When.
    pub time: Timestamp,
    /// Its name, up to 63 bytes in the encoding of the database in which it was made.
    pub name: &'a [u8],
}

impl<'a> RestorePoint<'a> {
    pub(super) fn read(main: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::new(main);
        let time = Timestamp::from_micros(fields.i64()?);
        let name = fields.bytes(64)?;
        let length = name.iter().position(|byte| *byte == 0)?;
        Some(Self { time, name: name.get(..length)? })
    }
}

/// The record that a crash cut off is given up here (`xl_overwrite_contrecord`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct OverwriteContinued {
    /// Where that record begins.
    pub lost: Lsn,
    /// When it was given up.
    pub time: Timestamp,
}

impl OverwriteContinued {
    pub(super) fn read(main: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(main);
        Some(Self { lost: Lsn::new(fields.u64()?), time: Timestamp::from_micros(fields.i64()?) })
    }
}

/// Settings of the primary that a standby must match (`xl_parameter_change`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ParameterChange {
    /// `max_connections`.
    pub max_connections: u32,
    /// `max_worker_processes`.
    pub max_worker_processes: u32,
    /// `max_wal_senders`; PostgreSQL 12 and later.
    pub max_wal_senders: Option<u32>,
    /// `max_prepared_transactions`.
    pub max_prepared_transactions: u32,
    /// `max_locks_per_transaction`.
    pub max_locks_per_transaction: u32,
    /// `wal_level`.
    pub wal_level: WalLevel,
    /// `wal_log_hints`.
    pub wal_log_hints: bool,
    /// `track_commit_timestamp`.
    pub track_commit_timestamp: bool,
}

impl ParameterChange {
    pub(super) fn read(main: &[u8], major: u16) -> Option<Self> {
        let mut fields = Fields::new(main);
        Some(Self {
            max_connections: fields.u32()?,
            max_worker_processes: fields.u32()?,
            max_wal_senders: if major >= 12 { Some(fields.u32()?) } else { None },
            max_prepared_transactions: fields.u32()?,
            max_locks_per_transaction: fields.u32()?,
            wal_level: WalLevel::from_value(fields.u32()?)?,
            wal_log_hints: fields.u8()? != 0,
            track_commit_timestamp: fields.u8()? != 0,
        })
    }
}
