//! One piece of work: the records that begin in some segments in a row, and the first one after them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tapster_catalog::WalStore;
use time::OffsetDateTime;
use walfile::rmgr::{Payload, Rmgr};
use walfile::{
    ArchiveEnd, ArchiveReader, ArchiveStop, Lsn, Record, SegmentNo, SegmentSize, Timeline, TimelineHistory,
    WalName,
};

use super::report::{Commit, LineEnd, WalProblem};

/// How many records are read between two looks at the stop flag.
const RECORDS_BETWEEN_LOOKS: u64 = 4096;

/// Segments that one worker reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Chunk {
    pub(super) first: SegmentNo,
    pub(super) last: SegmentNo,
    /// Where to begin, when not with the first segment.
    pub(super) start: Option<Lsn>,
    /// Whether nothing of the archive follows without a gap; then the log is read to its end, a `.partial` included.
    pub(super) ends_run: bool,
}

/// What was found in a chunk, in order.
#[derive(Debug, Default)]
pub(super) struct ChunkResult {
    pub(super) parts: Vec<Part>,
    /// How the log ends, when the chunk ends its run without a problem.
    pub(super) end: Option<LineEnd>,
    pub(super) records: u64,
    pub(super) record_bytes: u64,
}

#[derive(Debug)]
pub(super) enum Part {
    /// Records without interruption.
    Valid(Stretch),
    /// What interrupts them, and the segment in which it was found.
    Problem(WalProblem, Option<SegmentNo>),
}

/// Records without interruption.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stretch {
    /// Where the first record begins; `None` when none begins in the chunk.
    pub(super) first: Option<Lsn>,
    /// Where the last record ends, and its timeline.
    pub(super) end: Option<(Lsn, Timeline)>,
    /// Where the record after the chunk begins: the log goes on there.
    pub(super) next: Option<Lsn>,
    pub(super) last_commit: Option<Commit>,
}

/// Reads chunks of one line.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkReader<'a> {
    pub(super) store: WalStore<'a>,
    pub(super) history: &'a Arc<TimelineHistory>,
    pub(super) size: SegmentSize,
    pub(super) stop: &'a AtomicBool,
}

impl ChunkReader<'_> {
    /// Reads a chunk. After damage it goes on with the next segment.
    pub(super) fn read(&self, chunk: Chunk) -> ChunkResult {
        let mut result = ChunkResult::default();
        let limit = if chunk.ends_run { Lsn::MAX } else { chunk.last.end(self.size) };
        let mut from = chunk.start.unwrap_or_else(|| chunk.first.start(self.size));
        while !self.stop.load(Ordering::Relaxed) {
            let mut reader = ArchiveReader::with_history(self.store, Arc::clone(self.history), from)
                .with_segment_size(self.size);
            let stretch = self.walk(&mut reader, limit, &mut result);
            if stretch.first.or(stretch.next).is_some() {
                result.parts.push(Part::Valid(stretch));
            }
            if stretch.next.is_some() {
                break;
            }
            let Some(end) = reader.into_end() else { break };
            let found_in = end.file.and_then(WalName::segment).and_then(|name| name.number(self.size).ok());
            let after = match end.stop {
                ArchiveStop::Missing { name, .. } => name.number(self.size).ok(),
                _ => found_in,
            };
            if chunk.ends_run && ends_the_log(&end, after, chunk.last) {
                result.end = Some(line_end(&end));
                break;
            }
            result.parts.push(Part::Problem(problem(&end), after));
            match after.and_then(SegmentNo::next).filter(|next| *next <= chunk.last && *next > chunk.first) {
                Some(next) => from = next.start(self.size),
                None => break,
            }
        }
        result
    }

    /// Reads on up to the first record at `limit` or after it.
    fn walk(
        &self,
        reader: &mut ArchiveReader<WalStore<'_>>,
        limit: Lsn,
        result: &mut ChunkResult,
    ) -> Stretch {
        let mut stretch = Stretch::default();
        let mut until_look = RECORDS_BETWEEN_LOOKS;
        while let Some(record) = reader.next_record() {
            if record.lsn >= limit {
                stretch.next = Some(record.lsn);
                break;
            }
            stretch.first = stretch.first.or(Some(record.lsn));
            stretch.end = Some((record.end, record.timeline));
            result.records += 1;
            result.record_bytes += u64::from(record.header.total_len);
            match record.header.rmgr {
                Rmgr::TRANSACTION => stretch.last_commit = commit(&record).or(stretch.last_commit),
                Rmgr::XLOG => result.parts.extend(self.wrong_timeline(&record)),
                _ => {}
            }
            until_look -= 1;
            if until_look == 0 {
                if self.stop.load(Ordering::Relaxed) {
                    break;
                }
                until_look = RECORDS_BETWEEN_LOOKS;
            }
        }
        stretch
    }

    /// Whether a record that names its timeline agrees with the history file.
    fn wrong_timeline(&self, record: &Record<'_>) -> Option<Part> {
        let (found, parent) = match record.payload().ok()? {
            Payload::CheckpointShutdown(checkpoint) => (checkpoint.timeline, checkpoint.previous_timeline),
            Payload::EndOfRecovery(end) => (end.timeline, end.previous_timeline),
            _ => return None,
        };
        let expected = self.history.timeline_at(record.lsn);
        let problem = |expected, found| {
            let number = record.lsn.segment(self.size);
            Some(Part::Problem(WalProblem::Timeline { at: record.lsn, expected, found }, Some(number)))
        };
        if found != expected {
            return problem(expected, found);
        }
        // Where a timeline begins, the record also names its parent.
        if parent != found {
            let before = record.lsn.get().checked_sub(1).map(Lsn::new)?;
            let expected = self.history.timeline_at(before);
            if parent != expected {
                return problem(expected, parent);
            }
        }
        None
    }
}

fn commit(record: &Record<'_>) -> Option<Commit> {
    let (Payload::Commit(commit) | Payload::CommitPrepared(commit)) = record.payload().ok()? else {
        return None;
    };
    let nanos = i128::from(commit.time.unix_micros()) * 1000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
    Some(Commit { lsn: record.lsn, xid: commit.xid, time })
}

/// Whether this is how a log that still grows ends: no further segment, or the end of an unfinished one.
fn ends_the_log(end: &ArchiveEnd, number: Option<SegmentNo>, last: SegmentNo) -> bool {
    match (end.file, &end.stop) {
        (_, ArchiveStop::Missing { .. }) => number.is_some_and(|number| number > last),
        (Some(WalName::Partial(_)), _) => true,
        _ => false,
    }
}

fn line_end(end: &ArchiveEnd) -> LineEnd {
    let partial = match end.file {
        Some(WalName::Partial(name)) => Some(name),
        _ => None,
    };
    LineEnd { partial, reason: end.stop.to_string() }
}

fn problem(end: &ArchiveEnd) -> WalProblem {
    match &end.stop {
        ArchiveStop::Missing { name, .. } => WalProblem::Missing { first: *name, last: *name, count: 1 },
        stop => WalProblem::Damaged {
            at: end.at,
            timeline: end.timeline,
            file: end.file,
            reason: stop.to_string(),
        },
    }
}
