//! How far a backup can be recovered, and what keeps it from that.

use std::fmt;

use tapster_catalog::BackupId;
use walfile::Lsn;

use super::report::WalRange;

/// How far a backup can be recovered.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BackupReach {
    /// The backup.
    pub id: BackupId,
    /// Where its redo begins.
    pub begin: Lsn,
    /// Where it becomes consistent.
    pub consistent: Lsn,
    /// The valid range that holds both; `None` when its WAL is not complete.
    pub reach: Option<WalRange>,
    /// What else would keep its recovery from starting or from ending.
    pub problems: Vec<BackupProblem>,
}

impl BackupReach {
    /// Whether recovery of the backup can begin and become consistent.
    pub const fn is_recoverable(&self) -> bool {
        self.reach.is_some() && self.problems.is_empty()
    }
}

/// Something that keeps the recovery of a backup from starting, or from becoming consistent, whatever else is in the archive.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BackupProblem {
    /// Its label cannot be read.
    Label {
        /// Why not, in words.
        reason: String,
    },
    /// Its label says another beginning than its record.
    Begin {
        /// By the record.
        recorded: Lsn,
        /// By the label.
        label: Lsn,
    },
    /// `pg_control` of a backup from a standby cannot be read, or is not that of a standby.
    Control {
        /// What is wrong, in words.
        reason: String,
    },
    /// There is no checkpoint record where the label says, or it is not the one that begins where the backup does.
    Checkpoint {
        /// Where the backup begins.
        redo: Lsn,
        /// By the label, when there is one.
        expected: Option<Lsn>,
        /// The checkpoint that begins there.
        found: Option<Lsn>,
    },
    /// Replay would not begin with the record that PostgreSQL 17 and later write there (`XLOG_CHECKPOINT_REDO`).
    RedoRecord {
        /// Where the backup begins.
        at: Lsn,
    },
    /// The record that ends the backup (`XLOG_BACKUP_END`) does not stand before the end that was recorded. Recovery stops with
    /// "WAL ends before end of online backup" until it finds it.
    End {
        /// Where the backup begins, which the record names.
        begin: Lsn,
        /// Up to where it must have come.
        expected: Lsn,
        /// Where the first one ends that is in the archive.
        found: Option<Lsn>,
    },
}

impl fmt::Display for BackupProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label { reason } => write!(f, "its backup_label cannot be read: {reason}"),
            Self::Begin { recorded, label } => {
                write!(f, "its record says that it begins at {recorded}, its backup_label at {label}")
            }
            Self::Control { reason } => write!(f, "its pg_control: {reason}"),
            Self::Checkpoint { redo, expected: Some(expected), found: None } => {
                write!(
                    f,
                    "no checkpoint that begins at {redo} stands at {expected}, as its backup_label says"
                )
            }
            Self::Checkpoint { redo, expected: Some(expected), found: Some(found) } => {
                write!(
                    f,
                    "the checkpoint that begins at {redo} stands at {found}, by its backup_label at {expected}"
                )
            }
            Self::Checkpoint { redo, .. } => write!(f, "there is no checkpoint that begins at {redo}"),
            Self::RedoRecord { at } => write!(f, "the record at {at} is no redo point of a checkpoint"),
            Self::End { begin, expected, found: None } => {
                write!(f, "the record that ends a backup from {begin} is not in the WAL up to {expected}")
            }
            Self::End { begin, expected, found: Some(found) } => {
                write!(
                    f,
                    "the record that ends a backup from {begin} ends at {found}, after the recorded end {expected}"
                )
            }
        }
    }
}
