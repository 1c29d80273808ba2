//! Sockets: the only place of the crate that opens one.
//!
//! Every socket is non-blocking; whoever must wait does so with a [`Patience`], in slices short enough that a stop
//! flag is seen within a quarter of a second.

mod peer;
mod socket;
mod transport;
mod wait;

pub(crate) use peer::peer_is;
pub(crate) use socket::{Keepalive, Socket, TcpSettings};
pub(crate) use transport::Transport;
pub(crate) use wait::{Patience, WaitError};
