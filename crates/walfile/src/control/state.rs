//! Enumerations in `pg_control`.

use std::fmt;

/// What the cluster was doing when `pg_control` was written (`DBState`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ClusterState {
    /// `initdb` is not through.
    StartingUp,
    /// Shut down cleanly.
    ShutDown,
    /// Shut down cleanly while it was in recovery.
    ShutDownInRecovery,
    /// On its way down; a crash happened if no server runs.
    ShuttingDown,
    /// Recovering from a crash.
    InCrashRecovery,
    /// A standby, or recovering from an archive.
    InArchiveRecovery,
    /// Running; what a crash and a file copy of a running cluster leave.
    InProduction,
}

impl ClusterState {
    pub(super) fn from_value(value: u32) -> Option<Self> {
        Some(match value {
            0 => Self::StartingUp,
            1 => Self::ShutDown,
            2 => Self::ShutDownInRecovery,
            3 => Self::ShuttingDown,
            4 => Self::InCrashRecovery,
            5 => Self::InArchiveRecovery,
            6 => Self::InProduction,
            _ => return None,
        })
    }
}

/// In the words of `pg_controldata`.
impl fmt::Display for ClusterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StartingUp => "starting up",
            Self::ShutDown => "shut down",
            Self::ShutDownInRecovery => "shut down in recovery",
            Self::ShuttingDown => "shutting down",
            Self::InCrashRecovery => "in crash recovery",
            Self::InArchiveRecovery => "in archive recovery",
            Self::InProduction => "in production",
        })
    }
}

/// The setting `wal_level`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum WalLevel {
    /// Too little for a backup to be recovered.
    Minimal,
    /// Enough for archiving and replication.
    Replica,
    /// And for logical decoding.
    Logical,
}

impl WalLevel {
    pub(crate) fn from_value(value: u32) -> Option<Self> {
        Some(match value {
            0 => Self::Minimal,
            1 => Self::Replica,
            2 => Self::Logical,
            _ => return None,
        })
    }
}

/// The value of the setting.
impl fmt::Display for WalLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minimal => "minimal",
            Self::Replica => "replica",
            Self::Logical => "logical",
        })
    }
}
