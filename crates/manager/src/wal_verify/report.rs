//! What a verification found.

use std::fmt;

use tapster_catalog::BackupId;
use time::OffsetDateTime;
use walfile::record::Xid;
use walfile::{Lsn, SegmentName, SegmentSize, Timeline, WalName};

use super::backup::BackupReach;

/// What [`Server::verify_wal`](crate::Server::verify_wal) found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WalVerifyReport {
    /// The backup whose beginning was the start; `None` when it was the archive's first segment.
    pub backup: Option<BackupId>,
    /// Segment size of the cluster.
    pub segment_size: SegmentSize,
    /// The way recovery would go, to the newest timeline; then what other timelines hold apart from it.
    pub lines: Vec<VerifiedLine>,
    /// How far each backup can be recovered, the oldest first.
    pub backups: Vec<BackupReach>,
}

impl WalVerifyReport {
    /// Whether nothing is missing and nothing is damaged, and every backup can be recovered.
    pub fn is_sound(&self) -> bool {
        self.lines.iter().all(|line| line.problems.is_empty())
            && self.backups.iter().all(BackupReach::is_recoverable)
    }

    /// Whole segments that were read.
    pub fn segments(&self) -> u64 {
        self.lines.iter().map(|line| line.segments).sum()
    }

    /// Whole records that were read.
    pub fn records(&self) -> u64 {
        self.lines.iter().map(|line| line.records).sum()
    }
}

/// The log on the way to one timeline.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct VerifiedLine {
    /// The timeline on which it ends.
    pub timeline: Timeline,
    /// Where it was begun.
    pub start: Lsn,
    /// What is valid without interruption, in order. More than one only when there are problems.
    pub ranges: Vec<WalRange>,
    /// What is missing or damaged, in order; only the first 1,000.
    pub problems: Vec<WalProblem>,
    /// How many more there are.
    pub more_problems: u64,
    /// How it ends, where no problem ended it.
    pub end: Option<LineEnd>,
    /// Whole segments that were read.
    pub segments: u64,
    /// Whole records that were read.
    pub records: u64,
    /// Bytes of these records.
    pub record_bytes: u64,
}

/// A part of the log that can be replayed from its beginning to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WalRange {
    /// Where the first record begins.
    pub start: Lsn,
    /// Where the last record ends.
    pub end: Lsn,
    /// The timeline of the last record.
    pub timeline: Timeline,
    /// The last commit.
    pub last_commit: Option<Commit>,
}

/// A commit in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Commit {
    /// Where its record begins.
    pub lsn: Lsn,
    /// The transaction.
    pub xid: Xid,
    /// When, by the server's clock.
    pub time: OffsetDateTime,
}

/// How a line ends where nothing is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct LineEnd {
    /// The unfinished segment that was read last; `None` when the archive ends with a whole one.
    pub partial: Option<SegmentName>,
    /// Why nothing more was read, in words.
    pub reason: String,
}

/// Something that keeps recovery from going on.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WalProblem {
    /// Segments are not in the archive, and it goes on after them.
    Missing {
        /// The first of them.
        first: SegmentName,
        /// The last of them.
        last: SegmentName,
        /// How many.
        count: u64,
    },
    /// A record, a page or a file is damaged. What follows in the same segment was not read.
    Damaged {
        /// Where the record or the page begins; everything before it is valid.
        at: Lsn,
        /// The timeline there.
        timeline: Timeline,
        /// The file in which it was found.
        file: Option<WalName>,
        /// What is wrong, in words.
        reason: String,
    },
    /// A record says that another timeline holds its position than the history file.
    Timeline {
        /// Where the record begins.
        at: Lsn,
        /// By the history file.
        expected: Timeline,
        /// By the record.
        found: Timeline,
    },
    /// The first record of a timeline does not stand where the history file says that the timeline begins.
    Switch {
        /// Where the record begins.
        at: Lsn,
        /// The timeline that begins with it.
        timeline: Timeline,
        /// Where it begins by the history file.
        expected: Lsn,
    },
    /// There is WAL of a timeline, or of a later one, but the file that says where it begins is not in the archive. Recovery
    /// to the latest timeline ends before it.
    MissingHistory {
        /// The timeline.
        timeline: Timeline,
    },
    /// The log is not one: what was read up to here goes on elsewhere than what was read from here.
    Join {
        /// Where the next record should begin.
        expected: Lsn,
        /// Where it begins; `None` when there is none.
        found: Option<Lsn>,
    },
}

impl fmt::Display for WalProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { first, count: 1, .. } => write!(f, "segment {first} is missing"),
            Self::Missing { first, last, count } => {
                write!(f, "{count} segments are missing: {first} to {last}")
            }
            Self::Damaged { at, timeline, file: Some(file), reason } => {
                write!(f, "damaged at {at} on timeline {timeline}, in {file}: {reason}")
            }
            Self::Damaged { at, timeline, file: None, reason } => {
                write!(f, "damaged at {at} on timeline {timeline}: {reason}")
            }
            Self::Timeline { at, expected, found } => {
                write!(f, "the record at {at} says timeline {found}, the history file timeline {expected}")
            }
            Self::Switch { at, timeline, expected } => {
                write!(
                    f,
                    "timeline {timeline} begins with the record at {at}, by its history file at {expected}"
                )
            }
            Self::MissingHistory { timeline } => {
                write!(
                    f,
                    "{} is missing, so recovery cannot go on to timeline {timeline}",
                    WalName::History(*timeline)
                )
            }
            Self::Join { expected, found: Some(found) } => {
                write!(f, "the log goes on at {found} instead of {expected}")
            }
            Self::Join { expected, found: None } => write!(f, "the log does not go on at {expected}"),
        }
    }
}
