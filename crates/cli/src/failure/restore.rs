//! Restores that cannot be done, or broke off.

use tapster_manager::restore::{PartialReach, TargetTimeError, TransactionEnd, WalPlanError};
use tapster_manager::{RestoreError, RestorePlanError};
use walfile::Lsn;

use super::{Failure, Place, chain};
use crate::format::timestamp::python_datetime;

impl Failure {
    /// A restore that was not begun.
    pub(crate) fn plan(place: &Place<'_>, error: &RestorePlanError) -> Self {
        if matches!(error, RestorePlanError::Stopped) {
            return Self::interrupted();
        }
        let failure = Self::user(message(error));
        let hint = match error {
            RestorePlanError::Tablespace { known, .. } if known.is_empty() => {
                "the backup has no tablespaces".to_owned()
            }
            RestorePlanError::Tablespace { known, .. } => {
                format!("Please use any of the following tablespaces: {}", known.join(", "))
            }
            RestorePlanError::TimeBeforeBackup { .. } => format!(
                "choose an older backup ('{}' shows them), or let 'auto' choose",
                place.command("list-backups")
            ),
            RestorePlanError::TimeBeyondArchive { last, reach, partial, .. } => {
                beyond_hint(place, last.as_ref(), *reach, partial.as_ref())
            }
            RestorePlanError::Unfinished { .. } => {
                "continue it with --delta-restore, which keeps what is right already, or empty the directory"
                    .to_owned()
            }
            RestorePlanError::NotACluster { .. } | RestorePlanError::ForeignTablespace { .. } => {
                "choose another place, or empty this one; it was left as it is".to_owned()
            }
            RestorePlanError::ServerRunning { .. } => "stop the server first".to_owned(),
            RestorePlanError::Wal(error) => wal_hint(place, error),
            RestorePlanError::Program { program, .. } => {
                format!("install {program} there, or restore on this host and copy the result")
            }
            RestorePlanError::Gap { .. } => {
                "choose a target before the missing file, or a later backup".to_owned()
            }
            _ => return failure,
        };
        failure.with_hint(hint)
    }

    /// A restore that broke off.
    pub(crate) fn restore(error: &RestoreError) -> Self {
        match error {
            RestoreError::Stopped { .. } => Self::interrupted().with_details(error.to_string()),
            RestoreError::Busy { .. }
            | RestoreError::Deleted { .. }
            | RestoreError::Catalog(_)
            | RestoreError::Running { .. }
            | RestoreError::ServerRunning { .. } => {
                Self::user(format!("Restore failed: {}", chain(error))).with_hint("nothing was written")
            }
            other => Self::user(format!("Restore failed: {}", chain(other)))
                .with_hint("the destination has no pg_control and cannot be started; continue with --delta-restore, or empty it and try again"),
        }
    }

    /// A `--target-time` that is no time.
    pub(crate) fn target_time(text: &str, error: &TargetTimeError) -> Self {
        Self::user(format!("Unable to parse the target time parameter '{text}': {error}"))
    }
}

/// Times as Barman prints them; the rest is the error's own text.
fn message(error: &RestorePlanError) -> String {
    match error {
        RestorePlanError::TimeBeforeBackup { target, end } => format!(
            "The requested target time {} is before the backup end time {}",
            python_datetime(*target),
            python_datetime(*end)
        ),
        other => chain(other),
    }
}

/// The nearest that can be reached, and what would add to it.
fn beyond_hint(
    place: &Place<'_>,
    last: Option<&TransactionEnd>,
    reach: Lsn,
    partial: Option<&PartialReach>,
) -> String {
    let more = match partial {
        Some(PartialReach { segment, enough: true, .. }) => {
            format!("what has been received of {segment} goes far enough: use it with --partial-wal")
        }
        _ => format!("run '{}' and try again", place.command("switch-wal --archive")),
    };
    let nearest = match last {
        Some(last) => {
            let time = python_datetime(last.time);
            format!("choose a time before {time}, or --target-lsn {}, which is just after it", last.lsn)
        }
        None => "choose --target-immediate for the end of the backup".to_owned(),
    };
    format!("{more}; else {nearest}; without a target recovery goes on to the end of the archive at {reach}")
}

fn wal_hint(place: &Place<'_>, error: &WalPlanError) -> String {
    match error {
        WalPlanError::Unreachable { .. } => format!(
            "run '{}' and try again, use what has been received of an incomplete segment with --partial-wal, or choose an \
             earlier target",
            place.command("switch-wal --archive")
        ),
        WalPlanError::Inconsistent { .. } => {
            format!("the backup is not usable before this file is archived; see '{}'", place.command("check"))
        }
        WalPlanError::BeforeBackupEnd { .. } => {
            format!("choose an older backup; '{}' shows them", place.command("list-backups"))
        }
        _ => "choose another --target-tli".to_owned(),
    }
}
