//! The state of a server as a picture needs it: what there is, from when to when one can recover, what is missing.
//!
//! It goes by names and times of files, so that it is quick whatever the archive holds; `wal verify` reads the files.

mod archive;
mod histogram;
mod windows;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tapster_catalog::{BackupId, KeepTarget, RecordError};
use time::OffsetDateTime;
use walfile::{Lsn, SegmentNo, SegmentSize, Timeline};

pub use tapster_retention::Status as RetentionStatus;

use crate::metrics::{PostgresMetrics, RecoverablePoint};
use crate::{CheckOptions, CheckReport, Context, ListedBackup, Server};

/// Of longer lists of spans and gaps the newest are given, and how many are left out.
pub const MOST_LISTED: usize = 1_000;

/// Servers that are looked at at a time: what takes long is waiting for those that do not answer.
const AT_ONCE: usize = 8;

/// Options of [`Server::report`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReportOptions {
    /// Whether PostgreSQL is asked and the server checked; otherwise only the catalog is read.
    pub check: bool,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self { check: true }
    }
}

/// A server at one moment.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServerReport {
    /// Server name.
    pub name: String,
    /// `description`.
    pub description: Option<String>,
    /// When this was found out, in the local time zone.
    pub made: OffsetDateTime,
    /// Whether the server is active.
    pub active: bool,
    /// Whether its configuration is wrong, and what is wrong.
    pub disabled: Option<Vec<String>>,
    /// Whether it is a copy of another catalog.
    pub passive: bool,
    /// The retention policy, in its canonical form.
    pub retention_policy: Option<String>,
    /// How many backups there have to be.
    pub minimum_redundancy: u32,
    /// The backups, newest first.
    pub backups: Vec<ReportedBackup>,
    /// Records that cannot be read.
    pub unreadable: Vec<(BackupId, RecordError)>,
    /// The WAL.
    pub archive: ArchiveReport,
    /// What PostgreSQL says; `None` when it was not asked, or did not answer.
    pub postgres: Option<PostgresMetrics>,
    /// The check, when it was made.
    pub check: Option<CheckReport>,
    /// What could not be found out, and why.
    pub problems: Vec<(ReportPart, String)>,
}

/// What a report is made from.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum ReportPart {
    /// The records of backups.
    Backups,
    /// Archived WAL and its index.
    Archive,
    /// The server itself.
    Postgres,
}

/// A backup of the report.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReportedBackup {
    /// As `list-backups` has it.
    pub listed: ListedBackup,
    /// Whether and how it is kept on request.
    pub keep: Option<KeepTarget>,
    /// Whether it can be restored.
    pub restorable: Restorable,
}

/// Whether a backup can be restored, by the names of what there is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Restorable {
    /// Its files and the WAL that makes it consistent are there.
    Yes,
    /// Its copy is not complete.
    NotCopied,
    /// Some of its own WAL has not come yet.
    WaitingForWal,
    /// Some of its own WAL is not there.
    WalMissing,
    /// It builds on a backup that is not there, or not complete.
    ChainBroken {
        /// That backup.
        missing: BackupId,
    },
    /// The archive could not be read.
    Unknown,
}

/// The WAL of a server.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ArchiveReport {
    /// Bytes of a segment; `None` when there is none.
    pub segment_size: Option<SegmentSize>,
    /// The timeline that recovery to the latest one would go to.
    pub current: Option<Timeline>,
    /// From when to when one can recover on the way to the current timeline, earlier timelines included; in order.
    pub windows: Vec<Window>,
    /// Each timeline, in order.
    pub timelines: Vec<TimelineReport>,
    /// Archived segments, with those that are queued.
    pub segments: u64,
    /// Bytes of the archive as stored.
    pub bytes: u64,
    /// When the newest segment was written.
    pub last: Option<OffsetDateTime>,
    /// How long a column of `sizes` is, in seconds.
    pub column_seconds: i64,
    /// Archived files over time.
    pub sizes: Vec<WalColumn>,
}

/// A timeline.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TimelineReport {
    /// Its number.
    pub timeline: Timeline,
    /// The timeline it left, and where.
    pub parent: Option<(Timeline, Lsn)>,
    /// Why, in the words of its history file.
    pub reason: Option<String>,
    /// Whether its history file is missing, although it is not the first.
    pub history_lost: bool,
    /// When its history file was written.
    pub begun: Option<OffsetDateTime>,
    /// Its segments in the archive, in order.
    pub spans: Vec<WalSpan>,
    /// How many earlier ones are not in `spans`.
    pub spans_left_out: usize,
    /// What is missing from its beginning on, or from that of the oldest backup, in order.
    pub gaps: Vec<WalGap>,
    /// How many earlier ones are not in `gaps`.
    pub gaps_left_out: usize,
    /// How many gaps, listed or not, recovery of some backup would have to cross.
    pub needed_gaps: usize,
    /// Segments missing in those.
    pub missing: u64,
    /// From when to when one can recover on this timeline itself, in order.
    pub windows: Vec<Window>,
}

/// Segments without a gap.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WalSpan {
    /// The first segment.
    pub first: SegmentNo,
    /// The last one.
    pub last: SegmentNo,
    /// When the first one was written.
    pub from: Option<OffsetDateTime>,
    /// When the last one was.
    pub to: Option<OffsetDateTime>,
    /// Their bytes as stored.
    pub bytes: u64,
}

/// Segments that are missing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WalGap {
    /// The first one.
    pub first: SegmentNo,
    /// The last one.
    pub last: SegmentNo,
    /// Whether recovery of some backup would have to go through; otherwise retention has removed what nobody needs.
    pub needed: bool,
    /// When the segment in front of it was written.
    pub after: Option<OffsetDateTime>,
    /// When the segment behind it was.
    pub before: Option<OffsetDateTime>,
}

impl WalGap {
    /// Segments in it.
    pub const fn segments(&self) -> u64 {
        self.last.get().saturating_sub(self.first.get()).saturating_add(1)
    }
}

/// From when to when one can recover to any moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Window {
    /// The first moment: the end of a backup, or the beginning of the timeline.
    pub from: RecoverablePoint,
    /// The last one: the end of the last segment before a gap, or of all.
    pub to: RecoverablePoint,
    /// The backup that it begins with.
    pub backup: BackupId,
    /// How many backups recovery in it can begin with.
    pub backups: usize,
    /// Why it ends.
    pub end: WindowEnd,
}

/// Why a window ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WindowEnd {
    /// There is no later WAL.
    Newest,
    /// WAL is missing.
    Gap,
    /// The backup is kept on request without the WAL that follows it: recovery is to its own end.
    Standalone,
}

/// Archived files of some time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WalColumn {
    /// Where that time begins.
    pub begin: OffsetDateTime,
    /// Files written then.
    pub files: u64,
    /// Their bytes as stored.
    pub bytes: u64,
}

/// [`Server::report`] of each, in their order; several at a time.
pub fn reports(servers: &[Server], options: &ReportOptions, context: &Context<'_>) -> Vec<ServerReport> {
    let next = AtomicUsize::new(0);
    let made = Mutex::new(Vec::with_capacity(servers.len()));
    std::thread::scope(|scope| {
        for _ in 0..servers.len().min(AT_ONCE) {
            scope.spawn(|| {
                while let Some((at, server)) =
                    servers.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed))
                    && !context.stopped()
                {
                    let report = server.report(options, context);
                    made.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, report));
                }
            });
        }
    });
    let mut made = made.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    made.sort_by_key(|(at, _)| *at);
    made.into_iter().map(|(_, report)| report).collect()
}

impl Server {
    /// Looks at backups, archive and, unless told not to, at PostgreSQL. What cannot be found out is listed in
    /// [`ServerReport::problems`].
    pub fn report(&self, options: &ReportOptions, context: &Context<'_>) -> ServerReport {
        let config = &self.config;
        let mut problems = Vec::new();
        let asks = options.check && config.active && !config.disabled;
        // First, since it may bring waiting WAL into the archive.
        let check = asks.then(|| self.check(&CheckOptions::default(), context));
        let postgres = (asks && !config.is_passive()).then(|| self.postgres_metrics(context));
        let postgres = postgres.and_then(|answer| {
            answer.map_err(|error| problems.push((ReportPart::Postgres, error.to_string()))).ok()
        });
        let list = self.list_backups(context).unwrap_or_else(|error| {
            problems.push((ReportPart::Backups, error.to_string()));
            crate::BackupList::default()
        });
        let mut backups = self.reported(list.backups);
        let archive = self.archive_report(&mut backups, &mut problems, context).unwrap_or_else(|error| {
            problems.push((ReportPart::Archive, error.to_string()));
            for backup in backups.iter_mut().filter(|backup| backup.restorable == Restorable::Yes) {
                backup.restorable = Restorable::Unknown;
            }
            ArchiveReport::default()
        });
        ServerReport {
            name: self.name().to_owned(),
            description: config.description.clone(),
            made: context.now(),
            active: config.active,
            disabled: config.disabled.then(|| config.problems.clone()),
            passive: config.is_passive(),
            retention_policy: config.retention_policy.as_ref().map(ToString::to_string),
            minimum_redundancy: config.minimum_redundancy,
            backups,
            unreadable: list.unreadable,
            archive,
            postgres,
            check,
            problems,
        }
    }

    fn reported(&self, listed: Vec<ListedBackup>) -> Vec<ReportedBackup> {
        let parents: HashMap<BackupId, (bool, Option<BackupId>)> = listed
            .iter()
            .map(|backup| (backup.record.id, (backup.is_copied(), backup.record.parent_backup_id)))
            .collect();
        let broken = |backup: &ListedBackup| {
            let mut parent = backup.record.parent_backup_id;
            // A chain that goes in circles ends, too.
            for _ in 0..parents.len() {
                let missing = parent?;
                match parents.get(&missing) {
                    Some((true, next)) => parent = *next,
                    _ => return Some(missing),
                }
            }
            parent
        };
        let one = |listed: ListedBackup| {
            let restorable = match broken(&listed) {
                _ if !listed.is_copied() => Restorable::NotCopied,
                Some(missing) => Restorable::ChainBroken { missing },
                None => Restorable::Yes,
            };
            // As the policy has it: one that cannot be read protects.
            let keep = self.catalog.keep_target(&listed.record.id).unwrap_or(Some(KeepTarget::Full));
            ReportedBackup { keep, restorable, listed }
        };
        listed.into_iter().map(one).collect()
    }
}
