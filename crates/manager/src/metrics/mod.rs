//! Figures about a server for a monitoring system, gathered cheaply, and their text for Prometheus.
//!
//! ```no_run
//! # use tapster_manager::{config::{Config, ConfigSources}, Context, Server, Silent};
//! use tapster_manager::metrics::{self, MetricsCollector};
//! # let config = Config::load(&ConfigSources::file("/etc/tapster.conf"))?;
//! # let server = Server::open(&config, "main", tapster_protocol::Environment::from_process())?;
//! let context = Context::new(&Silent);
//! let sample = MetricsCollector::default().collect(&server, &context);
//! print!("{}", metrics::render(&[sample], context.now()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
mod collect;
mod http;
mod postgres;
mod render;
mod text;

use std::collections::BTreeMap;

use tapster_catalog::BackupStatus;
use time::OffsetDateTime;
use walfile::{Lsn, Timeline};

use crate::CheckReport;
use crate::daemon::TaskHealth;

pub use collect::MetricsCollector;
pub use http::MetricsListener;
pub use render::render;

/// What is known of a server at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerMetrics {
    /// Server name.
    pub server: String,
    /// When it was gathered.
    pub collected: OffsetDateTime,
    /// Whether it is a copy of another catalog: then PostgreSQL is not asked.
    pub passive: bool,
    /// What PostgreSQL says; `None` when it cannot be reached.
    pub postgres: Option<PostgresMetrics>,
    /// The WAL in the archive.
    pub archive: ArchiveMetrics,
    /// Files that wait in `streaming/`; one is always there while a receiver runs.
    pub streaming_queue: Option<u64>,
    /// Files that wait in `incoming/`.
    pub incoming_queue: Option<u64>,
    /// Files in `errors/`.
    pub errors: Option<u64>,
    /// Backups by status; a status without backups is there as zero.
    pub backups: BTreeMap<BackupStatus, u64>,
    /// Backups whose record cannot be read.
    pub unreadable_backups: u64,
    /// The newest backup whose files are complete.
    pub last_backup: Option<LastBackup>,
    /// What could not be gathered, and why; the figures it would have given are missing.
    pub problems: Vec<(MetricsPart, String)>,
    /// The tasks of the daemon, when it gathered.
    pub tasks: Vec<TaskHealth>,
    /// The last check by the daemon.
    pub check: Option<CheckReport>,
}

/// A source of figures.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum MetricsPart {
    Postgres,
    Archive,
    Queues,
    Backups,
}

impl MetricsPart {
    const ALL: [Self; 4] = [Self::Postgres, Self::Archive, Self::Queues, Self::Backups];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Archive => "archive",
            Self::Queues => "queues",
            Self::Backups => "backups",
        }
    }
}

/// What the server that WAL comes from says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PostgresMetrics {
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// Where its WAL ends: written by a primary, received by a standby.
    pub lsn: Option<Lsn>,
    /// Whether a receiver of ours should stream from it (`streaming_archiver`).
    pub streams: bool,
    /// Sent to our receiver; `None` when none is connected, or the role may not see it.
    pub sent: Option<Lsn>,
    /// Written by our receiver.
    pub written: Option<Lsn>,
    /// Durable at our receiver.
    pub flushed: Option<Lsn>,
    /// Whether the configured slot is there; `None` without one in the configuration.
    pub slot_exists: Option<bool>,
    /// Whether somebody streams from the slot.
    pub slot_active: Option<bool>,
    /// The oldest WAL the slot keeps.
    pub slot_restart: Option<Lsn>,
    /// Whether the slot lost WAL it was to keep.
    pub slot_lost: Option<bool>,
    /// How often `archive_command` failed, by `pg_stat_archiver`.
    pub archive_failures: Option<u64>,
}

/// The archive, by the names and times of its files.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ArchiveMetrics {
    /// The newest segment: of the highest timeline, the highest.
    pub last: Option<ArchivedPoint>,
    /// Holes on the way from the oldest backup to the newest timeline; without a backup, from the oldest segment.
    pub gaps: Option<u64>,
    /// Segments in these holes.
    pub missing: Option<u64>,
    /// The oldest point that can be recovered: the end of the oldest complete backup.
    pub oldest_recoverable: Option<RecoverablePoint>,
    /// The newest point that can be recovered from the newest complete backup: where the WAL after it ends or has its first
    /// hole.
    pub newest_recoverable: Option<RecoverablePoint>,
}

/// A segment in the archive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ArchivedPoint {
    /// Its timeline.
    pub timeline: Timeline,
    /// Where it ends.
    pub end: Lsn,
    /// When the server wrote it.
    pub time: Option<OffsetDateTime>,
}

/// A point recovery can reach.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RecoverablePoint {
    /// The position.
    pub lsn: Lsn,
    /// When the server was there.
    pub time: Option<OffsetDateTime>,
}

/// The newest backup whose files are complete.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LastBackup {
    /// When it ended.
    pub end: Option<OffsetDateTime>,
    /// Seconds from its begin to its end.
    pub seconds: Option<f64>,
    /// Bytes of its files.
    pub size: Option<u64>,
}
