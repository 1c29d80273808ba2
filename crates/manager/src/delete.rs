//! Deleting a backup together with the WAL that only it needed.

use tapster_catalog::delete::{DeleteCause, DeleteError, DeleteEvent, DeleteOptions, DeletePlan};
use tapster_catalog::{BackupId, BackupRecord};

use crate::event::Event;
use crate::{Context, Server};

impl Server {
    /// What deleting `record` would remove; nothing is touched.
    ///
    /// # Errors
    /// When a keep request or the minimum redundancy forbids it, or the catalog cannot be read.
    pub fn plan_delete(&self, record: &BackupRecord) -> Result<DeletePlan, DeleteError> {
        self.plan(record, DeleteCause::Request)
    }

    /// The same for the retention policy: an older backup kept `standalone` holds on to its own WAL and to no other, or WAL
    /// would never go where one is kept, as every import is.
    pub(crate) fn plan_retention(&self, record: &BackupRecord) -> Result<DeletePlan, DeleteError> {
        self.plan(record, DeleteCause::Retention)
    }

    fn plan(&self, record: &BackupRecord, cause: DeleteCause) -> Result<DeletePlan, DeleteError> {
        let mut options = DeleteOptions::default();
        options.minimum_redundancy = self.config.minimum_redundancy;
        options.cause = cause;
        DeletePlan::new(&self.catalog, &record.id, options)
    }

    /// Carries out a plan. A deletion that was interrupted is finished by planning and executing again.
    ///
    /// # Errors
    /// When a lock is held, or something cannot be removed.
    pub fn delete(&self, plan: &DeletePlan, context: &Context<'_>) -> Result<(), DeleteError> {
        self.tidy();
        let mut begun: Option<(BackupId, time::OffsetDateTime)> = None;
        let server = self.name().to_owned();
        plan.execute(&self.catalog, &context.stop, &mut |event| match event {
            DeleteEvent::Begin(backup) => {
                begun = Some((backup, context.now()));
                context.tell(Event::Deleting { backup, server: server.clone() });
            }
            DeleteEvent::WalsRemoved(_, wals) if !wals.is_empty() => {
                context.tell(Event::DeletedWals { wals })
            }
            DeleteEvent::Deleted(backup) => {
                let started = begun.map_or_else(|| context.now(), |(_, at)| at);
                let elapsed = (context.now() - started).try_into().unwrap_or_default();
                context.tell(Event::Deleted { backup, started, elapsed });
            }
            _ => {}
        })
    }

    /// Takes away what killed runs left: temporary files, and the last of a backup whose deletion was all but done. They are
    /// in nobody's way, so that this must not stop anybody either.
    pub(crate) fn tidy(&self) {
        let tidied = || -> Result<(), DeleteError> {
            self.catalog.remove_stale()?;
            for id in DeletePlan::leftovers(&self.catalog)? {
                DeletePlan::finish(&self.catalog, &id)?;
            }
            Ok(())
        };
        if let Err(error) = tidied() {
            tracing::warn!(server = self.name(), "leftovers stay: {error}");
        }
    }

    /// Takes away what killed imports left, when nobody imports, backs up or deletes.
    pub(crate) fn tidy_imports(&self) {
        if let Err(error) = tapster_catalog::import::remove_abandoned(&self.catalog) {
            tracing::warn!(server = self.name(), "what an import left stays: {error}");
        }
    }
}
