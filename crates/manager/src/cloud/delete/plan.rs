//! Which backups go, and in which order.

use std::collections::BTreeMap;

use tapster_catalog::{BackupId, BackupRecord, BackupStatus, KeepTarget};
use tapster_retention::{Candidate, Keep, Policy, evaluate};
use time::{Duration, OffsetDateTime};

use super::wal::{CloudWalTrim, Neighbour};
use super::{CloudDeleteCause, CloudDeleteError, CloudDeleteOptions, MARK};
use crate::cloud::{CloudBackup, CloudCatalog, CloudKeep, CloudServer};

/// A backup that says STARTED, and of which nothing was stored for so long, was killed: it keeps no WAL.
const LONGEST_SILENCE: Duration = Duration::days(7);

/// What a deletion is going to remove.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CloudDeletePlan {
    /// One backup after the other.
    pub steps: Vec<CloudDeleteStep>,
    /// Backups that the policy does not need, and that stay with their WAL nevertheless: their data are volume snapshots.
    pub snapshots: Vec<BackupId>,
    /// The policy that every step is judged by again before it is taken.
    pub(super) policy: Option<Policy>,
}

/// One backup.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloudDeleteStep {
    /// Which.
    pub id: BackupId,
    /// What it was, if there is a record of it.
    pub record: Option<BackupRecord>,
    /// The keys of its objects, without the record: the data directory's archive, those of the tablespaces in the order of their
    /// object ids, then whatever else there is.
    pub objects: Vec<String>,
    /// The WAL that goes with it.
    pub trim: Option<CloudWalTrim>,
}

impl CloudServer {
    /// The plan for one backup. Removes nothing.
    ///
    /// # Errors
    /// When it may not be deleted, or is not there.
    pub fn plan_delete(
        &self,
        id: &BackupId,
        options: &CloudDeleteOptions,
    ) -> Result<CloudDeletePlan, CloudDeleteError> {
        let mut catalog = self.readable_catalog()?;
        let server = || self.layout().server().to_owned();
        // Barman looks for the annotation of whatever it is asked to delete.
        if self.keep_of(id)?.is_some() {
            return Err(CloudDeleteError::Kept { id: *id, server: server() });
        }
        let Some(backup) = catalog.backups.get(id) else {
            let Some(objects) = catalog.without_record.remove(id) else {
                return Err(CloudDeleteError::NoBackup { id: *id });
            };
            let objects = objects.into_iter().map(|object| object.key).collect();
            let steps = vec![CloudDeleteStep { id: *id, record: None, objects, trim: None }];
            return Ok(CloudDeletePlan { steps, ..CloudDeletePlan::default() });
        };
        let whole = |backup: &CloudBackup| backup.record.status.is_copied();
        let current = catalog.backups.values().filter(|backup| whole(backup)).count();
        let minimum = options.minimum_redundancy;
        if minimum > 0 && whole(backup) && usize::try_from(minimum).is_ok_and(|minimum| minimum >= current) {
            return Err(CloudDeleteError::MinimumRedundancy { id: *id, server: server(), minimum, current });
        }
        let children: Vec<_> = catalog
            .backups
            .values()
            .filter(|other| other.record.parent_backup_id == Some(*id))
            .map(|other| other.record.id)
            .collect();
        if !children.is_empty() {
            return Err(CloudDeleteError::HasChildren { id: *id, children });
        }
        if backup.record.snapshots_info.is_some() {
            return Err(CloudDeleteError::Snapshots { id: *id });
        }
        Ok(self.steps(catalog, &[*id], CloudDeleteCause::Request, options.now))
    }

    /// The plan for everything that a policy does not need. Removes nothing. Backups of volume snapshots are not among the steps.
    ///
    /// # Errors
    /// When the backups cannot be listed.
    pub fn plan_retention(
        &self,
        policy: &Policy,
        options: &CloudDeleteOptions,
    ) -> Result<CloudDeletePlan, CloudDeleteError> {
        let catalog = self.readable_catalog()?;
        let ids = obsolete(&catalog, policy, options);
        let mut plan = self.steps(catalog, &ids, CloudDeleteCause::Retention, options.now);
        plan.policy = Some(*policy);
        Ok(plan)
    }

    /// A step of a retention's plan as it is by now: deletions take their time, and meanwhile backups are kept, built on, begun and
    /// deleted. `None` when the backup is not to go any more.
    pub(super) fn judge_again(
        &self,
        id: &BackupId,
        policy: &Policy,
        options: &CloudDeleteOptions,
    ) -> Result<Option<CloudDeleteStep>, CloudDeleteError> {
        let catalog = self.readable_catalog()?;
        // What built on it has gone before.
        let is_parent = catalog.backups.values().any(|other| other.record.parent_backup_id == Some(*id));
        if is_parent || !obsolete(&catalog, policy, options).contains(id) {
            return Ok(None);
        }
        Ok(self.steps(catalog, &[*id], CloudDeleteCause::Retention, options.now).steps.pop())
    }

    fn readable_catalog(&self) -> Result<CloudCatalog, CloudDeleteError> {
        let catalog = self.catalog()?;
        if catalog.unreadable.is_empty() {
            return Ok(catalog);
        }
        Err(CloudDeleteError::Unreadable { ids: catalog.unreadable.keys().copied().collect() })
    }

    fn steps(
        &self,
        mut catalog: CloudCatalog,
        ids: &[BackupId],
        cause: CloudDeleteCause,
        now: OffsetDateTime,
    ) -> CloudDeletePlan {
        let mut plan = CloudDeletePlan::default();
        for id in ids {
            // One that stays needs its WAL, so it also stays among the neighbours of those that follow.
            if catalog.backups.get(id).is_some_and(|backup| backup.record.snapshots_info.is_some()) {
                plan.snapshots.push(*id);
                continue;
            }
            let neighbours: Vec<Neighbour<'_>> =
                catalog.backups.values().map(|backup| neighbour(backup, now)).collect();
            let trim = CloudWalTrim::of(id, &neighbours, cause);
            let Some(backup) = catalog.backups.remove(id) else { continue };
            let objects = in_order(&self.layout().backup(id), &backup);
            plan.steps.push(CloudDeleteStep { id: *id, record: Some(backup.record), objects, trim });
        }
        plan
    }
}

/// What a policy does not need, and what an interrupted deletion has left, in the order in which it goes.
fn obsolete(catalog: &CloudCatalog, policy: &Policy, options: &CloudDeleteOptions) -> Vec<BackupId> {
    let judged = catalog.backups.values().filter(|backup| backup.record.status != BackupStatus::Empty);
    let judged: Vec<Judged<'_>> = judged.map(Judged).collect();
    let verdicts = evaluate(policy, options.minimum_redundancy, &judged, options.now);
    let begun = |backup: &CloudBackup| backup.record.error.as_deref() == Some(MARK) && backup.keep.is_none();
    let mut ids: Vec<(bool, BackupId)> = Vec::new();
    for (Judged(backup), verdict) in judged.iter().zip(verdicts) {
        if verdict.status.is_deletable() || begun(backup) {
            ids.push((backup.record.parent_backup_id.is_none(), backup.record.id));
        }
    }
    // What builds on another goes before it, the newest first; the others from the oldest on, so that each takes its WAL along.
    ids.sort_by(|(full, id), (other_full, other)| {
        full.cmp(other_full).then(if *full { id.cmp(other) } else { other.cmp(id) })
    });
    ids.into_iter().map(|(_, id)| id).collect()
}

fn neighbour(backup: &CloudBackup, now: OffsetDateTime) -> Neighbour<'_> {
    // One whose annotation nobody understands counts as kept with all its WAL.
    let keep = backup.keep.as_ref().map(|keep| match keep {
        CloudKeep::Target(target) => *target,
        CloudKeep::Unknown(_) => KeepTarget::Full,
    });
    let newest = backup.objects.iter().map(|object| object.modified).max();
    let is_running = backup.record.status == BackupStatus::Started
        && newest.is_none_or(|newest| now - newest < LONGEST_SILENCE);
    Neighbour { record: &backup.record, keep, is_running }
}

/// The objects of a backup in the order in which Barman names them.
fn in_order(directory: &str, backup: &CloudBackup) -> Vec<String> {
    let record = format!("{directory}/backup.info");
    let mut keys: BTreeMap<(Rank, bool, &str), String> = BTreeMap::new();
    for object in backup.objects.iter().filter(|object| object.key != record) {
        let name = object.key.strip_prefix(directory).unwrap_or(&object.key).trim_start_matches('/');
        let stem = name.split(['.', '_']).next().unwrap_or_default();
        let rank = match stem.parse() {
            Ok(oid) => Rank::Tablespace(oid),
            Err(_) if stem == "data" => Rank::Data,
            Err(_) => Rank::Other,
        };
        // A part after the first has a number behind an underscore.
        let further = name.strip_prefix(stem).is_some_and(|rest| rest.starts_with('_'));
        keys.insert((rank, further, name), object.key.clone());
    }
    keys.into_values().collect()
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    Data,
    Tablespace(u32),
    Other,
}

/// What the policy looks at.
struct Judged<'a>(&'a CloudBackup);

impl Candidate for Judged<'_> {
    fn id(&self) -> &str {
        self.0.record.id.as_str()
    }

    fn end_time(&self) -> Option<OffsetDateTime> {
        self.0.record.end_time
    }

    fn is_done(&self) -> bool {
        self.0.record.status == BackupStatus::Done
    }

    fn keep(&self) -> Option<Keep> {
        self.0.keep.as_ref().map(|keep| match keep {
            CloudKeep::Target(KeepTarget::Standalone) => Keep::Standalone,
            CloudKeep::Target(KeepTarget::Full) | CloudKeep::Unknown(_) => Keep::Full,
        })
    }

    fn parent_id(&self) -> Option<&str> {
        self.0.record.parent_backup_id.as_ref().map(BackupId::as_str)
    }
}
