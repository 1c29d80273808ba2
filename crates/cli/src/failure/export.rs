//! Exporting and importing backups.

use tapster_manager::{ExportError, ImportBackupError};

use super::{Failure, chain};

impl Failure {
    /// A backup that was not exported.
    pub(crate) fn export_backup(error: &ExportError) -> Self {
        match error {
            ExportError::Stopped => Self::interrupted(),
            ExportError::NotListed { .. } => {
                Self::user(chain(error)).with_hint("'rebuild-xlogdb' lists again what is in the archive")
            }
            _ => Self::user(chain(error)),
        }
    }

    /// A backup that was not imported.
    pub(crate) fn import_backup(error: &ImportBackupError) -> Self {
        use tapster_catalog::import::ImportError;
        match error {
            ImportBackupError::Stopped | ImportBackupError::Catalog(ImportError::Stopped) => {
                Self::interrupted()
            }
            _ => Self::user(chain(error)),
        }
    }
}
