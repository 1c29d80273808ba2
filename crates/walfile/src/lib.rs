//! PostgreSQL WAL files: names, positions, timelines, history files and where they are stored.

mod history;
mod lsn;
mod name;
mod segment;
mod sink;
mod timeline;

pub use history::{HistoryEntry, HistoryError, HistoryProblem, TimelineHistory};
pub use lsn::{Lsn, ParseLsnError};
pub use name::{ParseWalNameError, WalName};
pub use segment::{
    ParseSegmentNameError, SegmentName, SegmentNameError, SegmentNo, SegmentRange, SegmentSize,
    SegmentSizeError,
};
pub use sink::WalSink;
pub use timeline::{ParseTimelineError, Timeline, TimelineHex};
