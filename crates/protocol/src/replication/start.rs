//! START_REPLICATION.

use thiserror::Error;
use walfile::{Lsn, Timeline};

use super::slot::SlotName;
use super::wal_stream::{NextTimeline, WalStream};
use crate::connection::{CopyKind, Step, unexpected};
use crate::proto::{Rows, ServerError};
use crate::{Connection, ConnectionError, QueryError, quote};

/// From where to stream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StartReplication {
    /// The slot that keeps the WAL, if any.
    pub slot: Option<SlotName>,
    /// The first position wanted; PostgreSQL asks for a segment start, and takes any page start.
    pub start: Lsn,
    /// The timeline to follow to its end; `None` is the server's current one.
    pub timeline: Option<Timeline>,
}

impl StartReplication {
    /// Streaming from `start` on the server's current timeline, without a slot.
    pub const fn new(start: Lsn) -> Self {
        Self { slot: None, start, timeline: None }
    }

    /// With this slot.
    #[must_use]
    pub fn with_slot(mut self, slot: Option<SlotName>) -> Self {
        self.slot = slot;
        self
    }

    /// On this timeline.
    #[must_use]
    pub const fn with_timeline(mut self, timeline: Timeline) -> Self {
        self.timeline = Some(timeline);
        self
    }

    fn command(&self) -> String {
        use std::fmt::Write;
        let mut text = String::from("START_REPLICATION");
        if let Some(slot) = &self.slot {
            let _ = write!(text, " SLOT {}", quote::identifier(slot.as_str()));
        }
        let _ = write!(text, " PHYSICAL {}", self.start);
        if let Some(timeline) = self.timeline {
            let _ = write!(text, " TIMELINE {timeline}");
        }
        text
    }
}

/// A WAL stream that could not start, or broke.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplicationError {
    /// The server refused, or gave up during the stream.
    #[error("{0}")]
    Server(Box<ServerError>),
    /// The connection is gone.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The answer is not as documented.
    #[error(transparent)]
    Query(QueryError),
    /// The server ended the stream though the timeline did not end: it is shutting down.
    #[error("the server ended the stream")]
    Ended,
}

impl ReplicationError {
    /// What the server said, when it was the server that refused.
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Self::Server(error) => Some(error),
            _ => None,
        }
    }
}

impl From<QueryError> for ReplicationError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Server(error) => Self::Server(error),
            QueryError::Connection(error) => Self::Connection(error),
            other => Self::Query(other),
        }
    }
}

impl Connection {
    /// START_REPLICATION.
    ///
    /// A start at the very end of an old timeline has no COPY phase; the stream's first event is then
    /// [`super::WalEvent::EndOfTimeline`].
    ///
    /// # Errors
    /// When the server refuses at once: no such slot, slot active, position not in its history. Some refusals
    /// come only with the first event.
    pub fn start_replication(&mut self, start: &StartReplication) -> Result<WalStream<'_>, ReplicationError> {
        self.command(&start.command())?;
        match self.step()? {
            Step::Copy(CopyKind::Both) => Ok(WalStream::new(self, None)),
            Step::Rows(rows) => {
                let next = next_timeline(&rows)?;
                self.finish_start()?;
                Ok(WalStream::new(self, Some(next)))
            }
            Step::Refused(error) => Err(ReplicationError::Server(self.refusal(error))),
            Step::Complete => {
                self.settle()?;
                Err(ReplicationError::Ended)
            }
            _ => Err(unexpected("another message", "CopyBothResponse").into()),
        }
    }

    fn finish_start(&mut self) -> Result<(), ReplicationError> {
        match self.settle()? {
            Some(error) => Err(ReplicationError::Server(error)),
            None => Ok(()),
        }
    }
}

/// Reads the result set at the end of a timeline.
pub(super) fn next_timeline(rows: &Rows) -> Result<NextTimeline, QueryError> {
    const COMMAND: &str = "START_REPLICATION";
    let parsed = (
        rows.value(0, 0).and_then(|text| text.parse::<Timeline>().ok()),
        rows.value(0, 1).and_then(|text| text.parse::<Lsn>().ok()),
    );
    match parsed {
        (Some(timeline), Some(start)) => Ok(NextTimeline { timeline, start }),
        _ => Err(QueryError::answer(COMMAND, "no next timeline at the end of a timeline")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        let start = StartReplication::new(Lsn::new(0x1_0300_0000))
            .with_slot(SlotName::new("s").ok())
            .with_timeline(Timeline::FIRST);
        assert_eq!(start.command(), "START_REPLICATION SLOT \"s\" PHYSICAL 1/3000000 TIMELINE 1");
    }
}
