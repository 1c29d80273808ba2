//! What a receiver tells while it runs.

use std::time::Duration;

use walfile::{Lsn, Timeline};

use super::error::ReceiveError;
use crate::{ServerVersion, SystemId};

/// Something an operator, a log or a progress display may want to know.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReceiveEvent<'a> {
    /// Connected and the server is the right one.
    Connected {
        /// The cluster.
        system_id: SystemId,
        /// The server's version.
        version: ServerVersion,
        /// The server's timeline, which may be ahead of ours.
        timeline: Timeline,
        /// The server's position.
        position: Lsn,
    },
    /// Streaming begins.
    Streaming {
        /// On this timeline.
        timeline: Timeline,
        /// From here; what was received before is not handed to the sink again.
        start: Lsn,
    },
    /// A segment was received to its end. (It may not be durable yet.)
    Segment {
        /// Its timeline.
        timeline: Timeline,
        /// Its end.
        end: Lsn,
    },
    /// Positions were reported.
    Status {
        /// Received.
        write: Lsn,
        /// Durable.
        flush: Lsn,
        /// The end of WAL on the server, when last heard of.
        server_end: Lsn,
    },
    /// The timeline ended and the next one begins.
    TimelineSwitch {
        /// The one that ended.
        from: Timeline,
        /// The next.
        to: Timeline,
        /// The switch point.
        at: Lsn,
    },
    /// The connection was lost or could not be made.
    Disconnected {
        /// Why.
        error: &'a ReceiveError,
        /// When it is tried again.
        retry_in: Duration,
    },
}

/// Takes events. A closure will do.
pub trait ReceiveObserver {
    /// Called from the receiving thread: long work here slows the stream.
    fn event(&mut self, event: &ReceiveEvent<'_>);
}

impl<F: FnMut(&ReceiveEvent<'_>)> ReceiveObserver for F {
    fn event(&mut self, event: &ReceiveEvent<'_>) {
        self(event);
    }
}
