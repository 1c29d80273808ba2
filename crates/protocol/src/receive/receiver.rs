//! The receiver: sessions, one after the other, until the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use walfile::{Lsn, Timeline, WalSink};

use super::error::ReceiveError;
use super::event::{ReceiveEvent, ReceiveObserver};
use super::options::ReceiveOptions;
use super::session::{Position, Session};
use super::start::StreamStart;
use crate::ConnectOptions;

/// Receives WAL into a [`WalSink`] until it is stopped or has all that was wanted.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    options: ReceiveOptions,
}

/// Why a receiver ended without an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EndReason {
    /// The stop flag.
    Stopped,
    /// [`ReceiveOptions::end_position`] was reached.
    EndPosition,
}

/// How far a receiver came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReceiveReport {
    /// Why it ended.
    pub reason: EndReason,
    /// The timeline.
    pub timeline: Timeline,
    /// The end of what was received; durable.
    pub position: Lsn,
}

impl Receiver {
    /// A receiver with these options.
    pub const fn new(options: ReceiveOptions) -> Self {
        Self { options }
    }

    /// Receives. When this returns, by whatever way, all that was handed to the sink has been flushed, unless the
    /// sink itself failed.
    ///
    /// # Errors
    /// What trying again cannot cure, or anything when [`ReceiveOptions::reconnect`] is off. See
    /// [`ReceiveError::is_retryable`].
    pub fn run(
        &self,
        connect: &ConnectOptions,
        sink: &mut dyn WalSink,
        start: StreamStart,
        stop: &Arc<AtomicBool>,
        observer: &mut dyn ReceiveObserver,
    ) -> Result<ReceiveReport, ReceiveError> {
        let mut position = Position::new(start, sink.flushed());
        let mut failures = 0;
        loop {
            let before = position.written;
            let mut session =
                Session { options: &self.options, sink, position: &mut position, stop, observer };
            let result = session.run(connect);
            // Whatever ended the session: what was received is worth keeping.
            let flushed = match &result {
                Err(ReceiveError::Sink { .. }) => Ok(position.written),
                _ => sink.flush().map_err(|source| ReceiveError::Sink { position: position.written, source }),
            };
            let report =
                |reason| ReceiveReport { reason, timeline: position.timeline, position: position.written };
            let error = match (result, flushed) {
                (Ok(reason), Ok(_)) => return Ok(report(reason)),
                (_, Err(error)) => return Err(error),
                (Err(error), Ok(_)) if error.is_stopped() => return Ok(report(EndReason::Stopped)),
                (Err(error), Ok(_)) => error,
            };
            let Some(backoff) = self.options.reconnect.filter(|_| error.is_retryable(position.streamed))
            else {
                return Err(error);
            };
            failures = if position.written > before { 1 } else { failures + 1 };
            let retry_in = backoff.delay(failures);
            tracing::warn!(?retry_in, "receiving WAL was interrupted: {error}");
            observer.event(&ReceiveEvent::Disconnected { error: &error, retry_in });
            if !sleep(retry_in, stop) {
                return Ok(report(EndReason::Stopped));
            }
        }
    }
}

/// Sleeps; false when the stop flag ended it.
fn sleep(time: Duration, stop: &AtomicBool) -> bool {
    let begin = Instant::now();
    loop {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        match time.checked_sub(begin.elapsed()) {
            Some(left) if !left.is_zero() => std::thread::sleep(left.min(Duration::from_millis(200))),
            _ => return true,
        }
    }
}
