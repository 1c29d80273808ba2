//! Copies between a primary node and its passive nodes.

use tapster_manager::{SyncError, SyncInfoError};

use super::{Failure, chain};

impl Failure {
    /// Something that was not copied from the primary node.
    pub(crate) fn sync(error: &SyncError) -> Self {
        match error {
            SyncError::Stopped => Self::interrupted(),
            _ => Self::user(chain(error)),
        }
    }

    /// A passive node that gets no answer.
    pub(crate) fn sync_info(error: &SyncInfoError) -> Self {
        match error {
            // Whoever reads has gone.
            SyncInfoError::Write(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                Self::reported(1)
            }
            _ => Self::user(chain(error)),
        }
    }
}
