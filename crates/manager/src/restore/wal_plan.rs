//! Which WAL a restore needs, and how far it reaches. Pure: names and history files in, a list out.
//!
//! Follows what PostgreSQL's recovery does (`xlogrecovery.c`): the newest timeline is found by probing history files one
//! after another (`findNewestTimeLine`), and each segment is taken from the newest timeline of the path that holds it
//! (`XLogFileReadAnyTLI`).

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use thiserror::Error;
use walfile::{Lsn, SegmentName, SegmentNo, SegmentSize, Timeline, TimelineHistory};

/// `recovery_target_timeline`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TimelineTarget {
    /// The timeline the backup was taken on.
    Current,
    /// The newest one in the archive that PostgreSQL would find.
    Latest,
    /// This one.
    Number(Timeline),
}

impl FromStr for TimelineTarget {
    type Err = walfile::ParseTimelineError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "current" => Ok(Self::Current),
            "latest" => Ok(Self::Latest),
            number => number.parse().map(Self::Number),
        }
    }
}

/// What is known about the archive and the backup.
#[derive(Clone, Copy, Debug)]
pub struct WalRequest<'a> {
    /// Timeline of the backup's start.
    pub timeline: Timeline,
    /// Where replay starts (the backup's start position).
    pub begin: Lsn,
    /// Where the restored cluster becomes consistent (the backup's end position).
    pub consistent: Lsn,
    /// Segment size of the cluster.
    pub size: SegmentSize,
    /// Which timeline to end on.
    pub target_timeline: TimelineTarget,
    /// Nothing after this position is needed.
    pub until: Option<Lsn>,
    /// History files in the archive.
    pub histories: &'a BTreeMap<Timeline, TimelineHistory>,
    /// Whole segments in the archive.
    pub archived: &'a BTreeSet<SegmentName>,
    /// Partial segments that may be used as the last one.
    pub partial: &'a BTreeSet<SegmentName>,
}

/// The WAL a restore needs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WalPlan {
    /// The timeline recovery ends on.
    pub timeline: Timeline,
    /// Whole segments in replay order.
    pub segments: Vec<SegmentName>,
    /// A partial segment that follows them.
    pub partial: Option<SegmentName>,
    /// The archive holds every byte up to here (exclusive).
    pub reach: Lsn,
    /// The first missing segment, when the archive goes on after it.
    pub gap: Option<SegmentName>,
}

/// Why the archive cannot serve a restore.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum WalPlanError {
    /// The history file of a timeline is not in the archive.
    #[error("timeline {timeline} is not in the archive: {}.history is missing", timeline.to_hex())]
    UnknownTimeline {
        /// The timeline.
        timeline: Timeline,
    },
    /// The target timeline left the backup's timeline before the backup was consistent, or never was on it.
    #[error(
        "timeline {target} does not descend from the backup: it needs timeline {timeline} up to {consistent}{}",
        left.map_or_else(String::new, |at| format!(", but left it at {at}"))
    )]
    NotADescendant {
        /// The timeline asked for.
        target: Timeline,
        /// The backup's.
        timeline: Timeline,
        /// The backup's end.
        consistent: Lsn,
        /// Where the target's history leaves the backup's timeline.
        left: Option<Lsn>,
    },
    /// A segment that is needed to make the backup consistent is missing.
    #[error(
        "WAL segment {segment} is missing from the archive; the backup needs everything up to {consistent}"
    )]
    Inconsistent {
        /// The first missing segment.
        segment: SegmentName,
        /// The backup's end.
        consistent: Lsn,
    },
    /// The target position lies behind the end of the archive or behind a gap in it.
    #[error(
        "the target {target} is beyond the archive, which reaches to {reach}; the next segment would be {missing}"
    )]
    Unreachable {
        /// The position asked for.
        target: Lsn,
        /// What can be reached.
        reach: Lsn,
        /// The segment that is missing.
        missing: SegmentName,
    },
    /// The target lies before the backup's end.
    #[error("the target {target} is before the end of the backup at {consistent}")]
    BeforeBackupEnd {
        /// The position asked for.
        target: Lsn,
        /// The backup's end.
        consistent: Lsn,
    },
}

/// Finds the WAL for `request`.
///
/// # Errors
/// When the timeline is unknown or no descendant, the backup cannot become consistent, or `until` cannot be reached.
pub fn plan_wal(request: &WalRequest<'_>) -> Result<WalPlan, WalPlanError> {
    let path = timeline_path(request)?;
    if let Some(target) = request.until
        && target < request.consistent
    {
        return Err(WalPlanError::BeforeBackupEnd { target, consistent: request.consistent });
    }
    let size = request.size;
    let stop = request.until.map(|lsn| lsn.segment(size));
    let mut plan = WalPlan {
        timeline: path.timeline(),
        segments: Vec::new(),
        partial: None,
        reach: request.begin.segment_start(size),
        gap: None,
    };
    let mut number = request.begin.segment(size);
    let missing = loop {
        // One segment more than the target's, where there is one: its record may end there.
        if stop.is_some_and(|stop| number > stop.next().unwrap_or(stop)) {
            break None;
        }
        let Some(name) = holder(&path, number, size, request.archived) else { break Some(number) };
        plan.segments.push(name);
        plan.reach = number.end(size);
        let Some(next) = number.next() else { break None };
        number = next;
    };
    let Some(missing) = missing else { return Ok(plan) };
    if let Some(partial) = holder(&path, missing, size, request.partial) {
        plan.partial = Some(partial);
    }
    let covered = if plan.partial.is_some() { missing.end(size) } else { plan.reach };
    let name = missing.name(path.timeline_at(missing.start(size)), size);
    if covered < request.consistent {
        return Err(WalPlanError::Inconsistent { segment: name, consistent: request.consistent });
    }
    if let Some(target) = request.until
        && target >= covered
        && target > request.consistent
    {
        return Err(WalPlanError::Unreachable { target, reach: plan.reach, missing: name });
    }
    // What an ancestor wrote after it was left (the old primary went on) is not on the path.
    let goes_on = request.until.is_none()
        && request.archived.iter().any(|other| {
            other.number(size).is_ok_and(|n| {
                n > missing && holder(&path, n, size, request.archived).is_some_and(|name| name == *other)
            })
        });
    plan.gap = goes_on.then_some(name);
    Ok(plan)
}

/// The segment file that recovery would read for `number`.
fn holder(
    path: &TimelineHistory,
    number: SegmentNo,
    size: SegmentSize,
    files: &BTreeSet<SegmentName>,
) -> Option<SegmentName> {
    let oldest = path.timeline_at(number.start(size));
    let mut candidates: Vec<Timeline> = path
        .entries()
        .iter()
        .map(|entry| entry.timeline)
        .chain([path.timeline()])
        .filter(|timeline| *timeline >= oldest && begins(path, *timeline) < number.end(size))
        .collect();
    candidates.reverse();
    candidates.into_iter().map(|timeline| number.name(timeline, size)).find(|name| files.contains(name))
}

/// Where `timeline` begins on this path: where its predecessor was left.
fn begins(path: &TimelineHistory, timeline: Timeline) -> Lsn {
    path.entries()
        .iter()
        .rev()
        .find(|entry| entry.timeline < timeline)
        .map_or(Lsn::INVALID, |entry| entry.switch)
}

/// Whether a backup that is consistent at `consistent` on `timeline` lies on the way to a target timeline.
pub(crate) fn leads_to(
    target_timeline: TimelineTarget,
    timeline: Timeline,
    consistent: Lsn,
    histories: &BTreeMap<Timeline, TimelineHistory>,
) -> bool {
    let nothing = BTreeSet::new();
    let request = WalRequest {
        timeline,
        begin: consistent,
        consistent,
        size: SegmentSize::DEFAULT,
        target_timeline,
        until: None,
        histories,
        archived: &nothing,
        partial: &nothing,
    };
    timeline_path(&request).is_ok()
}

fn timeline_path(request: &WalRequest<'_>) -> Result<TimelineHistory, WalPlanError> {
    let target = match request.target_timeline {
        TimelineTarget::Current => request.timeline,
        TimelineTarget::Number(timeline) => timeline,
        TimelineTarget::Latest => newest(request),
    };
    let path = match request.histories.get(&target) {
        Some(history) => history.clone(),
        // The first timeline has no history file, and the backup's own may have been taken before we kept any.
        None if target == request.timeline => TimelineHistory::root(target),
        None => return Err(WalPlanError::UnknownTimeline { timeline: target }),
    };
    let left = path.switch_from(request.timeline);
    let descends = target == request.timeline || left.is_some_and(|at| at >= request.consistent);
    if !descends {
        return Err(WalPlanError::NotADescendant {
            target,
            timeline: request.timeline,
            consistent: request.consistent,
            left,
        });
    }
    Ok(path)
}

fn newest(request: &WalRequest<'_>) -> Timeline {
    let mut newest = request.timeline;
    while let Some(next) = newest.get().checked_add(1).and_then(Timeline::new) {
        if !request.histories.contains_key(&next) {
            break;
        }
        newest = next;
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB16: u64 = 16 * 1024 * 1024;

    struct Archive {
        histories: BTreeMap<Timeline, TimelineHistory>,
        archived: BTreeSet<SegmentName>,
        partial: BTreeSet<SegmentName>,
    }

    fn tli(number: u32) -> Timeline {
        Timeline::new(number).unwrap()
    }

    fn seg(timeline: u32, number: u64) -> SegmentName {
        SegmentNo::new(number).name(tli(timeline), SegmentSize::DEFAULT)
    }

    fn archive(segments: &[(u32, u64)], histories: &[(u32, &str)]) -> Archive {
        Archive {
            histories: histories
                .iter()
                .map(|(t, text)| (tli(*t), TimelineHistory::parse(tli(*t), text.as_bytes()).unwrap()))
                .collect(),
            archived: segments.iter().map(|(t, n)| seg(*t, *n)).collect(),
            partial: BTreeSet::new(),
        }
    }

    fn request(archive: &Archive, target: TimelineTarget, until: Option<u64>) -> WalRequest<'_> {
        WalRequest {
            timeline: tli(1),
            begin: Lsn::new(5 * MIB16 + 40),
            consistent: Lsn::new(5 * MIB16 + 256),
            size: SegmentSize::DEFAULT,
            target_timeline: target,
            until: until.map(Lsn::new),
            histories: &archive.histories,
            archived: &archive.archived,
            partial: &archive.partial,
        }
    }

    #[test]
    fn takes_everything_without_a_target() {
        let archive = archive(&[(1, 4), (1, 5), (1, 6), (1, 7)], &[]);
        let plan = plan_wal(&request(&archive, TimelineTarget::Latest, None)).unwrap();
        assert_eq!(plan.segments, [seg(1, 5), seg(1, 6), seg(1, 7)]);
        assert_eq!((plan.timeline, plan.reach, plan.gap), (tli(1), Lsn::new(8 * MIB16), None));
    }

    #[test]
    fn stops_after_the_target() {
        let archive = archive(&[(1, 5), (1, 6), (1, 7), (1, 8)], &[]);
        let plan = plan_wal(&request(&archive, TimelineTarget::Latest, Some(6 * MIB16 + 5))).unwrap();
        assert_eq!(plan.segments, [seg(1, 5), seg(1, 6), seg(1, 7)]);
    }

    #[test]
    fn follows_the_newest_timeline_and_reads_the_switch_segment_from_it() {
        let history = format!("1\t0/{:X}\tpromoted\n", 6 * MIB16 + 100);
        let archive = archive(&[(1, 5), (1, 6), (1, 7), (2, 6), (2, 7), (2, 8)], &[(2, &history)]);
        let plan = plan_wal(&request(&archive, TimelineTarget::Latest, None)).unwrap();
        assert_eq!(plan.segments, [seg(1, 5), seg(2, 6), seg(2, 7), seg(2, 8)]);
        let plan = plan_wal(&request(&archive, TimelineTarget::Current, None)).unwrap();
        assert_eq!(plan.segments, [seg(1, 5), seg(1, 6), seg(1, 7)]);
        assert_eq!(plan.timeline, tli(1));
    }

    #[test]
    fn refuses_a_timeline_that_left_too_early() {
        let history = format!("1\t0/{:X}\tpromoted\n", 4 * MIB16);
        let archive = archive(&[(1, 5), (2, 4)], &[(2, &history)]);
        assert!(matches!(
            plan_wal(&request(&archive, TimelineTarget::Number(tli(2)), None)),
            Err(WalPlanError::NotADescendant { .. })
        ));
        assert!(matches!(
            plan_wal(&request(&archive, TimelineTarget::Number(tli(3)), None)),
            Err(WalPlanError::UnknownTimeline { .. })
        ));
    }

    #[test]
    fn a_backup_leads_to_a_timeline_by_ancestry_not_by_number() {
        // 2 and 3 both left 1, one after the other; 4 left 3.
        let (two, three) = (format!("1\t0/{:X}\tx\n", 6 * MIB16), format!("1\t0/{:X}\tx\n", 8 * MIB16));
        let four = format!("{three}3\t0/{:X}\tx\n", 9 * MIB16);
        let archive = archive(&[], &[(2, &two), (3, &three), (4, &four)]);
        let leads = |target, own, consistent: u64| {
            leads_to(target, tli(own), Lsn::new(consistent * MIB16), &archive.histories)
        };
        let number = |number| TimelineTarget::Number(tli(number));
        assert!(leads(number(4), 1, 7) && leads(number(4), 3, 9) && leads(number(4), 4, 20));
        assert!(!leads(number(4), 2, 7), "2 is no ancestor of 4");
        assert!(!leads(number(2), 1, 7) && leads(number(2), 1, 6), "1 was left at 6");
        assert!(!leads(number(5), 1, 5) && leads(number(5), 5, 5), "5 is not known");
        assert!(leads(TimelineTarget::Current, 2, 7) && !leads(TimelineTarget::Latest, 2, 7));
        assert!(leads(TimelineTarget::Latest, 1, 8) && !leads(TimelineTarget::Latest, 1, 9));
    }

    #[test]
    fn names_the_gap() {
        let archive = archive(&[(1, 5), (1, 7)], &[]);
        let plan = plan_wal(&request(&archive, TimelineTarget::Latest, None)).unwrap();
        assert_eq!((plan.gap, plan.reach), (Some(seg(1, 6)), Lsn::new(6 * MIB16)));
        assert_eq!(
            plan_wal(&request(&archive, TimelineTarget::Latest, Some(7 * MIB16))),
            Err(WalPlanError::Unreachable {
                target: Lsn::new(7 * MIB16),
                reach: Lsn::new(6 * MIB16),
                missing: seg(1, 6)
            })
        );
    }

    #[test]
    fn what_the_old_primary_wrote_after_the_switch_is_no_sign_of_a_gap() {
        let history = format!("1\t0/{:X}\tpromoted\n", 6 * MIB16 + 100);
        let segments = [(1, 5), (1, 6), (1, 7), (1, 8), (1, 9), (2, 6), (2, 7)];
        let archive = archive(&segments, &[(2, &history)]);
        let plan = plan_wal(&request(&archive, TimelineTarget::Latest, None)).unwrap();
        assert_eq!(plan.segments, [seg(1, 5), seg(2, 6), seg(2, 7)]);
        assert_eq!((plan.gap, plan.reach), (None, Lsn::new(8 * MIB16)));
    }

    #[test]
    fn the_backup_must_become_consistent() {
        let archive = archive(&[(1, 6)], &[]);
        assert!(matches!(
            plan_wal(&request(&archive, TimelineTarget::Latest, None)),
            Err(WalPlanError::Inconsistent { segment, .. }) if segment == seg(1, 5)
        ));
    }

    #[test]
    fn a_target_before_the_end_of_the_backup_is_refused() {
        let archive = archive(&[(1, 5)], &[]);
        assert!(matches!(
            plan_wal(&request(&archive, TimelineTarget::Latest, Some(5 * MIB16 + 41))),
            Err(WalPlanError::BeforeBackupEnd { .. })
        ));
    }

    #[test]
    fn a_partial_segment_can_be_the_last() {
        let mut archive = archive(&[(1, 5)], &[]);
        archive.partial.insert(seg(1, 6));
        let plan = plan_wal(&request(&archive, TimelineTarget::Latest, Some(6 * MIB16 + 9))).unwrap();
        assert_eq!((plan.segments, plan.partial), (vec![seg(1, 5)], Some(seg(1, 6))));
    }
}
