//! Receiving WAL for years on end: what `pg_receivewal` and a walreceiver do, into any [`walfile::WalSink`].
//!
//! [`Progress`] decides what to accept, when to flush and what to report; it is pure, time is passed in.
//! [`Receiver`] runs it over connections: it follows promotions, reconnects, and stops cleanly.
//!
//! The invariant: a position is reported as flushed only if the sink said it is durable, and the bytes handed to the
//! sink on one timeline have no gap and no repetition.

mod classify;
mod error;
mod event;
mod history;
mod options;
mod progress;
mod receiver;
mod session;
mod start;

pub use error::ReceiveError;
pub use event::{ReceiveEvent, ReceiveObserver};
pub use history::ancestry;
pub use options::{Backoff, ReceiveOptions};
pub use progress::{Accepted, Due, GapError, Progress, Settings};
pub use receiver::{EndReason, ReceiveReport, Receiver};
pub use start::{StreamStart, start_position};
