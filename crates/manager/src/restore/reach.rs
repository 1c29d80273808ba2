//! Whether recovery gets from a backup to where it is to go, and where exactly it stops there.

use std::sync::Arc;

use time::OffsetDateTime;
use walfile::{Lsn, SegmentName, TimelineHistory};

use super::archived_wal::{Archive, missing_after};
use super::segment_facts::SegmentFacts;
use super::stop_point::Points;
use super::time_reach::{TimeReach, TimeSearch};
use super::{
    PartialReach, RecoveryTarget, RestoreOptions, RestorePlanError, StopAt, StopPoint, TargetPlace,
    TransactionEnd, WalPlan, WalPlanError,
};
use crate::wal_find::FoundPoint;
use crate::{Context, Server};
use tapster_catalog::BackupRecord;
use walfile::WalName;

/// A backup, and what is wanted of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route<'a> {
    pub(super) record: &'a BackupRecord,
    pub(super) options: &'a RestoreOptions,
    /// Whether there will be recovery settings: without a signal file PostgreSQL replays what it finds in `pg_wal`, and stays on
    /// the backup's timeline.
    pub(super) archive_recovery: bool,
    pub(super) get_wal: bool,
}

impl<'a> Route<'a> {
    pub(super) fn new(server: &Server, record: &'a BackupRecord, options: &'a RestoreOptions) -> Self {
        // As with Barman, WAL in an object store is not copied.
        let get_wal =
            options.get_wal.unwrap_or(server.config.recovery_options.get_wal) || server.has_wals_in_bucket();
        let pitr = is_pitr(options);
        Self { record, options, archive_recovery: pitr || get_wal || options.standby_mode, get_wal }
    }

    pub(super) const fn with_partial(&self) -> bool {
        self.options.partial_wal || self.get_wal
    }

    /// WAL that is not there yet can still come.
    pub(super) const fn is_open(&self) -> bool {
        self.get_wal || self.options.standby_mode
    }

    fn begin(&self) -> Lsn {
        self.record.begin_xlog.unwrap_or_default()
    }

    fn consistent(&self) -> Lsn {
        self.record.end_xlog.unwrap_or_default()
    }
}

/// Whether PostgreSQL is to stop at a target or follow a timeline.
pub(super) fn is_pitr(options: &RestoreOptions) -> bool {
    options.target != RecoveryTarget::End || options.timeline.is_some()
}

/// The way to a target.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) wal: WalPlan,
    /// `None` where recovery goes on to the end of the WAL, or where nobody can tell.
    pub(super) stop: Option<StopPoint>,
    pub(super) warnings: Vec<String>,
    /// When they were needed already.
    pub(super) facts: Option<SegmentFacts>,
}

impl Archive<'_> {
    /// Finds the way, without looking into the segments more than the target demands.
    ///
    /// # Errors
    /// When the target cannot be reached.
    pub(super) fn reach(
        &self,
        route: Route<'_>,
        points: Option<&Points>,
        context: &Context<'_>,
    ) -> Result<Reached, RestorePlanError> {
        if let (RecoveryTarget::Time(target), Some(end)) = (&route.options.target, route.record.end_time)
            && *target < end
        {
            return Err(RestorePlanError::TimeBeforeBackup { target: *target, end });
        }
        let wal = match self.plan(route) {
            Err(RestorePlanError::Wal(WalPlanError::Unreachable { target, reach, missing })) => {
                let last = if self.is_unread() { None } else { self.last_record(route, context)? };
                return Err(RestorePlanError::LsnBeyondArchive { target, reach, missing, last });
            }
            wal => wal?,
        };
        let mut reached = Reached { wal, stop: None, warnings: Vec::new(), facts: None };
        let timeline_at = |lsn| self.history(&reached.wal).timeline_at(lsn);
        match route.options.target {
            RecoveryTarget::End => self.hole(route, &mut reached)?,
            RecoveryTarget::Immediate => {
                let at = route.consistent();
                reached.stop = Some(StopPoint::at(StopAt::Consistency, at, timeline_at(at), true));
            }
            RecoveryTarget::Lsn(at) => {
                let included = !route.options.exclusive;
                reached.stop = Some(StopPoint::at(StopAt::Position, at, timeline_at(at), included));
            }
            _ if self.is_unread() => {
                let text =
                    "whether the target is in the archived WAL is not looked at: that is in an object store";
                reached.warnings.push(text.to_owned());
                self.hole(route, &mut reached)?;
            }
            RecoveryTarget::Time(target) => self.reach_time(route, target, &mut reached, context)?,
            RecoveryTarget::Name(_) | RecoveryTarget::Xid(_) => match points {
                Some(Points { problem: None, .. }) | None => {
                    if let Some(points) = points {
                        self.reach_record(route, points, &mut reached, context)?;
                    }
                }
                Some(Points { problem: Some(problem), target, .. }) => {
                    let text = format!("whether {target} is in the archived WAL cannot be told: {problem}");
                    reached.warnings.push(text);
                    self.hole(route, &mut reached)?;
                }
            },
        }
        Ok(reached)
    }

    /// Of WAL in an object store only the names are known.
    pub(super) const fn is_unread(&self) -> bool {
        self.server.has_wals_in_bucket()
    }

    /// WAL that is missing before the end of the archive. A standby may get it by streaming.
    fn hole(&self, route: Route<'_>, reached: &mut Reached) -> Result<(), RestorePlanError> {
        let Some(missing) = reached.wal.gap else { return Ok(()) };
        let gap = RestorePlanError::Gap { missing, reach: reached.wal.reach };
        if !route.options.standby_mode {
            return Err(gap);
        }
        reached.warnings.push(format!("{gap}, unless the standby gets it by streaming"));
        Ok(())
    }

    /// Nothing after the stop is needed.
    fn cut(&self, route: Route<'_>, stop: StopPoint, reached: &mut Reached) -> Result<(), RestorePlanError> {
        if let Some(missing) = reached.wal.gap {
            reached.warnings.push(missing_after(missing));
        }
        reached.wal = self.plan_until(route, Some(stop.lsn))?;
        reached.stop = Some(stop);
        Ok(())
    }

    fn reach_record(
        &self,
        route: Route<'_>,
        points: &Points,
        reached: &mut Reached,
        context: &Context<'_>,
    ) -> Result<(), RestorePlanError> {
        let history = self.history(&reached.wal);
        let mut on_way: Vec<(&FoundPoint, StopPoint)> =
            points.stops().filter(|(_, at)| history.timeline_at(at.lsn) == at.timeline).collect();
        on_way.sort_by_key(|(_, at)| at.lsn);
        let after = on_way.partition_point(|(_, at)| at.lsn < route.begin());
        let refuse = |place| Err(RestorePlanError::Target { target: points.target.clone(), place });
        let (before, ahead) = on_way.split_at_checked(after).unwrap_or_default();
        let Some((found, mut stop)) = ahead.first().copied() else {
            let elsewhere = points.stops().map(|(_, at)| at).max_by_key(|at| at.lsn);
            return refuse(match (before.last(), elsewhere) {
                (Some((_, at)), _) => TargetPlace::BeforeBackup { at: *at, end: route.consistent() },
                (None, Some(at)) => TargetPlace::OtherTimeline { at, followed: reached.wal.timeline },
                (None, None) => match points.instead() {
                    Some(place) => place,
                    None => TargetPlace::Nowhere {
                        missing: reached.wal.gap,
                        similar: Vec::new(),
                        last: self.last_end(route, &reached.wal, context)?,
                    },
                },
            });
        };
        if stop.lsn < route.consistent() {
            return refuse(TargetPlace::BeforeBackup { at: stop, end: route.consistent() });
        }
        stop.included = matches!(stop.what, StopAt::RestorePoint) || !route.options.exclusive;
        if ahead.len() > 1 {
            let others: Vec<String> =
                ahead.iter().skip(1).take(5).map(|(_, at)| at.lsn.to_string()).collect();
            reached.warnings.push(format!(
                "{} is in the WAL {} times after the start of the backup; PostgreSQL stops at the first, at {}, and not at {}: for \
                 another one take its position as the target, or a backup between them",
                points.target,
                ahead.len(),
                stop.lsn,
                others.join(", ")
            ));
        }
        if stop.end > self.covered(&reached.wal) {
            if let WalName::Partial(segment) = found.file
                && !route.with_partial()
            {
                return refuse(TargetPlace::Partial { at: stop, segment });
            }
            let missing = reached.wal.gap.or_else(|| self.next_after(&reached.wal));
            let Some(missing) = missing else { return Ok(()) };
            reached.wal.gap = Some(missing);
            return self.hole(route, reached);
        }
        self.cut(route, stop, reached)
    }

    fn reach_time(
        &self,
        route: Route<'_>,
        target: OffsetDateTime,
        reached: &mut Reached,
        context: &Context<'_>,
    ) -> Result<(), RestorePlanError> {
        let stops = |time| if route.options.exclusive { time >= target } else { time > target };
        let facts = self.server.segment_facts(&reached.wal, context)?;
        let search = self.search(&reached.wal, route, context);
        let found = match search.first(&facts, &stops)? {
            Some(found) => TimeReach::Reached(Some(found)),
            None => search.run(TimeSearch::MOST_BYTES, &stops)?,
        };
        reached.facts = Some(facts);
        match (found, reached.wal.gap) {
            (TimeReach::Reached(Some(found)), _) if found.lsn >= route.consistent() => {
                return self.cut(route, StopPoint::before(found), reached);
            }
            (TimeReach::Reached(Some(found)), _) => {
                let end = route.record.end_time.unwrap_or(found.time);
                return Err(RestorePlanError::TimeBeforeBackup { target, end });
            }
            (TimeReach::Reached(None), None) => {}
            (TimeReach::Reached(None), Some(missing)) => reached.warnings.push(missing_after(missing)),
            (_, Some(_)) => self.hole(route, reached)?,
            (TimeReach::Unknown(problem), None) => reached.warnings.push(format!(
                "whether recovery reaches the target time cannot be told from the archived WAL: {problem}"
            )),
            (TimeReach::Before(last), None) => {
                // Where the backup is not consistent yet, nothing can stop.
                let last = last.filter(|last| last.lsn >= route.consistent());
                let zone = |last: TransactionEnd| TransactionEnd {
                    time: last.time.to_offset(target.offset()),
                    ..last
                };
                let beyond = RestorePlanError::TimeBeyondArchive {
                    target,
                    last: last.map(zone),
                    reach: reached.wal.reach,
                    partial: self.partial_after(&reached.wal, route, context, &stops)?,
                };
                // It ends in an error only where nothing more can come, and since release 13.
                let consequence = if route.is_open() {
                    "recovery stops there once such WAL has come"
                } else if route.record.version.is_some_and(|version| version < 130_000) {
                    "before PostgreSQL 13, recovery ends with the archive as if there were no target"
                } else {
                    return Err(beyond);
                };
                reached.warnings.push(format!("{beyond}; {consequence}"));
            }
        }
        Ok(())
    }

    /// The segment that is being received and was not asked for, and whether its beginning would be enough.
    fn partial_after(
        &self,
        wal: &WalPlan,
        route: Route<'_>,
        context: &Context<'_>,
        stops: &dyn Fn(OffsetDateTime) -> bool,
    ) -> Result<Option<PartialReach>, RestorePlanError> {
        if wal.partial.is_some() {
            return Ok(None);
        }
        let options = RestoreOptions { partial_wal: true, ..route.options.clone() };
        let route = Route { options: &options, archive_recovery: true, ..route };
        let Ok(longer) = self.plan(route) else { return Ok(None) };
        let Some(segment) = longer.partial else { return Ok(None) };
        // A record that ends there may begin in the segment before.
        let reach = self.search(&longer, route, context).run(2 * self.size.bytes(), stops)?;
        Ok(Some(PartialReach { segment, enough: matches!(reach, TimeReach::Reached(_)) }))
    }

    /// The last end of a transaction on the way, as far as it is near the end.
    fn last_end(
        &self,
        route: Route<'_>,
        wal: &WalPlan,
        context: &Context<'_>,
    ) -> Result<Option<TransactionEnd>, RestorePlanError> {
        let found = self.search(wal, route, context).run(8 * self.size.bytes(), &|_| false)?;
        Ok(match found {
            TimeReach::Before(last) => last.filter(|last| last.lsn >= route.consistent()),
            _ => None,
        })
    }

    /// Where the last record on the way begins, when the backup is consistent there.
    pub(super) fn last_record(
        &self,
        route: Route<'_>,
        context: &Context<'_>,
    ) -> Result<Option<Lsn>, RestorePlanError> {
        let wal = self.plan_until(route, None)?;
        let end = WalPlan { segments: wal.segments.iter().rev().take(2).copied().collect(), ..wal };
        let facts = self.server.segment_facts(&end, context)?;
        let last = facts.values().map(|facts| facts.last).max();
        Ok(last.filter(|last| *last >= route.consistent()))
    }

    fn search<'s>(&'s self, wal: &'s WalPlan, route: Route<'_>, context: &'s Context<'_>) -> TimeSearch<'s> {
        TimeSearch {
            store: self.store,
            size: self.size,
            history: self.history(wal),
            begin: route.begin(),
            wal,
            context,
        }
    }

    /// The way a plan takes.
    pub(super) fn history(&self, wal: &WalPlan) -> Arc<TimelineHistory> {
        let history = self.histories.get(&wal.timeline).cloned();
        Arc::new(history.unwrap_or_else(|| TimelineHistory::root(wal.timeline)))
    }

    /// Where the WAL of a plan ends, what was received of a segment counted as all of it.
    fn covered(&self, wal: &WalPlan) -> Lsn {
        wal.partial.and_then(|name| name.end(self.size).ok()).unwrap_or(wal.reach)
    }

    /// The segment that would come after those of a plan.
    pub(super) fn next_after(&self, wal: &WalPlan) -> Option<SegmentName> {
        let at = self.covered(wal);
        Some(at.segment(self.size).name(self.history(wal).timeline_at(at), self.size))
    }
}
