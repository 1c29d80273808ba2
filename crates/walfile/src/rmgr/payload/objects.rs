//! Relation files, databases, tablespaces, messages, and what a standby is told.

use crate::record::{Fields, Fork, Oid, RelFile, Xid};
use crate::rmgr::payload::xact::Xids;

/// A relation's file is cut off (`xl_smgr_truncate`); by `VACUUM`, for a `TRUNCATE` makes a new file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FileTruncate {
    /// The file.
    pub relation: RelFile,
    /// Blocks of the main fork that are left.
    pub blocks: u32,
    /// Which forks: bit 0 main, bit 1 visibility map, bit 2 free space map.
    pub forks: u32,
}

impl FileTruncate {
    pub(super) fn read(main: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(main);
        let blocks = fields.u32()?;
        Some(Self { relation: RelFile::read(&mut fields)?, blocks, forks: fields.u32()? })
    }
}

/// A relation's file is created (`xl_smgr_create`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FileCreate {
    /// The file.
    pub relation: RelFile,
    /// Which fork of it.
    pub fork: Fork,
}

impl FileCreate {
    pub(super) fn read(main: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(main);
        let relation = RelFile::read(&mut fields)?;
        Some(Self { relation, fork: Fork::from_number(fields.u32()?)? })
    }
}

/// Tables emptied by `TRUNCATE`, for logical decoding (`xl_heap_truncate`); PostgreSQL 11 and later, `wal_level = logical`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TableTruncate<'a> {
    /// The database.
    pub database: Oid,
    /// Identifiers of the tables, which are not the names of their files.
    pub tables: Oids<'a>,
    /// `TRUNCATE ... CASCADE`.
    pub cascade: bool,
    /// `TRUNCATE ... RESTART IDENTITY`.
    pub restart_sequences: bool,
}

impl<'a> TableTruncate<'a> {
    pub(super) fn read(main: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::new(main);
        let (database, count, flags) = (Oid::new(fields.u32()?), fields.count()?, fields.u8()?);
        fields.skip(3)?;
        let tables = Oids(fields.bytes(count.checked_mul(4)?)?);
        Some(Self { database, tables, cascade: flags & 1 != 0, restart_sequences: flags & 2 != 0 })
    }
}

/// Object identifiers in a record.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Oids<'a>(&'a [u8]);

impl<'a> Oids<'a> {
    /// How many.
    pub const fn len(&self) -> usize {
        self.0.len() / 4
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The identifiers, in the order of the record.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Oid> + use<'a> {
        self.0.as_chunks().0.iter().map(|bytes| Oid::new(u32::from_le_bytes(*bytes)))
    }
}

/// A database is created.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DatabaseCreate {
    /// The new database.
    pub database: Oid,
    /// Its default tablespace.
    pub tablespace: Oid,
    /// The database and tablespace whose files are copied: their pages are not in the log. `None` for
    /// `STRATEGY wal_log` (PostgreSQL 15 and later), which logs every page.
    pub copied_from: Option<(Oid, Oid)>,
}

impl DatabaseCreate {
    pub(super) fn read(main: &[u8], copied: bool) -> Option<Self> {
        let mut fields = Fields::new(main);
        let (database, tablespace) = (Oid::new(fields.u32()?), Oid::new(fields.u32()?));
        let copied_from =
            if copied { Some((Oid::new(fields.u32()?), Oid::new(fields.u32()?))) } else { None };
        Some(Self { database, tablespace, copied_from })
    }
}

/// A database's files are removed: all of it, or what it has in some tablespaces when it is moved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DatabaseDrop<'a> {
    /// The database.
    pub database: Oid,
    /// The tablespaces in which it had files.
    pub tablespaces: Oids<'a>,
}

impl<'a> DatabaseDrop<'a> {
    pub(super) fn read(main: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::new(main);
        let database = Oid::new(fields.u32()?);
        // Up to PostgreSQL 12 one tablespace, without a count.
        let count = if main.len() == 8 { 1 } else { fields.count()? };
        Some(Self { database, tablespaces: Oids(fields.bytes(count.checked_mul(4)?)?) })
    }
}

/// A tablespace is created or dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Tablespace<'a> {
    /// The tablespace.
    pub tablespace: Oid,
    /// Its directory, when it is created.
    pub path: Option<&'a [u8]>,
}

impl<'a> Tablespace<'a> {
    pub(super) fn read(main: &'a [u8], created: bool) -> Option<Self> {
        let mut fields = Fields::new(main);
        let tablespace = Oid::new(fields.u32()?);
        let path = fields.rest();
        let length = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
        Some(Self { tablespace, path: if created { path.get(..length) } else { None } })
    }
}

/// Transactions that run at this position (`xl_running_xacts`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RunningTransactions<'a> {
    /// The transactions.
    pub transactions: Xids<'a>,
    /// Their subtransactions.
    pub subtransactions: Xids<'a>,
    /// Some subtransactions are missing.
    pub overflowed: bool,
    /// The next transaction.
    pub next_xid: Xid,
    /// The oldest that runs.
    pub oldest_running: Xid,
    /// The latest that is complete.
    pub latest_completed: Xid,
}

impl<'a> RunningTransactions<'a> {
    pub(super) fn read(main: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::new(main);
        let (count, sub_count) = (fields.count()?, fields.count()?);
        let overflowed = fields.u8()? != 0;
        fields.skip(3)?;
        let [next_xid, oldest_running, latest_completed] =
            [Xid::new(fields.u32()?), Xid::new(fields.u32()?), Xid::new(fields.u32()?)];
        let transactions = Xids::new(fields.bytes(count.checked_mul(4)?)?);
        let subtransactions = Xids::new(fields.bytes(sub_count.checked_mul(4)?)?);
        Some(Self { transactions, subtransactions, overflowed, next_xid, oldest_running, latest_completed })
    }
}

/// Transactions made known as subtransactions of another (`xl_xact_assignment`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Assignment<'a> {
    /// The transaction.
    pub top: Xid,
    /// Its subtransactions.
    pub subtransactions: Xids<'a>,
}

impl<'a> Assignment<'a> {
    pub(super) fn read(main: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::new(main);
        let (top, count) = (Xid::new(fields.u32()?), fields.count()?);
        Some(Self { top, subtransactions: Xids::new(fields.bytes(count.checked_mul(4)?)?) })
    }
}

/// A message for logical decoding (`pg_logical_emit_message`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Message<'a> {
    /// The database in which it was emitted.
    pub database: Oid,
    /// Part of its transaction; otherwise it counts at once.
    pub transactional: bool,
    /// Who it is for.
    pub prefix: &'a [u8],
    /// What it says.
    pub content: &'a [u8],
}

impl<'a> Message<'a> {
    pub(super) fn read(main: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::new(main);
        let database = Oid::new(fields.u32()?);
        let transactional = fields.u8()? != 0;
        fields.skip(3)?;
        let (prefix, content) = (usize::try_from(fields.u64()?).ok()?, usize::try_from(fields.u64()?).ok()?);
        // The prefix ends in a zero byte, which its length includes.
        let prefix = fields.bytes(prefix)?;
        let prefix = prefix.strip_suffix(&[0]).unwrap_or(prefix);
        Some(Self { database, transactional, prefix, content: fields.bytes(content)? })
    }
}
