//! Object stores. The exit codes are those of Barman's cloud tools: 1 for what the store was asked and refused, 2 when it could
//! not be reached, 3 for wrong arguments, 4 for everything else.

use tapster_cloud::CloudError;
use tapster_manager::cloud::backup::CloudBackupError;
use tapster_manager::cloud::delete::CloudDeleteError;
use tapster_manager::cloud::restore::CloudRestoreError;
use tapster_manager::cloud::{
    CloudKeepError, CloudReceiveError, CloudSelectError, CloudWalError, ConfiguredWalError,
};
use tapster_protocol::receive::ReceiveError;

use super::{Failure, chain};
use crate::recovery;

/// The operation failed.
const OPERATION: u8 = 1;
/// The store was not reached.
const NETWORK: u8 = 2;
/// The command line.
const ARGUMENTS: u8 = 3;
/// Everything else.
const GENERAL: u8 = 4;

impl Failure {
    /// What ended `verb` (`backup list`), a command that does not test the connection first: 4 whatever it was, as in Barman.
    pub(crate) fn cloud(verb: &str, error: &CloudError) -> Self {
        let message = format!("Barman cloud {verb} exception: {}", chain(error));
        let failure = Self::user(message).with_exit_code(GENERAL);
        match hint(error) {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }

    /// What a test of the connection found; of `--test`, and of the commands that begin with one.
    pub(crate) fn cloud_connectivity(verb: &str, error: &CloudError) -> Self {
        let failure = match error {
            CloudError::NoBucket { bucket } => {
                Self::user(format!("Bucket {bucket} does not exist")).with_exit_code(OPERATION)
            }
            CloudError::Unreachable { .. } => {
                Self::user(format!("Can't connect to cloud provider: {}", chain(error)))
                    .with_exit_code(NETWORK)
            }
            other => return Self::cloud(verb, other),
        };
        match hint(error) {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }

    /// The store answered, but what was asked cannot be done.
    pub(crate) fn cloud_operation(message: impl Into<String>) -> Self {
        Self::user(message).with_exit_code(OPERATION)
    }

    /// Arguments that cannot be used.
    pub(crate) fn cloud_usage(message: impl Into<String>) -> Self {
        Self::user(message).with_exit_code(ARGUMENTS)
    }

    /// What ended a command of WAL otherwise.
    pub(crate) fn cloud_wal(verb: &str, why: impl std::fmt::Display) -> Self {
        Self::user(format!("Barman cloud {verb} exception: {why}")).with_exit_code(GENERAL)
    }

    /// WAL that was not archived.
    pub(crate) fn cloud_wal_archive(error: &CloudWalError) -> Self {
        let failure = match error {
            CloudWalError::Store(error) => return Self::cloud("WAL archiver", error),
            error => Self::cloud_wal("WAL archiver", chain(error)),
        };
        match wal_hint(error) {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }

    /// WAL that is not received.
    pub(crate) fn cloud_receive(verb: &str, error: &CloudReceiveError) -> Self {
        let failure = match error {
            CloudReceiveError::NeedsSlot | CloudReceiveError::NeedsPartial => {
                return Self::cloud_usage(error.to_string());
            }
            CloudReceiveError::Store(error) | CloudReceiveError::Wal(CloudWalError::Store(error)) => {
                return Self::cloud(verb, error);
            }
            error => Self::cloud_wal(verb, chain(error)),
        };
        match error {
            CloudReceiveError::Receive(ReceiveError::WalRemoved { .. }) => failure.with_hint(
                "the server has removed WAL that the archive does not have: --from-slot goes on behind it, with a --spool-dir that holds no \
                 WAL; take a base backup then",
            ),
            CloudReceiveError::SlotUnread { .. } => failure.with_hint(
                "give a database that the role may connect to as well, in the connection string or with --dbname, or begin without \
                 --from-slot",
            ),
            CloudReceiveError::Wal(error) => match wal_hint(error) {
                Some(hint) => failure.with_hint(hint),
                None => failure,
            },
            _ => failure,
        }
    }

    /// WAL that was not restored.
    pub(crate) fn cloud_wal_restore(error: &CloudWalError) -> Self {
        match error {
            CloudWalError::Missing { .. } => Self::cloud_operation(error.to_string()),
            CloudWalError::Name { .. } => Self::cloud_usage(error.to_string()),
            CloudWalError::Store(error) => Self::cloud("WAL restore", error),
            error => Self::cloud_wal("WAL restore", chain(error)),
        }
    }

    /// WAL that was not handed out.
    pub(crate) fn cloud_get_wal(verb: &str, error: &CloudWalError) -> Self {
        match error {
            CloudWalError::Missing { .. } => Self::cloud_operation(error.to_string()),
            CloudWalError::Store(error) => Self::cloud(verb, error),
            error => Self::cloud_wal(verb, chain(error)),
        }
    }

    /// What ended `get-wal`, whatever it was: to a `restore_command` only the code for a missing file, and for a name that is none, may
    /// be a small one.
    pub(crate) fn stopping_recovery(self) -> Self {
        match self.exit_code {
            OPERATION | ARGUMENTS => self,
            _ => self.with_exit_code(recovery::GET_WAL),
        }
    }

    /// WAL of a server whose `wals_directory` is an address: 1 whatever it is, as in Barman.
    pub(crate) fn configured_wal(error: &ConfiguredWalError) -> Self {
        let failure = Self::user(chain(error));
        let hint = match error {
            ConfiguredWalError::Restore(CloudWalError::Store(error)) => hint(error),
            ConfiguredWalError::Archive { source, .. } => match source.as_ref() {
                CloudWalError::Store(error) => hint(error),
                error => wal_hint(error),
            },
            _ => None,
        };
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }

    /// A text that names no backup.
    pub(crate) fn cloud_select(verb: &str, error: &CloudSelectError) -> Self {
        if let CloudSelectError::Store(error) = error {
            return Self::cloud(verb, error);
        }
        Self::user(format!("Barman cloud {verb} exception: {error}")).with_exit_code(GENERAL)
    }

    /// A policy that is none; a mistake in the arguments.
    pub(crate) fn cloud_policy(policy: &str, reason: &str) -> Self {
        Self::user(format!("Could not create retention policy {policy}: {reason}")).with_exit_code(ARGUMENTS)
    }

    /// A backup that was not deleted.
    pub(crate) fn cloud_delete(verb: &str, error: &CloudDeleteError) -> Self {
        match error {
            CloudDeleteError::Cloud(error) => Self::cloud(verb, error),
            CloudDeleteError::Backup { source, .. } | CloudDeleteError::Wal { source, .. } => {
                let failure = Self::cloud_operation(chain(error));
                let again = "what was removed is gone; the same command again finishes the work";
                failure.with_hint(hint(source).unwrap_or(again))
            }
            error => Self::cloud_operation(chain(error)),
        }
    }

    /// A backup that was not kept.
    pub(crate) fn cloud_keep(error: &CloudKeepError) -> Self {
        match error {
            CloudKeepError::Cloud(error) => Self::cloud("keep", error),
            CloudKeepError::NotDone { .. } => Self::cloud_operation(chain(error)),
            error => {
                Self::user(format!("Barman cloud keep exception: {}", chain(error))).with_exit_code(GENERAL)
            }
        }
    }

    /// What is not supported, or contradicts itself.
    pub(crate) fn cloud_refused(verb: &str, problem: &str) -> Self {
        Self::user(format!("Barman cloud {verb} exception: {problem}")).with_exit_code(GENERAL)
    }

    /// A place for a tablespace that is none.
    pub(crate) fn cloud_rule(rule: &str) -> Self {
        Self::user(format!("Invalid tablespace relocation rule '{rule}'"))
            .with_hint("The valid syntax for a relocation rule is NAME:LOCATION")
            .with_exit_code(ARGUMENTS)
    }

    /// A backup that was not taken.
    pub(crate) fn cloud_backup(error: &CloudBackupError) -> Self {
        let failure = match error {
            CloudBackupError::Connect(_)
            | CloudBackupError::ConnInfo(_)
            | CloudBackupError::Failed { .. } => Self::cloud_operation(error.to_string()),
            // In Barman the backup has begun then.
            CloudBackupError::Store(error) => {
                return Self::cloud("backup", error).with_exit_code(OPERATION);
            }
            error => Self::cloud_refused("backup", &chain(error)),
        };
        match error {
            CloudBackupError::Failed { source, .. } if matches!(**source, CloudBackupError::Connect(_)) => failure
                .with_hint(
                    "the backup comes over the replication protocol: the role needs the REPLICATION attribute, and \
                     pg_hba.conf a line for 'replication'",
                ),
            _ => failure,
        }
    }

    /// A restore that cannot be done, or was not.
    pub(crate) fn cloud_restore(error: &CloudRestoreError) -> Self {
        match error {
            CloudRestoreError::Store(error) => Self::cloud("restore", error),
            CloudRestoreError::NoCandidate
            | CloudRestoreError::NoSuchId { .. }
            | CloudRestoreError::NotEmpty { .. }
            | CloudRestoreError::Status { .. }
            | CloudRestoreError::MissingArchive { .. } => Self::cloud_operation(chain(error)),
            error => Self::cloud_refused("restore", &chain(error)),
        }
    }

    /// A backup that was not verified.
    pub(crate) fn cloud_verify(verb: &str, error: &CloudRestoreError) -> Self {
        match error {
            CloudRestoreError::Store(error) => Self::cloud(verb, error),
            error @ (CloudRestoreError::NoSuchId { .. }
            | CloudRestoreError::Status { .. }
            | CloudRestoreError::Snapshots { .. }) => Self::cloud_operation(chain(error)),
            error => Self::cloud_refused(verb, &chain(error)),
        }
    }
}

/// What the user can do about it.
fn hint(error: &CloudError) -> Option<&'static str> {
    Some(match error {
        CloudError::Unreachable { .. } => {
            "is the store up, and --endpoint-url right? Nothing was changed that a retry cannot finish"
        }
        CloudError::NoBucket { .. } => "check the name in the URL, and --endpoint-url",
        CloudError::Denied { .. } => {
            "check the credentials, the clock of this host, and the rights on the bucket"
        }
        _ => return None,
    })
}

/// What to do about WAL that is not archived.
const fn wal_hint(error: &CloudWalError) -> Option<&'static str> {
    match error {
        CloudWalError::OtherSystem { .. } => Some(
            "two clusters must not archive to one path; if this one is the other's successor, after pg_upgrade, archive once with \
             --take-over",
        ),
        CloudWalError::Different { .. } => Some(
            "does another cluster, or another server of this one after a failover, archive to the same path? Look at both files before \
             you remove one",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_test_of_the_connection_tells_its_failures_apart() {
        let unreachable = CloudError::Unreachable {
            store: "s3://b".to_owned(),
            action: "listing",
            key: String::new(),
            reason: "refused".to_owned(),
        };
        let no_bucket = CloudError::NoBucket { bucket: "b".to_owned() };
        let codes = |error| {
            (
                Failure::cloud("backup list", error).exit_code,
                Failure::cloud_connectivity("backup list", error).exit_code,
            )
        };
        assert_eq!(
            (codes(&unreachable), codes(&no_bucket), codes(&CloudError::Stopped)),
            ((4, 2), (4, 1), (4, 4))
        );
        assert_eq!(Failure::cloud_connectivity("backup list", &no_bucket).message, "Bucket b does not exist");
    }
}
