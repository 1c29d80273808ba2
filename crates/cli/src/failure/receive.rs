//! Receiving WAL.

use tapster_catalog::SegmentDirError;
use tapster_manager::{ReceiveWalError, ServerConnectError};
use tapster_protocol::ConnectError;
use tapster_protocol::receive::ReceiveError;

use super::{Failure, Place, chain, connect};

/// Which part of `receive-wal` failed: the same error reads differently.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ReceiveTask {
    /// Streaming.
    Stream,
    /// `--create-slot` and `--drop-slot`.
    Slot,
    /// `--reset`.
    Reset,
}

impl Failure {
    /// A failed `receive-wal`.
    pub(crate) fn receive_wal(place: &Place<'_>, task: ReceiveTask, error: &ReceiveWalError) -> Self {
        let server = place.server;
        let start = || {
            Self::user(format!(
                "Impossible to start WAL streaming. Check the log for more details, or run '{}'",
                place.command("check")
            ))
            .with_details(chain(error))
        };
        match error {
            ReceiveWalError::Connect(ServerConnectError::Connect(ConnectError::Stopped)) => {
                Self::interrupted()
            }
            ReceiveWalError::Connect(refused) if task != ReceiveTask::Stream => {
                connect::failure(place, refused)
            }
            ReceiveWalError::Connect(refused) => match connect::hint(refused) {
                Some(hint) => start().with_hint(hint),
                None => start(),
            },
            ReceiveWalError::Running { .. } if task == ReceiveTask::Reset => Self::user(format!(
                "Unable to reset the status of receive-wal for server {server}. Process is still running"
            )),
            ReceiveWalError::Disabled | ReceiveWalError::Running { .. } => {
                Self::user(error.to_string())
            }
            ReceiveWalError::SlotMissing { slot, .. } if slot.is_empty() => {
                Self::user(format!("slot_name is not set for server '{server}'"))
                    .with_hint("set 'slot_name' in the configuration of the server")
            }
            ReceiveWalError::SlotMissing { .. } => {
                start().with_hint(format!("run '{}'", place.command("receive-wal --create-slot")))
            }
            ReceiveWalError::SlotLost { .. } => start().with_hint(format!(
                "run '{}' and '{}', then '{}': it goes on if the WAL is still there, and else says what to do",
                place.command("receive-wal --drop-slot"),
                place.command("receive-wal --create-slot"),
                place.command("receive-wal")
            )),
            ReceiveWalError::TwoSystems { .. } => {
                start().with_hint("all connection strings of a server must lead to one cluster")
            }
            ReceiveWalError::SlotActive { .. } => start().with_hint(
                "another program receives through this slot; stop it, or give this one a slot of its own ('slot_name')",
            ),
            ReceiveWalError::WalLevel { .. } => {
                start().with_hint("set wal_level = replica in postgresql.conf and restart the server")
            }
            ReceiveWalError::SystemId { .. } => start().with_hint(
                "this is another cluster (a new initdb, or the wrong address): give it a server section of its own",
            ),
            ReceiveWalError::Receive(source) => stream(place, source, start),
            _ if task == ReceiveTask::Stream => start(),
            _ => Self::user(chain(error)),
        }
    }
}

fn stream(place: &Place<'_>, error: &ReceiveError, start: impl FnOnce() -> Failure) -> Failure {
    let hint = match error {
        ReceiveError::Connect(ConnectError::Stopped) => return Failure::interrupted(),
        ReceiveError::WalRemoved { .. } => format!(
            "run '{}', then take a new base backup: the WAL in between is lost",
            place.command("receive-wal --reset")
        ),
        ReceiveError::SlotMissing { .. } => {
            format!("run '{}'", place.command("receive-wal --create-slot"))
        }
        ReceiveError::SlotActive { .. } => {
            "another program receives through this slot; stop it, or give this one a slot of its own ('slot_name')"
                .to_owned()
        }
        ReceiveError::SlotUnusable { .. } => format!(
            "run '{}' and '{}', then '{}': it goes on if the WAL is still there, and else says what to do",
            place.command("receive-wal --drop-slot"),
            place.command("receive-wal --create-slot"),
            place.command("receive-wal")
        ),
        ReceiveError::TimelineAhead { .. } | ReceiveError::NotInHistory { .. } => {
            "is this an old primary, or a server restored to an earlier time? If it is the one to follow now, archive what \
             was received and take a new base backup"
                .to_owned()
        }
        ReceiveError::AheadOfServer { .. } => lost_wal(place),
        ReceiveError::Sink { source, .. } if is_rewritten(source) => lost_wal(place),
        ReceiveError::Sink { .. } => {
            "everything that was acknowledged is on disk; make room or repair the disk, then start again".to_owned()
        }
        _ => return Failure::user(format!("WAL streaming from server '{}' failed", place.server)).with_details(chain(error)),
    };
    match error {
        ReceiveError::Sink { source, .. } if !is_rewritten(source) => {
            Failure::user(format!("WAL streaming from server '{}' failed", place.server))
                .with_details(chain(error))
                .with_hint(hint)
        }
        _ => start().with_hint(hint),
    }
}

fn is_rewritten(source: &std::io::Error) -> bool {
    let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<SegmentDirError>());
    matches!(inner, Some(SegmentDirError::Rewritten { .. }))
}

/// What was received exists nowhere else now, so nothing is removed to go on.
fn lost_wal(place: &Place<'_>) -> String {
    format!(
        "the server has lost WAL that '{}' has and writes other WAL in its place (a disk that lied, a snapshot put back): \
         what is here is the better copy. Restore from it, or give the server as it is now a section of its own and take a \
         base backup there",
        place.server
    )
}
