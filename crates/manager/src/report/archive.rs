//! What the archive covers, timeline by timeline: one look at the names, one pass over the index.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use tapster_catalog::wal_store::{SegmentRun, SegmentRuns};
use tapster_catalog::{BackupId, WalStore, WalStoreError, XlogDbError};
use thiserror::Error;
use time::OffsetDateTime;
use walfile::{Lsn, SegmentNo, SegmentSize, Timeline, TimelineHistory, WalName};

use super::histogram::Histogram;
use super::windows::{Base, Reach, holes, windows};
use super::{
    ArchiveReport, MOST_LISTED, ReportPart, ReportedBackup, Restorable, TimelineReport, WalColumn, WalGap,
    WalSpan, Window, WindowEnd,
};
use crate::metrics::RecoverablePoint;
use crate::wal_verify::{Line, Position, WalVerifyError, first_size, main_line};
use crate::{Context, Server};

/// More timelines than any cluster has; the newest count.
const MOST_TIMELINES: usize = 200;

/// An archive of which nothing can be said.
#[derive(Debug, Error)]
pub(super) enum ArchiveUnreadable {
    #[error(transparent)]
    Wal(#[from] WalVerifyError),
    #[error(transparent)]
    Store(#[from] WalStoreError),
    #[error(transparent)]
    Index(#[from] XlogDbError),
}

/// A timeline by positions, before the times of its files are known.
struct Way {
    history: TimelineHistory,
    history_lost: bool,
    runs: Vec<(SegmentNo, SegmentNo)>,
}

/// The times of some files, and sums of all.
#[derive(Default)]
struct Indexed {
    times: HashMap<WalName, Option<OffsetDateTime>>,
    bytes: BTreeMap<Timeline, Vec<u64>>,
    all_bytes: u64,
    sizes: Histogram,
}

impl Server {
    /// Says of each backup whether it can be restored, too.
    pub(super) fn archive_report(
        &self,
        backups: &mut [ReportedBackup],
        problems: &mut Vec<(ReportPart, String)>,
        context: &Context<'_>,
    ) -> Result<ArchiveReport, ArchiveUnreadable> {
        let store = self.wal_store();
        let newest = backups.iter().find(|backup| backup.listed.is_copied()).map(|b| &b.listed.record);
        let size = match newest {
            Some(record) => record.segment_size(),
            // Names alone tell enough where no header can be read.
            None => first_size(&store)?.unwrap_or_default(),
        };
        let store = store.with_segment_size(size);
        let archived = store.segment_runs(size)?;
        let current = main_line(&store, size, &archived, newest)?.map(|line| line.history.timeline());
        let mut bases: Vec<Base> = backups.iter().filter_map(base_of).collect();
        bases.sort_by_key(|base| base.consistent);
        let ways = ways(&store, size, &archived, &bases, problems)?;
        for backup in backups.iter_mut() {
            if backup.restorable == Restorable::Yes
                && let Some(base) = bases.iter().find(|base| base.id == backup.listed.record.id)
            {
                let way = ways.iter().find(|way| way.history.timeline() == base.timeline);
                let has_wal = way.is_some_and(|way| base.run(&way.runs, size).is_some());
                backup.restorable = match backup.listed.status() {
                    _ if has_wal => Restorable::Yes,
                    tapster_catalog::BackupStatus::WaitingForWals => Restorable::WaitingForWal,
                    _ => Restorable::WalMissing,
                };
            }
        }
        let cannot = |id: &BackupId| {
            let backup = backups.iter().find(|backup| backup.listed.record.id == *id);
            backup.is_none_or(|backup| backup.restorable != Restorable::Yes)
        };
        let usable: Vec<Base> = bases.iter().filter(|base| !cannot(&base.id)).copied().collect();
        let mut found: Vec<(TimelineReport, Vec<Reach>)> = Vec::new();
        let mut line = Vec::new();
        for way in &ways {
            let clip = way.history.begin();
            found.push((
                timeline(way, &archived, &bases, size),
                windows(&usable, &way.history, &way.runs, size, clip),
            ));
            if Some(way.history.timeline()) == current {
                line = windows(&usable, &way.history, &way.runs, size, Lsn::INVALID);
            }
        }
        let holder = |history: &TimelineHistory, number: SegmentNo| holder(&archived, history, number);
        let mut wanted = BTreeSet::new();
        for (way, (report, reaches)) in ways.iter().zip(&found) {
            let at = |number: SegmentNo| WalName::from(number.name(holder(&way.history, number), size));
            wanted.insert(WalName::History(report.timeline));
            for span in &report.spans {
                wanted.extend([span.first, span.last].map(|n| WalName::from(n.name(report.timeline, size))));
            }
            let gaps = report.gaps.iter().flat_map(|gap| [gap.first.previous(), gap.last.next()]);
            wanted.extend(gaps.flatten().map(at));
            wanted.extend(reaches.iter().map(|reach| at(reach.last)));
        }
        let indexed = self.indexed(&archived, size, wanted, context)?;
        let time = |name: WalName| indexed.times.get(&name).copied().flatten();
        let window = |way: &Way, reach: &Reach| {
            let at = reach.last.name(holder(&way.history, reach.last), size);
            let begun = || time(WalName::History(way.history.timeline()));
            let from = RecoverablePoint { lsn: reach.from, time: reach.ended.or_else(begun) };
            let to = RecoverablePoint { lsn: reach.last.end(size), time: time(at.into()).max(from.time) };
            Window {
                from,
                to,
                backup: reach.first,
                backups: reach.backups,
                end: match reach {
                    Reach { standalone: true, .. } => WindowEnd::Standalone,
                    Reach { before_gap: true, .. } => WindowEnd::Gap,
                    _ => WindowEnd::Newest,
                },
            }
        };
        let mut report = ArchiveReport {
            segment_size: Some(size),
            current,
            bytes: indexed.all_bytes,
            segments: archived.values().flatten().map(count).sum(),
            column_seconds: indexed.sizes.seconds(),
            ..ArchiveReport::default()
        };
        report.sizes = indexed
            .sizes
            .columns()
            .filter_map(|(begin, files, bytes)| {
                let begin = OffsetDateTime::from_unix_timestamp(begin).ok()?;
                Some(WalColumn { begin, files, bytes })
            })
            .collect();
        for (way, (mut timeline, reaches)) in ways.iter().zip(found) {
            let at = |number: SegmentNo| time(number.name(holder(&way.history, number), size).into());
            timeline.begun = time(WalName::History(timeline.timeline));
            let sums = indexed.bytes.get(&timeline.timeline);
            for (index, span) in timeline.spans.iter_mut().enumerate() {
                span.from = time(span.first.name(timeline.timeline, size).into());
                span.to = time(span.last.name(timeline.timeline, size).into()).max(span.from);
                span.bytes =
                    sums.and_then(|sums| sums.get(timeline.spans_left_out + index)).copied().unwrap_or(0);
            }
            for gap in &mut timeline.gaps {
                gap.after = gap.first.previous().and_then(at);
                gap.before = gap.last.next().and_then(at);
            }
            timeline.windows = reaches.iter().map(|reach| window(way, reach)).collect();
            if Some(timeline.timeline) == current {
                report.windows = line.iter().map(|reach| window(way, reach)).collect();
            }
            report.timelines.push(timeline);
        }
        report.last = report.timelines.iter().flat_map(|t| t.spans.last()).filter_map(|span| span.to).max();
        Ok(report)
    }

    /// One pass over the index. Files that are not listed yet are asked themselves when their time is wanted.
    fn indexed(
        &self,
        archived: &SegmentRuns,
        size: SegmentSize,
        wanted: BTreeSet<WalName>,
        context: &Context<'_>,
    ) -> Result<Indexed, XlogDbError> {
        let mut found = Indexed {
            times: wanted.into_iter().map(|name| (name, None)).collect(),
            bytes: archived.iter().map(|(timeline, runs)| (*timeline, vec![0; runs.len()])).collect(),
            ..Indexed::default()
        };
        if self.layout().wals.is_dir() {
            self.wal_index(context)?.scan(|brief| {
                found.all_bytes = found.all_bytes.saturating_add(brief.size);
                #[expect(clippy::cast_possible_truncation, reason = "seconds that do not fit saturate")]
                let seconds = brief.mtime.seconds() as i64;
                let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
                if let Some(wanted) = found.times.get_mut(&brief.name) {
                    *wanted = time;
                }
                if time.is_some() {
                    found.sizes.add(seconds, brief.size);
                }
                if let WalName::Segment(name) = brief.name
                    && let Ok(number) = name.number(size)
                    && let Some(runs) = archived.get(&name.timeline())
                    && let Some(at) = runs.partition_point(|run| run.first <= number).checked_sub(1)
                    && let Some(sum) = found.bytes.get_mut(&name.timeline()).and_then(|sums| sums.get_mut(at))
                {
                    *sum = sum.saturating_add(brief.size);
                }
                ControlFlow::Continue(())
            })?;
        }
        let store = self.wal_store().with_segment_size(size);
        for (name, time) in found.times.iter_mut().filter(|(_, time)| time.is_none()) {
            let file = store.find(*name, false).ok().flatten();
            *time =
                file.and_then(|file| file.path.metadata().ok()?.modified().ok()).map(OffsetDateTime::from);
        }
        Ok(found)
    }
}

fn base_of(backup: &ReportedBackup) -> Option<Base> {
    let record = &backup.listed.record;
    let Position { timeline, begin, consistent } = Position::of(record)?;
    backup.listed.is_copied().then(|| Base {
        id: record.id,
        timeline,
        begin: begin.segment(record.segment_size()),
        consistent,
        ended: record.end_time,
        standalone: backup.keep == Some(tapster_catalog::KeepTarget::Standalone),
    })
}

const fn count(run: &SegmentRun) -> u64 {
    run.last.get() - run.first.get() + 1
}

/// The timelines of the archive and of the backups, in order.
fn ways(
    store: &WalStore<'_>,
    size: SegmentSize,
    archived: &SegmentRuns,
    bases: &[Base],
    problems: &mut Vec<(ReportPart, String)>,
) -> Result<Vec<Way>, WalStoreError> {
    let mut timelines: BTreeSet<Timeline> = archived.keys().copied().collect();
    timelines.extend(bases.iter().map(|base| base.timeline));
    timelines.extend(store.history_files()?);
    if timelines.len() > MOST_TIMELINES {
        let left = timelines.len() - MOST_TIMELINES;
        problems.push((ReportPart::Archive, format!("the {left} oldest timelines are left out")));
        timelines = timelines.into_iter().skip(left).collect();
    }
    let oldest = timelines.first().copied();
    let mut ways = Vec::with_capacity(timelines.len());
    for timeline in timelines {
        let known = store.history(timeline).unwrap_or_else(|error| {
            problems.push((ReportPart::Archive, error.to_string()));
            None
        });
        let history_lost = known.is_none() && Some(timeline) != oldest;
        let history = known.unwrap_or_else(|| TimelineHistory::root(timeline));
        let runs = Line::new(history.clone(), Lsn::INVALID, archived, size).runs;
        ways.push(Way { history, history_lost, runs });
    }
    Ok(ways)
}

/// The timeline whose file a recovery along `history` would read: the newest one that has it.
fn holder(archived: &SegmentRuns, history: &TimelineHistory, number: SegmentNo) -> Timeline {
    let holds = |timeline: Timeline| {
        archived.get(&timeline).is_some_and(|runs| {
            let before = runs.partition_point(|run| run.first <= number).checked_sub(1);
            before.and_then(|at| runs.get(at)).is_some_and(|run| number <= run.last)
        })
    };
    let own = history.timeline();
    let ancestors = history.entries().iter().rev().map(|entry| entry.timeline);
    std::iter::once(own).chain(ancestors).find(|timeline| holds(*timeline)).unwrap_or(own)
}

fn timeline(way: &Way, archived: &SegmentRuns, bases: &[Base], size: SegmentSize) -> TimelineReport {
    let number = way.history.timeline();
    let parent = way.history.entries().last();
    let runs = archived.get(&number).map(Vec::as_slice).unwrap_or_default();
    let spans_left_out = runs.len().saturating_sub(MOST_LISTED);
    let holes = holes(bases, &way.history, &way.runs, size);
    let gaps_left_out = holes.len().saturating_sub(MOST_LISTED);
    let span =
        |run: &SegmentRun| WalSpan { first: run.first, last: run.last, from: None, to: None, bytes: 0 };
    TimelineReport {
        timeline: number,
        parent: parent.map(|entry| (entry.timeline, entry.switch)),
        reason: parent.map(|entry| entry.reason.clone()),
        history_lost: way.history_lost,
        begun: None,
        spans: runs.iter().skip(spans_left_out).map(span).collect(),
        spans_left_out,
        missing: holes
            .iter()
            .filter(|hole| hole.needed)
            .map(|hole| hole.last.get() - hole.first.get() + 1)
            .sum(),
        needed_gaps: holes.iter().filter(|hole| hole.needed).count(),
        gaps: holes
            .iter()
            .skip(gaps_left_out)
            .map(|hole| WalGap {
                first: hole.first,
                last: hole.last,
                needed: hole.needed,
                after: None,
                before: None,
            })
            .collect(),
        gaps_left_out,
        windows: Vec::new(),
    }
}
