//! PostgreSQL WAL files: names, positions, timelines, history files and where they are stored.

mod control;
mod history;
mod label;
mod lsn;
mod name;
mod page;
mod segment;
mod sink;
mod system_id;
mod timeline;

pub use control::{ClusterState, ControlFile, ControlFileError, WalLevel};
pub use history::{HistoryEntry, HistoryError, HistoryProblem, TimelineHistory};
pub use label::{
    BackupFrom, BackupHistoryFile, BackupLabel, BackupLabelError, BackupLabelProblem, BackupMethod,
};
pub use lsn::{Lsn, ParseLsnError};
pub use name::{ParseWalNameError, WalName};
pub use page::{
    LongPageHeader, Page, PageError, PageHeader, PageInfo, PageWalkError, PageWalkProblem, Pages,
    SegmentMismatch, WalMagic, pages,
};
pub use segment::{
    ParseSegmentNameError, SegmentName, SegmentNameError, SegmentNo, SegmentRange, SegmentSize,
    SegmentSizeError,
};
pub use sink::WalSink;
pub use system_id::SystemId;
pub use timeline::{ParseTimelineError, Timeline, TimelineHex};
