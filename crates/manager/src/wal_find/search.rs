//! Which files are read, and in which order.

use std::collections::{BTreeMap, HashSet};

use tapster_catalog::WalStore;
use tapster_catalog::wal_index::{Completeness, SegmentSummary, WalIndex, WalIndexError};
use walfile::record::Timestamp;
use walfile::{SegmentName, Timeline, TimelineHistory, WalName};

use super::read::{Reading, read};
use super::report::{FoundPoint, FoundWhat, Removal, WalFindReport, timestamp};
use super::source::{Source, waiting};
use super::{WalFindError, WalFindOptions, WalTarget};
use crate::{Context, Server};

pub(super) struct Search<'a> {
    server: &'a Server,
    options: &'a WalFindOptions,
    context: &'a Context<'a>,
    store: WalStore<'a>,
    timelines: Vec<Timeline>,
    histories: BTreeMap<Timeline, TimelineHistory>,
    report: WalFindReport,
    done: HashSet<SegmentName>,
}

/// A segment that may hold commits, with the earliest and the latest.
struct Span {
    source: Source,
    times: (Timestamp, Timestamp),
}

impl<'a> Search<'a> {
    pub(super) fn new(
        server: &'a Server,
        options: &'a WalFindOptions,
        context: &'a Context<'a>,
    ) -> Result<Self, WalFindError> {
        let store = server.wal_store();
        let timelines = store.history_files()?;
        let mut histories = BTreeMap::new();
        let mut report = WalFindReport::default();
        for timeline in &timelines {
            match store.history(*timeline) {
                Ok(history) => histories.extend(history.map(|history| (*timeline, history))),
                Err(error) => report.warnings.push(error.to_string()),
            }
        }
        let done = HashSet::new();
        Ok(Self { server, options, context, store, timelines, histories, report, done })
    }

    pub(super) fn run(mut self) -> Result<WalFindReport, WalFindError> {
        // First, for what waits may be archived while the archive is searched, but does not come back.
        let waiting = waiting(self.server.layout())?;
        let mut spans = Vec::new();
        let stop = std::sync::Arc::clone(&self.context.stop);
        let layout = self.server.layout();
        let jobs = self.options.jobs.unwrap_or_else(processors);
        let index = WalIndex::new(self.server.catalog().disk(), layout, self.context.now(), &stop)
            .with_workers(jobs)
            .with_custom_filter(self.server.custom.as_ref())
            .with_gpg(Some(&self.server.gpg));
        for dir in index.directories()? {
            let found = match index.load(dir) {
                Err(WalIndexError::Stopped { .. }) => return Err(WalFindError::Stopped),
                // Trimmed meanwhile.
                Err(WalIndexError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    continue;
                }
                found => found?,
            };
            self.report.segments += found.segments.len();
            self.report.indexed += found.scanned;
            if let Some(why) = found.unsaved {
                self.report.warnings.push(format!("the index of {dir} cannot be written: {why}"));
            }
            for summary in &found.segments {
                self.consider(summary, &mut spans)?;
            }
        }
        for source in waiting {
            self.take(source)?;
        }
        if let WalTarget::Time { time, around } = self.options.target {
            self.nearest(&spans, timestamp(time), around)?;
        }
        self.finish();
        Ok(self.report)
    }

    /// Reads a segment when it may hold what is searched for; for a time, notes when its commits were.
    fn consider(&mut self, summary: &SegmentSummary, spans: &mut Vec<Span>) -> Result<(), WalFindError> {
        let content = &summary.content;
        let source = Source::archived(summary.name);
        match content.completeness {
            Completeness::Whole => {}
            Completeness::UpTo => {
                let warning = format!("{} can be read up to {} only", summary.name, content.valid_to);
                self.report.warnings.push(warning);
            }
            Completeness::Nothing => {
                self.report.warnings.push(format!("{} cannot be read", summary.name));
                return Ok(());
            }
        }
        let may = match &self.options.target {
            WalTarget::Time { .. } => {
                spans.extend(content.commit_times.map(|times| Span { source, times }));
                content.is_uncertain()
            }
            WalTarget::Xid(xid) => content.may_end(*xid),
            WalTarget::RestorePoint(name) => content.may_have_restore_point(name.as_bytes()),
            WalTarget::Removed { file, .. } => content.may_remove(|found| file.matches(found), file.number),
        };
        if may { self.take(source) } else { Ok(()) }
    }

    /// Reads the segments whose commits are nearest to a time, as few as prove that none is nearer.
    fn nearest(&mut self, spans: &[Span], time: Timestamp, around: usize) -> Result<(), WalFindError> {
        let mut before: Vec<&Span> = spans.iter().filter(|span| span.times.0 <= time).collect();
        before.sort_by_key(|span| std::cmp::Reverse(span.times.1.min(time)));
        for span in before {
            let bound = self.commits(time, around).0;
            if bound.is_some_and(|bound| span.times.1 < bound) {
                break;
            }
            self.take(span.source)?;
        }
        let mut after: Vec<&Span> = spans.iter().filter(|span| span.times.1 > time).collect();
        after.sort_by_key(|span| span.times.0.max(time));
        for span in after {
            let bound = self.commits(time, around).1;
            if bound.is_some_and(|bound| span.times.0 > bound) {
                break;
            }
            self.take(span.source)?;
        }
        Ok(())
    }

    /// Keeps the commits that are nearest on either side; returns the time of the farthest on each side that has enough.
    fn commits(&mut self, time: Timestamp, around: usize) -> (Option<Timestamp>, Option<Timestamp>) {
        let found = std::mem::take(&mut self.report.found);
        let at = |point: &FoundPoint| point.time.map_or(Timestamp::from_micros(i64::MAX), timestamp);
        let (mut before, mut after): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|point| at(point) <= time);
        before.sort_by_key(|point| (std::cmp::Reverse(at(point)), std::cmp::Reverse(point.lsn)));
        after.sort_by_key(|point| (at(point), point.lsn));
        for side in [&mut before, &mut after] {
            side.dedup_by_key(|point| (point.timeline, point.lsn));
            side.truncate(around);
        }
        let bound = |side: &Vec<FoundPoint>| side.last().filter(|_| side.len() >= around).map(at);
        let bounds = (bound(&before), bound(&after));
        self.report.found = before;
        self.report.found.append(&mut after);
        bounds
    }

    fn take(&mut self, source: Source) -> Result<(), WalFindError> {
        if self.context.stopped() {
            return Err(WalFindError::Stopped);
        }
        if self.options.timeline.is_some_and(|wanted| source.segment.timeline() < wanted)
            || !self.done.insert(source.segment)
        {
            return Ok(());
        }
        let mut reading = self.read(source)?;
        if let Some(problem) = reading.problem.take()
            && source.place != tapster_catalog::wal_store::Place::Archive
        {
            self.report.warnings.push(format!("{}: {problem}", source.name));
        }
        for mut point in reading.found {
            point.timeline = self.timeline(&point, source.segment);
            if matches!(self.options.target, WalTarget::Removed { .. }) {
                point.judge(&reading.creators);
                if matches!(point.what, FoundWhat::Commit { removal: Some(Removal::Dropped), .. })
                    && let Some(before) = before(source.segment)
                {
                    let earlier = self.read(Source::archived(before))?;
                    point.judge(&earlier.creators);
                }
            }
            if self.options.timeline.is_none_or(|wanted| wanted == point.timeline) {
                self.report.found.push(point);
            }
        }
        Ok(())
    }

    fn read(&mut self, source: Source) -> Result<Reading, WalFindError> {
        self.report.read += 1;
        read(&self.store, source, &self.options.target, &self.timelines)
    }

    /// The timeline on which a record was written: the first segment of a timeline begins with a copy of its parent's.
    fn timeline(&self, point: &FoundPoint, segment: SegmentName) -> Timeline {
        let history = self.histories.get(&segment.timeline());
        history.map_or(segment.timeline(), |history| history.timeline_at(point.lsn))
    }

    fn finish(&mut self) {
        // The same record in a timeline's last segment and in its child's first one; the archived one is kept.
        self.report.found.sort_by_key(|point| {
            (point.timeline, point.lsn, matches!(point.file, WalName::Partial(_)), point.file)
        });
        self.report.found.dedup_by_key(|point| (point.timeline, point.lsn));
    }
}

/// The segment before, in the same log file.
fn before(segment: SegmentName) -> Option<SegmentName> {
    let number = segment.segment().checked_sub(1)?;
    format!("{}{:08X}{number:08X}", segment.timeline().to_hex(), segment.log()).parse().ok()
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}
