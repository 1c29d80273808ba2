//! What a server said, as libpq's `PQerrorMessage` words it.

use std::fmt;

use tapster_protocol::{ConnectError, ConnectOptions, ServerError};

use crate::text::system_text;

/// `ERROR:  message`, then `DETAIL:  …` and `HINT:  …` on lines of their own.
#[derive(Clone, Copy, Debug)]
pub struct LibpqText<'a>(pub &'a ServerError);

impl fmt::Display for LibpqText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ServerError { severity, message, detail, hint, .. } = self.0;
        write!(f, "{severity}:  {message}")?;
        for (name, text) in [("DETAIL", detail), ("HINT", hint)] {
            if let Some(text) = text {
                write!(f, "\n{name}:  {text}")?;
            }
        }
        Ok(())
    }
}

/// The reason of a connection that wants a password where none is given.
pub const NO_PASSWORD: &str = "no password supplied";

/// A failed connection in libpq's words, which may take several lines.
pub fn connect_text(error: &ConnectError, options: &ConnectOptions) -> String {
    let first_port = options.hosts().first().map_or(5432, |host| host.port);
    let to = |host: &str, port: u16| {
        if host.starts_with(['/', '@']) {
            format!("connection to server on socket \"{host}/.s.PGSQL.{port}\" failed: ")
        } else {
            format!("connection to server at \"{host}\", port {port} failed: ")
        }
    };
    match error {
        ConnectError::Io { host, port, source } => {
            let reason = system_text(source);
            let question = if host.starts_with(['/', '@']) {
                "Is the server running locally and accepting connections on that socket?"
            } else {
                "Is the server running on that host and accepting TCP/IP connections?"
            };
            format!("{}{reason}\n\t{question}", to(host, *port))
        }
        ConnectError::TimedOut { host, port, .. } => format!("{}timeout expired", to(host, *port)),
        ConnectError::Server { host, port, error } => format!("{}{}", to(host, *port), LibpqText(error)),
        ConnectError::Authentication { host, reason } => {
            let prefix = if reason == NO_PASSWORD { "fe_sendauth: " } else { "" };
            format!("{}{prefix}{reason}", to(host, first_port))
        }
        ConnectError::Tls { host, reason } => format!("{}{reason}", to(host, first_port)),
        ConnectError::AllHosts(errors) => {
            errors.iter().map(|error| connect_text(error, options)).collect::<Vec<_>>().join("\n")
        }
        other => other.to_string(),
    }
}
