//! Where recovery will stop: the record that PostgreSQL will recognise as its target, found in the WAL before the restore.
//!
//! Follows `recoveryStopsBefore` and `recoveryStopsAfter` in `xlogrecovery.c`: a transaction is recognised where it commits or
//! is rolled back, prepared ones included, by its own number and not by those of its subtransactions; of several restore points
//! of one name the first that is replayed is the target.

use std::fmt;

use time::OffsetDateTime;
use walfile::record::Xid;
use walfile::{Lsn, SegmentName, Timeline};

use super::{RecoveryTarget, RestorePlanError, TransactionEnd};
use crate::wal_find::{FoundPoint, FoundWhat, WalFindError, WalFindOptions, WalTarget};
use crate::{Context, Server};

/// Where recovery stops.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StopPoint {
    /// What is there.
    pub what: StopAt,
    /// Where the record begins; for a target position, the position.
    pub lsn: Lsn,
    /// Where the log goes on after the record.
    pub end: Lsn,
    /// The timeline on which it was written.
    pub timeline: Timeline,
    /// The transaction that ends there.
    pub xid: Option<Xid>,
    /// When it was written, by the server's clock.
    pub time: Option<OffsetDateTime>,
    /// Whether recovery replays the record and stops after it, or stops before it.
    pub included: bool,
}

/// What recovery stops at.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StopAt {
    /// The commit of a transaction.
    Commit,
    /// The rollback of a transaction.
    Rollback,
    /// A restore point.
    RestorePoint,
    /// The first record at a position or after it.
    Position,
    /// The position from which on the cluster is consistent.
    Consistency,
}

impl StopAt {
    /// A word or two.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Rollback => "rollback",
            Self::RestorePoint => "restore point",
            Self::Position => "position",
            Self::Consistency => "consistency",
        }
    }
}

impl StopPoint {
    pub(super) const fn at(what: StopAt, lsn: Lsn, timeline: Timeline, included: bool) -> Self {
        Self { what, lsn, end: lsn, timeline, xid: None, time: None, included }
    }

    pub(super) const fn before(end: TransactionEnd) -> Self {
        let what = if end.committed { StopAt::Commit } else { StopAt::Rollback };
        Self {
            what,
            lsn: end.lsn,
            end: end.end,
            timeline: end.timeline,
            xid: end.xid,
            time: Some(end.time),
            included: false,
        }
    }

    fn of(point: &FoundPoint, included: bool) -> Option<Self> {
        let what = match point.what {
            FoundWhat::Commit { .. } => StopAt::Commit,
            FoundWhat::Abort { .. } => StopAt::Rollback,
            FoundWhat::RestorePoint { .. } => StopAt::RestorePoint,
            _ => return None,
        };
        let FoundPoint { lsn, end, timeline, xid, time, .. } = *point;
        Some(Self { what, lsn, end, timeline, xid, time, included })
    }
}

/// A target that is a record and has a name: a restore point, or the end of a transaction.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RecordTarget {
    /// A restore point.
    Name(String),
    /// The end of a transaction.
    Xid(Xid),
}

impl fmt::Display for RecordTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "restore point '{name}'"),
            Self::Xid(xid) => write!(f, "the end of transaction {xid}"),
        }
    }
}

impl RecordTarget {
    pub(super) fn of(target: &RecoveryTarget) -> Option<Self> {
        match target {
            RecoveryTarget::Name(name) => Some(Self::Name(name.clone())),
            // PostgreSQL takes the lower half of a number with an epoch.
            RecoveryTarget::Xid(xid) => {
                Some(Self::Xid(Xid::new(u32::try_from(xid & 0xFFFF_FFFF).unwrap_or_default())))
            }
            _ => None,
        }
    }
}

/// Where a target is that recovery would not come to.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TargetPlace {
    /// It is not in the WAL of the hub.
    Nowhere {
        /// A segment that is missing on the way and may have held it.
        missing: Option<SegmentName>,
        /// Restore points whose names are similar, the most similar first.
        similar: Vec<RestorePointAt>,
        /// The last transaction that ends in the WAL on the way.
        last: Option<TransactionEnd>,
    },
    /// Before the backup is consistent.
    BeforeBackup {
        /// Where it is.
        at: StopPoint,
        /// The end of the backup.
        end: Lsn,
    },
    /// On a timeline that is not on the way, or after the position where the way leaves it.
    OtherTimeline {
        /// Where it is.
        at: StopPoint,
        /// The timeline that recovery would follow.
        followed: Timeline,
    },
    /// In a segment of which only the beginning was received, when that was not to be used.
    Partial {
        /// Where it is.
        at: StopPoint,
        /// The segment.
        segment: SegmentName,
    },
    /// The number is that of a subtransaction, at which PostgreSQL does not stop.
    Subtransaction {
        /// The end of the transaction that it is a part of.
        of: StopPoint,
    },
    /// The transaction was prepared, and has not ended yet.
    Prepared {
        /// Its name.
        gid: String,
    },
}

/// A restore point of the archive.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RestorePointAt {
    /// Its name.
    pub name: String,
    /// Where its record begins.
    pub lsn: Lsn,
    /// The timeline it was made on.
    pub timeline: Timeline,
    /// When, by the server's clock.
    pub time: Option<OffsetDateTime>,
}

pub(super) fn target_text(target: &RecordTarget, place: &TargetPlace) -> String {
    match place {
        TargetPlace::Nowhere { missing: Some(missing), .. } => {
            format!("{target} is not in the archived WAL, of which segment {missing} is missing")
        }
        TargetPlace::Nowhere { .. } => format!("{target} is not in the archived WAL"),
        TargetPlace::BeforeBackup { at, end } => {
            format!("{target} is at {}, before the end of the backup at {end}", at.lsn)
        }
        TargetPlace::OtherTimeline { at, followed } => format!(
            "{target} is at {} on timeline {}, which is not on the way of a recovery along timeline {followed}",
            at.lsn, at.timeline
        ),
        TargetPlace::Partial { at, segment } => {
            format!("{target} is at {} in WAL segment {segment}, which is not complete yet", at.lsn)
        }
        TargetPlace::Subtransaction { of } => {
            let top = of.xid.unwrap_or_default();
            format!("{target} is no target: it is a subtransaction of {top}, which ends at {}", of.lsn)
        }
        TargetPlace::Prepared { gid } => {
            format!("{target} is not in the archived WAL: it was prepared as '{gid}' and has not ended")
        }
    }
}

/// All that was found of a target, wherever it is.
#[derive(Debug)]
pub(super) struct Points {
    pub(super) target: RecordTarget,
    found: Vec<FoundPoint>,
    /// Why the WAL could not be searched.
    pub(super) problem: Option<String>,
}

impl Points {
    /// Records that PostgreSQL would stop at.
    pub(super) fn stops(&self) -> impl Iterator<Item = (&FoundPoint, StopPoint)> {
        let is_it = |point: &FoundPoint| match &self.target {
            RecordTarget::Name(_) => true,
            RecordTarget::Xid(xid) => point.xid == Some(*xid),
        };
        self.found
            .iter()
            .filter(move |point| is_it(point))
            .filter_map(|point| Some((point, StopPoint::of(point, true)?)))
    }

    /// Why a number at which nothing stops is in the WAL nevertheless.
    pub(super) fn instead(&self) -> Option<TargetPlace> {
        self.found.iter().find_map(|point| match &point.what {
            FoundWhat::Prepare { gid } => Some(TargetPlace::Prepared { gid: gid.clone() }),
            _ => StopPoint::of(point, true).map(|of| TargetPlace::Subtransaction { of }),
        })
    }
}

impl Server {
    /// Searches all WAL for a target that is a record; `None` for other targets.
    ///
    /// # Errors
    /// When somebody asked to stop.
    pub(super) fn points(
        &self,
        target: &RecoveryTarget,
        context: &Context<'_>,
    ) -> Result<Option<Points>, RestorePlanError> {
        let Some(target) = RecordTarget::of(target) else { return Ok(None) };
        let wanted = match &target {
            RecordTarget::Name(name) => WalTarget::RestorePoint(name.clone()),
            RecordTarget::Xid(xid) => WalTarget::Xid(*xid),
        };
        let (found, problem) = match self.find_wal(&WalFindOptions::new(wanted), context) {
            Ok(report) => (report.found, None),
            Err(WalFindError::Stopped) => return Err(RestorePlanError::Stopped),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        Ok(Some(Points { target, found, problem }))
    }
}
