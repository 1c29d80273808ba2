//! The streaming clients of a server that could not be asked for.

use tapster_manager::{ReplicationStatusError, ServerConnectError};
use tapster_protocol::ConnectError;

use super::{Failure, Place, chain, connect};

impl Failure {
    /// A failed `replication-status`.
    pub(crate) fn replication_status(place: &Place<'_>, error: &ReplicationStatusError) -> Self {
        match error {
            ReplicationStatusError::Connect(ServerConnectError::Connect(ConnectError::Stopped)) => {
                Self::interrupted()
            }
            ReplicationStatusError::Connect(refused) => {
                let failure = Self::user(format!("Unable to connect to server {}", place.server))
                    .with_details(chain(refused));
                match connect::hint(refused) {
                    Some(hint) => failure.with_hint(hint),
                    None => failure,
                }
            }
            ReplicationStatusError::Privileges { .. } => Self::user(error.to_string())
                .with_hint("GRANT pg_monitor TO the user of the connection string"),
            _ => Self::user(chain(error)),
        }
    }
}
