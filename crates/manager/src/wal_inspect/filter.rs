//! Which records are shown.

use walfile::Record;
use walfile::record::{Fork, Parts, RelFile, Timestamp, Xid};
use walfile::rmgr::{Payload, Rmgr};

/// What a record must be to be shown: all of what is set.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RecordFilter {
    /// One of these resource managers; any when empty.
    pub rmgrs: Vec<Rmgr>,
    /// Written by this transaction.
    pub xid: Option<Xid>,
    /// Refers to a block of this relation.
    pub relation: Option<RelFile>,
    /// The block referred to has this number.
    pub block: Option<u32>,
    /// The block referred to is of this fork.
    pub fork: Option<Fork>,
    /// Has the image of a page.
    pub full_page: bool,
    /// Ends or prepares a transaction at this time or after it.
    pub from: Option<Timestamp>,
    /// Ends or prepares a transaction at this time or before it.
    pub to: Option<Timestamp>,
}

impl RecordFilter {
    /// What the header alone decides.
    pub(super) fn header_matches(&self, record: &Record<'_>) -> bool {
        let header = &record.header;
        (self.rmgrs.is_empty() || self.rmgrs.contains(&header.rmgr))
            && self.xid.is_none_or(|xid| xid == header.xid)
    }

    /// Whether more than the header decides.
    pub(super) const fn needs_parts(&self) -> bool {
        self.full_page
            || self.relation.is_some()
            || self.block.is_some()
            || self.fork.is_some()
            || self.from.is_some()
            || self.to.is_some()
    }

    pub(super) fn parts_match(&self, record: &Record<'_>, parts: &Parts<'_>) -> bool {
        self.blocks_match(parts)
            && (!self.full_page || parts.blocks().any(|block| block.image.is_some()))
            && self.time_matches(record, parts)
    }

    fn blocks_match(&self, parts: &Parts<'_>) -> bool {
        if self.relation.is_none() && self.block.is_none() && self.fork.is_none() {
            return true;
        }
        parts.blocks().any(|block| {
            self.relation.is_none_or(|relation| relation == block.relation)
                && self.block.is_none_or(|number| number == block.block)
                && self.fork.is_none_or(|fork| fork == block.fork)
        })
    }

    fn time_matches(&self, record: &Record<'_>, parts: &Parts<'_>) -> bool {
        if self.from.is_none() && self.to.is_none() {
            return true;
        }
        let time = match Payload::read(&record.header, parts.main, record.major()) {
            Ok(
                Payload::Commit(end)
                | Payload::Abort(end)
                | Payload::Prepare(end)
                | Payload::CommitPrepared(end)
                | Payload::AbortPrepared(end),
            ) => end.time,
            _ => return false,
        };
        self.from.is_none_or(|from| from <= time) && self.to.is_none_or(|to| time <= to)
    }
}
