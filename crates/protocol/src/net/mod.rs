//! Sockets: the only place of the crate that opens one.
//!
//! Every socket is non-blocking; whoever must wait does so in [`wait`], in slices short enough that a stop flag
//! is seen within a quarter of a second.

mod establish;
mod socket;
mod transport;
mod wait;

pub(crate) use establish::{Dialed, dial};
pub(crate) use socket::Socket;
pub(crate) use transport::Transport;
pub(crate) use wait::{Patience, WaitError};
