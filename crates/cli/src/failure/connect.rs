//! Connections that were not made, and queries that failed.

use std::io::ErrorKind;

use tapster_manager::{ServerConnectError, SwitchError};
use tapster_protocol::ConnectError;

use super::{Failure, Place, chain};

/// `Cannot connect to server 'main'`, as Barman says it, with the reason and what to look at.
pub(super) fn failure(place: &Place<'_>, error: &ServerConnectError) -> Failure {
    if let ServerConnectError::Connect(ConnectError::Stopped) = error {
        return Failure::interrupted();
    }
    let failure =
        Failure::user(format!("Cannot connect to server '{}'", place.server)).with_details(chain(error));
    match hint(error) {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// What to do about a connection that was refused.
pub(super) fn hint(error: &ServerConnectError) -> Option<String> {
    match error {
        ServerConnectError::Missing { key, .. } | ServerConnectError::ConnInfo { key, .. } => {
            Some(format!("look at '{key}' in the configuration of the server"))
        }
        ServerConnectError::Connect(error) => reason(error),
        _ => None,
    }
}

fn reason(error: &ConnectError) -> Option<String> {
    let text = match error {
        ConnectError::Server { error, .. } => match error.code.as_str() {
            "28P01" | "28000" => {
                "look at the user and the password of the connection string, ~/.pgpass and the server's pg_hba.conf"
            }
            "57P03" => "the server is starting up or shutting down; try again in a moment",
            "53300" => "the server has no connection left; look at max_connections and max_wal_senders",
            "3D000" => "look at 'dbname' of the connection string",
            _ => return None,
        },
        ConnectError::Authentication { .. } => {
            "put the password into the connection string or into ~/.pgpass of the user that runs this program"
        }
        ConnectError::Io { source, .. } => match source.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
                "is the server running, and does it listen at that address?"
            }
            _ => return None,
        },
        ConnectError::TimedOut { .. } => "is the address right, and does no firewall drop the packets?",
        ConnectError::AllHosts(errors) => return errors.iter().find_map(reason),
        _ => return None,
    };
    Some(text.to_owned())
}

impl Failure {
    /// A switch of WAL that failed.
    pub(crate) fn switch(place: &Place<'_>, error: &SwitchError) -> Self {
        let failure = Self::user(format!("Unable to perform pg_switch_wal for server '{}'.", place.server))
            .with_details(chain(error));
        match error {
            SwitchError::Connect(ServerConnectError::Connect(ConnectError::Stopped)) => Self::interrupted(),
            SwitchError::Connect(error) => match hint(error) {
                Some(hint) => failure.with_hint(hint),
                None => failure,
            },
            SwitchError::Query(error) if error.is_sqlstate("42501") => failure.with_hint(
                "grant EXECUTE on function pg_switch_wal() (and for --force pg_checkpoint) to the user of 'conninfo'",
            ),
            _ => failure,
        }
    }
}
