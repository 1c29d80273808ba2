//! Authentication without I/O: message bodies in, answers out.
//!
//! The server leads: each `Authentication…` message goes to [`Authenticator::receive`], which says what to send. It
//! refuses what `require_auth` and `channel_binding=require` forbid **before** anything derived from the password
//! leaves, and it does not call an exchange done until the server has proved that it knows the password too.

mod authenticator;
mod error;
mod mechanism;

pub use authenticator::{AuthStep, Authenticator, ServerEndPoint};
pub use error::AuthError;
