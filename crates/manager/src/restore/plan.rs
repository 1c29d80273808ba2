//! Everything a restore will do, decided and checked before anything is written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use tapster_catalog::wal_store::WalStore;
use tapster_catalog::{BackupId, BackupRecord, BackupStatus};
use time::OffsetDateTime;
use walfile::{Lsn, SegmentName, SegmentSize, Timeline, TimelineHistory, WalName};

use super::{
    BackupChoice, RecoveryTarget, RestoreOptions, RestorePlanError, TimelineTarget, WalPlan, WalRequest,
    plan_wal,
};
use crate::{Context, Server};

/// A restore that can be done. [`Server::restore`] does it; printing it is a dry run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RestorePlan {
    /// The backup.
    pub record: BackupRecord,
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

/// Where a tablespace is restored to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TablespacePlace {
    /// OID.
    pub oid: u32,
    /// Name.
    pub name: String,
    /// The new directory.
    pub location: PathBuf,
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
        let record = self.choose_backup(options)?;
        let get_wal = options.get_wal.unwrap_or(self.config.recovery_options.get_wal);
        let destination = absolute(&options.destination)?;
        let tablespaces = place_tablespaces(&record, options, &destination)?;
        check_places(&destination, &tablespaces)?;
        if let RecoveryTarget::Time(target) = options.target
            && let Some(end) = record.end_time
            && target < end
        {
            return Err(RestorePlanError::TimeBeforeBackup { target, end });
        }
        let archive = Archive::read(self, &record, options.partial_wal || get_wal)?;
        let wal = archive.plan(&record, options)?;
        let mut warnings = Vec::new();
        if record.status == BackupStatus::WaitingForWals {
            warnings.push(format!(
                "backup {} is classified as WAITING_FOR_WALS: not all of its WAL had arrived when it was last looked at",
                record.id
            ));
        }
        archive.judge_end(&wal, &record, options, get_wal, &mut warnings)?;
        let wal_directory = (!get_wal).then(|| match (&options.staging_wal_directory, pitr) {
            (Some(dir), true) => dir.clone(),
            (None, true) => destination.join("barman_wal"),
            (_, false) => destination.join("pg_wal"),
        });
        let extras = archive.extras(&record, &wal);
        check_space(&destination, &record, &wal, wal_directory.is_some())?;
        let _ = context;
        Ok(RestorePlan {
            record,
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

    fn choose_backup(&self, options: &RestoreOptions) -> Result<BackupRecord, RestorePlanError> {
        let record = match &options.backup {
            BackupChoice::Record(record) => (**record).clone(),
            BackupChoice::Auto => self.newest_fitting(options)?,
        };
        if !matches!(record.status, BackupStatus::Done | BackupStatus::WaitingForWals) {
            return Err(RestorePlanError::Status { status: record.status.to_string() });
        }
        let unusable =
            |problem: &str| Err(RestorePlanError::Files { id: record.id, problem: problem.to_owned() });
        if record.parent_backup_id.is_some() {
            return unusable("it is incremental, which is not supported yet");
        }
        if record.snapshots_info.is_some() {
            return unusable("it is a snapshot backup, which is not supported yet");
        }
        if record.encryption.is_some() {
            return unusable("it is encrypted, which is not supported yet");
        }
        if record.compression.as_deref().is_some_and(|c| c != "none") {
            return unusable("it is a compressed tar backup, which is not supported yet");
        }
        let data = self.layout().data_dir(&record.id);
        if !data.join("global/pg_control").is_file() || !data.join("backup_label").is_file() {
            return unusable(&format!(
                "{} is incomplete: pg_control or backup_label is missing",
                data.display()
            ));
        }
        Ok(record)
    }

    /// Barman's `auto`: the newest backup that ends before the target.
    fn newest_fitting(&self, options: &RestoreOptions) -> Result<BackupRecord, RestorePlanError> {
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
        let wanted = match options.timeline {
            Some(TimelineTarget::Number(timeline)) => Some(timeline),
            _ => None,
        };
        let reachable = |record: &BackupRecord| match wanted {
            None => true,
            Some(timeline) => record.timeline.is_some_and(|own| own <= timeline),
        };
        let mut records = self.catalog.records()?;
        records.sort_by_key(|record| record.end_time);
        records
            .into_iter()
            .rev()
            .filter(|r| matches!(r.status, BackupStatus::Done | BackupStatus::WaitingForWals))
            .find(|record| fits(record) && reachable(record))
            .ok_or(RestorePlanError::NoCandidate)
    }
}

/// What the archive holds, read once.
struct Archive<'a> {
    store: WalStore<'a>,
    server: &'a Server,
    size: SegmentSize,
    histories: BTreeMap<Timeline, TimelineHistory>,
    archived: BTreeSet<SegmentName>,
    partial: BTreeSet<SegmentName>,
    labels: BTreeSet<WalName>,
}

impl<'a> Archive<'a> {
    fn read(server: &'a Server, record: &BackupRecord, partial: bool) -> Result<Self, RestorePlanError> {
        let size = record.segment_size();
        let store = WalStore::new(server.layout()).with_segment_size(size);
        let mut histories = BTreeMap::new();
        for timeline in store.history_files()? {
            if let Some(history) = store.history(timeline)? {
                histories.insert(timeline, history);
            }
        }
        let begin = record.begin_wal;
        let mut archive = Archive {
            store,
            server,
            size,
            histories,
            archived: BTreeSet::new(),
            partial: BTreeSet::new(),
            labels: BTreeSet::new(),
        };
        let layout = server.layout();
        let mut dirs = vec![layout.incoming.clone(), layout.streaming.clone()];
        dirs.extend(
            file_names(&layout.wals)?.into_iter().filter(|n| n.len() == 16).map(|n| layout.wals.join(n)),
        );
        for dir in dirs {
            for name in file_names(&dir)? {
                match name.parse() {
                    // Nothing before the backup is of interest, and there may be very much of it.
                    Ok(WalName::Segment(segment)) if begin.is_none_or(|b| after(segment, b, size)) => {
                        archive.archived.insert(segment);
                    }
                    Ok(WalName::Partial(segment)) if partial => {
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

    fn plan(&self, record: &BackupRecord, options: &RestoreOptions) -> Result<WalPlan, RestorePlanError> {
        let missing = |field| RestorePlanError::Incomplete { id: record.id, field };
        let begin = record.begin_xlog.ok_or(missing("begin_xlog"))?;
        let consistent = record.end_xlog.ok_or(missing("end_xlog"))?;
        let timeline = record.timeline.ok_or(missing("timeline"))?;
        // PostgreSQL followed only the backup's own timeline by default before version 12.
        let default = match record.version {
            Some(version) if version < 120_000 => TimelineTarget::Current,
            _ => TimelineTarget::Latest,
        };
        let until = match options.target {
            RecoveryTarget::Lsn(lsn) => Some(lsn),
            RecoveryTarget::Immediate => Some(consistent),
            _ => None,
        };
        Ok(plan_wal(&WalRequest {
            timeline,
            begin,
            consistent,
            size: self.size,
            target_timeline: options.timeline.unwrap_or(default),
            until,
            histories: &self.histories,
            archived: &self.archived,
            partial: &self.partial,
        })?)
    }

    /// Whether recovery will get where it is to go, as far as names and times can tell.
    fn judge_end(
        &self,
        wal: &WalPlan,
        record: &BackupRecord,
        options: &RestoreOptions,
        get_wal: bool,
        warnings: &mut Vec<String>,
    ) -> Result<(), RestorePlanError> {
        let last_written = self.last_written(wal);
        if let RecoveryTarget::Time(target) = options.target
            && let Some((last, written)) = last_written
        {
            // A segment holds no commit later than its last write. Without one after the target, PostgreSQL would not stop at
            // the target but fail for not having reached it.
            if target > written && target > record.end_time.unwrap_or(written) {
                if !get_wal {
                    return Err(RestorePlanError::TimeBeyondArchive { target, last, written });
                }
                warnings.push(format!(
                    "the newest WAL file so far, {last}, was written at {written}, before the target time"
                ));
            }
        }
        let Some(missing) = wal.gap else { return Ok(()) };
        let reached_before = match options.target {
            RecoveryTarget::Time(target) => last_written.is_some_and(|(_, written)| written > target),
            _ => false,
        };
        if reached_before {
            warnings.push(format!("WAL segment {missing} is missing from the archive, after the target"));
            return Ok(());
        }
        Err(RestorePlanError::Gap { missing, reach: wal.reach })
    }

    /// The last segment of the plan and when it was written.
    fn last_written(&self, wal: &WalPlan) -> Option<(SegmentName, OffsetDateTime)> {
        let (name, partial) = match wal.partial {
            Some(partial) => (partial, true),
            None => (*wal.segments.last()?, false),
        };
        let found = self.store.find(name.into(), partial).ok()??;
        let modified = found.path.metadata().ok()?.modified().ok()?;
        let since = modified.duration_since(UNIX_EPOCH).ok()?;
        let offset = crate::local_now().offset();
        Some((name, (OffsetDateTime::UNIX_EPOCH + since).to_offset(offset)))
    }

    /// History files of the path and backup labels among the segments, which Barman copies too.
    fn extras(&self, record: &BackupRecord, wal: &WalPlan) -> Vec<WalName> {
        let _ = self.server;
        let segments: BTreeSet<SegmentName> = wal.segments.iter().copied().collect();
        let labels = self
            .labels
            .iter()
            .copied()
            .filter(|label| label.segment().is_some_and(|s| segments.contains(&s)));
        let own = record.timeline;
        let histories = self
            .histories
            .keys()
            .filter(|timeline| **timeline <= wal.timeline || Some(**timeline) == own)
            .map(|timeline| WalName::History(*timeline));
        histories.chain(labels).collect()
    }
}

fn after(segment: SegmentName, begin: SegmentName, size: SegmentSize) -> bool {
    match (segment.number(size), begin.number(size)) {
        (Ok(segment), Ok(begin)) => segment >= begin,
        _ => false,
    }
}

fn file_names(dir: &Path) -> Result<Vec<String>, RestorePlanError> {
    match std::fs::read_dir(dir) {
        Ok(read) => Ok(read.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(RestorePlanError::Io { path: dir.to_owned(), source }),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, RestorePlanError> {
    let absolute =
        std::path::absolute(path).map_err(|source| RestorePlanError::Io { path: path.to_owned(), source })?;
    if absolute.components().any(|part| part == Component::ParentDir) {
        let source =
            std::io::Error::new(std::io::ErrorKind::InvalidInput, "'..' in the destination is refused");
        return Err(RestorePlanError::Io { path: path.to_owned(), source });
    }
    Ok(absolute)
}

fn place_tablespaces(
    record: &BackupRecord,
    options: &RestoreOptions,
    destination: &Path,
) -> Result<Vec<TablespacePlace>, RestorePlanError> {
    for (name, _) in &options.tablespaces {
        if !record.tablespaces.iter().any(|tablespace| tablespace.name == *name) {
            let known = record.tablespaces.iter().map(|tablespace| tablespace.name.clone()).collect();
            return Err(RestorePlanError::Tablespace { name: name.clone(), known });
        }
    }
    record
        .tablespaces
        .iter()
        // In-place tablespaces are inside the data directory and come with it.
        .filter(|tablespace| Path::new(&tablespace.location).is_absolute())
        .map(|tablespace| {
            let moved = options.tablespaces.iter().rev().find(|(name, _)| *name == tablespace.name);
            let location =
                moved.map_or_else(|| PathBuf::from(&tablespace.location), |(_, location)| location.clone());
            // A relative place is meant from the new data directory, as in Barman.
            let location = if location.is_absolute() { location } else { destination.join(location) };
            Ok(TablespacePlace { oid: tablespace.oid, name: tablespace.name.clone(), location })
        })
        .collect()
}

/// Everything is empty or absent, and nothing lies where another thing goes.
fn check_places(destination: &Path, tablespaces: &[TablespacePlace]) -> Result<(), RestorePlanError> {
    if !is_empty(destination)? {
        return Err(RestorePlanError::DestinationNotEmpty { path: destination.to_owned() });
    }
    for (index, place) in tablespaces.iter().enumerate() {
        if !is_empty(&place.location)? {
            let path = place.location.clone();
            return Err(RestorePlanError::TablespaceNotEmpty { name: place.name.clone(), path });
        }
        let others = tablespaces.iter().skip(index + 1).map(|other| other.location.as_path());
        for other in others.chain([destination]) {
            let inside_destination = other == destination && place.location.starts_with(destination);
            let same = place.location == other;
            if same
                || (!inside_destination
                    && (other.starts_with(&place.location) || place.location.starts_with(other)))
            {
                return Err(RestorePlanError::Overlap {
                    first: place.location.clone(),
                    second: other.to_owned(),
                });
            }
        }
    }
    Ok(())
}

fn is_empty(dir: &Path) -> Result<bool, RestorePlanError> {
    match std::fs::read_dir(dir) {
        Ok(mut read) => Ok(read.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(source) => Err(RestorePlanError::Io { path: dir.to_owned(), source }),
    }
}

/// Whether the file system of the destination has room. Files that can be shared with the backup need none, but nobody knows
/// that beforehand, so this only refuses what is clearly too little.
fn check_space(
    destination: &Path,
    record: &BackupRecord,
    wal: &WalPlan,
    copies_wal: bool,
) -> Result<(), RestorePlanError> {
    let Some(existing) = destination.ancestors().find(|dir| dir.is_dir()) else { return Ok(()) };
    let Ok(stat) = rustix::fs::statvfs(existing) else { return Ok(()) };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let elsewhere: bool = !record.tablespaces.is_empty();
    let base = if elsewhere { 0 } else { record.size.unwrap_or(0) };
    let segments = wal.segments.len() as u64 + u64::from(wal.partial.is_some());
    let wal_bytes = if copies_wal { segments.saturating_mul(record.segment_size().bytes()) } else { 0 };
    let needed = base.saturating_add(wal_bytes);
    if free < needed {
        return Err(RestorePlanError::Space { path: existing.to_owned(), free, needed });
    }
    Ok(())
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
