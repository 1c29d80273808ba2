//! Servers without backups, whose WAL would else be kept for ever.

mod traces;

pub use traces::BackupTrace;

use std::ops::ControlFlow;

use tapster_catalog::delete::{DeleteError, WalTrim};
use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{CatalogError, ServerLayout, XlogDbError};
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use walfile::{SegmentName, WalName};

use crate::event::Event;
use crate::{Context, Server};

/// How much older than it may get the oldest file has to be, so that the index is not written anew for each.
const SLACK: Duration = Duration::HOUR;

/// WAL that is older than it may get and is still there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WalTrimError {
    /// There may be backups that nobody sees. Nothing was touched.
    #[error(
        "no backup of it is found, but {trace}: mount what is missing, or set tapster_wal_only = true in its section if \
         there are none"
    )]
    MayHaveBackups {
        /// What says so.
        trace: BackupTrace,
    },
    /// The catalog cannot be read, or something not be removed.
    #[error(transparent)]
    Delete(#[from] DeleteError),
}

impl From<CatalogError> for WalTrimError {
    fn from(error: CatalogError) -> Self {
        Self::Delete(error.into())
    }
}

/// What the index says about age.
#[derive(Default)]
struct Ages {
    newest: Option<SegmentName>,
    any_older: bool,
    label: Option<WalName>,
}

impl Server {
    /// Removes archived WAL older than `tapster_wal_only_retention`, by the time it was written on the server, where there is no
    /// backup of any kind and nothing says that there was one. The newest segment stays whatever its age, and so do history files.
    ///
    /// # Errors
    /// [`WalTrimError::MayHaveBackups`], unless `tapster_wal_only` says that there are none; or when the catalog cannot be read or
    /// something not be removed. While a backup is taken, deleted or imported nothing is done.
    pub(crate) fn trim_without_backups(&self, context: &Context<'_>) -> Result<(), WalTrimError> {
        let Some(length) = self.config.wal_only_retention else { return Ok(()) };
        if self.has_backups()? || !self.layout().wals.is_dir() {
            return Ok(());
        }
        let oldest_allowed = context.now() - length;
        let ages = self.ages(oldest_allowed - SLACK, context).map_err(DeleteError::from)?;
        let Some(newest) = ages.newest.filter(|_| ages.any_older) else { return Ok(()) };
        let _lock = match Lock::try_acquire(&self.layout().lock(&LockName::Backup)) {
            Err(LockError::Busy { .. }) => return Ok(()),
            lock => lock.map_err(DeleteError::from)?,
        };
        // Somebody may have begun one until now.
        if self.has_backups()? {
            return Ok(());
        }
        if !self.config.wal_only {
            let label = ages.label.map(|name| BackupTrace::Label { name });
            if let Some(trace) = self.backup_trace()?.or(label) {
                return Err(WalTrimError::MayHaveBackups { trace });
            }
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
            // What a file system has at its top is no backup, but whatever cannot be read may be one.
            Ok(mut entries) => {
                entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == "lost+found"))
            }
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        Ok(!is_empty
            || !self.catalog.backups()?.is_empty()
            || !self.catalog.deletions_in_progress()?.is_empty())
    }

    /// The newest archived segment, whether a file was written before `time`, and the first label of a base backup.
    fn ages(&self, time: OffsetDateTime, context: &Context<'_>) -> Result<Ages, XlogDbError> {
        let limit = (time - OffsetDateTime::UNIX_EPOCH).as_seconds_f64();
        let mut ages = Ages::default();
        self.wal_index(context)?.scan(|brief| {
            let Some(segment) = brief.name.segment() else { return ControlFlow::Continue(()) };
            ages.newest = ages.newest.max(Some(segment));
            ages.any_older |= brief.mtime.seconds() < limit;
            if matches!(brief.name, WalName::BackupLabel { .. }) {
                ages.label = ages.label.or(Some(brief.name));
            }
            ControlFlow::Continue(())
        })?;
        Ok(ages)
    }
}
