//! Which of plain and TLS to try, in which order (`sslmode`, `PQconnectPoll` of libpq).

use super::TlsError;
use crate::conninfo::{ConnectOptions, Host, HostAddress, SslMode};

/// One way to open the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// Without TLS.
    Plain,
    /// Ask for TLS; if the server has none, go on without it on the same connection.
    TlsIfOffered,
    /// TLS, or the attempt fails.
    Tls,
}

/// The attempts for a host, each on a new connection, until one succeeds. The next is made only after a TLS failure
/// or a refusal during authentication, and never after the server asked for a password.
///
/// # Errors
/// `sslmode` demands TLS and this build has none.
pub fn plan(options: &ConnectOptions, host: &Host) -> Result<&'static [Attempt], TlsError> {
    if matches!(host.address, HostAddress::Unix(_)) {
        return Ok(&[Attempt::Plain]);
    }
    let mode = options.ssl().mode;
    if cfg!(not(feature = "tls")) {
        return if mode < SslMode::Require {
            Ok(&[Attempt::Plain])
        } else {
            Err(TlsError::NotBuilt { mode: mode.as_str() })
        };
    }
    Ok(match mode {
        SslMode::Disable => &[Attempt::Plain],
        SslMode::Allow => &[Attempt::Plain, Attempt::Tls],
        SslMode::Prefer => &[Attempt::TlsIfOffered, Attempt::Plain],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Attempt::Tls],
    })
}
