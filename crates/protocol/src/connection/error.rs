//! What can go wrong with a connection.

use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::net::WaitError;
use crate::proto::{BackendMessage, FrameError, MessageError, RowsError, ServerError};

/// A connection that is lost or can no longer be trusted. Nothing but a new connection helps.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The stop flag was set.
    #[error("stopped on request")]
    Stopped,
    /// The server closed the connection without a word.
    #[error("the server closed the connection unexpectedly")]
    Closed,
    /// Reading or writing failed.
    #[error("connection to the server failed: {0}")]
    Io(#[from] io::Error),
    /// The time given for a step passed.
    #[error("no answer from the server in time")]
    TimedOut,
    /// The server sent bytes that are no frame.
    #[error("protocol violation: {0}")]
    Frame(#[from] FrameError),
    /// The server sent a malformed message.
    #[error("protocol violation: {0}")]
    Message(#[from] MessageError),
    /// The server sent a message that has no place here.
    #[error("protocol violation: {found} where {expected} was expected")]
    Unexpected {
        /// What came.
        found: &'static str,
        /// What should have come.
        expected: &'static str,
    },
    /// An earlier failure, or a stream dropped before its end, left the connection in the middle of something.
    #[error("the connection is not ready for a command: an earlier one did not finish")]
    Busy,
}

impl ConnectionError {
    pub(crate) fn unexpected(found: &BackendMessage<'_>, expected: &'static str) -> Self {
        Self::Unexpected { found: found.name(), expected }
    }
}

impl From<WaitError> for ConnectionError {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Stopped => Self::Stopped,
            WaitError::TimedOut => Self::TimedOut,
            WaitError::Io(error) => Self::Io(error),
        }
    }
}

/// A command that failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The server refused it. The connection can go on, unless the error is fatal.
    #[error("{0}")]
    Server(Box<ServerError>),
    /// The connection is gone.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The answer is not what the command is documented to give.
    #[error("unexpected answer to {command}: {problem}")]
    Answer {
        /// The command's name.
        command: &'static str,
        /// What is wrong with the answer.
        problem: String,
    },
    /// The server is too old or too new for the command.
    #[error("{command} needs a server of version {needs}, this one is {found}")]
    Version {
        /// The command's name.
        command: &'static str,
        /// The version needed, such as "15 or later".
        needs: &'static str,
        /// The server's version.
        found: crate::ServerVersion,
    },
    /// The result set cannot be kept.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// The text of the command holds a zero byte, which the protocol cannot carry.
    #[error("the command contains a zero byte")]
    ZeroByte,
}

impl QueryError {
    /// What the server said, when it was the server that refused.
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Self::Server(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the server refused with this SQLSTATE.
    pub fn is_sqlstate(&self, code: &str) -> bool {
        self.server().is_some_and(|error| error.is(code))
    }

    /// Whether the stop flag ended it.
    pub const fn is_stopped(&self) -> bool {
        matches!(self, Self::Connection(ConnectionError::Stopped))
    }

    pub(crate) fn answer(command: &'static str, problem: impl Into<String>) -> Self {
        Self::Answer { command, problem: problem.into() }
    }
}

/// A connection that could not be made. Host names stand as given in the connection string.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name could not be resolved.
    #[error("could not translate host name \"{host}\" to address: {source}")]
    Resolve {
        /// The host.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// No connection.
    #[error("could not connect to server at \"{host}\", port {port}: {source}")]
    Io {
        /// The host or socket directory.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// `connect_timeout` passed.
    #[error("connection to server at \"{host}\", port {port} timed out after {} s", timeout.as_secs())]
    TimedOut {
        /// The host or socket directory.
        host: String,
        /// The port.
        port: u16,
        /// The time given.
        timeout: Duration,
    },
    /// The server refuses TLS and the connection string demands it, or TLS failed.
    #[error("TLS connection to \"{host}\" failed: {reason}")]
    Tls {
        /// The host.
        host: String,
        /// Why.
        reason: String,
    },
    /// The client side of authentication failed: no password, a server that proved nothing, ...
    #[error("authentication to \"{host}\" failed: {reason}")]
    Authentication {
        /// The host.
        host: String,
        /// Why.
        reason: String,
    },
    /// The server refused.
    #[error("connection to server at \"{host}\", port {port} failed: {error}")]
    Server {
        /// The host or socket directory.
        host: String,
        /// The port.
        port: u16,
        /// What it said.
        error: Box<ServerError>,
    },
    /// The server broke the protocol, or went away half-way.
    #[error("connection to server at \"{host}\" failed: {source}")]
    Connection {
        /// The host.
        host: String,
        /// Why.
        source: ConnectionError,
    },
    /// `target_session_attrs` is not met.
    #[error("server at \"{host}\", port {port} is not {wanted}")]
    SessionAttributes {
        /// The host or socket directory.
        host: String,
        /// The port.
        port: u16,
        /// What was asked for.
        wanted: String,
    },
    /// An option of the connection string cannot be honoured.
    #[error("{reason}")]
    Options {
        /// Why.
        reason: String,
    },
    /// All of several hosts failed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    AllHosts(Vec<Self>),
    /// The stop flag was set.
    #[error("stopped on request")]
    Stopped,
}

impl ConnectError {
    /// What the server said, when it was the (last) server that refused.
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            Self::Server { error, .. } => Some(error),
            Self::AllHosts(errors) => errors.last().and_then(Self::server),
            _ => None,
        }
    }
}
