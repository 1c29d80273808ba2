//! Whether recovery would come to a target time, by what the WAL itself says.
//!
//! PostgreSQL stops before the first commit or rollback that is later than the target (`recoveryStopsBefore` in
//! `xlogrecovery.c`); where the log ends before one comes, recovery fails, since release 13. When a file was written says
//! nothing about that: it is the clock of another machine, or of a copy.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;

use tapster_catalog::WalStore;
use time::OffsetDateTime;
use walfile::record::{Timestamp, Xid};
use walfile::rmgr::{Payload, Rmgr};
use walfile::{
    ArchiveReader, ArchiveStop, Lsn, SegmentName, SegmentSize, Timeline, TimelineHistory, WalArchive, WalName,
};

use super::segment_facts::SegmentFacts;
use super::{RestorePlanError, WalPlan};
use crate::Context;

/// How many records are read between two looks at the stop flag.
const RECORDS_BETWEEN_LOOKS: u32 = 4096;

/// A commit or a rollback, those of prepared transactions included: where recovery can stop by time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TransactionEnd {
    /// Where its record begins: as the target position, PostgreSQL stops just behind this record.
    pub lsn: Lsn,
    /// Where the log goes on after it.
    pub end: Lsn,
    /// The timeline on which it was written.
    pub timeline: Timeline,
    /// When, by the server's clock.
    pub time: OffsetDateTime,
    /// The transaction, when it has a number.
    pub xid: Option<Xid>,
    /// Whether it was committed.
    pub committed: bool,
}

/// What the WAL says about a target time.
#[derive(Debug)]
pub(super) enum TimeReach {
    /// Recovery stops before this one, or at another one before it.
    Reached(Option<TransactionEnd>),
    /// No transaction ends later. The latest that was found, when any ends at all.
    Before(Option<TransactionEnd>),
    /// It cannot be told, and why.
    Unknown(String),
}

/// Looks for the end of a transaction in the WAL of a plan.
pub(super) struct TimeSearch<'a> {
    pub(super) store: WalStore<'a>,
    pub(super) size: SegmentSize,
    /// The way the plan takes.
    pub(super) history: Arc<TimelineHistory>,
    /// Where replay begins.
    pub(super) begin: Lsn,
    pub(super) wal: &'a WalPlan,
    pub(super) context: &'a Context<'a>,
}

impl TimeSearch<'_> {
    /// WAL that is read before the search is given up; a GiB takes seconds.
    pub(super) const MOST_BYTES: u64 = 1 << 30;

    /// Reads the segments from the last one back until one holds a transaction's end that recovery would stop at. Times
    /// need not ascend along the log (clocks are set back, and a new primary has its own), so that one earlier end proves
    /// nothing yet: the search goes on, up to `most_bytes` and for two segments at least.
    pub(super) fn run(
        &self,
        most_bytes: u64,
        stops: &dyn Fn(OffsetDateTime) -> bool,
    ) -> Result<TimeReach, RestorePlanError> {
        let most = (most_bytes / self.size.bytes()).max(2);
        let mut latest: Option<TransactionEnd> = None;
        let names = self.wal.partial.iter().chain(self.wal.segments.iter().rev());
        for (count, name) in (0_u64..).zip(names) {
            if count == most {
                let unknown =
                    || TimeReach::Unknown(format!("no transaction ends in its last {most} segments"));
                return Ok(latest.map_or_else(unknown, |latest| TimeReach::Before(Some(latest))));
            }
            let found = match self.latest_in(*name, count == 0)? {
                Ok(found) => found,
                Err(problem) => return Ok(TimeReach::Unknown(problem)),
            };
            if found.is_some_and(|found| stops(found.time)) {
                return Ok(TimeReach::Reached(self.first_in(*name, count == 0, stops)?));
            }
            latest = later(found, latest);
        }
        Ok(TimeReach::Before(latest))
    }

    /// The first end of a transaction at which recovery stops, found with what the index knows: in the first segment with a
    /// commit that is late enough, or before it in one of those after the last that has commits.
    pub(super) fn first(
        &self,
        facts: &SegmentFacts,
        stops: &dyn Fn(OffsetDateTime) -> bool,
    ) -> Result<Option<TransactionEnd>, RestorePlanError> {
        let names = &self.wal.segments;
        let commits = |name: &SegmentName| facts.get(name).and_then(|facts| facts.commit_times);
        let is_late = |name: &SegmentName| commits(name).and_then(|(_, high)| date(high)).is_some_and(stops);
        let Some(late) = names.iter().position(is_late) else { return Ok(None) };
        let before = names.get(..late).unwrap_or_default();
        let from = before.iter().rposition(|name| commits(name).is_some()).unwrap_or_default();
        for (index, name) in names.iter().enumerate().take(late + 1).skip(from) {
            if index < late && !facts.get(name).is_none_or(|facts| facts.has_others) {
                continue;
            }
            if let Some(found) = self.first_in(*name, false, stops)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first end that is late enough among the records that begin in a segment, as far as they can be read.
    fn first_in(
        &self,
        name: SegmentName,
        is_last: bool,
        stops: &dyn Fn(OffsetDateTime) -> bool,
    ) -> Result<Option<TransactionEnd>, RestorePlanError> {
        let mut first = None;
        // Why the rest cannot be read is of no interest here.
        drop(self.ends_in(name, is_last, &mut |end| {
            if stops(end.time) {
                first = Some(end);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?);
        Ok(first)
    }

    /// The latest end among the records that begin in a segment, or why they cannot be read.
    fn latest_in(
        &self,
        name: SegmentName,
        is_last: bool,
    ) -> Result<Result<Option<TransactionEnd>, String>, RestorePlanError> {
        let mut latest = None;
        let read = self.ends_in(name, is_last, &mut |end| {
            latest = later(latest, Some(end));
            ControlFlow::Continue(())
        })?;
        Ok(read.map(|()| latest))
    }

    /// Hands over the ends of transactions among the records that begin in a segment; says why they cannot be read.
    fn ends_in(
        &self,
        name: SegmentName,
        is_last: bool,
        take: &mut dyn FnMut(TransactionEnd) -> ControlFlow<()>,
    ) -> Result<Result<(), String>, RestorePlanError> {
        let (Ok(start), Ok(end)) = (name.start(self.size), name.end(self.size)) else {
            return Ok(Err(format!("{name} is no segment of this size")));
        };
        let archive = Planned { store: &self.store, wal: self.wal };
        let mut reader =
            ArchiveReader::with_history(archive, Arc::clone(&self.history), start.max(self.begin))
                .with_segment_size(self.size)
                .until(end);
        let mut until_look = RECORDS_BETWEEN_LOOKS;
        while let Some(record) = reader.next_record() {
            until_look -= 1;
            if until_look == 0 {
                until_look = RECORDS_BETWEEN_LOOKS;
                if self.context.stopped() {
                    return Err(RestorePlanError::Stopped);
                }
            }
            if record.header.rmgr != Rmgr::TRANSACTION {
                continue;
            }
            let (ended, committed) = match record.payload() {
                Ok(Payload::Commit(ended) | Payload::CommitPrepared(ended)) => (ended, true),
                Ok(Payload::Abort(ended) | Payload::AbortPrepared(ended)) => (ended, false),
                Ok(_) => continue,
                Err(error) => return Ok(Err(format!("{}: {error}", record.lsn))),
            };
            let Some(time) = date(ended.time) else { continue };
            let (lsn, end) = (record.lsn, record.end);
            let timeline = self.history.timeline_at(lsn);
            let xid = Some(ended.xid).filter(|xid| !xid.is_invalid());
            if take(TransactionEnd { lsn, end, timeline, time, xid, committed }).is_break() {
                return Ok(Ok(()));
            }
        }
        let Some(stopped) = reader.into_end() else { return Ok(Ok(())) };
        let whole = match &stopped.stop {
            ArchiveStop::Reached => true,
            // A record that goes on behind the plan's last segment.
            ArchiveStop::Missing { name, .. } => name.start(self.size).is_ok_and(|start| start >= end),
            // The last one may end anywhere; there recovery ends, too.
            ArchiveStop::Log(_) => is_last,
            _ => false,
        };
        Ok(if whole { Ok(()) } else { Err(stopped.to_string()) })
    }
}

/// A time of PostgreSQL's as a date, when it has one.
fn date(time: Timestamp) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.unix_micros()) * 1000).ok()
}

/// The later one; of two at the same time the one that is further on in the log, which is `b`.
fn later(a: Option<TransactionEnd>, b: Option<TransactionEnd>) -> Option<TransactionEnd> {
    match (a, b) {
        (Some(first), Some(second)) if first.time > second.time => a,
        (_, Some(_)) => b,
        (_, None) => a,
    }
}

/// The archive as recovery will find it: only what the plan says.
pub(super) struct Planned<'a> {
    pub(super) store: &'a WalStore<'a>,
    pub(super) wal: &'a WalPlan,
}

impl WalArchive for Planned<'_> {
    fn open(&self, name: WalName) -> io::Result<Option<Box<dyn Read + Send>>> {
        match name {
            WalName::Segment(segment) if self.wal.segments.contains(&segment) => {
                WalArchive::open(self.store, name)
            }
            WalName::Partial(segment) if self.wal.partial == Some(segment) => {
                // The receiver may have completed it meanwhile.
                match WalArchive::open(self.store, name)? {
                    Some(found) => Ok(Some(found)),
                    None => WalArchive::open(self.store, WalName::Segment(segment)),
                }
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_later_of_two_ends_is_by_time_and_then_by_position() {
        let at = |lsn, second| {
            let time = datetime!(2026-11-21 00:00 UTC) + time::Duration::seconds(second);
            let (lsn, timeline) = (Lsn::new(lsn), Timeline::FIRST);
            Some(TransactionEnd { lsn, end: lsn, timeline, time, xid: None, committed: true })
        };
        assert_eq!(later(at(1, 5), at(2, 4)), at(1, 5), "the clock was set back");
        assert_eq!(later(at(1, 5), at(2, 5)), at(2, 5));
        assert_eq!(later(None, at(2, 5)), at(2, 5));
        assert_eq!(later(at(1, 5), None), at(1, 5));
        assert_eq!(later(None, None), None);
    }
}
