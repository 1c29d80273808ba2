//! Backups that were not proven.

use tapster_manager::verify_restore::VerifyRestoreError;

use super::{Failure, Place, chain};

impl Failure {
    /// A test restore that did not get to its end.
    pub(crate) fn verify_restore(place: &Place<'_>, error: &VerifyRestoreError) -> Self {
        let failure = Self::user(format!("The backup is not proven: {}", chain(error)));
        match error {
            VerifyRestoreError::Stopped => Self::interrupted(),
            VerifyRestoreError::Plan(error) => Self::plan(place, error, None),
            VerifyRestoreError::NotStarted { log, .. } | VerifyRestoreError::Timeout { log, .. } => {
                failure.with_details(format!("the end of the server's log:\n{}", log.join("\n")))
            }
            VerifyRestoreError::NoServer { .. } => {
                failure.with_hint("install it, or say where its programs are with --bindir")
            }
            VerifyRestoreError::NoProgram { .. } => {
                failure.with_hint("install it, or put the directory it is in into PATH")
            }
            VerifyRestoreError::User { .. } => failure.with_hint("name another user with --os-user"),
            VerifyRestoreError::Unreachable { .. } => {
                failure.with_hint("choose a directory that this user can get to with --scratch")
            }
            _ => failure,
        }
    }
}
