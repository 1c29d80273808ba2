//! The stream of WAL during START_REPLICATION.

use std::time::{Duration, Instant};

use postgres_protocol::message::frontend;
use walfile::{Lsn, Timeline};

use super::start::{ReplicationError, next_timeline};
use crate::connection::Step;
use crate::proto::{BackendMessage, WalMessage, write_standby_status};
use crate::{Connection, ConnectionError};

/// What happens on a WAL stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WalEvent<'a> {
    /// WAL, borrowed from the receive buffer. It may cross a segment boundary.
    Data {
        /// Position of the first byte.
        start: Lsn,
        /// The end of WAL on the server.
        server_end: Lsn,
        /// The WAL.
        bytes: &'a [u8],
    },
    /// A sign of life.
    Keepalive {
        /// The end of WAL on the server, or how far it has sent.
        server_end: Lsn,
        /// Whether it waits for a status update: flush, then send one at once.
        reply_requested: bool,
    },
    /// The server ended the stream: the timeline ended where the next one starts, or, with `None`, the server
    /// shuts down. The connection can take commands again in the first case.
    EndOfTimeline(Option<NextTimeline>),
    /// Nothing came in the time given.
    Idle,
}

/// The timeline after the one that ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct NextTimeline {
    /// The timeline.
    pub timeline: Timeline,
    /// Where it starts: the switch point.
    pub start: Lsn,
}

/// Positions to report, each the last byte + 1. The default reports nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StandbyStatus {
    /// Received and handed to the operating system.
    pub write: Lsn,
    /// On disk; [`Lsn::INVALID`] is "unknown", which leaves the slot where it is.
    pub flush: Lsn,
    /// Replayed; nothing that only stores WAL should claim this.
    pub apply: Lsn,
    /// Ask the server for a keepalive.
    pub reply_requested: bool,
}

/// A running START_REPLICATION. Dropping it without [`WalStream::stop`] or an end makes the connection useless.
#[derive(Debug)]
pub struct WalStream<'c> {
    connection: &'c mut Connection,
    /// The end of the timeline came without a COPY phase.
    pending: Option<NextTimeline>,
    ended: bool,
    /// The server's clock when it last told, and when that was; so that replies need no clock of ours.
    server_clock: i64,
    heard: Instant,
}

/// What a frame is, apart from what it borrows.
enum Kind {
    Wal,
    Done,
    Refused(Box<crate::ServerError>),
    Complete,
}

impl<'c> WalStream<'c> {
    pub(super) fn new(connection: &'c mut Connection, pending: Option<NextTimeline>) -> Self {
        Self { connection, pending, ended: false, server_clock: 0, heard: Instant::now() }
    }

    /// The next event, or [`WalEvent::Idle`] when none comes within `timeout`. With a zero timeout it only looks.
    ///
    /// # Errors
    /// Server errors inside the stream too, such as `58P01` when WAL is no longer there. After
    /// [`ConnectionError::Stopped`] the stream can still send a status and [`WalStream::stop`].
    pub fn next(&mut self, timeout: Duration) -> Result<WalEvent<'_>, ReplicationError> {
        if self.ended {
            let next = self.pending.take();
            return if next.is_some() {
                Ok(WalEvent::EndOfTimeline(next))
            } else {
                Err(ReplicationError::Ended)
            };
        }
        if let Some(next) = self.pending.take() {
            self.ended = true;
            return Ok(WalEvent::EndOfTimeline(Some(next)));
        }
        let frame = match self.connection.receive(Instant::now().checked_add(timeout), true) {
            Ok(frame) => frame,
            Err(ConnectionError::TimedOut) => return Ok(WalEvent::Idle),
            Err(error) => return Err(error.into()),
        };
        let kind = match self.connection.message(&frame)? {
            BackendMessage::CopyData(_) => Kind::Wal,
            BackendMessage::CopyDone => Kind::Done,
            BackendMessage::Error(error) => Kind::Refused(error),
            BackendMessage::CommandComplete(_) => Kind::Complete,
            other => return Err(ConnectionError::unexpected(&other, "WAL").into()),
        };
        match kind {
            Kind::Wal => {}
            Kind::Done => return self.end_of_timeline(),
            Kind::Complete => {
                // A server that shuts down says `COPY 0` without CopyDone and is gone.
                self.ended = true;
                return Ok(WalEvent::EndOfTimeline(None));
            }
            Kind::Refused(error) => {
                self.ended = true;
                return Err(ReplicationError::Server(self.connection.refusal(error)));
            }
        }
        match WalMessage::parse(self.connection.body(&frame)).map_err(ConnectionError::from)? {
            WalMessage::Data { start, server_end, sent_at, bytes } => {
                self.server_clock = sent_at;
                self.heard = Instant::now();
                Ok(WalEvent::Data { start, server_end, bytes })
            }
            WalMessage::Keepalive { server_end, sent_at, reply_requested } => {
                self.server_clock = sent_at;
                self.heard = Instant::now();
                Ok(WalEvent::Keepalive { server_end, reply_requested })
            }
        }
    }

    /// Answers CopyDone with CopyDone and reads where the next timeline starts.
    fn end_of_timeline(&mut self) -> Result<WalEvent<'_>, ReplicationError> {
        self.ended = true;
        frontend::copy_done(self.connection.out());
        self.connection.send(None, true)?;
        let mut next = None;
        loop {
            match self.connection.step()? {
                Step::Rows(rows) => next = Some(next_timeline(&rows)?),
                Step::Complete | Step::CopyDone => {}
                Step::Ready => return Ok(WalEvent::EndOfTimeline(next)),
                Step::Refused(error) => {
                    return Err(ReplicationError::Server(self.connection.refusal(error)));
                }
                Step::Copy(_) => {
                    return Err(crate::connection::unexpected("CopyResponse", "next timeline").into());
                }
            }
        }
    }

    /// Reports positions. The time in the message is the server's own, as it last told it.
    ///
    /// # Errors
    /// When the connection is gone, or the server takes nothing for 10 seconds.
    pub fn send_status(&mut self, status: &StandbyStatus) -> Result<(), ReplicationError> {
        let since = i64::try_from(self.heard.elapsed().as_micros()).unwrap_or(0);
        write_standby_status(
            status.write,
            status.flush,
            status.apply,
            self.server_clock.saturating_add(since),
            status.reply_requested,
            self.connection.out(),
        );
        // Not ended by the stop flag: half a message would be the end of the connection.
        let deadline = Instant::now().checked_add(Duration::from_secs(10));
        Ok(self.connection.send(deadline, false)?)
    }

    /// Ends the stream from our side. What the server still had on its way is dropped, and was never
    /// acknowledged. Works when the stop flag is set; takes 10 seconds at most.
    ///
    /// # Errors
    /// When the connection is gone; nothing is lost by that.
    pub fn stop(self) -> Result<(), ReplicationError> {
        if self.ended {
            return Ok(());
        }
        let deadline = Instant::now().checked_add(Duration::from_secs(10));
        frontend::copy_done(self.connection.out());
        self.connection.send(deadline, false)?;
        loop {
            let frame = self.connection.receive(deadline, false)?;
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(ConnectionError::TimedOut.into());
            }
            match self.connection.message(&frame)? {
                BackendMessage::ReadyForQuery(_) => {
                    self.connection.set_ready();
                    return Ok(());
                }
                BackendMessage::Error(error) if error.is_fatal() => {
                    return Err(ReplicationError::Server(error));
                }
                _ => {}
            }
        }
    }
}
