//! What `pg_waldump` says of a record after its type, one file per resource manager (`src/backend/access/rmgrdesc`).
//!
//! PostgreSQL 16 gave the descriptions of heap and B-tree another form (`off: 1` for `off 1`) and lists of item offsets.

mod brin;
mod btree;
mod gin;
mod gist;
mod hash;
mod heap;
mod heap2;
mod input;
mod invalidation;
mod list;
mod logical;
mod objects;
mod prune;
mod slru;
mod spgist;
mod standby;
mod timestamp;
mod xact;
mod xlog;

use std::fmt;

use crate::Record;
use crate::record::{BlockRef, Parts, RecordHeader};
use crate::rmgr::Rmgr;
use input::{Fault, Input, Result};

pub use timestamp::{LocalTime, TimeZone, Utc};

/// The description of a record, in the words of the `pg_waldump` of the major that wrote it; without the name of its type,
/// for which see [`type_name`](crate::rmgr::type_name).
///
/// PostgreSQL 10 to 14 are described in the words of 15, with what their records have. Nothing is allocated. A record whose
/// data is not what a server writes is described as far as it goes, and ends in `(damaged)`.
///
/// ```no_run
/// # fn show(record: &walfile::Record<'_>) -> Result<(), walfile::record::PartsError> {
/// use walfile::rmgr::Description;
/// let parts = record.parts()?;
/// // INSERT off 5 flags 0x00
/// println!("{} {}", record.type_name().unwrap_or("UNKNOWN"), Description::new(record, &parts));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    header: RecordHeader,
    parts: Parts<'a>,
    major: u16,
    zone: &'a dyn TimeZone,
}

impl<'a> Description<'a> {
    /// The description of `record`, of which `parts` are the parts. Times are given in UTC.
    pub fn new(record: &Record<'a>, parts: &Parts<'a>) -> Self {
        Self { header: record.header, parts: *parts, major: record.major(), zone: &Utc }
    }

    /// The same with times in this zone, as `pg_waldump` gives them in the zone of the process.
    #[must_use]
    pub const fn in_zone(mut self, zone: &'a dyn TimeZone) -> Self {
        self.zone = zone;
        self
    }

    const fn kind(&self) -> u8 {
        self.header.kind()
    }

    /// The record's own data.
    const fn main(&self) -> Input<'a> {
        Input::new(self.parts.main)
    }

    fn block(&self, id: u8) -> Option<BlockRef<'a>> {
        self.parts.blocks().find(|block| block.id == id)
    }

    /// Whether the pages have a fuller description: PostgreSQL 16 and later.
    const fn is_listed(&self) -> bool {
        self.major >= 16
    }

    /// Writes whether the record is about a catalog, which descriptions say since PostgreSQL 17. What stands before it is
    /// the separator and the name.
    fn catalog(&self, f: &mut fmt::Formatter<'_>, before: &str, main: &mut Input<'_>) -> Result {
        if self.major >= 17 {
            write!(f, "{before}{}", truth(main.bool()?))?;
        }
        Ok(())
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> Result {
        match self.header.rmgr {
            Rmgr::XLOG => xlog::describe(self, f),
            Rmgr::TRANSACTION => xact::describe(self, f),
            Rmgr::STORAGE => objects::storage(self, f),
            Rmgr::CLOG => slru::clog(self, f),
            Rmgr::DATABASE => objects::database(self, f),
            Rmgr::TABLESPACE => objects::tablespace(self, f),
            Rmgr::MULTIXACT => slru::multixact(self, f),
            Rmgr::RELMAP => objects::relation_map(self, f),
            Rmgr::STANDBY => standby::describe(self, f),
            Rmgr::HEAP2 => heap2::describe(self, f),
            Rmgr::HEAP => heap::describe(self, f),
            Rmgr::BTREE => btree::describe(self, f),
            Rmgr::HASH => hash::describe(self, f),
            Rmgr::GIN => gin::describe(self, f),
            Rmgr::GIST => gist::describe(self, f),
            Rmgr::SEQUENCE => objects::sequence(self, f),
            Rmgr::SPGIST => spgist::describe(self, f),
            Rmgr::BRIN => brin::describe(self, f),
            Rmgr::COMMIT_TS => slru::commit_ts(self, f),
            Rmgr::REPLICATION_ORIGIN => logical::origin(self, f),
            Rmgr::GENERIC => logical::generic(self, f),
            Rmgr::LOGICAL_MESSAGE => logical::message(self, f),
            custom => Ok(write!(f, "rmid: {}", custom.id())?),
        }
    }
}

impl fmt::Display for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.write(f) {
            Ok(()) => Ok(()),
            Err(Fault::Damaged) => f.write_str("(damaged)"),
            Err(Fault::Output(error)) => Err(error),
        }
    }
}

/// How C's `'T' : 'F'` reads.
const fn truth(value: bool) -> char {
    if value { 'T' } else { 'F' }
}
