//! One piece of work: the records that begin in some segments in a row, and the first one after them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tapster_catalog::WalStore;
use walfile::rmgr::{Rmgr, RmgrSet};
use walfile::{
    ArchiveReader, ArchiveStop, Lsn, SegmentNo, SegmentSize, SystemId, Timeline, TimelineHistory, WalName,
};

use super::end::{ends_the_log, line_end, problem};
use super::landmarks::Landmarks;
use super::report::{Commit, LineEnd, WalProblem};
use super::seen::{Before, Seen};

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
        // Of all the others it is enough that they are in order.
        let wanted = RmgrSet::NONE.with(Rmgr::XLOG).with(Rmgr::TRANSACTION);
        let (mut passed, mut until_look) = (0, RECORDS_BETWEEN_LOOKS);
        loop {
            // The first record, whatever it is; and the one at the limit.
            let first = stretch.first.is_none();
            let record = if first { reader.next_record() } else { reader.next_of(wanted, limit) };
            let seen = record.map(|record| Seen::of(&record, &mut result.landmarks, self.begins));
            let others = reader.passed();
            if others.records > passed {
                passed = others.records;
                stretch.end = others.last;
                before.add(others.last.map(|(end, _)| end), false);
            }
            let Some(seen) = seen else { break };
            if seen.lsn >= limit {
                stretch.next = Some(seen.lsn);
                break;
            }
            stretch.first = stretch.first.or(Some(seen.lsn));
            stretch.end = Some((seen.end, seen.timeline));
            stretch.last_commit = seen.commit.or(stretch.last_commit);
            result.records += 1;
            result.record_bytes += seen.bytes;
            if let Some(problem) =
                seen.change.and_then(|change| self.history_problem(seen.lsn, change, &before))
            {
                result.add_timeline_problem(problem, seen.lsn.segment(self.size));
            }
            before.add(Some(seen.end), seen.is_early);
            until_look -= 1;
            if until_look == 0 {
                if self.stop.load(Ordering::Relaxed) {
                    break;
                }
                until_look = RECORDS_BETWEEN_LOOKS;
            }
        }
        let passed = reader.passed();
        result.records += passed.records;
        result.record_bytes += passed.record_bytes;
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

    /// What a record that names its timeline, and the one before it, says against the history file.
    fn history_problem(
        &self,
        at: Lsn,
        (timeline, parent): (Timeline, Timeline),
        before: &Before,
    ) -> Option<WalProblem> {
        if self.history_lost {
            return None;
        }
        let expected = self.history.timeline_at(at);
        if timeline != expected {
            return Some(WalProblem::Timeline { at, expected, found: timeline });
        }
        if parent == timeline {
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
