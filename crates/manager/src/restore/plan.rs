//! Everything a restore will do, decided and checked before anything is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tapster_catalog::{BackupId, BackupRecord, BackupStatus};
use tapster_copy::combine::CopyMethod;
use tapster_copy::remote::Host;
use walfile::{Lsn, WalName};

use super::archived_wal::{Archive, read_histories, target_timeline};
use super::archives::{self, is_archived};
use super::elsewhere::There;
use super::places::{
    absolute, check_places, is_empty, is_of_the_cluster, place_tablespaces, resolved, unlisted_tablespace,
};
use super::reach::{Reached, Route, is_pitr};
use super::stop_point::Points;
use super::wal_plan::leads_to;
use super::{
    BackupChoice, DeltaPlan, RecoveryTarget, RestoreOptions, RestorePlanError, StopPoint, TablespacePlace,
    TargetPlace, TimelineTarget, WalPlan, WalPlanError,
};
use super::{combine, control, recovery_conf, standby};
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
    /// The host it goes to, connected; `None` for this one.
    pub host: Option<Arc<Host>>,
    /// The directory of this host in which an incremental backup for another one is put together.
    pub staging: Option<PathBuf>,
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
    /// Whether it comes from an object store then.
    pub wal_in_bucket: bool,
    /// The WAL recovery will replay.
    pub wal: WalPlan,
    /// Where recovery stops; `None` where it goes on to the end of the WAL, or where the archived WAL does not tell.
    pub stop: Option<StopPoint>,
    /// Labels and history files that are copied with it.
    pub extras: Vec<WalName>,
    /// Where WAL is copied to; `None` when it is fetched while recovering.
    pub wal_directory: Option<PathBuf>,
    /// What the destination holds, and what becomes of it; `None` when it holds nothing.
    pub delta: Option<DeltaPlan>,
    /// Worth knowing before going on.
    pub warnings: Vec<String>,
    /// The archives of a backup that is in an object store.
    #[cfg(feature = "cloud")]
    pub archives: Vec<crate::cloud::restore::ArchiveObject>,
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
        let pitr = is_pitr(options);
        if options.action.is_some() && !pitr {
            return Err(RestorePlanError::ActionWithoutTarget);
        }
        standby::check(options)?;
        recovery_conf::check(options)?;
        let points = if self.has_wals_in_bucket() { None } else { self.points(&options.target, context)? };
        let record = self.choose_backup(options, points.as_ref(), context)?;
        let route = Route::new(self, &record, options);
        let Route { archive_recovery, get_wal, .. } = route;
        #[cfg(feature = "cloud")]
        let archives = self.archives_in_bucket(&record, options)?;
        let chain = self.usable_chain(&record)?;
        let delta = options.delta.unwrap_or(self.config.recovery_options.delta_restore);
        let there = options.remote.as_ref();
        let there = there.map(|remote| There::connect(&remote.ssh_command, &context.stop)).transpose()?;
        let destination = match &there {
            None => absolute(&options.destination)?,
            Some(there) => there.absolute(&options.destination)?,
        };
        let tablespaces = place_tablespaces(&record, options, &destination)?;
        let mut warnings = Vec::new();
        let delta = match &there {
            None => {
                check_places(&destination, &tablespaces)?;
                self.plan_delta(&chain, &destination, &tablespaces, delta, &mut warnings, context)?
            }
            Some(there) => {
                there.check(&destination, &tablespaces, delta)?;
                match delta {
                    false => None,
                    true => self.plan_delta_there(
                        there,
                        &chain,
                        &destination,
                        &tablespaces,
                        &mut warnings,
                        context,
                    )?,
                }
            }
        };
        let archive = Archive::read(self, &record, context)?;
        let mut reached = archive.reach(route, points.as_ref(), context);
        if let (
            Err(RestorePlanError::Target { place: TargetPlace::Nowhere { similar, .. }, .. }),
            RecoveryTarget::Name(name),
        ) = (&mut reached, &options.target)
        {
            *similar = self.similar_restore_points(name, context);
        }
        let mut reached = reached?;
        if !archive.is_unread() {
            archive.prove(route, &mut reached, context)?;
        }
        let Reached { wal, stop, warnings: told, .. } = reached;
        warnings.extend(told);
        if self.has_wals_in_bucket() && !options.get_wal.unwrap_or(self.config.recovery_options.get_wal) {
            let text = "get-wal is required for servers with WALs stored in cloud storage. Automatically enabling --get-wal.";
            warnings.push(text.to_owned());
        }
        if !self.holds_archives(&record) {
            warnings.extend(control::check(&self.layout().data_dir(&record.id), &record)?);
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
        let wal_directory = match (&options.staging_wal_directory, pitr) {
            _ if get_wal => None,
            (Some(dir), true) => Some(match &there {
                None => self.staging(dir, &record, &destination, &tablespaces)?,
                Some(there) => there.wal_directory(dir, &destination, &tablespaces)?,
            }),
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
        let staging = match &there {
            None => None,
            Some(there) => {
                let segments = wal.segments.len() as u64 + u64::from(wal.partial.is_some());
                let wal_bytes = segments.saturating_mul(record.segment_size().bytes());
                let wals = wal_directory.as_deref().map(|dir| (dir, wal_bytes));
                self.plan_remote(there, &chain, options, &destination, delta.is_some(), wals)?
            }
        };
        let plan = RestorePlan {
            record,
            chain,
            combine_method,
            host: there.map(There::into_host),
            staging,
            destination,
            tablespaces,
            options: options.clone(),
            pitr,
            get_wal,
            wal_in_bucket: self.has_wals_in_bucket(),
            wal,
            stop,
            extras,
            wal_directory,
            delta,
            warnings,
            #[cfg(feature = "cloud")]
            archives,
        };
        if plan.host.is_none() {
            self.check_space(&plan, self.staged_bytes(&plan.chain))?;
        }
        Ok(plan)
    }

    fn choose_backup(
        &self,
        options: &RestoreOptions,
        points: Option<&Points>,
        context: &Context<'_>,
    ) -> Result<BackupRecord, RestorePlanError> {
        let record = match &options.backup {
            BackupChoice::Record(record) => (**record).clone(),
            BackupChoice::Auto => self.newest_fitting(options, points, context)?,
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
        if self.catalog.deletions_in_progress()?.contains(&record.id) {
            return unusable("its deletion has begun");
        }
        if self.has_backups_in_bucket() {
            return Ok(record);
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
        let is_in_archive = |first: &Path| is_of_the_cluster(&first.to_string_lossy());
        let is_part = |first: std::path::Component<'_>| {
            let first = Path::new(first.as_os_str());
            if self.holds_archives(record) { is_in_archive(first) } else { data.join(first).exists() }
        };
        if first.is_some_and(is_part) {
            return refuse("it is a part of the cluster");
        }
        Ok(dir)
    }

    /// Barman's `auto`: the newest backup that ends before the target, on the way to the target timeline. Barman compares
    /// the numbers of timelines, which say nothing about who descends from whom; and it looks for no restore point and no
    /// transaction.
    fn newest_fitting(
        &self,
        options: &RestoreOptions,
        points: Option<&Points>,
        context: &Context<'_>,
    ) -> Result<BackupRecord, RestorePlanError> {
        let fits = |record: &BackupRecord| match &options.target {
            RecoveryTarget::Time(target) => record.end_time.is_some_and(|end| end <= *target),
            RecoveryTarget::Lsn(target) => record.end_xlog.is_some_and(|end| end <= *target),
            _ => true,
        };
        if options.target == RecoveryTarget::Immediate {
            return Err(RestorePlanError::AutoTarget { target: "immediate" });
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
                let route = Route::new(self, record, options);
                leads_to(target_timeline(record, options, route.archive_recovery), own, end, &histories)
            }
            _ => false,
        };
        let mut candidates =
            records.into_iter().rev().filter(|r| r.status.is_copied() && fits(r) && reachable(r));
        match points {
            Some(points) if points.problem.is_none() => {
                self.newest_before(points, candidates, options, context)
            }
            _ => candidates.next().ok_or(RestorePlanError::NoCandidate),
        }
    }

    /// The first from which recovery comes to the record that is its target.
    fn newest_before(
        &self,
        points: &Points,
        candidates: impl Iterator<Item = BackupRecord>,
        options: &RestoreOptions,
        context: &Context<'_>,
    ) -> Result<BackupRecord, RestorePlanError> {
        let mut refused = None;
        for record in candidates {
            let archive = Archive::read(self, &record, context)?;
            let reached = archive.reach(Route::new(self, &record, options), Some(points), context);
            match reached {
                Ok(_) => return Ok(record),
                Err(RestorePlanError::Stopped) => return Err(RestorePlanError::Stopped),
                // The oldest one says it best.
                Err(error @ RestorePlanError::Target { place: TargetPlace::BeforeBackup { .. }, .. }) => {
                    refused = Some(error);
                }
                // A plan from it says in full what is wrong.
                Err(_) => return Ok(record),
            }
        }
        Err(refused.unwrap_or(RestorePlanError::NoCandidate))
    }
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
