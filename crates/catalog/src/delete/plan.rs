//! What is to be deleted, decided without touching anything.

use std::collections::HashSet;

use super::{DeleteError, DeleteRefusal, WalTrim};
use crate::catalog::MARKER;
use crate::keep::KeepTarget;
use crate::{BackupId, BackupRecord, BackupStatus, BackupType, Catalog, CatalogError, next_of};

/// Who wants it deleted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum DeleteCause {
    /// `delete`: WAL stays while an older backup is kept `standalone`, as its user may want it.
    #[default]
    Request,
    /// The retention policy: of WAL that only `standalone` backups precede, those backups' own is spared.
    Retention,
}

/// The rules of one deletion.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// `minimum_redundancy` of the configuration.
    pub minimum_redundancy: u32,
    /// Who wants it.
    pub cause: DeleteCause,
}

/// The backups that go, in order, each with the WAL that goes with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeletePlan {
    /// Incremental backups before what they build on; the one asked for last.
    pub steps: Vec<DeleteStep>,
    /// The rules it was made by.
    pub options: DeleteOptions,
}

/// One backup that goes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeleteStep {
    /// Its record.
    pub record: BackupRecord,
    /// The WAL that goes with it; `None` when an older backup may still need it.
    pub trim: Option<WalTrim>,
    /// Its deletion had begun before.
    pub resumed: bool,
}

impl DeletePlan {
    /// Plans the deletion of `id` and of every incremental backup that builds on it.
    ///
    /// # Errors
    /// [`DeleteError::Refused`] when a rule forbids it, or the catalog cannot be read.
    pub fn new(catalog: &Catalog, id: &BackupId, options: DeleteOptions) -> Result<Self, DeleteError> {
        let record = catalog.load(id)?;
        let (mut remaining, mut unreadable) = (Vec::new(), Vec::new());
        for (id, found) in catalog.backups()? {
            match found {
                Ok(record) => remaining.push(record),
                Err(error) => unreadable.push((id, error)),
            }
        }
        // Where a record that we cannot read needs WAL from, nobody knows.
        let all_known = unreadable.is_empty();
        check(catalog, &record, &remaining, options)?;
        let tree = tree(&record, &remaining);
        // One that builds on what is to go must not be left without it.
        let is_child = |(id, _): &(BackupId, _)| tree.iter().any(|r| r.children_backup_ids.contains(id));
        if let Some(child) = unreadable.iter().position(is_child) {
            return Err(CatalogError::from(unreadable.swap_remove(child).1).into());
        }
        let mut steps = Vec::new();
        for record in tree {
            let server = || catalog.layout().server.to_string();
            if record.snapshots_info.is_some() {
                return Err(DeleteRefusal::Snapshots { id: record.id, server: server() }.into());
            }
            let trim = if all_known { trim_for(catalog, &record, &remaining, options.cause)? } else { None };
            remaining.retain(|other| other.id != record.id);
            let resumed = catalog.layout().annotation(&record.id, MARKER).exists();
            steps.push(DeleteStep { record, trim, resumed });
        }
        Ok(Self { steps, options })
    }
}

fn check(
    catalog: &Catalog,
    record: &BackupRecord,
    all: &[BackupRecord],
    options: DeleteOptions,
) -> Result<(), DeleteError> {
    let server = || catalog.layout().server.to_string();
    if let Some(target) = catalog.keep_target(&record.id)? {
        return Err(DeleteRefusal::Kept { id: record.id, server: server(), target }.into());
    }
    let counts =
        |r: &BackupRecord| r.status == BackupStatus::Done && r.backup_type() != BackupType::Incremental;
    // Of one whose deletion has begun nothing is left to protect, nor is it any redundancy.
    let begun = |r: &BackupRecord| catalog.layout().annotation(&r.id, MARKER).exists();
    let current = all.iter().filter(|r| counts(r) && !begun(r)).count();
    let minimum = options.minimum_redundancy;
    if counts(record) && !begun(record) && usize::try_from(minimum).is_ok_and(|minimum| minimum >= current) {
        return Err(
            DeleteRefusal::MinimumRedundancy { id: record.id, server: server(), minimum, current }.into()
        );
    }
    Ok(())
}

/// The record and all that build on it, those that nothing builds on first.
fn tree(root: &BackupRecord, all: &[BackupRecord]) -> Vec<BackupRecord> {
    let mut seen: HashSet<BackupId> = HashSet::from([root.id]);
    let mut order: Vec<&BackupRecord> = vec![root];
    let mut at = 0;
    while let Some(parent) = order.get(at) {
        let (id, listed) = (parent.id, &parent.children_backup_ids);
        let is_child = |r: &&BackupRecord| r.parent_backup_id == Some(id) || listed.contains(&r.id);
        let children: Vec<&BackupRecord> = all.iter().filter(is_child).collect();
        for child in children {
            if seen.insert(child.id) {
                order.push(child);
            }
        }
        at += 1;
    }
    order.into_iter().rev().cloned().collect()
}

fn trim_for(
    catalog: &Catalog,
    record: &BackupRecord,
    all: &[BackupRecord],
    cause: DeleteCause,
) -> Result<Option<WalTrim>, DeleteError> {
    // What it needs is not known, whether it is older or newer.
    if all.iter().any(|other| other.id != record.id && catalog.has_lost_record(other)) {
        return Ok(None);
    }
    let mut trim = WalTrim::default();
    for older in all.iter().rev().filter(|other| other.id < record.id && other.status.is_copied()) {
        if catalog.keep_target(&older.id)? != Some(KeepTarget::Standalone) || cause == DeleteCause::Request {
            return Ok(None);
        }
        match (older.begin_wal, older.end_wal) {
            (Some(begin), Some(end)) => trim.ranges.push((begin, end)),
            _ => return Ok(None),
        }
    }
    let archiving = |r: &&BackupRecord| !matches!(r.status, BackupStatus::Empty | BackupStatus::Failed);
    let newer = || all.iter().filter(|r| r.id > record.id).filter(archiving);
    let limit = match next_of(all, &record.id) {
        Some(next) => next,
        // One that is being taken needs WAL already.
        None if record.is_exclusive() && newer().next().is_none() => return Ok(Some(trim)),
        None => record,
    };
    // A record without a start says nothing about the WAL; Barman removes all of it then.
    let Some(begin) = limit.begin_wal else { return Ok(None) };
    // The next backup by id begins first, unless the clock was set back (every autumn it is): ids are local time.
    let others = newer().filter_map(|r| r.begin_wal);
    trim.before = others.filter(|other| other.timeline() == begin.timeline()).chain([begin]).min();
    trim.timelines =
        all.iter().filter(|r| r.id != record.id).filter(archiving).filter_map(|r| r.timeline).collect();
    trim.timelines.remove(&limit.timeline.unwrap_or_else(|| begin.timeline()));
    Ok(Some(trim))
}

impl DeletePlan {
    /// The plan anew, as the catalog is now.
    ///
    /// # Errors
    /// As [`DeletePlan::new`]; [`DeleteError::Changed`] when other backups would go than before.
    pub(super) fn renewed(&self, catalog: &Catalog) -> Result<Self, DeleteError> {
        let ids = |plan: &Self| plan.steps.iter().map(|step| step.record.id).collect::<Vec<_>>();
        let Some(root) = self.steps.last() else { return Ok(self.clone()) };
        let id = root.record.id;
        let renewed = Self::new(catalog, &id, self.options)?;
        if ids(&renewed) == ids(self) { Ok(renewed) } else { Err(DeleteError::Changed { id }) }
    }

    /// The marked backups that have no record any more: only their leftovers are to be removed.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn leftovers(catalog: &Catalog) -> Result<Vec<BackupId>, CatalogError> {
        let gone = |id: &BackupId| {
            !catalog.layout().record(id).exists() && !catalog.layout().old_record(id).exists()
        };
        Ok(catalog.deletions_in_progress()?.into_iter().filter(gone).collect())
    }
}
