//! Proof that the WAL of a plan can be replayed, before anything is written: every segment readable to its end, of this cluster,
//! and of the timeline that the history files say.
//!
//! Most of it is known: the index of the archive was made from the segments themselves. Their first pages are read in any case,
//! and the segments in which the way goes from one timeline to the next.

use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tapster_catalog::WalStoreError;
use tapster_catalog::wal_index::Completeness;
use walfile::{ArchiveReader, ArchiveStop, LongPageHeader, Lsn, PageError, SegmentName, SystemId};

use super::archived_wal::Archive;
use super::reach::{Reached, Route};
use super::time_reach::Planned;
use super::{RestorePlanError, StopAt};
use crate::Context;

impl Archive<'_> {
    /// Looks at all WAL of the plan.
    ///
    /// # Errors
    /// Which file would end recovery too early.
    pub(super) fn prove(
        &self,
        route: Route<'_>,
        reached: &mut Reached,
        context: &Context<'_>,
    ) -> Result<(), RestorePlanError> {
        let damage = self.first_damage(route, reached, context)?;
        if let Some(damage) = damage {
            // A standby goes on with what it gets by streaming, from the last record on that is right.
            if !route.options.standby_mode {
                return Err(damage);
            }
            reached.warnings.push(format!("{damage}, unless the standby gets it by streaming"));
        }
        self.check_headers(route, reached, context)?;
        self.check_switches(route, reached)?;
        self.check_end(route, reached, context)
    }

    /// Where recovery would end before it is where it is to go.
    fn first_damage(
        &self,
        route: Route<'_>,
        reached: &mut Reached,
        context: &Context<'_>,
    ) -> Result<Option<RestorePlanError>, RestorePlanError> {
        let facts = match reached.facts.take() {
            Some(facts) => facts,
            None => self.server.segment_facts(&reached.wal, context)?,
        };
        let mut last = Lsn::INVALID;
        for name in &reached.wal.segments {
            let Some(known) = facts.get(name) else { continue };
            let reach = match known.completeness {
                Completeness::Whole => {
                    last = last.max(known.last);
                    continue;
                }
                Completeness::UpTo => known.valid_to,
                Completeness::Nothing => name.start(self.size).unwrap_or_default(),
            };
            last = last.max(known.last);
            let is_enough = reached.stop.is_some_and(|stop| match stop.what {
                // It stops at a record that begins there or later.
                StopAt::Position => stop.lsn <= last,
                _ => stop.end <= reach,
            });
            if is_enough {
                reached
                    .warnings
                    .push(format!("WAL segment {name} can be read up to {reach} only, after the target"));
                return Ok(None);
            }
            let consistent = route.record.end_xlog.unwrap_or_default();
            return Ok(Some(RestorePlanError::Damaged {
                segment: *name,
                reach,
                last: Some(last).filter(|last| *last >= consistent),
                consistent,
            }));
        }
        Ok(None)
    }

    /// What the first page of each segment says.
    fn check_headers(
        &self,
        route: Route<'_>,
        reached: &mut Reached,
        context: &Context<'_>,
    ) -> Result<(), RestorePlanError> {
        let system: Option<SystemId> = route.record.systemid.as_ref().and_then(|text| text.parse().ok());
        let names = &reached.wal.segments;
        let history = self.history(&reached.wal);
        let check = |index: usize, name: SegmentName| -> Result<Option<String>, RestorePlanError> {
            let header = match self.header(name, index == 0 || index + 1 == names.len())? {
                Some(Ok(header)) => header,
                Some(Err(problem)) => {
                    return Ok(Some(format!("WAL segment {name} is not judged: {problem}")));
                }
                None => return Ok(None),
            };
            if let Some(expected) = system.filter(|expected| *expected != header.system_id) {
                return Err(RestorePlanError::Foreign { segment: name, expected, found: header.system_id });
            }
            let expected = history.timeline_at(header.page.address);
            let found = header.page.timeline;
            if found != expected {
                let timeline = history.timeline();
                return Err(RestorePlanError::History { timeline, segment: name, expected, found });
            }
            Ok(None)
        };
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::new());
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(name) = names.get(index).copied().filter(|_| !context.stopped()) else { return };
                match check(index, name) {
                    Ok(None) => {}
                    told => results.lock().unwrap_or_else(PoisonError::into_inner).push((index, told)),
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..crate::processors().min(names.len()) {
                scope.spawn(work);
            }
        });
        if context.stopped() {
            return Err(RestorePlanError::Stopped);
        }
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_by_key(|(index, _)| *index);
        for (_, told) in results {
            // All of an unknown release are so.
            reached.warnings.extend(told?.filter(|_| reached.warnings.len() < 8));
        }
        Ok(())
    }

    /// The header of a segment's first page. `None` where it is not read, or has vanished; the text says why it cannot be judged.
    fn header(
        &self,
        name: SegmentName,
        is_end: bool,
    ) -> Result<Option<Result<LongPageHeader, String>>, RestorePlanError> {
        let open = || -> Result<_, WalStoreError> {
            if !is_end {
                let raw = self.store.open_raw(name.into(), false)?;
                // To decrypt, or to undo the user's own filter, takes a process for each.
                if raw.encryption.is_some() || raw.custom {
                    return Ok(None);
                }
            }
            self.store.open(name.into(), false).map(Some)
        };
        let mut reader = match open() {
            Ok(Some(reader)) => reader,
            Ok(None) | Err(WalStoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = [0; LongPageHeader::LEN];
        let path = reader.found().path.clone();
        reader.read_exact(&mut bytes).map_err(|source| RestorePlanError::Io { path, source })?;
        Ok(Some(LongPageHeader::parse(&bytes).map_err(|error: PageError| error.to_string())))
    }

    /// The pages around the positions at which the way goes over to another timeline.
    fn check_switches(&self, route: Route<'_>, reached: &mut Reached) -> Result<(), RestorePlanError> {
        let history = self.history(&reached.wal);
        let begin = route.record.begin_xlog.unwrap_or_default();
        let needed = reached.stop.map_or(Lsn::MAX, |stop| stop.lsn);
        let covered = reached.wal.reach;
        for entry in history.entries() {
            if entry.switch <= begin || entry.switch >= needed || entry.switch >= covered {
                continue;
            }
            let number = entry.switch.segment(self.size);
            let archive = Planned { store: &self.store, wal: &reached.wal };
            let end = number.end(self.size).min(needed);
            let mut reader = ArchiveReader::with_history(
                archive,
                std::sync::Arc::clone(&history),
                number.start(self.size).max(begin),
            )
            .with_segment_size(self.size)
            .until(end);
            let mut last = Lsn::INVALID;
            while let Some(record) = reader.next_record() {
                last = record.lsn;
            }
            let Some(ended) = reader.into_end() else { continue };
            let goes_on = match &ended.stop {
                ArchiveStop::Reached => true,
                ArchiveStop::Missing { name, .. } => name.start(self.size).is_ok_and(|start| start >= end),
                _ => ended.at >= end,
            };
            if !goes_on {
                return Err(RestorePlanError::Switch {
                    timeline: history.timeline(),
                    switch: entry.switch,
                    reach: ended.at,
                    last: Some(last).filter(|last| !last.is_invalid()),
                    problem: ended.to_string(),
                });
            }
        }
        Ok(())
    }
}
