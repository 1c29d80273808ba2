//! How much archived WAL belongs to a backup: what it needs itself, and what came until the next one.
//!
//! The figures are Barman 3.19's (`get_wal_info`), because sizes and rates shown to users must agree.

use std::ops::ControlFlow;

use tapster_catalog::wal_store::{Needed, WalsOfBackup};
use tapster_catalog::{BackupRecord, XlogDbError, XlogEntry};
use walfile::{SegmentName, WalName};

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
    /// When the last one was written, seconds since 1970.
    pub last_time: Option<f64>,
    /// When the backup's first segment was written, seconds since 1970.
    pub first_time: Option<f64>,
}

impl WalUsage {
    fn add(&mut self, begin: SegmentName, entry: &XlogEntry, needed: Needed) {
        let WalName::Segment(name) = entry.name else { return };
        if name == begin {
            self.first_time = Some(entry.mtime);
        }
        if needed == Needed::ByBackup {
            self.own_count += 1;
            self.own_bytes += entry.size;
        } else {
            self.later_count += 1;
            self.later_bytes += entry.size;
        }
        self.last = Some(name);
        self.last_time = Some(entry.mtime);
    }

    /// Segments per second between the backup's first segment and the last one.
    pub fn rate(&self) -> Option<f64> {
        let seconds = self.last_time? - self.first_time?;
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
        // Those whose end has not been met yet.
        let mut open: Vec<(&mut WalUsage, WalsOfBackup)> = usages
            .iter_mut()
            .zip(backups)
            .filter_map(|(usage, (backup, next))| {
                let mut wals = WalsOfBackup::new(backup.begin_wal?, backup.end_wal);
                wals.next_end = next.and_then(|next| next.end_wal);
                Some((usage, wals))
            })
            .collect();
        if open.is_empty() || !self.layout().wals.is_dir() {
            return Ok(usages);
        }
        for entry in self.wal_index(context)?.entries()? {
            let entry = entry?;
            open.retain_mut(|(usage, wals)| match wals.judge(&entry) {
                ControlFlow::Continue(needed) => {
                    needed.into_iter().for_each(|needed| usage.add(wals.begin, &entry, needed));
                    true
                }
                ControlFlow::Break(()) => false,
            });
            if open.is_empty() {
                break;
            }
        }
        Ok(usages)
    }
}
