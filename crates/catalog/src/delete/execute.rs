//! Carrying out a plan.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use walfile::WalName;

use super::beside::Running;
use super::observer::Listener;
use super::{DeleteCause, DeleteError, DeleteObserver, DeletePlan, DeleteRefusal, DeleteStep};
use crate::catalog::MARKER;
use crate::durable::{self, DurableError};
use crate::locks::{Lock, LockError, LockName};
use crate::{BackupId, Catalog, CatalogError};

/// What happens, as it happens.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DeleteEvent {
    /// A backup's turn has come; its marker is set.
    Begin(BackupId),
    /// Its files are gone.
    DataRemoved(BackupId),
    /// The WAL that went with it. Not sent when none was to go.
    WalsRemoved(BackupId, Vec<WalName>),
    /// Nothing is left of it.
    Deleted(BackupId),
}

impl DeletePlan {
    /// Deletes the backups. Holds the backup lock and each backup's own; for the retention policy, and while a backup is taken,
    /// without the former and with care. `observer` hears of each step.
    ///
    /// The plan is made anew under the lock: two deletions planned side by side must not both go below the minimum
    /// redundancy, and a keep request that came meanwhile counts.
    ///
    /// # Errors
    /// Where it broke off. What was begun carries its marker; a new plan finishes it.
    pub fn execute(
        &self,
        catalog: &Catalog,
        stop: &AtomicBool,
        observer: &mut dyn FnMut(DeleteEvent),
    ) -> Result<(), DeleteError> {
        self.execute_watched(catalog, stop, &mut Listener(observer))
    }

    /// [`DeletePlan::execute`] with an observer that can stop it.
    ///
    /// # Errors
    /// As there, and [`DeleteError::Aborted`].
    pub fn execute_watched(
        &self,
        catalog: &Catalog,
        stop: &AtomicBool,
        observer: &mut dyn DeleteObserver,
    ) -> Result<(), DeleteError> {
        match Lock::try_acquire(&catalog.layout().lock(&LockName::Backup)) {
            Ok(_lock) => take(&self.renewed(catalog)?.steps, catalog, None, stop, observer),
            Err(busy @ LockError::Busy { .. }) if self.options.cause == DeleteCause::Retention => {
                let Some(running) = Running::find(catalog)? else { return Err(busy.into()) };
                let steps = running.restrict(self.renewed(catalog)?.steps).ok_or(busy)?;
                take(&steps, catalog, Some(&running), stop, observer)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what is left of a backup whose record is gone and whose marker is not.
    ///
    /// # Errors
    /// When it is locked, or something cannot be removed.
    pub fn finish(catalog: &Catalog, id: &BackupId) -> Result<(), DeleteError> {
        let lock = lock(catalog, *id)?;
        remove_record(catalog, id)?;
        lock.remove()?;
        Ok(())
    }
}

/// Takes the steps, under the backup lock or beside a backup.
fn take(
    steps: &[DeleteStep],
    catalog: &Catalog,
    running: Option<&Running>,
    stop: &AtomicBool,
    observer: &mut dyn DeleteObserver,
) -> Result<(), DeleteError> {
    for step in steps {
        let id = step.record.id;
        if stop.load(Ordering::Relaxed) {
            return Err(DeleteError::Stopped { id });
        }
        let lock = lock(catalog, id)?;
        if let ControlFlow::Break(why) = observer.before(&step.record) {
            return Err(DeleteError::Aborted { why });
        }
        // The scripts may have been ended for this.
        if stop.load(Ordering::Relaxed) {
            return Err(DeleteError::Stopped { id });
        }
        step.execute(catalog, running, stop, observer)?;
        // The backup is gone; nobody needs its lock again.
        lock.remove()?;
        observer.after(&step.record);
    }
    Ok(())
}

fn lock(catalog: &Catalog, id: BackupId) -> Result<Lock, DeleteError> {
    Lock::try_acquire(&catalog.layout().lock(&LockName::BackupId(id))).map_err(|source| match source {
        LockError::Busy { .. } => DeleteError::InUse { id, source },
        other => other.into(),
    })
}

impl DeleteStep {
    fn execute(
        &self,
        catalog: &Catalog,
        running: Option<&Running>,
        stop: &AtomicBool,
        observer: &mut dyn DeleteObserver,
    ) -> Result<(), DeleteError> {
        let (disk, layout, id) = (catalog.disk(), catalog.layout(), self.record.id);
        // A record in its old place would go with the files; the end of the work needs it.
        if !layout.record(&id).exists() {
            catalog.save_here(&self.record)?;
        }
        durable::replace(disk, &layout.annotation(&id, MARKER), b"delete")?;
        // Scripts may have run since the plan was made. Who asks to keep it looks for the marker after asking.
        if let Some(target) = catalog.keep_target(&id)?.filter(|_| !self.resumed && self.record.is_full()) {
            durable::remove_file(disk, &layout.annotation(&id, MARKER))?;
            return Err(DeleteRefusal::Kept { id, server: layout.server.to_string(), target }.into());
        }
        if let Some(running) = running
            && !running.is_current(catalog)?
        {
            if !self.resumed {
                durable::remove_file(disk, &layout.annotation(&id, MARKER))?;
            }
            let path = layout.lock(&LockName::Backup);
            return Err(LockError::Busy { path, pid: None }.into());
        }
        observer.event(DeleteEvent::Begin(id));
        let removed = match catalog.backup_objects() {
            Some(objects) => objects.remove(&self.record, stop).map_err(DurableError::from)?,
            None => durable::remove_tree_unless(disk, &layout.backup_dir(&id), stop)?,
        };
        if !removed {
            return Err(DeleteError::Stopped { id });
        }
        observer.event(DeleteEvent::DataRemoved(id));
        if let Some(trim) = &self.trim {
            let names = trim.execute_marked(catalog, self.resumed, stop, observer)?;
            let Some(names) = names else { return Err(DeleteError::Stopped { id }) };
            observer.event(DeleteEvent::WalsRemoved(id, names));
        }
        if let Some(parent) = self.record.parent_backup_id {
            match catalog.load(&parent) {
                Ok(mut parent) if parent.children_backup_ids.contains(&id) => {
                    parent.children_backup_ids.retain(|child| *child != id);
                    catalog.save(&parent)?;
                }
                // A parent that is gone lists nobody.
                Ok(_) | Err(CatalogError::Unknown { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        remove_record(catalog, &id)?;
        observer.event(DeleteEvent::Deleted(id));
        Ok(())
    }
}

/// The record, then what only its presence gave a meaning to, the marker last.
fn remove_record(catalog: &Catalog, id: &BackupId) -> Result<(), DeleteError> {
    let (disk, layout) = (catalog.disk(), catalog.layout());
    durable::remove_file(disk, &layout.record(id))?;
    if catalog.backup_objects().is_none() {
        durable::remove_tree(disk, &layout.backup_dir(id))?;
    }
    for key in ["backup_manifest", "keep", MARKER] {
        durable::remove_file(disk, &layout.annotation(id, key))?;
    }
    Ok(())
}
