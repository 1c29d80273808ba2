//! Why authentication failed on the client's side.

use std::io;

use thiserror::Error;

/// The client broke off the authentication. (A wrong password is the server's error, not one of these.)
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The server wants a password and there is none.
    #[error("no password supplied")]
    NoPassword,
    /// The message does not have the form its code promises.
    #[error("malformed authentication message from the server: {problem}")]
    Malformed {
        /// What is wrong.
        problem: &'static str,
    },
    /// A method this crate does not speak.
    #[error("authentication method {method} is not supported")]
    Unsupported {
        /// The method's name, or its code.
        method: String,
    },
    /// `require_auth` does not allow what the server asks for.
    #[error("authentication method requirement \"{requirement}\" failed: server requested {requested}")]
    NotAllowed {
        /// The value of `require_auth`.
        requirement: String,
        /// What the server asked for.
        requested: &'static str,
    },
    /// None of the SASL mechanisms offered is known.
    #[error("none of the server's SASL authentication mechanisms are supported")]
    NoMechanism,
    /// `SCRAM-SHA-256-PLUS` outside TLS: the server, or someone between, is lying.
    #[error("server offered SCRAM-SHA-256-PLUS authentication over a non-SSL connection")]
    PlusWithoutTls,
    /// `channel_binding=require` cannot be met.
    #[error("channel binding is required, but {problem}")]
    ChannelBinding {
        /// Why not.
        problem: &'static str,
    },
    /// The SCRAM exchange is not sound; the server may not know the password.
    #[error("SCRAM exchange failed: {source}")]
    Scram {
        /// What the exchange found.
        source: io::Error,
    },
    /// The server let us in although the exchange it began was not finished.
    #[error("server ended the SASL exchange before proving that it knows the password")]
    ServerNotVerified,
    /// A message that has no place at this point.
    #[error("authentication message {code} is out of order")]
    OutOfOrder {
        /// The authentication code.
        code: u32,
    },
}
