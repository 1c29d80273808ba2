//! How much archived WAL belongs to a backup: what it needs itself, and what came until the next one.
//!
//! The figures are Barman 3.19's (`get_wal_info`), because sizes and rates shown to users must agree.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use tapster_catalog::wal_store::{Needed, WalsOfBackup};
use tapster_catalog::xlogdb::XlogTime;
use tapster_catalog::{BackupRecord, XlogBrief, XlogDbError};
use walfile::{SegmentName, Timeline, WalName};

use crate::{Context, Server};

/// WAL of one backup.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WalUsage {
    /// Segments from the backup's first to its last.
    pub own_count: u64,
    /// Their bytes as stored.
    pub own_bytes: u64,
    /// Segments after the backup's last, up to the next backup.
    pub later_count: u64,
    /// Their bytes as stored.
    pub later_bytes: u64,
    /// The last segment of both.
    pub last: Option<SegmentName>,
    first_time: Option<XlogTime>,
    last_time: Option<XlogTime>,
}

impl WalUsage {
    fn add(&mut self, begin: SegmentName, name: SegmentName, brief: &XlogBrief, needed: Needed) {
        if name == begin {
            self.first_time = Some(brief.mtime);
        }
        if needed == Needed::ByBackup {
            self.own_count += 1;
            self.own_bytes += brief.size;
        } else {
            self.later_count += 1;
            self.later_bytes += brief.size;
        }
        self.last = Some(name);
        self.last_time = Some(brief.mtime);
    }

    /// When the backup's first segment was written, seconds since 1970.
    pub fn first_time(&self) -> Option<f64> {
        self.first_time.map(|time| time.seconds())
    }

    /// When the last one was written, seconds since 1970.
    pub fn last_time(&self) -> Option<f64> {
        self.last_time.map(|time| time.seconds())
    }

    /// Segments per second between the backup's first segment and the last one.
    pub fn rate(&self) -> Option<f64> {
        let seconds = self.last_time()? - self.first_time()?;
        #[expect(clippy::cast_precision_loss, reason = "counts of segments are far below 2^52")]
        let count = (self.own_count + self.later_count) as f64;
        (seconds > 0.0).then(|| count / seconds)
    }

    /// Which part of the backup's own WAL compression saved, 0 to 1; unknown before its first segment is archived.
    pub fn own_saved(&self, segment_size: u64) -> Option<f64> {
        self.first_time?;
        saved(self.own_bytes, self.own_count, segment_size)
    }

    /// The same for the WAL after it.
    pub fn later_saved(&self, segment_size: u64) -> Option<f64> {
        self.first_time?;
        saved(self.later_bytes, self.later_count, segment_size)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn saved(stored: u64, count: u64, segment_size: u64) -> Option<f64> {
    let plain = count.saturating_mul(segment_size);
    (plain > 0).then(|| 1.0 - stored as f64 / plain as f64)
}

impl Server {
    /// Adds up the WAL of `backup`; `next` is the backup after it.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn wal_usage(
        &self,
        backup: &BackupRecord,
        next: Option<&BackupRecord>,
        context: &Context<'_>,
    ) -> Result<WalUsage, XlogDbError> {
        Ok(self.wal_usages(&[(backup, next)], context)?.pop().unwrap_or_default())
    }

    /// [`Server::wal_usage`] of several backups, in one pass over the index.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn wal_usages(
        &self,
        backups: &[(&BackupRecord, Option<&BackupRecord>)],
        context: &Context<'_>,
    ) -> Result<Vec<WalUsage>, XlogDbError> {
        let mut usages = vec![WalUsage::default(); backups.len()];
        let mut sums = Sums::default();
        for (at, (backup, next)) in backups.iter().enumerate() {
            let Some(begin) = backup.begin_wal else { continue };
            let mut wals = WalsOfBackup::new(begin, backup.end_wal);
            wals.next_end = next.and_then(|next| next.end_wal);
            sums.add(at, wals);
        }
        if sums.is_done() || !(self.has_wals_in_bucket() || self.layout().wals.is_dir()) {
            return Ok(usages);
        }
        self.wal_index(context)?.scan(|brief| sums.take(brief, &mut usages))?;
        Ok(usages)
    }
}

/// Sums over the index for many backups, which a line is not compared with one by one.
///
/// A segment can belong only to backups of its timeline that begin at it or before it, and of those one that has met its end
/// takes no more. As the index is nearly in order, few are open at any time.
#[derive(Debug, Default)]
struct Sums {
    timelines: BTreeMap<Timeline, Backups>,
    /// Those that have not met their end.
    left: usize,
}

#[derive(Debug, Default)]
struct Backups {
    /// Those whose first segment has not been reached, the earliest last, once sorted.
    waiting: Vec<(usize, WalsOfBackup)>,
    sorted: bool,
    open: Vec<(usize, WalsOfBackup)>,
}

impl Sums {
    fn add(&mut self, at: usize, wals: WalsOfBackup) {
        self.timelines.entry(wals.begin.timeline()).or_default().waiting.push((at, wals));
        self.left += 1;
    }

    const fn is_done(&self) -> bool {
        self.left == 0
    }

    fn take(&mut self, brief: &XlogBrief, usages: &mut [WalUsage]) -> ControlFlow<()> {
        let WalName::Segment(segment) = brief.name else { return ControlFlow::Continue(()) };
        let Some(backups) = self.timelines.get_mut(&segment.timeline()) else {
            return ControlFlow::Continue(());
        };
        if !backups.sorted {
            backups.waiting.sort_unstable_by_key(|(_, wals)| Reverse(wals.begin));
            backups.sorted = true;
        }
        while let Some(next) = backups.waiting.pop_if(|(_, wals)| wals.begin <= segment) {
            backups.open.push(next);
        }
        let left = &mut self.left;
        backups.open.retain(|(at, wals)| match wals.judge_name(brief.name) {
            ControlFlow::Continue(needed) => {
                if let (Some(needed), Some(usage)) = (needed, usages.get_mut(*at)) {
                    usage.add(wals.begin, segment, brief, needed);
                }
                true
            }
            ControlFlow::Break(()) => {
                *left -= 1;
                false
            }
        });
        if self.is_done() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
