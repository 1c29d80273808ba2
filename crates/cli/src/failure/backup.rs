//! Backups that did not begin or did not end well.

use tapster_manager::{BackupError, BackupStepError};

use super::{Failure, Place, chain, connect};

impl Failure {
    /// A failed `backup`.
    pub(crate) fn backup(place: &Place<'_>, error: &BackupError) -> Self {
        match error {
            BackupError::Check { failed, .. } => Self::user(format!(
                "Impossible to start the backup. Check the log for more details, or run '{}'",
                place.command("check")
            ))
            .with_details(format!("failed checks: {}", failed.join(", "))),
            BackupError::Failed { id, action, source } => {
                let failure = Self::user(format!("Backup failed {action}."))
                    .with_details(format!("{}; backup {id} is recorded as FAILED", chain(source.as_ref())));
                with_hint(failure, source)
            }
            BackupError::Incremental(error) => {
                Self::user(format!("failed to start backup: {}", chain(error)))
            }
            BackupError::Step(step) => {
                let failure = Self::user(format!("failed to start backup: {}", chain(step)));
                with_hint(failure, step)
            }
            other => Self::user(chain(other)),
        }
    }
}

fn with_hint(failure: Failure, error: &BackupStepError) -> Failure {
    let hint = match error {
        BackupStepError::Connect(error) => connect::hint(error),
        BackupStepError::Identity { .. } => Some(
            "this is another cluster (a new initdb, or the wrong address): give it a server section of its own"
                .to_owned(),
        ),
        BackupStepError::TablespaceNotSeen { .. } => Some(
            "look whether it is mounted, and visible under the same path to the user that copies".to_owned(),
        ),
        BackupStepError::Checksums { .. } => Some(
            "the server's own pages are damaged; look at its log and keep the older backups".to_owned(),
        ),
        _ => None,
    };
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
