//! Where to begin.

use walfile::{Lsn, SegmentSize, Timeline};

use super::error::ReceiveError;
use crate::{Connection, ServerVersion, SlotName, SystemId};

/// Where a stream is to go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StreamStart {
    /// The timeline of the WAL received so far.
    pub timeline: Timeline,
    /// The end of the durable WAL: the sink's first write will be exactly here. The server is asked for the
    /// segment that holds it.
    pub position: Lsn,
    /// The cluster the WAL is of, when known.
    pub system_id: Option<SystemId>,
    /// The segment size of that WAL, when known.
    pub segment_size: Option<SegmentSize>,
}

impl StreamStart {
    /// Going on at `position` of `timeline`, with whatever cluster answers.
    pub const fn new(timeline: Timeline, position: Lsn) -> Self {
        Self { timeline, position, system_id: None, segment_size: None }
    }

    /// Only with this cluster.
    #[must_use]
    pub const fn with_system_id(mut self, system_id: Option<SystemId>) -> Self {
        self.system_id = system_id;
        self
    }

    /// Only with this segment size.
    #[must_use]
    pub const fn with_segment_size(mut self, segment_size: SegmentSize) -> Self {
        self.segment_size = Some(segment_size);
        self
    }
}

/// Where to begin when nothing was received yet: the segment the slot keeps WAL from (15+, if it has reserved any),
/// else the server's current segment. Not for going on: a position that is known must be asked for, even if the
/// server then refuses.
///
/// # Errors
/// When the slot does not exist (15+), or the server does not answer as it should.
pub fn start_position(
    connection: &mut Connection,
    slot: Option<&SlotName>,
) -> Result<StreamStart, ReceiveError> {
    let identity = connection.identify_system()?;
    let size = connection.wal_segment_size()?;
    let mut timeline = identity.timeline;
    let mut position = identity.position;
    if let Some(slot) = slot
        && connection.server_version() >= ServerVersion::V15
    {
        let state =
            connection.read_slot(slot)?.ok_or_else(|| ReceiveError::SlotMissing { slot: slot.clone() })?;
        if let Some(restart) = state.restart_lsn {
            position = restart;
            timeline = state.restart_timeline.unwrap_or(timeline);
        }
    }
    Ok(StreamStart {
        timeline,
        position: position.segment_start(size),
        system_id: Some(identity.system_id),
        segment_size: Some(size),
    })
}
