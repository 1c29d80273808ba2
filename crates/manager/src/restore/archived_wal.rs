//! The archive as a plan sees it: what is there, and how far it leads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tapster_catalog::wal_store::WalStore;
use tapster_catalog::{BackupRecord, ServerLayout};
use walfile::{Lsn, SegmentName, SegmentSize, Timeline, TimelineHistory, WalName};

use super::reach::Route;
use super::{
    RecoveryTarget, RestoreOptions, RestorePlanError, TimelineTarget, WalPlan, WalRequest, plan_wal,
};
use crate::{Context, Server};

pub(super) fn missing_after(missing: SegmentName) -> String {
    format!("WAL segment {missing} is missing from the archive, after the target")
}

/// Which timeline PostgreSQL will follow.
pub(super) fn target_timeline(
    record: &BackupRecord,
    options: &RestoreOptions,
    archive_recovery: bool,
) -> TimelineTarget {
    // It followed only the backup's own timeline by default before version 12.
    let default = match record.version {
        Some(version) if version < 120_000 => TimelineTarget::Current,
        _ if !archive_recovery => TimelineTarget::Current,
        _ => TimelineTarget::Latest,
    };
    options.timeline.unwrap_or(default)
}

type Histories = BTreeMap<Timeline, TimelineHistory>;

/// The history files in the archive, and those that cannot be read.
pub(super) fn read_histories(
    store: &WalStore<'_>,
) -> Result<(Histories, BTreeSet<Timeline>), RestorePlanError> {
    let (mut histories, mut broken) = (Histories::new(), BTreeSet::new());
    for timeline in store.history_files()? {
        match store.history(timeline) {
            Ok(Some(history)) => drop(histories.insert(timeline, history)),
            Ok(None) => {}
            Err(_) => drop(broken.insert(timeline)),
        }
    }
    Ok((histories, broken))
}

/// What the archive holds, read once.
pub(super) struct Archive<'a> {
    pub(super) server: &'a Server,
    pub(super) store: WalStore<'a>,
    pub(super) size: SegmentSize,
    pub(super) histories: Histories,
    /// History files that cannot be read.
    broken: BTreeSet<Timeline>,
    archived: BTreeSet<SegmentName>,
    partial: BTreeSet<SegmentName>,
    labels: BTreeSet<WalName>,
}

impl<'a> Archive<'a> {
    /// One pass over the names, which in a large archive takes its time: the stop flag is looked at.
    pub(super) fn read(
        server: &'a Server,
        record: &BackupRecord,
        context: &Context<'_>,
    ) -> Result<Self, RestorePlanError> {
        let size = record.segment_size();
        let store = server.wal_store().with_segment_size(size);
        let (histories, broken) = read_histories(&store)?;
        let begin = record.begin_wal;
        let mut archive = Archive {
            server,
            store,
            size,
            histories,
            broken,
            archived: BTreeSet::new(),
            partial: BTreeSet::new(),
            labels: BTreeSet::new(),
        };
        if let Some(objects) = server.catalog.wal_objects() {
            objects.names(begin, &mut |name| archive.note(name, begin))?;
        }
        let layout = server.layout();
        // What waits here for the bucket is nowhere that the server which recovers from it would look.
        let mut dirs = match server.catalog.wal_objects() {
            Some(_) => Vec::new(),
            None => vec![layout.incoming.clone(), layout.streaming.clone()],
        };
        let hash_dirs = file_names(&layout.wals)?.into_iter().filter(|name| ServerLayout::is_hash_dir(name));
        dirs.extend(hash_dirs.map(|name| layout.wals.join(name)));
        for dir in dirs {
            if context.stopped() {
                return Err(RestorePlanError::Stopped);
            }
            for name in file_names(&dir)? {
                if let Ok(name) = name.parse() {
                    archive.note(name, begin);
                }
            }
        }
        Ok(archive)
    }

    /// Nothing before the backup is of interest, and there may be very much of it.
    fn note(&mut self, name: WalName, begin: Option<SegmentName>) {
        match name {
            WalName::Segment(segment) if begin.is_none_or(|begin| after(segment, begin, self.size)) => {
                self.archived.insert(segment);
            }
            WalName::Partial(segment) => {
                self.partial.insert(segment);
            }
            WalName::BackupLabel { .. } => {
                self.labels.insert(name);
            }
            _ => {}
        }
    }

    pub(super) fn plan(&self, route: Route<'_>) -> Result<WalPlan, RestorePlanError> {
        let until = match route.options.target {
            RecoveryTarget::Lsn(lsn) => Some(lsn),
            RecoveryTarget::Immediate => route.record.end_xlog,
            _ => None,
        };
        self.plan_until(route, until)
    }

    pub(super) fn plan_until(
        &self,
        route: Route<'_>,
        until: Option<Lsn>,
    ) -> Result<WalPlan, RestorePlanError> {
        let record = route.record;
        let missing = |field| RestorePlanError::Incomplete { id: record.id, field };
        let begin = record.begin_xlog.ok_or(missing("begin_xlog"))?;
        let consistent = record.end_xlog.ok_or(missing("end_xlog"))?;
        let timeline = record.timeline.ok_or(missing("timeline"))?;
        let target_timeline = target_timeline(record, route.options, route.archive_recovery);
        let is_needed = |other: Timeline| match target_timeline {
            TimelineTarget::Current => other == timeline,
            TimelineTarget::Number(wanted) => other == wanted,
            TimelineTarget::Latest => other >= timeline,
        };
        for other in self.broken.iter().filter(|other| is_needed(**other)) {
            self.store.history(*other)?;
        }
        let none = BTreeSet::new();
        Ok(plan_wal(&WalRequest {
            timeline,
            begin,
            consistent,
            size: self.size,
            target_timeline,
            until,
            histories: &self.histories,
            archived: &self.archived,
            partial: if route.with_partial() { &self.partial } else { &none },
        })?)
    }

    /// The newest timeline that left the backup's own after the backup, and where.
    pub(super) fn left_for(&self, record: &BackupRecord) -> Option<(Timeline, Lsn)> {
        let (own, end) = (record.timeline?, record.end_xlog?);
        let left = |(timeline, history): (&Timeline, &TimelineHistory)| {
            history.switch_from(own).filter(|at| *at >= end).map(|at| (*timeline, at))
        };
        self.histories.iter().rev().find_map(left)
    }

    /// Backup labels among the segments, and all history files, as Barman copies them: by those PostgreSQL chooses a number for
    /// its next timeline that nobody has.
    pub(super) fn extras(&self, wal: &WalPlan) -> Vec<WalName> {
        let segments: BTreeSet<SegmentName> = wal.segments.iter().copied().collect();
        let labels = self
            .labels
            .iter()
            .copied()
            .filter(|label| label.segment().is_some_and(|s| segments.contains(&s)));
        self.histories.keys().map(|timeline| WalName::History(*timeline)).chain(labels).collect()
    }
}

fn after(segment: SegmentName, begin: SegmentName, size: SegmentSize) -> bool {
    match (segment.number(size), begin.number(size)) {
        (Ok(segment), Ok(begin)) => segment >= begin,
        _ => false,
    }
}

pub(super) fn file_names(dir: &Path) -> Result<Vec<String>, RestorePlanError> {
    let fail = |source| RestorePlanError::Io { path: dir.to_owned(), source };
    let read = match std::fs::read_dir(dir) {
        Ok(read) => read,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(fail(source)),
    };
    let mut names = Vec::new();
    for entry in read {
        names.extend(entry.map_err(fail)?.file_name().into_string());
    }
    Ok(names)
}
