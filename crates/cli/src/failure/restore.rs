//! Restores that cannot be done, or broke off.

use tapster_manager::restore::{
    PartialReach, RestorePointAt, RestoreWay, TargetPlace, TargetTimeError, TimelineTarget, TransactionEnd,
    WalPlanError,
};
use tapster_manager::{RestoreError, RestorePlanError};
use walfile::Lsn;

use super::{Failure, Place, chain};
use crate::format::timestamp::python_datetime;
use crate::output::restore::stop_text;

impl Failure {
    /// Whether the target may be reached in another way than the one that was refused.
    pub(crate) const fn may_have_another_way(error: &RestorePlanError) -> bool {
        matches!(
            error,
            RestorePlanError::TimeBeforeBackup { .. }
                | RestorePlanError::TimeBeyondArchive { .. }
                | RestorePlanError::Target { .. }
                | RestorePlanError::LsnBeyondArchive { .. }
                | RestorePlanError::Wal(_)
                | RestorePlanError::Gap { .. }
        )
    }

    /// A restore that was not begun, and how its target can be reached instead, if it can.
    pub(crate) fn plan(place: &Place<'_>, error: &RestorePlanError, way: Option<&RestoreWay>) -> Self {
        if matches!(error, RestorePlanError::Stopped) {
            return Self::interrupted();
        }
        let failure = Self::user(message(error));
        let hint = match error {
            _ if way.is_some() => way.map(way_hint).unwrap_or_default(),
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
            RestorePlanError::MountedBelow { .. } => {
                "unmount it first; nothing was removed from it".to_owned()
            }
            RestorePlanError::OtherCluster { .. } => {
                "look whether it is the right place; to give this one up, empty it".to_owned()
            }
            RestorePlanError::RunningThere { pid, command, .. } => running_hint(*pid, command),
            RestorePlanError::ServerRunning { .. } => "stop the server first".to_owned(),
            RestorePlanError::LsnBeyondArchive { last, .. } => {
                let earlier = last.map_or_else(
                    || "an earlier target".to_owned(),
                    |last| format!("--target-lsn {last}, the last position that can be restored to"),
                );
                format!("run '{}' and try again, or choose {earlier}", place.command("switch-wal --archive"))
            }
            RestorePlanError::Wal(error) => wal_hint(place, error),
            RestorePlanError::Program { program, .. } => {
                format!("install {program} there, or restore on this host and copy the result")
            }
            RestorePlanError::Gap { .. } => {
                "choose a target before the missing file, or a later backup".to_owned()
            }
            RestorePlanError::Target { place: found, .. } => target_hint(place, found),
            RestorePlanError::Damaged { last, .. } | RestorePlanError::Switch { last, .. } => {
                damage_hint(place, *last)
            }
            RestorePlanError::Foreign { .. } | RestorePlanError::History { .. } => {
                format!("look at the archive with '{}'", place.command("wal verify"))
            }
            _ => return failure,
        };
        failure.with_hint(hint)
    }

    /// A restore that broke off.
    pub(crate) fn restore(error: &RestoreError) -> Self {
        match error {
            RestoreError::Stopped { .. } => Self::interrupted()
                .with_details(error.to_string())
                .with_hint("continue with --delta-restore, or empty it"),
            RestoreError::Busy { .. }
            | RestoreError::Deleted { .. }
            | RestoreError::Catalog(_)
            | RestoreError::Running { .. }
            | RestoreError::ServerRunning { .. } => {
                Self::user(format!("Restore failed: {}", chain(error))).with_hint("nothing was written")
            }
            RestoreError::RunningThere { pid, command, .. } => {
                Self::user(format!("Restore failed: {}", chain(error))).with_hint(running_hint(*pid, command))
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

fn running_hint(pid: u32, command: &str) -> String {
    format!(
        "wait until it has ended; where its connection is dead and nothing comes any more, end it: {command} kill {pid}"
    )
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

/// The same target, reached in another way.
fn way_hint(way: &RestoreWay) -> String {
    let timeline = match way.timeline {
        Some(TimelineTarget::Number(number)) => format!(" --target-tli {number}"),
        _ => String::new(),
    };
    let partial = if way.partial_wal { " --partial-wal" } else { "" };
    let options = match format!("{timeline}{partial}").trim() {
        "" => String::new(),
        options => format!(" with {options}"),
    };
    let stop =
        way.stop.map(|stop| format!(", where recovery stops {}", stop_text(&stop))).unwrap_or_default();
    format!("the target can be reached from backup {}{options}{stop}", way.backup)
}

fn target_hint(place: &Place<'_>, found: &TargetPlace) -> String {
    match found {
        TargetPlace::Nowhere { similar, last, .. } => {
            let mut parts: Vec<String> = Vec::new();
            if !similar.is_empty() {
                let names: Vec<String> = similar.iter().map(restore_point).collect();
                parts
                    .push(format!("the restore points with the most similar names are {}", names.join(", ")));
            }
            if let Some(last) = last {
                let xid = last.xid.map(|xid| format!(" of transaction {xid}")).unwrap_or_default();
                let what = if last.committed { "commit" } else { "rollback" };
                parts.push(format!(
                    "the last that is archived is the {what}{xid} at {} on timeline {}, of {}",
                    last.lsn,
                    last.timeline,
                    python_datetime(last.time)
                ));
            }
            parts.push(format!(
                "if it is newer than the archive, run '{}' and try again",
                place.command("switch-wal --archive")
            ));
            parts.join("; ")
        }
        TargetPlace::BeforeBackup { .. } => format!(
            "no backup that is there was complete before it; choose a later target ('{}' shows where backups end)",
            place.command("list-backups")
        ),
        TargetPlace::Partial { .. } => {
            format!("run '{}' and try again, or use --partial-wal", place.command("switch-wal --archive"))
        }
        TargetPlace::Subtransaction { of } => {
            let top = of.xid.unwrap_or_default();
            format!("choose the transaction it belongs to, {top}; a part of a transaction cannot be restored")
        }
        TargetPlace::Prepared { .. } => {
            "choose --target-lsn, or another target before or after it".to_owned()
        }
        _ => "choose another --target-tli, or another backup".to_owned(),
    }
}

fn restore_point(point: &RestorePointAt) -> String {
    let time = point.time.map(|time| format!(", of {}", python_datetime(time))).unwrap_or_default();
    format!("'{}' ({} on timeline {}{time})", point.name, point.lsn, point.timeline)
}

fn damage_hint(place: &Place<'_>, last: Option<Lsn>) -> String {
    let verify = place.command("wal verify");
    match last {
        Some(last) => format!(
            "the last position before it that can be restored to is {last} (--target-lsn); '{verify}' shows all that is wrong"
        ),
        None => format!("choose a backup after it; '{verify}' shows all that is wrong"),
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
        WalPlanError::Inconsistent { .. } => {
            format!("the backup is not usable before this file is archived; see '{}'", place.command("check"))
        }
        WalPlanError::BeforeBackupEnd { .. } => {
            format!("choose an older backup; '{}' shows them", place.command("list-backups"))
        }
        _ => "choose another --target-tli".to_owned(),
    }
}
