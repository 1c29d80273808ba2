//! What the refusal of a stream means.

use walfile::{Lsn, Timeline};

use super::error::ReceiveError;
use crate::{ReplicationError, SlotName, SystemIdentity};

/// Where a stream was to start.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) slot: Option<&'a SlotName>,
    pub(super) position: Lsn,
    pub(super) timeline: Timeline,
    pub(super) server: &'a SystemIdentity,
}

/// Goes by SQLSTATE and positions, not by texts: those come in the server's language.
pub(super) fn classify(error: ReplicationError, attempt: Attempt<'_>) -> ReceiveError {
    let ReplicationError::Server(error) = error else { return error.into() };
    let Attempt { slot, position, timeline, server } = attempt;
    match (error.code.as_str(), slot) {
        ("42704", Some(slot)) => ReceiveError::SlotMissing { slot: slot.clone() },
        ("55006", Some(slot)) => ReceiveError::SlotActive { slot: slot.clone(), error },
        ("55000" | "0A000", Some(slot)) => ReceiveError::SlotUnusable { slot: slot.clone(), error },
        ("58P01", _) => ReceiveError::WalRemoved { position, timeline, error },
        // Both refusals of a position are internal errors to PostgreSQL (`StartReplication` in walsender.c).
        ("XX000", _) if timeline == server.timeline && position > server.position => {
            ReceiveError::AheadOfServer { position, server: server.position }
        }
        ("XX000", _) if !error.is_fatal() => ReceiveError::NotInHistory { position, timeline, error },
        _ => ReplicationError::Server(error).into(),
    }
}
