//! The catalog and the archive: archiving, handing out, listing, deleting.

use tapster_catalog::CatalogError;
use tapster_catalog::delete::DeleteError;
use tapster_catalog::incoming::AcceptError;
use tapster_catalog::locks::LockError;
use tapster_catalog::wal_store::WalStoreError;
use tapster_manager::list_backups::ListBackupsError;
use tapster_manager::put_wal::PutWalError;
use tapster_manager::wal_blocks::WalBlocksError;
use tapster_manager::{
    ArchiveError, GetWalError, IndexWalError, WalErrorsError, WalFindError, WalVerifyError,
};

use super::{Failure, Place, chain};

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Self::user(chain(&error))
    }
}

impl From<ListBackupsError> for Failure {
    fn from(error: ListBackupsError) -> Self {
        Self::user(chain(&error))
    }
}

impl From<WalStoreError> for Failure {
    fn from(error: WalStoreError) -> Self {
        Self::user(chain(&error))
    }
}

impl From<WalErrorsError> for Failure {
    fn from(error: WalErrorsError) -> Self {
        Self::user(chain(&error))
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        let failure = Self::user(chain(&error));
        #[cfg(feature = "cloud")]
        if error.is_of_other_system() {
            return failure.with_hint(
                "two clusters must not archive to one path; if this one is the other's successor, after pg_upgrade, archive the file \
                 once with 'tapster cloud wal-archive --take-over URL SERVER FILE', and go on here",
            );
        }
        failure
    }
}

impl From<WalFindError> for Failure {
    fn from(error: WalFindError) -> Self {
        match error {
            WalFindError::Stopped => Self::interrupted(),
            error => Self::user(chain(&error)),
        }
    }
}

impl From<IndexWalError> for Failure {
    fn from(error: IndexWalError) -> Self {
        match error {
            IndexWalError::Stopped => Self::interrupted(),
            error => Self::user(chain(&error)),
        }
    }
}

impl From<WalVerifyError> for Failure {
    fn from(error: WalVerifyError) -> Self {
        match error {
            WalVerifyError::Stopped => Self::interrupted(),
            error => Self::user(chain(&error)),
        }
    }
}

impl From<WalBlocksError> for Failure {
    fn from(error: WalBlocksError) -> Self {
        match error {
            WalBlocksError::Stopped => Self::interrupted(),
            error => Self::user(chain(&error)),
        }
    }
}

const NO_ARCHIVE: &str = "is its volume mounted? The directories of a new server are made by 'check'";

impl Failure {
    /// A WAL file that was not handed out. Whoever reads stdout and goes away has a reason of his own, which is
    /// still not success.
    pub(crate) fn get_wal(error: &GetWalError) -> Self {
        let failure = Self::user(chain(error));
        match error {
            GetWalError::Store(WalStoreError::NoArchive { .. }) => failure.with_hint(NO_ARCHIVE),
            _ => failure,
        }
    }

    /// A WAL file that was not taken.
    pub(crate) fn put_wal(error: &PutWalError) -> Self {
        let failure = Self::user(chain(error));
        match error {
            PutWalError::Accept(AcceptError::NoArchive { .. }) => failure.with_hint(NO_ARCHIVE),
            _ => failure,
        }
    }

    /// A backup that was not deleted; the reason first, then the line scripts look for, without Barman's dump of
    /// the record.
    pub(crate) fn delete(place: &Place<'_>, backup: &str, error: &DeleteError) -> (Option<Self>, Self) {
        let last = Self::user(format!("Cannot delete backup ({} {backup})", place.server));
        let reason = match error {
            // Shown as a warning.
            DeleteError::Refused(_) => None,
            DeleteError::Lock(LockError::Busy { .. }) => Some(Self::user(format!(
                "Another process in running on server {}. Impossible to delete the backup.",
                place.server
            ))),
            DeleteError::InUse { id, .. } => Some(Self::user(format!(
                "Another process is holding the lock for backup {id} of server {}.",
                place.server
            ))),
            DeleteError::Stopped { .. } => {
                Some(Self::interrupted().with_hint("run the command again to finish the deletion"))
            }
            other => Some(Self::user(chain(other))),
        };
        (reason, last)
    }
}
