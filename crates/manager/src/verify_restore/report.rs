//! What a test restore found.

use std::path::PathBuf;
use std::time::Duration;

use tapster_catalog::BackupId;
use time::OffsetDateTime;
use walfile::{Lsn, Timeline};

use super::CheckOutcome;

/// A database of the restored cluster that could be connected to.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RestoredDatabase {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A backup that was restored, started and asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifyRestoreReport {
    /// The backup.
    pub backup: BackupId,
    /// What `postgres --version` says.
    pub postgres: String,
    /// The timeline that was followed.
    pub timeline: Timeline,
    /// Where the cluster became consistent.
    pub consistent: Option<Lsn>,
    /// Where the last record that was replayed begins; `None` when there was none to replay.
    pub reached: Option<Lsn>,
    /// When the last transaction that was replayed ended, as the server says it.
    pub last_transaction: Option<String>,
    /// What recovery stopped at, in the server's words; `None` when it came to the end of the WAL.
    pub stopped: Option<String>,
    /// What is missing of what recovery was to replay; `None` when it came as far as the plan said.
    pub shortfall: Option<String>,
    /// The databases that could be connected to.
    pub databases: Vec<RestoredDatabase>,
    /// What `pg_amcheck` found.
    pub amcheck: Option<CheckOutcome>,
    /// What the SQL file said.
    pub sql: Option<CheckOutcome>,
    /// What the plan warned of.
    pub warnings: Vec<String>,
    /// When it began.
    pub started: OffsetDateTime,
    /// How long the restore took.
    pub restore_elapsed: Duration,
    /// How long the server took to start and to replay the WAL.
    pub recovery_elapsed: Duration,
    /// How long all of it took.
    pub elapsed: Duration,
    /// Where it lies, when it was to be kept.
    pub kept: Option<PathBuf>,
}

impl VerifyRestoreReport {
    /// Whether everything that was looked at is right.
    pub fn is_proven(&self) -> bool {
        self.shortfall.is_none()
            && [&self.amcheck, &self.sql].into_iter().flatten().all(|outcome| outcome.passed)
    }
}
