//! Servers without backups, whose WAL would else be kept for ever.

use std::ops::ControlFlow;

use tapster_catalog::delete::{DeleteError, WalTrim};
use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{CatalogError, ServerLayout, XlogDbError};
use time::{Duration, OffsetDateTime};
use walfile::SegmentName;

use crate::event::Event;
use crate::{Context, Server};

/// How much older than it may get the oldest file has to be, so that the index is not written anew for each.
const SLACK: Duration = Duration::HOUR;

impl Server {
    /// Removes archived WAL older than `tapster_wal_only_retention`, by the time it was written on the server, where there is no
    /// backup of any kind. The newest segment stays whatever its age, and so do history files.
    ///
    /// # Errors
    /// When the catalog cannot be read or something not be removed. While a backup is taken, deleted or imported nothing is done.
    pub(crate) fn trim_without_backups(&self, context: &Context<'_>) -> Result<(), DeleteError> {
        let Some(length) = self.config.wal_only_retention else { return Ok(()) };
        if self.has_backups()? || !self.layout().wals.is_dir() {
            return Ok(());
        }
        let oldest_allowed = context.now() - length;
        let Some(newest) = self.newest_if_older(oldest_allowed - SLACK, context)? else { return Ok(()) };
        let _lock = match Lock::try_acquire(&self.layout().lock(&LockName::Backup)) {
            Err(LockError::Busy { .. }) => return Ok(()),
            lock => lock?,
        };
        // Somebody may have begun one until now.
        if self.has_backups()? {
            return Ok(());
        }
        let trim = WalTrim::before(newest).written_before(oldest_allowed);
        let wals = self.trim_wal(&trim, context)?;
        if !wals.is_empty() {
            context.tell(Event::OldWalRemoved { server: self.name().to_owned(), wals });
        }
        Ok(())
    }

    /// Whether there is a backup, a part of one, or a record of one, readable or not.
    fn has_backups(&self) -> Result<bool, CatalogError> {
        let layout: &ServerLayout = self.layout();
        let is_empty = match std::fs::read_dir(&layout.base) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        Ok(!is_empty
            || !self.catalog.backups()?.is_empty()
            || !self.catalog.deletions_in_progress()?.is_empty())
    }

    /// The newest archived segment, when another file was written before `time`.
    fn newest_if_older(
        &self,
        time: OffsetDateTime,
        context: &Context<'_>,
    ) -> Result<Option<SegmentName>, XlogDbError> {
        let limit = (time - OffsetDateTime::UNIX_EPOCH).as_seconds_f64();
        let (mut newest, mut any) = (None, false);
        self.wal_index(context)?.scan(|brief| {
            let Some(segment) = brief.name.segment() else { return ControlFlow::Continue(()) };
            newest = newest.max(Some(segment));
            any |= brief.mtime.seconds() < limit;
            ControlFlow::Continue(())
        })?;
        Ok(newest.filter(|_| any))
    }
}
