//! Decoded payloads.

mod objects;
mod xact;
mod xlog;

use thiserror::Error;

pub use objects::{
    Assignment, DatabaseCreate, DatabaseDrop, FileCreate, FileTruncate, Message, Oids, RunningTransactions,
    TableTruncate, Tablespace,
};
pub use xact::{RelFiles, Transaction, Xids};
pub use xlog::{Checkpoint, EndOfRecovery, OverwriteContinued, ParameterChange, RestorePoint};

use crate::record::{Fields, Oid, RecordHeader};
use crate::rmgr::Rmgr;
use crate::{Lsn, WalLevel};

/// What a record says, for the records that recovery and backup care about.
///
/// ```no_run
/// # fn show(record: walfile::Record<'_>) -> Result<(), Box<dyn std::error::Error>> {
/// use walfile::rmgr::Payload;
/// match record.payload()? {
///     Payload::Commit(commit) => println!("{} committed at {}", commit.xid, commit.time.unix_micros()),
///     Payload::RestorePoint(point) => println!("{}", String::from_utf8_lossy(point.name)),
///     _ => {}
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Payload<'a> {
    /// A transaction is committed.
    Commit(Transaction<'a>),
    /// A transaction is rolled back.
    Abort(Transaction<'a>),
    /// A transaction is prepared for a commit in two phases.
    Prepare(Transaction<'a>),
    /// A prepared transaction is committed.
    CommitPrepared(Transaction<'a>),
    /// A prepared transaction is rolled back.
    AbortPrepared(Transaction<'a>),
    /// Subtransactions are made known.
    Assignment(Assignment<'a>),
    /// The checkpoint of a shutdown, or of a recovery's end.
    CheckpointShutdown(Checkpoint),
    /// The checkpoint of a running server.
    CheckpointOnline(Checkpoint),
    /// Where the redo of an online checkpoint begins, with `wal_level`; PostgreSQL 17 and later.
    CheckpointRedo(WalLevel),
    /// Object identifiers below this one may be in use.
    NextOid(Oid),
    /// The rest of the segment is empty.
    Switch,
    /// The backup that began at this position is consistent from here on.
    BackupEnd(Lsn),
    /// Settings that a standby must match.
    ParameterChange(ParameterChange),
    /// A restore point.
    RestorePoint(RestorePoint<'a>),
    /// `full_page_writes` is now this.
    FullPageWrites(bool),
    /// Recovery ends and, perhaps, a timeline begins.
    EndOfRecovery(EndOfRecovery),
    /// A record that a crash cut off is given up.
    OverwriteContinued(OverwriteContinued),
    /// A relation file is created.
    FileCreate(FileCreate),
    /// A relation file is cut off.
    FileTruncate(FileTruncate),
    /// Tables are emptied by `TRUNCATE`.
    TableTruncate(TableTruncate<'a>),
    /// A database is created.
    DatabaseCreate(DatabaseCreate),
    /// A database is dropped.
    DatabaseDrop(DatabaseDrop<'a>),
    /// A tablespace is created.
    TablespaceCreate(Tablespace<'a>),
    /// A tablespace is dropped.
    TablespaceDrop(Tablespace<'a>),
    /// Transactions that run here.
    RunningTransactions(RunningTransactions<'a>),
    /// A message for logical decoding.
    Message(Message<'a>),
    /// Any other record.
    Other,
}

/// A payload that is too short or says what no server says.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the payload of the {rmgr} record with code {kind:#04X} is damaged ({length} bytes)")]
pub struct PayloadError {
    /// The resource manager.
    pub rmgr: Rmgr,
    /// The record's type.
    pub kind: u8,
    /// Bytes of its data.
    pub length: usize,
}

impl<'a> Payload<'a> {
    /// Decodes the own data (`main`) of a record written by this major.
    ///
    /// # Errors
    /// When the data is not what such a record has.
    pub fn read(header: &RecordHeader, main: &'a [u8], major: u16) -> Result<Self, PayloadError> {
        Self::decode(header, main, major).ok_or(PayloadError {
            rmgr: header.rmgr,
            kind: header.kind(),
            length: main.len(),
        })
    }

    fn decode(header: &RecordHeader, main: &'a [u8], major: u16) -> Option<Self> {
        let mut fields = Fields::new(main);
        Some(match (header.rmgr, header.kind()) {
            (Rmgr::XLOG, 0x00) => Self::CheckpointShutdown(Checkpoint::read(main, major)?),
            (Rmgr::XLOG, 0x10) => Self::CheckpointOnline(Checkpoint::read(main, major)?),
            (Rmgr::XLOG, 0x30) => Self::NextOid(Oid::new(fields.u32()?)),
            (Rmgr::XLOG, 0x40) => Self::Switch,
            (Rmgr::XLOG, 0x50) => Self::BackupEnd(Lsn::new(fields.u64()?)),
            (Rmgr::XLOG, 0x60) => Self::ParameterChange(ParameterChange::read(main, major)?),
            (Rmgr::XLOG, 0x70) => Self::RestorePoint(RestorePoint::read(main)?),
            (Rmgr::XLOG, 0x80) => Self::FullPageWrites(fields.u8()? != 0),
            (Rmgr::XLOG, 0x90) => Self::EndOfRecovery(EndOfRecovery::read(main, major)?),
            (Rmgr::XLOG, 0xD0) => Self::OverwriteContinued(OverwriteContinued::read(main)?),
            (Rmgr::XLOG, 0xE0) if major >= 17 => Self::CheckpointRedo(WalLevel::from_value(fields.u32()?)?),
            (Rmgr::TRANSACTION, kind) => match kind & 0x70 {
                0x00 => Self::Commit(Transaction::read_end(header, main, major)?),
                0x10 => Self::Prepare(Transaction::read_prepare(main, major)?),
                0x20 => Self::Abort(Transaction::read_end(header, main, major)?),
                0x30 => Self::CommitPrepared(Transaction::read_end(header, main, major)?),
                0x40 => Self::AbortPrepared(Transaction::read_end(header, main, major)?),
                0x50 => Self::Assignment(Assignment::read(main)?),
                _ => Self::Other,
            },
            (Rmgr::STORAGE, 0x10) => Self::FileCreate(FileCreate::read(main)?),
            (Rmgr::STORAGE, 0x20) => Self::FileTruncate(FileTruncate::read(main)?),
            (Rmgr::DATABASE, 0x00) => Self::DatabaseCreate(DatabaseCreate::read(main, true)?),
            (Rmgr::DATABASE, 0x10) if major >= 15 => Self::DatabaseCreate(DatabaseCreate::read(main, false)?),
            (Rmgr::DATABASE, 0x20) if major >= 15 => Self::DatabaseDrop(DatabaseDrop::read(main)?),
            (Rmgr::DATABASE, 0x10) => Self::DatabaseDrop(DatabaseDrop::read(main)?),
            (Rmgr::TABLESPACE, 0x00) => Self::TablespaceCreate(Tablespace::read(main, true)?),
            (Rmgr::TABLESPACE, 0x10) => Self::TablespaceDrop(Tablespace::read(main, false)?),
            (Rmgr::STANDBY, 0x10) => Self::RunningTransactions(RunningTransactions::read(main)?),
            (Rmgr::HEAP, 0x30) if major >= 11 => Self::TableTruncate(TableTruncate::read(main)?),
            (Rmgr::LOGICAL_MESSAGE, 0x00) => Self::Message(Message::read(main)?),
            _ => Self::Other,
        })
    }
}
