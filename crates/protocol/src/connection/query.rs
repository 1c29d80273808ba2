//! Simple queries.

use std::time::Instant;

use postgres_protocol::message::frontend;

use super::{Connection, ConnectionError, QueryError};
use crate::proto::{BackendMessage, Rows, ServerError};

/// How one command ended.
pub(crate) enum Step {
    /// A result set is complete.
    Rows(Rows),
    /// CommandComplete without rows.
    Complete,
    /// The server refused.
    Refused(Box<ServerError>),
    /// ReadyForQuery.
    Ready,
    /// CopyOut, CopyIn or CopyBoth begins.
    Copy(CopyKind),
    /// CopyDone.
    CopyDone,
}

/// The direction of a COPY.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CopyKind {
    Out,
    In,
    Both,
}

impl Connection {
    /// Runs `sql` with the simple query protocol and returns its last result set (empty if it has none).
    ///
    /// On a replication connection this runs replication commands and SHOW.
    ///
    /// # Errors
    /// [`QueryError::Server`] when the server refuses; the connection can be used again then. When it takes longer than
    /// [`Connection::set_query_limit`] allows, [`ConnectionError::TimedOut`].
    pub fn query(&mut self, sql: &str) -> Result<Rows, QueryError> {
        let deadline = self.query_limit.and_then(|limit| Instant::now().checked_add(limit));
        self.command_before(sql, deadline)?;
        let mut last = Rows::default();
        let mut refusal = None;
        loop {
            match self.step_from(None, deadline)? {
                Step::Rows(rows) => last = rows,
                Step::Complete => {}
                Step::Refused(error) if error.is_fatal() => return Err(QueryError::Server(error)),
                Step::Refused(error) => refusal = Some(error),
                Step::Ready => return refusal.map_or(Ok(last), |error| Err(QueryError::Server(error))),
                Step::Copy(_) | Step::CopyDone => {
                    return Err(unexpected("CopyResponse", "a result set").into());
                }
            }
        }
    }

    /// Sends a command and takes the connection out of use until ReadyForQuery.
    pub(crate) fn command(&mut self, text: &str) -> Result<(), QueryError> {
        self.command_before(text, None)
    }

    fn command_before(&mut self, text: &str, deadline: Option<Instant>) -> Result<(), QueryError> {
        if !self.ready {
            return Err(ConnectionError::Busy.into());
        }
        tracing::debug!(command = text, "sending");
        frontend::query(text, &mut self.out).map_err(|_| {
            self.out.clear();
            QueryError::ZeroByte
        })?;
        self.ready = false;
        Ok(self.send(deadline, true)?)
    }

    /// Reads to the end of the next part of an answer.
    pub(crate) fn step(&mut self) -> Result<Step, QueryError> {
        self.step_from(None, None)
    }

    /// Reads the rest of a result set whose description was already taken.
    pub(crate) fn rest_of_rows(&mut self, rows: Rows) -> Result<Rows, QueryError> {
        match self.step_from(Some(rows), None)? {
            Step::Rows(rows) => Ok(rows),
            Step::Refused(error) => Err(QueryError::Server(error)),
            _ => Err(unexpected("another message", "the rest of a result set").into()),
        }
    }

    fn step_from(&mut self, mut rows: Option<Rows>, deadline: Option<Instant>) -> Result<Step, QueryError> {
        loop {
            let frame = self.receive(deadline, true)?;
            let step = match self.message(&frame)? {
                BackendMessage::RowDescription(body) => {
                    rows = Some(Rows::describe(body)?);
                    continue;
                }
                BackendMessage::DataRow(body) => match &mut rows {
                    Some(rows) => {
                        rows.push(body)?;
                        continue;
                    }
                    None => return Err(unexpected("DataRow", "RowDescription").into()),
                },
                BackendMessage::CommandComplete(_) => rows.map_or(Step::Complete, Step::Rows),
                BackendMessage::EmptyQuery => Step::Complete,
                BackendMessage::Error(error) => Step::Refused(error),
                BackendMessage::ReadyForQuery(_) => {
                    self.ready = true;
                    Step::Ready
                }
                BackendMessage::CopyOut => Step::Copy(CopyKind::Out),
                BackendMessage::CopyIn => Step::Copy(CopyKind::In),
                BackendMessage::CopyBoth => Step::Copy(CopyKind::Both),
                BackendMessage::CopyDone => Step::CopyDone,
                other => return Err(ConnectionError::unexpected(&other, "an answer to a command").into()),
            };
            return Ok(step);
        }
    }

    /// What the server refused, with the connection ready again if it can be. Trouble in getting there does not
    /// replace the server's reason; the next command meets it.
    pub(crate) fn refusal(&mut self, error: Box<ServerError>) -> Box<ServerError> {
        if !error.is_fatal()
            && let Err(after) = self.settle()
        {
            tracing::debug!("after a refusal: {after}");
        }
        error
    }

    /// Reads on to ReadyForQuery and forgets what comes before; gives the first refusal.
    pub(crate) fn settle(&mut self) -> Result<Option<Box<ServerError>>, QueryError> {
        let mut refusal = None;
        loop {
            match self.step()? {
                Step::Ready => return Ok(refusal),
                Step::Refused(error) if error.is_fatal() => return Ok(Some(error)),
                Step::Refused(error) => refusal = refusal.or(Some(error)),
                _ => {}
            }
        }
    }
}

pub(crate) const fn unexpected(found: &'static str, expected: &'static str) -> ConnectionError {
    ConnectionError::Unexpected { found, expected }
}
