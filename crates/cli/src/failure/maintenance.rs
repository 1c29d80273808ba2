//! The index of the WAL archive, and processes.

use tapster_catalog::XlogDbError;
use tapster_manager::{ArchiveInUse, ProcessError};

use super::{Failure, Place, chain};

impl Failure {
    /// An index that cannot be read or written.
    pub(crate) fn index(error: &XlogDbError) -> Self {
        Self::user(chain(error))
    }

    /// An archive a new server must not use.
    pub(crate) fn archive_in_use(place: &Place<'_>, error: &ArchiveInUse) -> Self {
        match error {
            ArchiveInUse::Index(error) => Self::index(error),
            ArchiveInUse::Durable(error) => Self::user(chain(error)),
            _ => Self::user(format!("WAL archive check failed for server {}: {error}", place.server)),
        }
    }

    /// Processes that were not found or did not end.
    pub(crate) fn process(error: &ProcessError) -> Self {
        Self::user(chain(error))
    }
}
