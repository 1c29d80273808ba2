//! Deleting a backup together with the WAL that only it needed.

use std::ops::ControlFlow;
use std::path::Path;

use tapster_catalog::delete::{
    DeleteCause, DeleteError, DeleteEvent, DeleteObserver, DeleteOptions, DeletePlan, WalTrim,
};
use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{BackupId, BackupRecord, BackupType, XlogEntry, next_of};
use time::OffsetDateTime;
use walfile::WalName;

use crate::config::HookEvent;
use crate::event::Event;
use crate::hooks::wal_variables;
use crate::{Context, HookAbort, Server};

impl Server {
    /// What deleting `record` would remove; nothing is touched.
    ///
    /// # Errors
    /// When a keep request or the minimum redundancy forbids it, when the latter may stand in a part of the configuration that
    /// cannot be read, or when the catalog cannot be read.
    pub fn plan_delete(&self, record: &BackupRecord) -> Result<DeletePlan, DeleteError> {
        // What is no whole backup is no redundancy.
        if self.config.incomplete && record.status.is_copied() {
            let why = "a part of the configuration cannot be read, which may ask for a minimum redundancy";
            return Err(DeleteError::Aborted { why: why.to_owned() });
        }
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
        plan.execute_watched(&self.catalog, &context.stop, &mut Watcher::new(self, context))
    }

    /// Carries out a plan of the retention policy, unless, or until, the policy turns out not to be done with everything in it: each
    /// step may take hours, and beside a backup things go on.
    pub(crate) fn delete_obsolete(
        &self,
        plan: &DeletePlan,
        context: &Context<'_>,
    ) -> Result<(), DeleteError> {
        self.tidy();
        let mut watcher = Watcher::new(self, context);
        watcher.judged = Some(plan);
        plan.execute_watched(&self.catalog, &context.stop, &mut watcher)
    }

    /// Removes archived WAL that no backup can need, with the scripts around it. Returns what was listed.
    pub(crate) fn trim_wal(
        &self,
        trim: &WalTrim,
        context: &Context<'_>,
    ) -> Result<Vec<WalName>, DeleteError> {
        trim.execute_watched(&self.catalog, &context.stop, &mut Watcher::new(self, context))
    }

    /// Files that the deleted backup shared with the next one by hard links are now the next one's alone; its record says how
    /// much it takes itself.
    fn remeasure_next(&self, deleted: &BackupId) -> Result<(), Box<dyn std::error::Error>> {
        let records = self.catalog.records()?;
        let Some(next) = next_of(&records, deleted).filter(|next| next.backup_type() == BackupType::Rsync)
        else {
            return Ok(());
        };
        let _lock = match Lock::try_acquire(&self.layout().lock(&LockName::BackupId(next.id))) {
            Ok(lock) => lock,
            // Whoever has it may be writing the record.
            Err(LockError::Busy { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut record = self.catalog.load(&next.id)?;
        let measured = tapster_copy::tree::sizes(&self.layout().backup_dir(&next.id))?;
        if (record.size, record.deduplicated_size) != (Some(measured.total), Some(measured.deduplicated)) {
            record.size = Some(measured.total);
            record.deduplicated_size = Some(measured.deduplicated);
            self.catalog.save(&record)?;
        }
        Ok(())
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

/// Tells what happens, and runs the scripts.
struct Watcher<'a, 'c> {
    server: &'a Server,
    context: &'a Context<'c>,
    scripts: bool,
    wal_scripts: bool,
    begun: Option<OffsetDateTime>,
    /// What the retention policy is to be asked about again before each step.
    judged: Option<&'a DeletePlan>,
}

impl<'a, 'c> Watcher<'a, 'c> {
    fn new(server: &'a Server, context: &'a Context<'c>) -> Self {
        let scripts = server.has_hooks(HookEvent::Delete);
        let wal_scripts = server.has_hooks(HookEvent::WalDelete);
        Self { server, context, scripts, wal_scripts, begun: None, judged: None }
    }
}

impl DeleteObserver for Watcher<'_, '_> {
    fn event(&mut self, event: DeleteEvent) {
        match event {
            DeleteEvent::Begin(backup) => {
                self.begun = Some(self.context.now());
                self.context.tell(Event::Deleting { backup, server: self.server.name().to_owned() });
            }
            DeleteEvent::WalsRemoved(_, wals) => self.context.tell(Event::DeletedWals { wals }),
            DeleteEvent::Deleted(backup) => {
                let started = self.begun.unwrap_or_else(|| self.context.now());
                let elapsed = (self.context.now() - started).try_into().unwrap_or_default();
                self.context.tell(Event::Deleted { backup, started, elapsed });
            }
            _ => {}
        }
    }

    fn before(&mut self, record: &BackupRecord) -> ControlFlow<String> {
        if let Some(plan) = self.judged {
            match self.server.is_done_with(plan, self.context) {
                Ok(true) => {}
                Ok(false) => {
                    return ControlFlow::Break(
                        "it is not obsolete any more, or what builds on it is not".to_owned(),
                    );
                }
                Err(error) => return ControlFlow::Break(error.to_string()),
            }
        }
        if !self.scripts {
            return ControlFlow::Continue(());
        }
        let variables = self.server.backup_variables(record);
        continue_unless(self.server.hooks_before(HookEvent::Delete, &variables, self.context))
    }

    fn after(&mut self, record: &BackupRecord) {
        if let Err(error) = self.server.remeasure_next(&record.id) {
            let server = self.server.name();
            tracing::warn!(
                server,
                "the size of the backup after {} is not known any more: {error}",
                record.id
            );
        }
        if self.scripts {
            self.server.hooks_after(HookEvent::Delete, &self.server.backup_variables(record), self.context);
        }
    }

    fn wants_wals(&self) -> bool {
        self.wal_scripts
    }

    fn before_wal(&mut self, entry: &XlogEntry, path: &Path) -> ControlFlow<String> {
        let variables = wal_variables(entry, path, "");
        continue_unless(self.server.hooks_before(HookEvent::WalDelete, &variables, self.context))
    }

    fn after_wal(&mut self, entry: &XlogEntry, path: &Path, error: Option<&str>) {
        let variables = wal_variables(entry, path, error.unwrap_or_default());
        self.server.hooks_after(HookEvent::WalDelete, &variables, self.context);
    }
}

fn continue_unless(hooks: Result<(), HookAbort>) -> ControlFlow<String> {
    match hooks {
        Ok(()) => ControlFlow::Continue(()),
        Err(abort) => ControlFlow::Break(abort.to_string()),
    }
}
