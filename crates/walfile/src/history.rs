//! Timeline history files (`<timeline>.history`): which timeline holds which part of the log.

use thiserror::Error;

use crate::{Lsn, Timeline};

/// One line of a history file: `timeline` was left at `switch`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HistoryEntry {
    /// The ancestor.
    pub timeline: Timeline,
    /// The first position that is no longer on `timeline`.
    pub switch: Lsn,
    /// Why, in PostgreSQL's words and the cluster's encoding, such as `no recovery target specified`.
    pub reason: String,
}

/// The ancestry of a timeline, as its history file tells it (PostgreSQL's `timeline.c`).
///
/// ```
/// use walfile::{Lsn, Timeline, TimelineHistory};
/// let two = Timeline::new(2).unwrap();
/// let history = TimelineHistory::parse(two, b"1\t0/5000000\tno recovery target specified\n")?;
/// assert_eq!(history.timeline_at(Lsn::new(0x4FF_FFFF)), Timeline::FIRST);
/// assert_eq!(history.timeline_at(Lsn::new(0x500_0000)), two);
/// # Ok::<(), walfile::HistoryError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TimelineHistory {
    timeline: Timeline,
    entries: Vec<HistoryEntry>,
}

/// A history file that PostgreSQL would not accept either.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("history of timeline {timeline}, line {line}: {problem}")]
#[non_exhaustive]
pub struct HistoryError {
    /// The timeline the file belongs to.
    pub timeline: Timeline,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: HistoryProblem,
}

/// What can be wrong with a line of a history file.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum HistoryProblem {
    /// The line does not start with a timeline and a position.
    #[error("expected a timeline, a switch position and a reason, separated by tabs")]
    Syntax,
    /// The timelines do not increase from line to line up to the file's own timeline.
    #[error("timeline {0} does not follow the one before, or is not below the file's own")]
    Order(Timeline),
    /// A switch position lies before the one of the line before.
    #[error("switch position {0} lies before the previous one")]
    Position(Lsn),
    /// More ancestors than any cluster has.
    #[error("more than {MAX_ENTRIES} lines")]
    TooLong,
}

/// More promotions than anyone has seen; bounds the memory a hostile server can make us use.
const MAX_ENTRIES: usize = 100_000;

impl TimelineHistory {
    /// The history of a timeline without ancestors: that of `initdb`, or one whose history file is lost.
    pub const fn root(timeline: Timeline) -> Self {
        Self { timeline, entries: Vec::new() }
    }

    /// Reads the history file of `timeline`. Comments (`#`) and blank lines are skipped; bytes that are not
    /// UTF-8 are kept in the reason as replacement characters.
    ///
    /// # Errors
    /// When a line is malformed or the lines are not in increasing order.
    pub fn parse(timeline: Timeline, content: &[u8]) -> Result<Self, HistoryError> {
        let mut entries: Vec<HistoryEntry> = Vec::new();
        for (index, raw) in content.split(|byte| *byte == b'\n').enumerate() {
            let fail = |problem| HistoryError { timeline, line: index + 1, problem };
            let text = String::from_utf8_lossy(raw);
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let entry = parse_line(text).ok_or_else(|| fail(HistoryProblem::Syntax))?;
            if entry.timeline >= timeline || entries.last().is_some_and(|e| e.timeline >= entry.timeline) {
                return Err(fail(HistoryProblem::Order(entry.timeline)));
            }
            if entries.last().is_some_and(|e| e.switch > entry.switch) {
                return Err(fail(HistoryProblem::Position(entry.switch)));
            }
            if entries.len() == MAX_ENTRIES {
                return Err(fail(HistoryProblem::TooLong));
            }
            entries.push(entry);
        }
        Ok(Self { timeline, entries })
    }

    /// The timeline whose ancestry this is.
    pub const fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// The ancestors, oldest first.
    pub fn entries(&self) -> &[HistoryEntry] {
        &self.entries
    }

    /// The timeline that holds the byte at `lsn`.
    pub fn timeline_at(&self, lsn: Lsn) -> Timeline {
        self.entries.iter().find(|entry| lsn < entry.switch).map_or(self.timeline, |entry| entry.timeline)
    }

    /// Where `ancestor` was left, or `None` when it is this timeline itself or no ancestor of it.
    pub fn switch_from(&self, ancestor: Timeline) -> Option<Lsn> {
        self.entries.iter().find(|entry| entry.timeline == ancestor).map(|entry| entry.switch)
    }

    /// The position at which this timeline itself begins: where its parent was left; zero without a parent.
    pub fn begin(&self) -> Lsn {
        self.entries.last().map_or(Lsn::INVALID, |entry| entry.switch)
    }

    /// Whether `timeline` is this timeline or one of its ancestors.
    pub fn contains(&self, timeline: Timeline) -> bool {
        timeline == self.timeline || self.switch_from(timeline).is_some()
    }
}

fn parse_line(text: &str) -> Option<HistoryEntry> {
    let mut fields = text.splitn(3, char::is_whitespace);
    let timeline = fields.next()?.parse().ok()?;
    let switch = fields.next()?.parse().ok()?;
    Some(HistoryEntry { timeline, switch, reason: fields.next().unwrap_or("").trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tli(number: u32) -> Timeline {
        Timeline::new(number).unwrap()
    }

    #[test]
    fn finds_the_timeline_of_a_position() {
        let text =
            b"# made by hand\n1\t0/3000000\tno recovery target specified\n\n3\t0/5000000\tbefore 2026\n";
        let history = TimelineHistory::parse(tli(5), text).unwrap();
        assert_eq!(history.entries().len(), 2);
        for (lsn, timeline) in [(0, 1), (0x2FF_FFFF, 1), (0x300_0000, 3), (0x500_0000, 5), (u64::MAX, 5)] {
            assert_eq!(history.timeline_at(Lsn::new(lsn)), tli(timeline), "{lsn:X}");
        }
        assert_eq!(history.switch_from(tli(3)), Some(Lsn::new(0x500_0000)));
        assert_eq!(history.switch_from(tli(2)), None);
        assert!(history.contains(tli(5)) && !history.contains(tli(4)));
        assert_eq!(history.begin(), Lsn::new(0x500_0000));
    }

    #[test]
    fn reports_the_line() {
        for (text, line, problem) in [
            (&b"1\t0/3\n2"[..], 2, HistoryProblem::Syntax),
            (b"x\t0/3", 1, HistoryProblem::Syntax),
            (b"1\t0/3\n1\t0/4", 2, HistoryProblem::Order(tli(1))),
            (b"5\t0/3", 1, HistoryProblem::Order(tli(5))),
            (b"1\t0/3\n2\t0/2", 2, HistoryProblem::Position(Lsn::new(2))),
        ] {
            let error = TimelineHistory::parse(tli(5), text).unwrap_err();
            assert_eq!((error.line, error.problem), (line, problem));
        }
    }
}
