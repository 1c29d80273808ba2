//! One piece of work: the records that begin in some segments in a row, and the first one after them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tapster_catalog::WalStore;
use time::OffsetDateTime;
use walfile::rmgr::{Payload, Rmgr};
use walfile::{
    ArchiveEnd, ArchiveReader, ArchiveStop, EndReason, Lsn, Record, SegmentNo, SegmentSize, SystemId,
    Timeline, TimelineHistory, WalName,
};

use super::landmarks::Landmarks;
use super::report::{Commit, LineEnd, WalProblem};

/// How many records are read between two looks at the stop flag.
const RECORDS_BETWEEN_LOOKS: u64 = 4096;

/// How many records of a chunk are listed that do not agree with the history file.
const MAX_TIMELINE_PROBLEMS: usize = 20;

/// Segments that one worker reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Chunk {
    pub(super) first: SegmentNo,
    pub(super) last: SegmentNo,
    /// Where to begin, when not with the first segment.
    pub(super) start: Option<Lsn>,
    /// Whether nothing of the archive follows without a gap; then the log is read to its end, a `.partial` included.
    pub(super) ends_run: bool,
    /// Whether nothing of the archive follows at all.
    pub(super) ends_line: bool,
}

/// What was found in a chunk, in order.
#[derive(Debug, Default)]
pub(super) struct ChunkResult {
    pub(super) parts: Vec<Part>,
    /// How the log ends, when the chunk ends its run without a problem.
    pub(super) end: Option<LineEnd>,
    pub(super) records: u64,
    pub(super) record_bytes: u64,
    /// Records that do not agree with the history file, after the first [`MAX_TIMELINE_PROBLEMS`].
    pub(super) more_problems: u64,
    pub(super) landmarks: Landmarks,
    timeline_problems: usize,
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
    pub(super) history_lost: bool,
    /// The cluster that the WAL must be of, where that is known.
    pub(super) system: Option<SystemId>,
    pub(super) size: SegmentSize,
    /// Where backups begin, in order.
    pub(super) begins: &'a [Lsn],
    pub(super) stop: &'a AtomicBool,
}

impl ChunkReader<'_> {
    /// Reads a chunk. After damage it goes on with the next segment.
    pub(super) fn read(&self, chunk: Chunk) -> ChunkResult {
        let mut result = ChunkResult::default();
        let limit = if chunk.ends_run { Lsn::MAX } else { chunk.last.end(self.size) };
        let mut from = chunk.start.unwrap_or_else(|| chunk.first.start(self.size));
        while !self.stop.load(Ordering::Relaxed) {
            let mut reader = self.open(from);
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
            if chunk.ends_run && ends_the_log(&end, after, chunk, &stretch) {
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
        let (mut stretch, mut before) = (Stretch::default(), Before::default());
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
            let disagrees = match record.header.rmgr {
                Rmgr::TRANSACTION => {
                    stretch.last_commit = commit(&record).or(stretch.last_commit);
                    None
                }
                // Not the images of single pages, of which there are many.
                Rmgr::XLOG if !matches!(record.type_name(), Some("FPI" | "FPI_FOR_HINT")) => {
                    record.payload().ok().and_then(|payload| {
                        result.landmarks.note(&record, &payload, self.begins);
                        self.history_problem(record.lsn, &payload, &before)
                    })
                }
                _ => None,
            };
            if let Some(problem) = disagrees {
                result.add_timeline_problem(problem, record.lsn.segment(self.size));
            }
            before.add(&record);
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

    fn open(&self, from: Lsn) -> ArchiveReader<WalStore<'_>> {
        let reader = if self.history_lost {
            ArchiveReader::on_timeline(self.store, self.history.timeline(), from)
        } else {
            ArchiveReader::with_history(self.store, Arc::clone(self.history), from)
        };
        let reader = reader.with_segment_size(self.size);
        match self.system {
            Some(system) => reader.with_system_id(system),
            None => reader,
        }
    }

    /// What a record that names its timeline says against the history file.
    fn history_problem(&self, at: Lsn, payload: &Payload<'_>, before: &Before) -> Option<WalProblem> {
        let (found, parent) = match payload {
            Payload::CheckpointShutdown(checkpoint) => (checkpoint.timeline, checkpoint.previous_timeline),
            Payload::EndOfRecovery(end) => (end.timeline, end.previous_timeline),
            _ => return None,
        };
        if self.history_lost {
            return None;
        }
        let timeline = found;
        let expected = self.history.timeline_at(at);
        if found != expected {
            return Some(WalProblem::Timeline { at, expected, found });
        }
        if parent == found {
            return None;
        }
        // The timeline begins here, and the record also names its parent.
        let entry = self.history.entries().iter().rfind(|entry| entry.timeline < timeline)?;
        if entry.timeline != parent {
            return Some(WalProblem::Timeline { at, expected: entry.timeline, found: parent });
        }
        let fits = before.may_end_at(entry.switch, at);
        (!fits).then_some(WalProblem::Switch { at, timeline, expected: entry.switch })
    }
}

impl ChunkResult {
    fn add_timeline_problem(&mut self, problem: WalProblem, number: SegmentNo) {
        if self.timeline_problems < MAX_TIMELINE_PROBLEMS {
            self.timeline_problems += 1;
            self.parts.push(Part::Problem(problem, Some(number)));
        } else {
            self.more_problems += 1;
        }
    }
}

/// Where the records before a timeline's first one end.
#[derive(Debug, Default)]
struct Before {
    /// The end of the last record.
    end: Option<Lsn>,
    /// The end of the last one that is not of a kind that a server may write before it declares the end of recovery.
    replayed: Option<Lsn>,
}

impl Before {
    fn add(&mut self, record: &Record<'_>) {
        self.end = Some(record.end);
        let is_early = record.header.rmgr == Rmgr::XLOG
            && matches!(record.type_name(), Some("FPW_CHANGE" | "OVERWRITE_CONTRECORD"));
        if !is_early {
            self.replayed = self.end;
        }
    }

    /// Whether the log of the parent can end at `switch` when the record that says so begins at `lsn`.
    fn may_end_at(&self, switch: Lsn, lsn: Lsn) -> bool {
        match (self.end, self.replayed) {
            (None, _) => switch <= lsn && lsn.get() - switch.get() <= MOST_BEFORE,
            (end, replayed) => end == Some(switch) || replayed == Some(switch),
        }
    }
}

/// A page header and the records that a server may write before it declares the end of recovery.
const MOST_BEFORE: u64 = 160;

fn commit(record: &Record<'_>) -> Option<Commit> {
    let (Payload::Commit(commit) | Payload::CommitPrepared(commit)) = record.payload().ok()? else {
        return None;
    };
    let nanos = i128::from(commit.time.unix_micros()) * 1000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
    Some(Commit { lsn: record.lsn, xid: commit.xid, time })
}

/// Whether this is how a log that still grows ends: no further segment, or the end of an unfinished one.
fn ends_the_log(end: &ArchiveEnd, number: Option<SegmentNo>, chunk: Chunk, read: &Stretch) -> bool {
    match (end.file, &end.stop) {
        // Of a timeline that has just begun, nothing may have been archived yet.
        (Some(WalName::Segment(file)), ArchiveStop::Missing { name, .. })
            if number == Some(chunk.last) && file.timeline() < name.timeline() =>
        {
            chunk.ends_line && read.end.is_some()
        }
        (_, ArchiveStop::Missing { .. }) => number.is_some_and(|number| number > chunk.last),
        (Some(WalName::Partial(_)), stop) => may_end_a_partial(stop),
        _ => false,
    }
}

/// Whether an unfinished segment may end so: cut off anywhere, and with anything older after it. What is of another cluster
/// or of another timeline was not left there by a server that wrote on.
fn may_end_a_partial(stop: &ArchiveStop) -> bool {
    match stop {
        ArchiveStop::Log(reason) => !matches!(
            reason,
            EndReason::SystemId { .. }
                | EndReason::Geometry { .. }
                | EndReason::PageMagic { .. }
                | EndReason::PageTimeline { .. }
                | EndReason::PageHistory { .. }
        ),
        ArchiveStop::Read(error) => error.kind() == std::io::ErrorKind::UnexpectedEof,
        ArchiveStop::Mismatch(_) => false,
        _ => true,
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
