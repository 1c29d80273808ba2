//! Puts together what was found in the chunks of a line.

use walfile::{Lsn, SegmentNo, SegmentSize, TimelineHistory};

use super::chunk::{Chunk, ChunkResult, Part, Stretch};
use super::landmarks::Landmarks;
use super::report::{LineEnd, VerifiedLine, WalProblem, WalRange};

/// Whoever has more than this many problems needs no list of them, and memory must not depend on the archive.
const MAX_PROBLEMS: usize = 1000;

/// The line as far as its chunks were added, in order.
#[derive(Debug)]
pub(super) struct Join<'a> {
    history: &'a TimelineHistory,
    size: SegmentSize,
    line: VerifiedLine,
    /// Where the next chunk's first record must begin for the last range to go on.
    next: Option<Lsn>,
    /// The segment that comes after the chunks so far.
    number: SegmentNo,
    /// A problem that was found in a segment of the next chunk, which may find it too.
    ahead: Option<(WalProblem, SegmentNo)>,
    end: Option<LineEnd>,
    landmarks: Landmarks,
}

impl<'a> Join<'a> {
    /// A line from `start` on.
    pub(super) const fn new(history: &'a TimelineHistory, size: SegmentSize, start: Lsn) -> Self {
        let line = VerifiedLine {
            timeline: history.timeline(),
            start,
            ranges: Vec::new(),
            problems: Vec::new(),
            more_problems: 0,
            end: None,
            segments: 0,
            records: 0,
            record_bytes: 0,
        };
        let number = start.segment(size);
        let landmarks = Landmarks::new();
        Self { history, size, line, next: None, number, ahead: None, end: None, landmarks }
    }

    /// Adds the next chunk.
    pub(super) fn add(&mut self, chunk: Chunk, result: ChunkResult) {
        let first_found = result.parts.iter().find_map(|part| match part {
            Part::Problem(_, found) => *found,
            Part::Valid(_) => None,
        });
        if let Some((problem, number)) = self.ahead.take()
            && first_found != Some(number)
        {
            self.add_problem(problem);
        }
        self.line.more_problems += result.more_problems;
        self.add_gap(chunk.first);
        self.number = chunk.last.next().unwrap_or(chunk.last);
        self.line.segments += chunk.last.get() - chunk.first.get() + 1;
        self.line.records += result.records;
        self.line.record_bytes += result.record_bytes;
        self.end = result.end;
        self.landmarks.add(result.landmarks);
        let mut goes_on = false;
        for part in result.parts {
            match part {
                Part::Valid(stretch) => {
                    self.add_stretch(&stretch);
                    goes_on = stretch.next.is_some();
                }
                Part::Problem(problem @ (WalProblem::Timeline { .. } | WalProblem::Switch { .. }), _) => {
                    self.add_problem(problem);
                }
                Part::Problem(problem, found) => {
                    self.next = None;
                    match found.filter(|found| *found > chunk.last) {
                        Some(ahead) => self.ahead = Some((problem, ahead)),
                        None => self.add_problem(problem),
                    }
                    goes_on = false;
                }
            }
        }
        if !goes_on {
            self.next = None;
        }
    }

    /// The segments that are missing before `number`.
    fn add_gap(&mut self, number: SegmentNo) {
        let Some(count) = number.get().checked_sub(self.number.get()).filter(|count| *count > 0) else {
            return;
        };
        let last = SegmentNo::new(number.get() - 1);
        let name = |number: SegmentNo| {
            let end = Lsn::new(number.end(self.size).get().saturating_sub(1));
            number.name(self.history.timeline_at(end), self.size)
        };
        let problem = WalProblem::Missing { first: name(self.number), last: name(last), count };
        self.add_problem(problem);
        self.next = None;
    }

    fn add_problem(&mut self, problem: WalProblem) {
        if self.line.problems.len() < MAX_PROBLEMS {
            self.line.problems.push(problem);
        } else {
            self.line.more_problems += 1;
        }
    }

    fn add_stretch(&mut self, stretch: &Stretch) {
        let first = stretch.first.or(stretch.next);
        let expected = self.next.take();
        if let Some(expected) = expected
            && first != Some(expected)
        {
            self.add_problem(WalProblem::Join { expected, found: first });
        }
        let goes_on = expected.is_some() && expected == first;
        self.next = stretch.next;
        let (Some(start), Some((end, timeline))) = (stretch.first, stretch.end) else { return };
        let last_commit = stretch.last_commit;
        match self.line.ranges.last_mut().filter(|_| goes_on) {
            Some(range) => {
                (range.end, range.timeline) = (end, timeline);
                range.last_commit = last_commit.or(range.last_commit);
            }
            None => self.line.ranges.push(WalRange { start, end, timeline, last_commit }),
        }
    }

    /// The line, once all chunks were added.
    pub(super) fn finish(mut self) -> (VerifiedLine, Landmarks) {
        if let Some((problem, _)) = self.ahead.take() {
            self.add_problem(problem);
        }
        self.line.end = self.end;
        (self.line, self.landmarks)
    }
}
