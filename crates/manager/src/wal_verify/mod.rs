//! Proof that the archive can be replayed: every segment there, every record's checksum and back link right, timelines joined
//! as the history files say; without starting PostgreSQL.
//!
//! Segments are read in pieces on all processors. Each worker reads the records that begin in its piece and the first one
//! after it, whose back link it checks; that must be the first one that the next worker found. So every record is checked
//! once and every boundary from both sides.
//!
//! Of each backup the records are looked for on the way that recovery would look for: its checkpoint, and that of its end.

mod backup;
mod chunk;
mod end;
mod join;
mod landmarks;
mod line;
mod reach;
mod report;
mod seen;
mod start;
mod work;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use tapster_catalog::wal_store::SegmentRuns;
use tapster_catalog::{BackupRecord, CatalogError, Identity, IdentityError, WalStore, WalStoreError};
use thiserror::Error;
use walfile::{LongPageHeader, Lsn, SegmentNo, SegmentSize, SystemId, Timeline, TimelineHistory};

use crate::{Context, Server};
pub use backup::{BackupProblem, BackupReach};
pub(crate) use line::Line;
pub use report::{Commit, LineEnd, VerifiedLine, WalProblem, WalRange, WalVerifyReport};

/// Options of [`Server::verify_wal`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WalVerifyOptions {
    /// Begin with this backup and follow the way its recovery would go. Otherwise the oldest backup, or where there is none
    /// the first segment, is the beginning, and other timelines are read too.
    pub backup: Option<BackupRecord>,
    /// How many workers read; one per processor when `None`.
    pub jobs: Option<usize>,
}

/// A verification that could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WalVerifyError {
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The archive cannot be listed, or a history file cannot be read.
    #[error(transparent)]
    Store(#[from] WalStoreError),
    /// The backup's record does not say where it begins, because it failed or is still running.
    #[error("backup {} has no WAL to verify: its record does not say where it begins and ends", record.id)]
    NoPosition {
        /// Its record.
        record: Box<BackupRecord>,
    },
    /// No WAL at all.
    #[error("there is no WAL of server '{server}' to verify")]
    Empty {
        /// The server.
        server: String,
    },
    /// The file that says which cluster the hub belongs to cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A worker could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The user asked to stop.
    #[error("interrupted")]
    Stopped,
}

/// Where recovery of a backup begins and where the backup becomes consistent.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    pub(crate) timeline: Timeline,
    pub(crate) begin: Lsn,
    pub(crate) consistent: Lsn,
}

impl Position {
    pub(crate) fn of(record: &BackupRecord) -> Option<Self> {
        let (timeline, begin, consistent) = (record.timeline?, record.begin_xlog?, record.end_xlog?);
        record.status.is_copied().then_some(Self { timeline, begin, consistent })
    }
}

impl Server {
    /// Reads the WAL of the hub and says how far it can be replayed. Changes nothing and takes no lock: what is archived
    /// meanwhile may or may not be read.
    ///
    /// # Errors
    /// When there is nothing to verify, or the hub cannot be listed. What is wrong with the WAL is no error but in the report.
    pub fn verify_wal(
        &self,
        options: &WalVerifyOptions,
        context: &Context<'_>,
    ) -> Result<WalVerifyReport, WalVerifyError> {
        let mut records = match &options.backup {
            Some(record) => vec![record.clone()],
            None => self.catalog().records()?,
        };
        if let (Some(record), None) = (&options.backup, options.backup.as_ref().and_then(Position::of)) {
            return Err(WalVerifyError::NoPosition { record: Box::new(record.clone()) });
        }
        records.retain(|record| Position::of(record).is_some());
        records.sort_by_key(|record| record.begin_xlog);
        let store = self.wal_store();
        let size = match records.first() {
            Some(record) => record.segment_size(),
            None => {
                first_size(&store)?.ok_or_else(|| WalVerifyError::Empty { server: self.name().to_owned() })?
            }
        };
        let store = store.with_segment_size(size);
        let archived = store.segment_runs(size)?;
        let main = main_line(&store, size, &archived, records.first())?
            .ok_or_else(|| WalVerifyError::Empty { server: self.name().to_owned() })?;
        let mut lines = vec![main];
        if options.backup.is_none()
            && let Some(main) = lines.first()
        {
            let others = other_lines(&store, size, &archived, main)?;
            lines.extend(others);
        }
        let lost = match lines.first() {
            Some(main) => lost_histories(&store, &archived, main)?,
            None => Vec::new(),
        };
        let system = self.expected_system(&records)?;
        // In order, since the records are.
        let begins: Vec<_> = records.iter().filter_map(|record| record.begin_xlog).collect();
        let mut lines = work::verify(&lines, &store, size, system, &begins, options.jobs, context)?;
        if let Some(main) = lines.first_mut() {
            main.found
                .problems
                .extend(lost.into_iter().map(|timeline| WalProblem::MissingHistory { timeline }));
        }
        if context.stop.load(Ordering::Relaxed) {
            return Err(WalVerifyError::Stopped);
        }
        let backups = records.iter().filter_map(|record| reach::of(record, self.layout(), &lines)).collect();
        let lines = lines.into_iter().map(|line| line.found).collect();
        Ok(WalVerifyReport {
            backup: records.first().map(|record| record.id),
            segment_size: size,
            lines,
            backups,
        })
    }

    /// The cluster whose WAL this must be: that of the backups, or the one the hub was set up for.
    fn expected_system(&self, records: &[BackupRecord]) -> Result<Option<SystemId>, WalVerifyError> {
        let recorded = records.iter().find_map(|record| record.systemid.as_ref()?.parse().ok());
        match recorded {
            Some(system) => Ok(Some(system)),
            None => {
                let identity = Identity::load(&self.layout().identity())?;
                Ok(identity.and_then(|identity| identity.system_id.parse().ok()))
            }
        }
    }
}

/// A timeline, and the segments on the way to it in runs without a gap: the first and the last of each.
pub(crate) type Way = (Timeline, Vec<(SegmentNo, SegmentNo)>);

/// The segments on the way recovery of `backup` would go, in runs without a gap, and the timeline on which the way ends; without
/// a backup the way from the first segment to the newest timeline. `None` when there is no WAL.
pub(crate) fn way_of(
    store: &WalStore<'_>,
    size: SegmentSize,
    archived: &SegmentRuns,
    backup: Option<&BackupRecord>,
) -> Result<Option<Way>, WalVerifyError> {
    Ok(main_line(store, size, archived, backup)?.map(|line| (line.history.timeline(), line.runs)))
}

/// The segment size in the header of some archived segment.
pub(crate) fn first_size(store: &WalStore<'_>) -> Result<Option<SegmentSize>, WalVerifyError> {
    for name in store.newest_segments()?.into_values() {
        let Ok(Some(mut file)) = store.open(name.into(), false).map(Some) else { continue };
        let mut header = [0; LongPageHeader::LEN];
        if std::io::Read::read_exact(&mut file, &mut header).is_ok()
            && let Ok(header) = LongPageHeader::parse(&header)
        {
            return Ok(Some(header.segment_size));
        }
    }
    Ok(None)
}

fn history(store: &WalStore<'_>, timeline: Timeline) -> Result<Option<TimelineHistory>, WalStoreError> {
    store.history(timeline)
}

/// From the backup to the newest timeline that recovery would find (`findNewestTimeLine`) and that descends from it.
pub(crate) fn main_line(
    store: &WalStore<'_>,
    size: SegmentSize,
    archived: &SegmentRuns,
    backup: Option<&BackupRecord>,
) -> Result<Option<Line>, WalVerifyError> {
    let Some(Position { timeline, begin, consistent }) = backup.and_then(Position::of) else {
        let Some(newest) = archived.keys().next_back().copied() else { return Ok(None) };
        let path = history(store, newest)?.unwrap_or_else(|| TimelineHistory::root(newest));
        let line = Line::new(path, Lsn::INVALID, archived, size);
        let start = line.runs.first().map_or(Lsn::INVALID, |(first, _)| first.start(size));
        return Ok(Some(Line { start, ..line }));
    };
    let mut path = history(store, timeline)?.unwrap_or_else(|| TimelineHistory::root(timeline));
    let mut newest = timeline;
    while let Some(next) = newest.get().checked_add(1).and_then(Timeline::new) {
        let Some(found) = history(store, next)? else { break };
        if found.switch_from(timeline).is_some_and(|left| left >= consistent) {
            path = found;
        }
        newest = next;
    }
    Ok(Some(Line::new(path, begin, archived, size)))
}

/// What timelines hold that is not on the way to the newest: from where it left them, or from where they begin.
fn other_lines(
    store: &WalStore<'_>,
    size: SegmentSize,
    archived: &SegmentRuns,
    main: &Line,
) -> Result<Vec<Line>, WalVerifyError> {
    let mut lines = Vec::new();
    let oldest = main.history.timeline_at(main.start);
    for (timeline, runs) in
        archived.iter().rev().filter(|(timeline, _)| **timeline != main.history.timeline())
    {
        let found = history(store, *timeline)?;
        let left = main.history.switch_from(*timeline);
        let history_lost = found.is_none() && left.is_none() && *timeline > oldest;
        let path = found.unwrap_or_else(|| TimelineHistory::root(*timeline));
        let begin = left.unwrap_or_else(|| path.begin());
        // What comes before it is not wanted here.
        let from = begin.segment(size);
        let Some(run) = runs.iter().find(|run| run.last >= from) else { continue };
        // WAL from before the oldest backup may have been removed, but what is removed is the oldest.
        let is_kept = *timeline >= oldest && begin >= main.start;
        let start = if run.first <= from || is_kept { begin } else { run.first.start(size) };
        let own = SegmentRuns::from([(*timeline, runs.clone())]);
        lines.push(Line { history_lost, ..Line::new(path, start, &own, size) });
    }
    Ok(lines)
}

/// The timelines whose history file a recovery needs that goes on to the latest timeline, and does not find: it takes one
/// after the other up to the first that is not there. The one on which it begins needs none.
fn lost_histories(
    store: &WalStore<'_>,
    archived: &SegmentRuns,
    main: &Line,
) -> Result<Vec<Timeline>, WalVerifyError> {
    let oldest = main.history.timeline_at(main.start);
    let there = store.history_files()?;
    let before = |timeline: &Timeline| timeline.get().checked_sub(1).and_then(Timeline::new);
    let wanted: BTreeSet<Timeline> =
        archived.keys().copied().chain(there.iter().filter_map(before)).filter(|t| *t > oldest).collect();
    Ok(wanted.into_iter().filter(|timeline| there.binary_search(timeline).is_err()).collect())
}

/// How many segments a worker takes at a time: enough that the first record after them, which is read twice, does not count,
/// and few enough that all workers end at about the same time.
fn chunk_length(segments: u64, jobs: usize, size: SegmentSize) -> u64 {
    const SMALLEST: u64 = 16 << 20;
    const LARGEST: u64 = 256 << 20;
    let jobs = u64::try_from(jobs).unwrap_or(u64::MAX).max(1);
    let (least, most) = ((SMALLEST / size.bytes()).max(1), (LARGEST / size.bytes()).max(1));
    (segments / jobs.saturating_mul(8)).clamp(least, most)
}
