//! The records of some WAL, one after the other, as `pg_waldump` (PostgreSQL 15) chooses them.

mod error;
mod filter;
mod place;
mod range;
mod stats;

use std::ops::ControlFlow;
use std::time::Duration;

use walfile::{ArchiveEnd, ArchiveStop, EndReason, Lsn, Record, WalArchive};

use crate::{Context, Server};
pub use error::WalInspectError;
pub use filter::RecordFilter;
pub use place::SegmentFiles;
use range::Range;
pub use range::WalSpan;
pub use stats::{StatisticsRow, WalStatistics};

/// Options of [`inspect_wal`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WalInspectOptions {
    /// What is read.
    pub span: WalSpan,
    /// Which of its records are shown.
    pub filter: RecordFilter,
    /// Show no more than this many; 0 for all.
    pub limit: u64,
    /// At the end of the log, wait for more.
    pub follow: bool,
}

/// What [`inspect_wal`] finds.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Found<'a> {
    /// The first record, shown or not.
    First {
        /// Where reading was to begin.
        wanted: Lsn,
        /// Where the record begins.
        found: Lsn,
        /// Whether `wanted` is the start of a segment: then nobody meant a record.
        segment_start: bool,
    },
    /// A record that is shown.
    Record(&'a Record<'a>),
    /// The end of the log, where [`WalInspectOptions::follow`] waits for more: the time to show what was held back.
    Waiting,
}

type Visit<'v> = dyn FnMut(Found<'_>) -> ControlFlow<()> + 'v;

/// How often the end of the log is looked at again.
const PAUSE: Duration = Duration::from_millis(200);

/// Records between two looks at the stop flag.
const STOP_EVERY: u32 = 1024;

/// Reads the records of `archive` in the order of the log and hands those that the filter lets through to `visit`, until
/// it breaks, the end of the span or the limit is reached, or the user asks to stop.
///
/// # Errors
/// When the log ends before the span does, or nothing can be read. What was valid before was visited.
pub fn inspect_wal(
    archive: &impl WalArchive,
    options: &WalInspectOptions,
    context: &Context<'_>,
    visit: &mut Visit<'_>,
) -> Result<(), WalInspectError> {
    let range = options.span.resolve(archive)?;
    let mut walk = Walk { options, range, last: None, next: range.start, shown: 0 };
    loop {
        let Some(end) = walk.read(archive, context, visit)? else { return Ok(()) };
        if context.stopped() {
            return Ok(());
        }
        if !options.follow {
            let after = range.start;
            return Err(match walk.last {
                Some(last) => WalInspectError::End { last, end: Box::new(end) },
                None => WalInspectError::NoRecord { after, end: Box::new(end) },
            });
        }
        if visit(Found::Waiting).is_break() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

impl Server {
    /// As [`inspect_wal`], for the WAL in the hub. A span without a beginning begins with the first segment of its timeline;
    /// one that begins at a position lies on the way to the newest timeline, when none is named.
    ///
    /// # Errors
    /// As [`inspect_wal`].
    pub fn inspect_wal(
        &self,
        options: &WalInspectOptions,
        context: &Context<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<(), WalInspectError> {
        let store = self.wal_store();
        let mut options = options.clone();
        if options.span.start.is_none() && options.span.first.is_none() {
            options.span.first = Some(range::first_archived(self, &store, options.span.timeline)?);
            options.span.to_the_end = true;
        } else if options.span.first.is_none() && options.span.timeline.is_none() {
            options.span.timeline = range::newest_timeline(&store)?;
        }
        inspect_wal(&store, &options, context, visit)
    }
}

/// How far a walk got.
struct Walk<'o> {
    options: &'o WalInspectOptions,
    range: Range,
    /// The last record that was read.
    last: Option<Lsn>,
    /// Where it ends.
    next: Lsn,
    shown: u64,
}

impl Walk<'_> {
    /// Reads on. `None` when there is nothing more to do, else where and why the log ended.
    fn read(
        &mut self,
        archive: &impl WalArchive,
        context: &Context<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<Option<ArchiveEnd>, WalInspectError> {
        let Range { end, size, .. } = self.range;
        let reader = self.range.open(archive, self.next)?;
        let mut reader = reader.with_segment_size(size).until(end);
        let mut count = 0_u32;
        while let Some(record) = reader.next_record() {
            // The last bytes of a record must be there too.
            if unpadded_end(&record) > end {
                return Ok(None);
            }
            if self.last.is_none() {
                let (wanted, found) = (self.range.start, record.lsn);
                let first = Found::First { wanted, found, segment_start: wanted.is_segment_start(size) };
                if visit(first).is_break() {
                    return Ok(None);
                }
            }
            (self.last, self.next) = (Some(record.lsn), record.end);
            count = count.wrapping_add(1);
            if count.is_multiple_of(STOP_EVERY) && context.stopped() {
                return Ok(None);
            }
            if !self.options.filter.header_matches(&record) {
                continue;
            }
            if self.options.filter.needs_parts() {
                let parts = record.parts();
                let parts = parts.map_err(|source| WalInspectError::Parts { lsn: record.lsn, source })?;
                if !self.options.filter.parts_match(&record, &parts) {
                    continue;
                }
            }
            self.shown += 1;
            let stop = visit(Found::Record(&record)).is_break();
            if stop || self.shown == self.options.limit {
                return Ok(None);
            }
        }
        let Some(found) = reader.into_end() else { return Ok(None) };
        let reached = match &found.stop {
            ArchiveStop::Reached => true,
            // A record goes on after the end that was asked for.
            ArchiveStop::Missing { name, .. } => name.start(size).is_ok_and(|start| start >= end),
            ArchiveStop::Log(EndReason::Input { .. }) => found.at >= end,
            _ => false,
        };
        Ok((!reached).then_some(found))
    }
}

/// Where the record ends without what fills it up to a multiple of eight bytes.
fn unpadded_end(record: &Record<'_>) -> Lsn {
    if record.header.is_switch() {
        return record.lsn.saturating_add(record.header.total_len.into());
    }
    let length = u64::from(record.header.total_len);
    Lsn::new(record.end.get().saturating_sub(length.next_multiple_of(8) - length))
}
