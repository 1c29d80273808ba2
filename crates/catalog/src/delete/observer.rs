//! Who watches a deletion, and may stop it.

use std::ops::ControlFlow;
use std::path::Path;

use super::DeleteEvent;
use crate::{BackupRecord, XlogEntry};

/// Watches a deletion; hook scripts are run by one.
///
/// All methods but [`DeleteObserver::event`] do nothing by default.
pub trait DeleteObserver {
    /// Hears of each step.
    fn event(&mut self, event: DeleteEvent);

    /// Before a backup is touched, under its lock. `Break` leaves it and those that follow alone, with the reason in the
    /// error.
    fn before(&mut self, record: &BackupRecord) -> ControlFlow<String> {
        let _ = record;
        ControlFlow::Continue(())
    }

    /// After nothing is left of a backup.
    fn after(&mut self, record: &BackupRecord) {
        let _ = record;
    }

    /// Whether [`DeleteObserver::before_wal`] and [`DeleteObserver::after_wal`] are wanted. They cost a pass over the index.
    fn wants_wals(&self) -> bool {
        false
    }

    /// Before an archived file goes. All files are asked about before the first one goes, without any lock on the archive;
    /// `Break` keeps them all, with the reason in the error.
    fn before_wal(&mut self, entry: &XlogEntry, path: &Path) -> ControlFlow<String> {
        let _ = (entry, path);
        ControlFlow::Continue(())
    }

    /// After an archived file has gone, or was not removed for this error.
    fn after_wal(&mut self, entry: &XlogEntry, path: &Path, error: Option<&str>) {
        let _ = (entry, path, error);
    }
}

/// Only hears.
pub(super) struct Listener<'a>(pub(super) &'a mut dyn FnMut(DeleteEvent));

impl DeleteObserver for Listener<'_> {
    fn event(&mut self, event: DeleteEvent) {
        (self.0)(event);
    }
}
