//! A server that left our timeline before the end of what we received.
//!
//! It was restored to a point in time, or a standby was promoted that had not got all of it. PostgreSQL refuses to go on
//! from our position then. What the archive has of the old timeline stays there, for it is a past that can be restored;
//! the new timeline is received from the segment in which it begins, so that no byte of it is missing.

use std::fmt;

use tapster_catalog::segment_dir::SegmentDirError;
use tapster_protocol::receive::{ReceiveError, StreamStart};
use tapster_protocol::{Connection, SystemIdentity};
use walfile::{Lsn, SegmentSize, Timeline, WalName};

use crate::Server;
use crate::receive_wal::ReceiveWalError;

/// Where the server's history leaves what we have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fork {
    from: Timeline,
    pub(crate) to: Timeline,
    pub(crate) at: Lsn,
    received: Lsn,
}

impl fmt::Display for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, at, received } = self;
        write!(
            f,
            "the server left timeline {from} for {to} at {at}, before what was received of it ({received}): receiving goes on \
             with timeline {to} from there, and the WAL of timeline {from} stays"
        )
    }
}

/// `None` when the server can send WAL from `known` on, or is not of our line at all (it will say so itself).
pub(crate) fn earlier_fork(
    connection: &mut Connection,
    system: &SystemIdentity,
    known: StreamStart,
    size: SegmentSize,
) -> Result<Option<Fork>, ReceiveError> {
    if system.timeline <= known.timeline {
        return Ok(None);
    }
    let history = connection.timeline_history(system.timeline)?.parse()?;
    let mut entries = history.entries().iter().skip_while(|entry| entry.timeline != known.timeline);
    let Some(left) = entries.next() else { return Ok(None) };
    if known.position.segment_start(size) <= left.switch {
        return Ok(None);
    }
    let to = entries.next().map_or(system.timeline, |next| next.timeline);
    Ok(Some(Fork { from: known.timeline, to, at: left.switch, received: known.position }))
}

impl Server {
    /// Two restores can each make a timeline of the same number; the archive has room for one.
    pub(crate) fn refuse_other_history(
        &self,
        connection: &mut Connection,
        timeline: Timeline,
    ) -> Result<(), ReceiveWalError> {
        let stored = self.wal_store().history(timeline)?;
        let Some(stored) = stored else { return Ok(()) };
        if connection.timeline_history(timeline)?.parse().map_err(ReceiveError::from)? != stored {
            let path = self.layout().wal(WalName::History(timeline));
            return Err(SegmentDirError::Conflict { path }.into());
        }
        Ok(())
    }
}
