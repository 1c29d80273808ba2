//! Commits, aborts and prepared transactions (`xact.h`, `twophase.c`).

use crate::Lsn;
use crate::record::{Fields, Oid, RecordHeader, RelFile, Timestamp, Xid};

/// A transaction's end, or its preparation for a commit in two phases.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Transaction<'a> {
    /// When, by the server's clock. Times need not ascend along the log.
    pub time: Timestamp,
    /// The transaction: that of the record, or the prepared one that is ended.
    pub xid: Xid,
    /// Its database; not known for every abort, nor for a commit that changed nothing that others cache.
    pub database: Option<Oid>,
    /// Its committed subtransactions.
    pub subtransactions: Xids<'a>,
    /// Files to be deleted: of relations dropped or truncated on commit, or created before an abort.
    /// In a prepared transaction, those of its commit.
    pub dropped: RelFiles<'a>,
    /// In a prepared transaction, the files to be deleted if it is rolled back.
    pub dropped_on_abort: RelFiles<'a>,
    /// The name given in `PREPARE TRANSACTION`. In the record that ends it, only with `wal_level = logical` and since PostgreSQL 11.
    pub gid: Option<&'a [u8]>,
    /// Position and time of the commit that was replicated from another server.
    pub origin: Option<(Lsn, Timestamp)>,
}

/// Transaction identifiers in a record.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Xids<'a>(&'a [u8]);

impl<'a> Xids<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.0.len() / 4
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The identifiers, in the order of the record.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Xid> + use<'a> {
        self.0.as_chunks().0.iter().map(|bytes| Xid::new(u32::from_le_bytes(*bytes)))
    }
}

/// Relation files in a record.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RelFiles<'a>(&'a [u8]);

impl<'a> RelFiles<'a> {
    /// How many.
    pub const fn len(&self) -> usize {
        self.0.len() / 12
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The files, in the order of the record.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RelFile> + use<'a> {
        self.0.as_chunks::<12>().0.iter().map(|b| RelFile::read(&mut Fields::new(b)).unwrap_or_default())
    }
}

/// Bits of `xinfo`, in the order in which what they announce follows.
mod has {
    pub(super) const DATABASE: u32 = 1 << 0;
    pub(super) const SUBXACTS: u32 = 1 << 1;
    pub(super) const FILES: u32 = 1 << 2;
    pub(super) const STATS: u32 = 1 << 8;
    pub(super) const INVALIDATIONS: u32 = 1 << 3;
    pub(super) const TWO_PHASE: u32 = 1 << 4;
    pub(super) const GID: u32 = 1 << 7;
    pub(super) const ORIGIN: u32 = 1 << 5;
}

/// Bytes of an entry that says which statistics were dropped; 18 made its object identifier 64 bits wide.
const fn stats_len(major: u16) -> usize {
    if major >= 18 { 16 } else { 12 }
}

impl<'a> Transaction<'a> {
    /// `COMMIT`, `ABORT`, and the same of a prepared transaction, which have one layout.
    pub(super) fn read_end(header: &RecordHeader, main: &'a [u8], major: u16) -> Option<Self> {
        let mut fields = Fields::new(main);
        let mut end = Self::at(Timestamp::from_micros(fields.i64()?), header.xid);
        let bits = if header.info & 0x80 == 0 { 0 } else { fields.u32()? };
        let has = |bit| bits & bit != 0;
        if has(has::DATABASE) {
            end.database = Some(Oid::new(fields.u32()?));
            fields.skip(4)?; // its tablespace
        }
        if has(has::SUBXACTS) {
            let count = fields.count()?;
            end.subtransactions = Xids(fields.bytes(count.checked_mul(4)?)?);
        }
        if has(has::FILES) {
            let count = fields.count()?;
            end.dropped = RelFiles(fields.bytes(count.checked_mul(12)?)?);
        }
        if has(has::STATS) && major >= 15 {
            let count = fields.count()?;
            fields.skip(count.checked_mul(stats_len(major))?)?;
        }
        if has(has::INVALIDATIONS) {
            let count = fields.count()?;
            fields.skip(count.checked_mul(16)?)?;
        }
        if has(has::TWO_PHASE) {
            end.xid = Xid::new(fields.u32()?);
            if has(has::GID) && major >= 11 {
                let rest = fields.rest();
                let length = rest.iter().position(|byte| *byte == 0)?;
                end.gid = Some(fields.bytes(length)?);
                fields.skip(1)?;
            }
        }
        if has(has::ORIGIN) {
            end.origin = Some((Lsn::new(fields.u64()?), Timestamp::from_micros(fields.i64()?)));
        }
        Some(end)
    }

    /// `PREPARE`: the state file of the transaction, whose parts begin on multiples of eight bytes.
    pub(super) fn read_prepare(main: &'a [u8], major: u16) -> Option<Self> {
        let mut fields = Fields::new(main);
        fields.skip(8)?; // magic and length
        let xid = Xid::new(fields.u32()?);
        let database = Oid::new(fields.u32()?);
        let mut end =
            Self { database: Some(database), ..Self::at(Timestamp::from_micros(fields.i64()?), xid) };
        fields.skip(4)?; // owner
        let subxacts = fields.count()?;
        let (commit_files, abort_files) = (fields.count()?, fields.count()?);
        let stats = if major >= 15 { (fields.count()?, fields.count()?) } else { (0, 0) };
        fields.skip(4 + 2)?; // invalidations, a flag and padding
        let gid_len = usize::from(fields.u16()?);
        if major >= 11 {
            let origin = (Lsn::new(fields.u64()?), Timestamp::from_micros(fields.i64()?));
            end.origin = Some(origin).filter(|(lsn, _)| !lsn.is_invalid());
        }
        let mut part = |length: Option<usize>| {
            let length = length?;
            let at = (main.len() - fields.len()).next_multiple_of(8);
            fields = Fields::new(main.get(at..)?);
            fields.bytes(length)
        };
        let gid = part(Some(gid_len))?;
        end.gid = Some(gid.strip_suffix(&[0]).unwrap_or(gid));
        end.subtransactions = Xids(part(subxacts.checked_mul(4))?);
        end.dropped = RelFiles(part(commit_files.checked_mul(12))?);
        end.dropped_on_abort = RelFiles(part(abort_files.checked_mul(12))?);
        part(stats.0.checked_mul(stats_len(major)))?;
        part(stats.1.checked_mul(stats_len(major)))?;
        Some(end)
    }

    const fn at(time: Timestamp, xid: Xid) -> Self {
        Self {
            time,
            xid,
            database: None,
            subtransactions: Xids(&[]),
            dropped: RelFiles(&[]),
            dropped_on_abort: RelFiles(&[]),
            gid: None,
            origin: None,
        }
    }
}
