//! A connection to a server: commands out, messages in.

mod dial;
mod error;
mod establish;
mod notice;
mod query;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres_protocol::message::frontend;

pub use error::{ConnectError, ConnectionError, QueryError};
pub use notice::Notice;
use notice::Notices;
pub(crate) use query::{CopyKind, Step, unexpected};

use crate::conninfo::ConnectOptions;
use crate::net::{Patience, Transport};
use crate::proto::{BackendMessage, Frame, FrameBuffer, ServerVersion};

/// A server reports some fifteen parameters; more is memory we do not lend.
const MAX_PARAMETERS: usize = 100;
/// Nor for values longer than any that is looked at.
const MAX_PARAMETER_BYTES: usize = 16 * 1024;

/// What a connection is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// SQL in a database.
    Sql,
    /// Physical replication: replication commands and SHOW.
    PhysicalReplication,
}

/// A connection to a PostgreSQL server.
///
/// One command at a time. A failed command leaves it usable; a [`ConnectionError`] or a stream dropped before its
/// end does not. Dropping it ends the session.
pub struct Connection {
    transport: Transport,
    frames: FrameBuffer,
    out: BytesMut,
    parameters: Vec<(String, String)>,
    version: ServerVersion,
    process_id: u32,
    notices: Notices,
    stop: Option<Arc<AtomicBool>>,
    query_limit: Option<Duration>,
    ready: bool,
    mode: Mode,
    encrypted: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("version", &self.version)
            .field("process_id", &self.process_id)
            .field("mode", &self.mode)
            .field("ready", &self.ready)
            .field("encrypted", &self.encrypted)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects to the first of the hosts that lets us in and is what `target_session_attrs` wants.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(options: &ConnectOptions, mode: Mode) -> Result<Self, ConnectError> {
        establish::connect(options, mode, None)
    }

    /// As [`Connection::connect`], giving up soon after `stop` is set, then and during all that follows.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect_with_stop(
        options: &ConnectOptions,
        mode: Mode,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, ConnectError> {
        establish::connect(options, mode, Some(stop))
    }

    /// Sets the flag that every wait looks at, at least four times a second; once it is set, waits end with
    /// [`ConnectionError::Stopped`].
    pub fn set_stop_flag(&mut self, stop: Arc<AtomicBool>) {
        self.stop = Some(stop);
    }

    /// How long [`Connection::query`] waits for a complete answer; once it has passed, the query ends with
    /// [`ConnectionError::TimedOut`] and the connection is of no use any more. `None`, as after connecting, is for ever.
    ///
    /// `statement_timeout` is the server's own limit; this one also holds where nothing comes from the server at all.
    pub const fn set_query_limit(&mut self, limit: Option<Duration>) {
        self.query_limit = limit;
    }

    /// The value of a parameter the server reported, such as `server_version` or `in_hot_standby`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The server's version.
    pub const fn server_version(&self) -> ServerVersion {
        self.version
    }

    /// The server process on the other side, as in `pg_stat_activity.pid`; 0 if a pooler hid it.
    pub const fn process_id(&self) -> u32 {
        self.process_id
    }

    /// What the connection was made for.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether the connection runs over TLS.
    pub const fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// The warnings and notices since the last call, oldest first; the oldest are dropped beyond a hundred.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        self.notices.take()
    }

    /// Takes the next frame that is not asynchronous. With a deadline, [`ConnectionError::TimedOut`] loses nothing.
    pub(crate) fn receive(
        &mut self,
        deadline: Option<Instant>,
        heed_stop: bool,
    ) -> Result<Frame, ConnectionError> {
        loop {
            while let Some(frame) = self.frames.next()? {
                match frame.tag {
                    b'N' | b'S' | b'A' => {
                        self.asynchronous(&frame)?;
                        // A server that talks without end never makes us wait, which is where time is looked at.
                        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                            return Err(ConnectionError::TimedOut);
                        }
                    }
                    _ => return Ok(frame),
                }
            }
            let stop = if heed_stop { self.stop.as_deref() } else { None };
            let patience = Patience { deadline, stop };
            let count = self.transport.read(self.frames.spare(), &patience)?;
            if count == 0 {
                return Err(ConnectionError::Closed);
            }
            self.frames.filled(count);
        }
    }

    /// Reads a frame as a message.
    pub(crate) fn message(&self, frame: &Frame) -> Result<BackendMessage<'_>, ConnectionError> {
        Ok(BackendMessage::parse(frame.tag, self.frames.body(frame))?)
    }

    /// The body of a frame.
    pub(crate) fn body(&self, frame: &Frame) -> &[u8] {
        self.frames.body(frame)
    }

    fn asynchronous(&mut self, frame: &Frame) -> Result<(), ConnectionError> {
        match BackendMessage::parse(frame.tag, self.frames.body(frame))? {
            BackendMessage::Notice(notice) => self.notices.push(*notice),
            BackendMessage::ParameterStatus { name, value }
                if name.len() + value.len() <= MAX_PARAMETER_BYTES =>
            {
                let name = String::from_utf8_lossy(name);
                let value = String::from_utf8_lossy(value).into_owned();
                let room = self.parameters.len() < MAX_PARAMETERS;
                match self.parameters.iter_mut().find(|(key, _)| *key == name) {
                    Some((_, old)) => *old = value,
                    None if room => self.parameters.push((name.into_owned(), value)),
                    None => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Sends what has been put into `out`.
    pub(crate) fn send(&mut self, deadline: Option<Instant>, heed_stop: bool) -> Result<(), ConnectionError> {
        let stop = if heed_stop { self.stop.as_deref() } else { None };
        let result = self.transport.write(&self.out, &Patience { deadline, stop });
        self.out.clear();
        Ok(result?)
    }

    /// The buffer of what is to be sent.
    pub(crate) const fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    pub(crate) const fn set_ready(&mut self) {
        self.ready = true;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.ready {
            frontend::terminate(&mut self.out);
            // A courtesy; the server notices the closed socket as well.
            let deadline = Instant::now() + Duration::from_millis(100);
            let _ = self.send(Some(deadline), false);
        }
    }
}
