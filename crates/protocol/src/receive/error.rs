//! What can stop a receiver.

use std::io;
use std::time::Duration;

use thiserror::Error;
use walfile::{HistoryError, Lsn, SegmentSize, Timeline};

use super::progress::GapError;
use crate::{ConnectError, ConnectionError, QueryError, ReplicationError, ServerError, SlotName, SystemId};

/// Why receiving ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A command failed.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The stream broke.
    #[error(transparent)]
    Stream(#[from] ReplicationError),
    /// The server was silent for too long.
    #[error("nothing heard from the server for {} s", .0.as_secs())]
    Silent(Duration),
    /// The storage failed. What it holds beyond its last flush is uncertain.
    #[error("could not store WAL at {position}: {source}")]
    Sink {
        /// Where.
        position: Lsn,
        /// Why.
        source: io::Error,
    },
    /// This is another cluster.
    #[error("system identifier of the server is {found}, expected {expected}")]
    SystemId {
        /// What was received so far.
        expected: SystemId,
        /// The server's.
        found: SystemId,
    },
    /// Another segment size than that of the WAL received so far.
    #[error("WAL segment size of the server is {found}, expected {expected}")]
    SegmentSize {
        /// That of the WAL received so far.
        expected: SegmentSize,
        /// The server's.
        found: SegmentSize,
    },
    /// We have WAL of a timeline that the server does not know yet: it is an old primary, or was restored.
    #[error("server is on timeline {found}, but WAL of timeline {ours} was already received")]
    TimelineAhead {
        /// Ours.
        ours: Timeline,
        /// The server's.
        found: Timeline,
    },
    /// What we have is not part of the server's past.
    #[error("position {position} on timeline {timeline} is not in the server's history: {error}")]
    NotInHistory {
        /// Where we wanted to go on.
        position: Lsn,
        /// On which timeline.
        timeline: Timeline,
        /// What the server said.
        error: Box<ServerError>,
    },
    /// We have more WAL than the server.
    #[error("WAL was received up to {position}, but the server's ends at {server}: it has lost WAL")]
    AheadOfServer {
        /// Where we wanted to go on.
        position: Lsn,
        /// The end of the server's WAL.
        server: Lsn,
    },
    /// A standby has not got what was received from elsewhere; it will, unless it follows another primary.
    #[error(
        "the standby is behind what was received: its WAL ends at {server} on timeline {found}, ours at {position} on timeline {ours}"
    )]
    StandbyBehind {
        /// Where we wanted to go on.
        position: Lsn,
        /// On which timeline.
        ours: Timeline,
        /// The end of the standby's WAL.
        server: Lsn,
        /// The standby's timeline.
        found: Timeline,
    },
    /// The server no longer has the WAL needed. A new base backup is due.
    #[error("WAL from {position} on timeline {timeline} is no longer on the server: {error}")]
    WalRemoved {
        /// Where we wanted to go on.
        position: Lsn,
        /// On which timeline.
        timeline: Timeline,
        /// What the server said.
        error: Box<ServerError>,
    },
    /// There is no such slot.
    #[error("replication slot '{slot}' does not exist")]
    SlotMissing {
        /// The slot.
        slot: SlotName,
    },
    /// Somebody else uses the slot.
    #[error("replication slot '{slot}' is in use: {error}")]
    SlotActive {
        /// The slot.
        slot: SlotName,
        /// What the server said.
        error: Box<ServerError>,
    },
    /// The slot was invalidated or is not a physical one.
    #[error("replication slot '{slot}' cannot be used: {error}")]
    SlotUnusable {
        /// The slot.
        slot: SlotName,
        /// What the server said.
        error: Box<ServerError>,
    },
    /// The stream does not follow what was received.
    #[error(transparent)]
    Gap(#[from] GapError),
    /// The end of a timeline makes no sense.
    #[error(
        "server ended timeline {timeline} at {reached} and reports timeline {next} from {start} as the next"
    )]
    NextTimeline {
        /// The one that ended.
        timeline: Timeline,
        /// How far it was received.
        reached: Lsn,
        /// The next, as the server says.
        next: Timeline,
        /// Its start, as the server says.
        start: Lsn,
    },
    /// The server's history file is malformed.
    #[error(transparent)]
    History(#[from] HistoryError),
}

impl ReceiveError {
    /// Whether trying again may help without anybody doing anything. `streamed` is whether this receiver has
    /// streamed before: then a slot in use is most likely our own lost connection.
    pub fn is_retryable(&self, streamed: bool) -> bool {
        match self {
            Self::Connect(error) => connect_retryable(error),
            Self::Query(error) => match error {
                QueryError::Connection(error) => connection_retryable(error),
                QueryError::Server(error) => server_retryable(error),
                _ => false,
            },
            Self::Stream(error) => match error {
                ReplicationError::Connection(error) => connection_retryable(error),
                ReplicationError::Server(error) => server_retryable(error),
                ReplicationError::Ended => true,
                ReplicationError::Query(_) => false,
            },
            Self::Silent(_) | Self::StandbyBehind { .. } => true,
            Self::SlotActive { .. } => streamed,
            _ => false,
        }
    }

    /// Whether the stop flag ended it.
    pub(super) const fn is_stopped(&self) -> bool {
        matches!(
            self,
            Self::Connect(ConnectError::Stopped)
                | Self::Query(QueryError::Connection(ConnectionError::Stopped))
                | Self::Stream(ReplicationError::Connection(ConnectionError::Stopped))
        )
    }
}

fn connect_retryable(error: &ConnectError) -> bool {
    match error {
        ConnectError::Resolve { .. }
        | ConnectError::Io { .. }
        | ConnectError::TimedOut { .. }
        | ConnectError::SessionAttributes { .. } => true,
        ConnectError::Connection { source, .. } => connection_retryable(source),
        ConnectError::Server { error, .. } => server_retryable(error),
        ConnectError::AllHosts(errors) => errors.iter().any(connect_retryable),
        _ => false,
    }
}

const fn connection_retryable(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::Closed | ConnectionError::Io(_) | ConnectionError::TimedOut)
}

/// Shutting down, starting up, crashing, out of connections or memory: all that passes.
fn server_retryable(error: &ServerError) -> bool {
    ["57P", "53", "08"].iter().any(|class| error.code.starts_with(class))
}
