//! Everything a restore will do, decided and checked before anything is written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tapster_catalog::wal_store::WalStore;
use tapster_catalog::{BackupId, BackupRecord, BackupStatus, ServerLayout};
use tapster_copy::combine::CopyMethod;
use time::OffsetDateTime;
use walfile::{Lsn, SegmentName, SegmentSize, Timeline, TimelineHistory, WalName};

use super::archives::{self, is_archived};
use super::combine;
use super::places::{
    absolute, check_places, check_space, is_empty, place_tablespaces, resolved, unlisted_tablespace,
};
use super::time_reach::{TimeReach, TimeSearch};
use super::wal_plan::leads_to;
use super::{
    BackupChoice, PartialReach, RecoveryTarget, RestoreOptions, RestorePlanError, TablespacePlace,
    TimelineTarget, TransactionEnd, WalPlan, WalPlanError, WalRequest, plan_wal,
};
use crate::{Context, Server};

/// A restore that can be done. [`Server::restore`] does it; printing it is a dry run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RestorePlan {
    /// The backup.
    pub record: BackupRecord,
    /// What it builds on and itself, the full backup first; itself alone unless it is incremental.
    pub chain: Vec<BackupRecord>,
    /// How the files of an incremental backup that did not change are brought over.
    pub combine_method: CopyMethod,
    /// The new data directory.
    pub destination: PathBuf,
    /// Where each tablespace goes.
    pub tablespaces: Vec<TablespacePlace>,
    /// What was asked for.
    pub options: RestoreOptions,
    /// Whether PostgreSQL is to stop at a target or follow a timeline (point-in-time recovery).
    pub pitr: bool,
    /// Whether WAL is fetched while recovering.
    pub get_wal: bool,
    /// The WAL recovery will replay.
    pub wal: WalPlan,
    /// Labels and history files that are copied with it.
    pub extras: Vec<WalName>,
    /// Where WAL is copied to; `None` when it is fetched while recovering.
    pub wal_directory: Option<PathBuf>,
    /// Worth knowing before going on.
    pub warnings: Vec<String>,
}

impl Server {
    /// Plans a restore: chooses the backup, follows timelines, finds every WAL file and proves that it is there, and looks at
    /// the destination. Needs no running PostgreSQL and writes nothing.
    ///
    /// # Errors
    /// Why the restore cannot be done.
    pub fn plan_restore(
        &self,
        options: &RestoreOptions,
        context: &Context<'_>,
    ) -> Result<RestorePlan, RestorePlanError> {
        self.refuse_unsupported_restore()?;
        let pitr = options.target != RecoveryTarget::End || options.timeline.is_some();
        if options.action.is_some() && !pitr {
            return Err(RestorePlanError::ActionWithoutTarget);
        }
        let get_wal = options.get_wal.unwrap_or(self.config.recovery_options.get_wal);
        // Without a signal file PostgreSQL replays what it finds in pg_wal, and stays on the backup's timeline.
        let archive_recovery = pitr || get_wal || options.standby_mode;
        let record = self.choose_backup(options, archive_recovery)?;
        let chain = self.usable_chain(&record)?;
        let destination = absolute(&options.destination)?;
        let tablespaces = place_tablespaces(&record, options, &destination)?;
        check_places(&destination, &tablespaces)?;
        if let RecoveryTarget::Time(target) = options.target
            && let Some(end) = record.end_time
            && target < end
        {
            return Err(RestorePlanError::TimeBeforeBackup { target, end });
        }
        let archive = Archive::read(self, &record, context)?;
        let with_partial = options.partial_wal || get_wal;
        let mut wal = archive.plan(&record, options, archive_recovery, with_partial)?;
        let mut warnings = Vec::new();
        // Only then is it worth a search.
        if let Some(missing) = wal.gap {
            let begin = record.begin_xlog.unwrap_or_default();
            let history = archive.history(&wal);
            let stop = self.stop_point(&options.target, begin, &wal, &history, context)?;
            if stop.is_some() {
                warnings.push(missing_after(missing));
                wal = archive.plan_until(&record, options, archive_recovery, with_partial, stop)?;
            }
        }
        if !archive_recovery && let Some((next, at)) = archive.left_for(&record) {
            warnings.push(format!(
                "timeline {next} goes on from {at}; this restore follows timeline {} alone: give the target timeline \
                 'latest' to follow the newest one",
                wal.timeline
            ));
        }
        if record.status == BackupStatus::WaitingForWals {
            warnings.push(format!(
                "backup {} is classified as WAITING_FOR_WALS: not all of its WAL had arrived when it was last looked at",
                record.id
            ));
        }
        archive.judge_end(&wal, &record, options, get_wal, context, &mut warnings)?;
        let wal_directory = match (&options.staging_wal_directory, pitr) {
            _ if get_wal => None,
            (Some(dir), true) => Some(self.staging(dir, &record, &destination, &tablespaces)?),
            (None, true) => Some(destination.join("barman_wal")),
            (_, false) => Some(destination.join("pg_wal")),
        };
        let extras = archive.extras(&wal);
        let mode = options.combine_mode.as_deref().unwrap_or(&self.config.combine_mode);
        let (combine_method, replaced) = combine::method(mode);
        if replaced && chain.len() > 1 {
            warnings.push(
                "'link' mode is not supported for local restore. Falling back to 'copy' mode to prevent modification of \
                 original backup files through hard-links."
                    .to_owned(),
            );
        }
        check_space(&destination, &record, &wal, wal_directory.is_some(), self.staged_bytes(&chain))?;
        Ok(RestorePlan {
            record,
            chain,
            combine_method,
            destination,
            tablespaces,
            options: options.clone(),
            pitr,
            get_wal,
            wal,
            extras,
            wal_directory,
            warnings,
        })
    }

    fn refuse_unsupported_restore(&self) -> Result<(), RestorePlanError> {
        for key in [
            "pre_recovery_script",
            "pre_recovery_retry_script",
            "post_recovery_script",
            "post_recovery_retry_script",
        ] {
            if self.config.text(key).is_some_and(|value| !value.is_empty()) {
                return Err(RestorePlanError::Unsupported {
                    what: key.to_owned(),
                    server: self.name().to_owned(),
                });
            }
        }
        Ok(())
    }

    fn choose_backup(
        &self,
        options: &RestoreOptions,
        archive_recovery: bool,
    ) -> Result<BackupRecord, RestorePlanError> {
        let record = match &options.backup {
            BackupChoice::Record(record) => (**record).clone(),
            BackupChoice::Auto => self.newest_fitting(options, archive_recovery)?,
        };
        if !record.status.is_copied() {
            return Err(RestorePlanError::Status { status: record.status.to_string() });
        }
        let unusable =
            |problem: &str| Err(RestorePlanError::Files { id: record.id, problem: problem.to_owned() });
        if record.snapshots_info.is_some() {
            return unusable("it is a snapshot backup, which is not supported yet");
        }
        if let Some(other) = record.encryption.as_deref().filter(|encryption| *encryption != "gpg") {
            return unusable(&format!("it is encrypted with {other}, and only gpg is supported"));
        }
        let data = self.layout().data_dir(&record.id);
        if is_archived(&record) {
            if let Err(problem) = archives::find(&data, &record)? {
                return unusable(&problem);
            }
        } else if !data.join("global/pg_control").is_file() || !data.join("backup_label").is_file() {
            return unusable(&format!(
                "{} is incomplete: pg_control or backup_label is missing",
                data.display()
            ));
        }
        if self.catalog.deletions_in_progress()?.contains(&record.id) {
            return unusable("its deletion has begun");
        }
        if let Some(link) = unlisted_tablespace(&data, &record)? {
            return unusable(&format!("tablespace {link} is in the backup but not in its record"));
        }
        Ok(record)
    }

    /// The chain of a backup, whose members must all be there.
    fn usable_chain(&self, record: &BackupRecord) -> Result<Vec<BackupRecord>, RestorePlanError> {
        let id = record.id;
        let unusable = |problem: String| RestorePlanError::Files { id, problem };
        let chain = self.chain(record).map_err(|error| unusable(error.to_string()))?;
        let going = self.catalog.deletions_in_progress()?;
        for member in chain.iter().filter(|member| member.id != id) {
            let data = self.layout().data_dir(&member.id);
            if let Some(other) = member.encryption.as_deref().filter(|encryption| *encryption != "gpg") {
                let text = format!("{}, which it builds on, is encrypted with {other}", member.id);
                return Err(unusable(format!("{text}, and only gpg is supported")));
            }
            if going.contains(&member.id) {
                return Err(unusable(format!(
                    "the deletion of {}, which it builds on, has begun",
                    member.id
                )));
            }
            if is_archived(member) {
                archives::find(&data, member)?.map_err(unusable)?;
            } else if !data.join("global/pg_control").is_file() {
                return Err(unusable(format!("{}, which it builds on, is incomplete", data.display())));
            }
        }
        Ok(chain)
    }

    /// Where WAL is staged. When recovery ends PostgreSQL removes that directory with all that is in it.
    fn staging(
        &self,
        dir: &Path,
        record: &BackupRecord,
        destination: &Path,
        tablespaces: &[TablespacePlace],
    ) -> Result<PathBuf, RestorePlanError> {
        let dir = absolute(dir)?;
        let refuse = |problem| Err(RestorePlanError::WalDirectory { path: dir.clone(), problem });
        if !is_empty(&dir)? {
            return refuse("it is not empty");
        }
        let (real, real_destination) = (resolved(&dir), resolved(destination));
        let places = tablespaces.iter().map(|place| resolved(&place.location));
        if places.chain([real_destination.clone()]).any(|place| place.starts_with(&real)) {
            return refuse("the cluster would lie in it");
        }
        let first = real.strip_prefix(&real_destination).ok().and_then(|inside| inside.components().next());
        let data = self.layout().data_dir(&record.id);
        // Nobody looks into an archive for this: all that PostgreSQL makes has such names.
        let is_in_archive = |first: &Path| {
            let name = first.to_string_lossy();
            name.starts_with("pg_") || ["base", "global", "log"].contains(&name.as_ref())
        };
        let is_part = |first: std::path::Component<'_>| {
            let first = Path::new(first.as_os_str());
            if is_archived(record) { is_in_archive(first) } else { data.join(first).exists() }
        };
        if first.is_some_and(is_part) {
            return refuse("it is a part of the cluster");
        }
        Ok(dir)
    }

    /// Barman's `auto`: the newest backup that ends before the target, on the way to the target timeline. Barman compares
    /// the numbers of timelines, which say nothing about who descends from whom.
    fn newest_fitting(
        &self,
        options: &RestoreOptions,
        archive_recovery: bool,
    ) -> Result<BackupRecord, RestorePlanError> {
        let refuse = |target| Err(RestorePlanError::AutoTarget { target });
        let fits = |record: &BackupRecord| match &options.target {
            RecoveryTarget::Time(target) => record.end_time.is_some_and(|end| end <= *target),
            RecoveryTarget::Lsn(target) => record.end_xlog.is_some_and(|end| end <= *target),
            _ => true,
        };
        match options.target {
            RecoveryTarget::Xid(_) => return refuse("xid"),
            RecoveryTarget::Name(_) => return refuse("name"),
            RecoveryTarget::Immediate => return refuse("immediate"),
            _ => {}
        }
        let mut records = self.catalog.records()?;
        let going = self.catalog.deletions_in_progress()?;
        records.retain(|record| !going.contains(&record.id));
        records.sort_by_key(|record| record.end_time);
        let store = self.wal_store();
        let (histories, broken) = read_histories(&store)?;
        if let Some(TimelineTarget::Number(wanted)) = options.timeline {
            if broken.contains(&wanted) {
                store.history(wanted)?;
            }
            let is_known =
                histories.contains_key(&wanted) || records.iter().any(|r| r.timeline == Some(wanted));
            if !is_known {
                return Err(WalPlanError::UnknownTimeline { timeline: wanted }.into());
            }
        }
        let reachable = |record: &BackupRecord| match (record.timeline, record.end_xlog) {
            (Some(own), Some(end)) => {
                leads_to(target_timeline(record, options, archive_recovery), own, end, &histories)
            }
            _ => false,
        };
        records
            .into_iter()
            .rev()
            .filter(|r| r.status.is_copied())
            .find(|record| fits(record) && reachable(record))
            .ok_or(RestorePlanError::NoCandidate)
    }
}

fn missing_after(missing: SegmentName) -> String {
    format!("WAL segment {missing} is missing from the archive, after the target")
}

/// Which timeline PostgreSQL will follow.
fn target_timeline(
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
fn read_histories(store: &WalStore<'_>) -> Result<(Histories, BTreeSet<Timeline>), RestorePlanError> {
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
struct Archive<'a> {
    store: WalStore<'a>,
    size: SegmentSize,
    histories: Histories,
    /// History files that cannot be read.
    broken: BTreeSet<Timeline>,
    archived: BTreeSet<SegmentName>,
    partial: BTreeSet<SegmentName>,
    labels: BTreeSet<WalName>,
}

impl<'a> Archive<'a> {
    /// One pass over the names, which in a large archive takes its time: the stop flag is looked at.
    fn read(
        server: &'a Server,
        record: &BackupRecord,
        context: &Context<'_>,
    ) -> Result<Self, RestorePlanError> {
        let size = record.segment_size();
        let store = server.wal_store().with_segment_size(size);
        let (histories, broken) = read_histories(&store)?;
        let begin = record.begin_wal;
        let mut archive = Archive {
            store,
            size,
            histories,
            broken,
            archived: BTreeSet::new(),
            partial: BTreeSet::new(),
            labels: BTreeSet::new(),
        };
        let layout = server.layout();
        let mut dirs = vec![layout.incoming.clone(), layout.streaming.clone()];
        let hash_dirs = file_names(&layout.wals)?.into_iter().filter(|name| ServerLayout::is_hash_dir(name));
        dirs.extend(hash_dirs.map(|name| layout.wals.join(name)));
        for dir in dirs {
            if context.stopped() {
                return Err(RestorePlanError::Stopped);
            }
            for name in file_names(&dir)? {
                match name.parse() {
                    // Nothing before the backup is of interest, and there may be very much of it.
                    Ok(WalName::Segment(segment)) if begin.is_none_or(|b| after(segment, b, size)) => {
                        archive.archived.insert(segment);
                    }
                    Ok(WalName::Partial(segment)) => {
                        archive.partial.insert(segment);
                    }
                    Ok(label @ WalName::BackupLabel { .. }) => {
                        archive.labels.insert(label);
                    }
                    _ => {}
                }
            }
        }
        Ok(archive)
    }

    fn plan(
        &self,
        record: &BackupRecord,
        options: &RestoreOptions,
        archive_recovery: bool,
        with_partial: bool,
    ) -> Result<WalPlan, RestorePlanError> {
        let until = match options.target {
            RecoveryTarget::Lsn(lsn) => Some(lsn),
            RecoveryTarget::Immediate => record.end_xlog,
            _ => None,
        };
        self.plan_until(record, options, archive_recovery, with_partial, until)
    }

    fn plan_until(
        &self,
        record: &BackupRecord,
        options: &RestoreOptions,
        archive_recovery: bool,
        with_partial: bool,
        until: Option<Lsn>,
    ) -> Result<WalPlan, RestorePlanError> {
        let missing = |field| RestorePlanError::Incomplete { id: record.id, field };
        let begin = record.begin_xlog.ok_or(missing("begin_xlog"))?;
        let consistent = record.end_xlog.ok_or(missing("end_xlog"))?;
        let timeline = record.timeline.ok_or(missing("timeline"))?;
        let target_timeline = target_timeline(record, options, archive_recovery);
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
            partial: if with_partial { &self.partial } else { &none },
        })?)
    }

    /// Whether recovery will get where it is to go. By a target position the plan was made; the WAL is read for a target
    /// time; other targets are looked for only where WAL is missing. A standby may get by streaming what is missing here.
    fn judge_end(
        &self,
        wal: &WalPlan,
        record: &BackupRecord,
        options: &RestoreOptions,
        get_wal: bool,
        context: &Context<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<(), RestorePlanError> {
        let mut hole = |missing| {
            let gap = RestorePlanError::Gap { missing, reach: wal.reach };
            if !options.standby_mode {
                return Err(gap);
            }
            warnings.push(format!("{gap}, unless the standby gets it by streaming"));
            Ok(())
        };
        let RecoveryTarget::Time(target) = options.target else {
            return wal.gap.map_or(Ok(()), hole);
        };
        let stops = |time| if options.exclusive { time >= target } else { time > target };
        let reach = self.search(wal, record, context).run(TimeSearch::MOST_BYTES, &stops)?;
        match (reach, wal.gap) {
            (TimeReach::Reached, None) => {}
            (TimeReach::Reached, Some(missing)) => warnings.push(missing_after(missing)),
            (_, Some(missing)) => hole(missing)?,
            (TimeReach::Unknown(problem), None) => warnings.push(format!(
                "whether recovery reaches the target time cannot be told from the archived WAL: {problem}"
            )),
            (TimeReach::Before(last), None) => {
                // Where the backup is not consistent yet, nothing can stop.
                let last = last.filter(|last| record.end_xlog.is_none_or(|end| last.lsn >= end));
                let zone = |last: TransactionEnd| TransactionEnd {
                    time: last.time.to_offset(target.offset()),
                    ..last
                };
                let beyond = RestorePlanError::TimeBeyondArchive {
                    target,
                    last: last.map(zone),
                    reach: wal.reach,
                    partial: self.partial_after(wal, record, options, context, &stops)?,
                };
                // It ends in an error only where nothing more can come, and since release 13.
                let consequence = if get_wal || options.standby_mode {
                    "recovery stops there once such WAL has come"
                } else if record.version.is_some_and(|version| version < 130_000) {
                    "before PostgreSQL 13, recovery ends with the archive as if there were no target"
                } else {
                    return Err(beyond);
                };
                warnings.push(format!("{beyond}; {consequence}"));
            }
        }
        Ok(())
    }

    /// The way a plan takes.
    fn history(&self, wal: &WalPlan) -> Arc<TimelineHistory> {
        let history = self.histories.get(&wal.timeline).cloned();
        Arc::new(history.unwrap_or_else(|| TimelineHistory::root(wal.timeline)))
    }

    fn search<'s>(
        &'s self,
        wal: &'s WalPlan,
        record: &BackupRecord,
        context: &'s Context<'_>,
    ) -> TimeSearch<'s> {
        TimeSearch {
            store: self.store,
            size: self.size,
            history: self.history(wal),
            begin: record.begin_xlog.unwrap_or_default(),
            wal,
            context,
        }
    }

    /// The segment that is being received and was not asked for, and whether its beginning would be enough.
    fn partial_after(
        &self,
        wal: &WalPlan,
        record: &BackupRecord,
        options: &RestoreOptions,
        context: &Context<'_>,
        stops: &dyn Fn(OffsetDateTime) -> bool,
    ) -> Result<Option<PartialReach>, RestorePlanError> {
        if wal.partial.is_some() {
            return Ok(None);
        }
        let Ok(longer) = self.plan(record, options, true, true) else { return Ok(None) };
        let Some(segment) = longer.partial else { return Ok(None) };
        // A record that ends there may begin in the segment before.
        let reach = self.search(&longer, record, context).run(2 * self.size.bytes(), stops)?;
        Ok(Some(PartialReach { segment, enough: matches!(reach, TimeReach::Reached) }))
    }

    /// The newest timeline that left the backup's own after the backup, and where.
    fn left_for(&self, record: &BackupRecord) -> Option<(Timeline, Lsn)> {
        let (own, end) = (record.timeline?, record.end_xlog?);
        let left = |(timeline, history): (&Timeline, &TimelineHistory)| {
            history.switch_from(own).filter(|at| *at >= end).map(|at| (*timeline, at))
        };
        self.histories.iter().rev().find_map(left)
    }

    /// Backup labels among the segments, and all history files, as Barman copies them: by those PostgreSQL chooses a number for
    /// its next timeline that nobody has.
    fn extras(&self, wal: &WalPlan) -> Vec<WalName> {
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

/// What a reader of the plan wants to know first.
impl RestorePlan {
    /// The backup's id.
    pub const fn backup(&self) -> BackupId {
        self.record.id
    }

    /// The position up to which the archive is whole.
    pub const fn reach(&self) -> Lsn {
        self.wal.reach
    }
}
