//! What the first page of a segment must agree with before the segment may be archived.

use thiserror::Error;

use crate::page::LongPageHeader;
use crate::{Lsn, SegmentName, SegmentNameError, SegmentSize, SystemId, Timeline, TimelineHistory};

/// A segment whose content is not what its name, its length or its cluster say.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SegmentMismatch {
    /// The file is shorter or longer than a segment of its cluster.
    #[error("segment {name} has {found} bytes; its header says {expected} ({size})", expected = size.bytes())]
    Size {
        /// The file's name.
        name: SegmentName,
        /// The segment size in the header.
        size: SegmentSize,
        /// The length of the file in bytes.
        found: u64,
    },
    /// The file was written by another cluster.
    #[error("segment {name} belongs to system {found}, not to {expected}")]
    SystemId {
        /// The file's name.
        name: SegmentName,
        /// The cluster whose archive this is.
        expected: SystemId,
        /// The cluster in the page header.
        found: SystemId,
    },
    /// The name cannot occur with the header's segment size.
    #[error(transparent)]
    Name(#[from] SegmentNameError),
    /// The file holds another part of the log than its name says.
    #[error("segment {name} starts at {expected}, but its first page is that of {found}")]
    Address {
        /// The file's name.
        name: SegmentName,
        /// The position the name stands for.
        expected: Lsn,
        /// The position in the page header.
        found: Lsn,
    },
    /// The file was written on a timeline that its name's timeline cannot have come from.
    #[error("segment {name} begins with a page of timeline {found}")]
    Timeline {
        /// The file's name.
        name: SegmentName,
        /// The timeline in the page header.
        found: Timeline,
    },
}

impl LongPageHeader {
    /// Checks that this header can be that of the segment file `name`, `length` bytes long, of the cluster
    /// `system_id` (any cluster when `None`).
    ///
    /// The page's timeline may be lower than the name's: when a timeline begins inside a segment, PostgreSQL
    /// copies the pages before that point from the parent, header included. With the history file at hand,
    /// [`LongPageHeader::validate_timeline`] is exact.
    ///
    /// # Errors
    /// When something disagrees; what stands first in [`SegmentMismatch`] is checked first.
    pub fn validate_for(
        &self,
        name: SegmentName,
        length: u64,
        system_id: Option<SystemId>,
    ) -> Result<(), SegmentMismatch> {
        if length != self.segment_size.bytes() {
            return Err(SegmentMismatch::Size { name, size: self.segment_size, found: length });
        }
        if let Some(expected) = system_id.filter(|expected| *expected != self.system_id) {
            return Err(SegmentMismatch::SystemId { name, expected, found: self.system_id });
        }
        let expected = name.start(self.segment_size)?;
        if self.page.address != expected {
            return Err(SegmentMismatch::Address { name, expected, found: self.page.address });
        }
        if self.page.timeline > name.timeline() {
            return Err(SegmentMismatch::Timeline { name, found: self.page.timeline });
        }
        Ok(())
    }

    /// Checks that the page was written on the timeline that held its position, by the history of the timeline
    /// in `name`.
    ///
    /// # Errors
    /// When it was not.
    pub fn validate_timeline(
        &self,
        name: SegmentName,
        history: &TimelineHistory,
    ) -> Result<(), SegmentMismatch> {
        if history.timeline() == name.timeline()
            && history.timeline_at(self.page.address) == self.page.timeline
        {
            return Ok(());
        }
        Err(SegmentMismatch::Timeline { name, found: self.page.timeline })
    }
}
