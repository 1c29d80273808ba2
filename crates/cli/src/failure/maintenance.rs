//! The index of the WAL archive, and processes.

use tapster_catalog::XlogDbError;
use tapster_catalog::durable::DurableError;
use tapster_catalog::locks::LockError;

use tapster_copy::manifest::{GenerateError, VerifyError};
use tapster_manager::{
    ArchiveInUse, BackupVerifyError, CheckBackupError, CronError, CronTrouble, GenerateManifestError,
    KeepError, ListFilesError, ProcessError, RetentionError,
};

use super::{Failure, Place, chain};
use crate::output::verification;

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

    /// A backup that is not kept, or not released.
    pub(crate) fn keep(error: &KeepError) -> Self {
        match error {
            KeepError::NotDone { .. } | KeepError::Incremental { .. } => Self::user(error.to_string()),
            _ => Self::user(chain(error)),
        }
    }

    /// A list of files that was not made.
    pub(crate) fn list_files(place: &Place<'_>, error: &ListFilesError) -> Self {
        let failure = Self::user(chain(error));
        match error {
            ListFilesError::BadIndexLine { .. } => failure
                .with_hint(format!("Please run \"{}\" to solve this issue", place.command("rebuild-xlogdb"))),
            _ => failure,
        }
    }

    /// A report that was not written.
    pub(crate) fn report_file(error: &DurableError) -> Self {
        Self::user(format!("the report is not written: {}", chain(error)))
    }

    /// A round of `cron` that did not reach its end.
    pub(crate) fn cron(error: &CronError) -> Self {
        Self::user(chain(error))
    }

    /// What went wrong in a round of `cron` that went on.
    pub(crate) fn cron_trouble(place: &Place<'_>, trouble: &CronTrouble) -> Self {
        match trouble {
            CronTrouble::Retention(error) => Self::retention(place, error),
            _ => Self::user(chain(trouble)),
        }
    }

    /// A backup the retention policy is done with, and which is still there.
    pub(crate) fn retention(place: &Place<'_>, error: &RetentionError) -> Self {
        match error {
            RetentionError::Delete { backup, source, .. } => {
                let (reason, last) = Self::delete(place, backup.as_str(), source);
                match reason {
                    Some(reason) => reason.with_details(last.message),
                    None => last.with_details(source.to_string()),
                }
            }
            _ => Self::user(chain(error)),
        }
    }

    /// A backup whose completeness was not looked at.
    pub(crate) fn check_backup(error: &CheckBackupError) -> Self {
        Self::user(chain(error))
    }

    /// A backup that got no manifest.
    pub(crate) fn generate_manifest(error: &GenerateManifestError) -> Self {
        match error {
            GenerateManifestError::Generate(GenerateError::Exists { .. }) => {
                Self::unexpected(error.to_string())
            }
            _ => Self::user(chain(error)),
        }
    }

    /// A backup that was not verified.
    pub(crate) fn verify_backup(error: &BackupVerifyError) -> Self {
        match error {
            BackupVerifyError::Verify { data, source: VerifyError::Manifest(error) } => {
                let text = verification::manifest(error);
                Self::user(format!("verify backup failure on directory '{}'", data.display()))
                    .with_details(format!("pg_verifybackup: error: {text}"))
            }
            _ => Self::user(chain(error)),
        }
    }

    /// A lock directory that was not cleaned.
    pub(crate) fn lock_directory(error: &LockError) -> Self {
        Self::user(chain(error))
    }

    /// Processes that were not found or did not end.
    pub(crate) fn process(error: &ProcessError) -> Self {
        let failure = Self::user(chain(error));
        match error {
            ProcessError::Daemon { pid, .. } => failure.with_hint(format!(
                "set 'active = off' or 'streaming_archiver = off' for the server and let the daemon read it ('kill -HUP {pid}'), \
                 or stop the daemon"
            )),
            _ => failure,
        }
    }
}
