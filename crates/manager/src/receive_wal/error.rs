//! Why WAL is not received.

use tapster_catalog::locks::LockError;
use tapster_catalog::segment_dir::SegmentDirError;
use tapster_catalog::{IdentityError, WalStoreError, durable};
use tapster_protocol::receive::ReceiveError;
use tapster_protocol::{QueryError, SlotNameError};
use thiserror::Error;
use walfile::{Lsn, SegmentName};

use crate::server::ServerConnectError;

/// A receiver that could not start, or ended with an error.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReceiveWalError {
    /// `streaming_archiver` is off.
    #[error(
        "Unable to start receive-wal process: streaming_archiver option set to 'off' in barman configuration file"
    )]
    Disabled,
    /// Another process receives for the same server.
    #[error("Another receive-wal process is already running for server {server}.")]
    Running {
        /// Server name.
        server: String,
        /// Its process id.
        pid: Option<u32>,
    },
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ServerConnectError),
    /// A query failed.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// `slot_name` is no name of a slot.
    #[error(transparent)]
    SlotName(#[from] SlotNameError),
    /// The slot is not there.
    #[error("replication slot '{slot}' does not exist on server '{server}'")]
    SlotMissing {
        /// The slot.
        slot: String,
        /// Server name.
        server: String,
    },
    /// The server had to remove WAL the slot was to keep, and will not keep any for it again.
    #[error("replication slot '{slot}' has lost WAL it was to keep, and keeps none any more")]
    SlotLost {
        /// The slot.
        slot: String,
    },
    /// Somebody else uses the slot.
    #[error("replication slot '{slot}' is already in use")]
    SlotActive {
        /// The slot.
        slot: String,
    },
    /// The server writes too little WAL.
    #[error("wal_level of server '{server}' is 'minimal', which is too little for an archive")]
    WalLevel {
        /// Server name.
        server: String,
    },
    /// Another cluster answers.
    #[error("system identifier of server '{server}' is {found}, the catalog holds WAL of {expected}")]
    SystemId {
        /// Server name.
        server: String,
        /// In `identity.json`.
        expected: String,
        /// The server's.
        found: String,
    },
    /// The two connections lead to different clusters.
    #[error("{streaming} leads to system {found}, {normal} to {expected}")]
    TwoSystems {
        /// The setting of the replication connection.
        streaming: &'static str,
        /// Its system.
        found: String,
        /// The setting of the normal connection.
        normal: &'static str,
        /// Its system.
        expected: String,
    },
    /// `streaming/` cannot be used.
    #[error(transparent)]
    Directory(#[from] SegmentDirError),
    /// The stream ended with an error.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// A directory of the catalog or a file in `streaming/` cannot be made.
    #[error(transparent)]
    Durable(#[from] durable::DurableError),
    /// The archive, which says where an empty `streaming/` goes on, cannot be read.
    #[error(transparent)]
    Archive(#[from] WalStoreError),
    /// `identity.json` cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The receiver's last file is ahead of the server.
    #[error("the receive-wal position is ahead of the server: {file} is beyond {server}")]
    Ahead {
        /// The newest file in `streaming/`.
        file: SegmentName,
        /// The server's position.
        server: Lsn,
    },
}
