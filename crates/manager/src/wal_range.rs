//! Whether WAL is there from one position to another, record by record: what `pg_verifybackup` lets `pg_waldump` find out.

use std::sync::atomic::{AtomicBool, Ordering};

use tapster_copy::manifest::WalRange;
use walfile::{ArchiveReader, ArchiveStop, Lsn, SegmentSize, SystemId, Timeline, WalArchive};

/// Records between two looks at the stop flag.
const STEP: u32 = 4096;

/// Why a range of WAL cannot be replayed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct WalRangeFault {
    /// The timeline of the range.
    pub timeline: Timeline,
    /// Where it begins.
    pub start: Lsn,
    /// Where it ends.
    pub end: Lsn,
    /// Everything before this position is valid.
    pub valid: Lsn,
    /// Whether nothing is wrong but that the next segment is not there.
    pub missing: bool,
    /// What is wrong, in words.
    pub reason: String,
}

/// Reads the records of a range; `None` when all are there, or when `stop` was raised.
pub(crate) fn fault(
    archive: impl WalArchive,
    range: &WalRange,
    size: Option<SegmentSize>,
    system: Option<SystemId>,
    stop: &AtomicBool,
) -> Option<WalRangeFault> {
    let mut reader = ArchiveReader::on_timeline(archive, range.timeline, range.start).until(range.end);
    if let Some(size) = size {
        reader = reader.with_segment_size(size);
    }
    if let Some(system) = system {
        reader = reader.with_system_id(system);
    }
    let mut count = 0_u32;
    while reader.next_record().is_some() {
        count = count.wrapping_add(1);
        if count.is_multiple_of(STEP) && stop.load(Ordering::Relaxed) {
            return None;
        }
    }
    let end = reader.end()?;
    // A backup may end where a segment does, and the next one need not be there.
    if matches!(end.stop, ArchiveStop::Reached) || end.at >= range.end {
        return None;
    }
    Some(WalRangeFault {
        timeline: range.timeline,
        start: range.start,
        end: range.end,
        valid: end.at,
        missing: matches!(end.stop, ArchiveStop::Missing { .. }),
        reason: end.to_string(),
    })
}
