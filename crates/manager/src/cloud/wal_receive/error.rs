//! Why WAL is not received into a bucket.

use std::path::PathBuf;

use tapster_catalog::{IdentityError, SegmentDirError};
use tapster_cloud::CloudError;
use tapster_protocol::receive::ReceiveError;
use tapster_protocol::{ConnInfoError, ConnectError, QueryError, SlotName};
use thiserror::Error;

use super::super::CloudWalError;

/// A receiver that could not start, or ended with an error.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CloudReceiveError {
    /// Only a slot makes the server keep what is not in the bucket yet.
    #[error("without a replication slot nothing can be acknowledged as stored")]
    NeedsSlot,
    /// Between two whole segments nothing would ever be acknowledged, and a server that is shut down waits for that.
    #[error(
        "what is acknowledged as stored must be stored also when no segment becomes whole: give a partial interval"
    )]
    NeedsPartial,
    /// The spool holds WAL of another cluster.
    #[error("{} holds WAL of system {expected}, and the server is of system {found}", path.display())]
    OtherCluster {
        /// The spool.
        path: PathBuf,
        /// The system identifier noted in it.
        expected: String,
        /// The server's.
        found: String,
    },
    /// Only a connection to a database tells where the slot begins, before PostgreSQL 15.
    #[error(
        "where slot {slot} begins is told by a connection to a database only, before PostgreSQL 15: {source}"
    )]
    SlotUnread {
        /// The slot.
        slot: SlotName,
        /// Why there is no such connection.
        source: Box<Self>,
    },
    /// The connection string cannot be used.
    #[error(transparent)]
    ConnInfo(#[from] ConnInfoError),
    /// The stream could not begin, or ended.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// The spool cannot be used.
    #[error(transparent)]
    Directory(#[from] SegmentDirError),
    /// What the spool says of itself cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// WAL cannot be archived.
    #[error(transparent)]
    Wal(#[from] CloudWalError),
    /// See [`CloudError`].
    #[error(transparent)]
    Store(#[from] CloudError),
}

impl From<ConnectError> for CloudReceiveError {
    fn from(error: ConnectError) -> Self {
        Self::Receive(error.into())
    }
}

impl From<QueryError> for CloudReceiveError {
    fn from(error: QueryError) -> Self {
        Self::Receive(error.into())
    }
}

impl CloudReceiveError {
    /// Whether WAL that came may not be on the disk.
    pub(super) const fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::Directory(_) | Self::Receive(ReceiveError::Sink { .. }))
    }

    /// Whether it may pass by itself. A slot in use is most likely still held by the connection of a receiver that was killed.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Receive(error) => error.is_retryable(true),
            Self::Store(error) => error.is_unreachable(),
            _ => false,
        }
    }
}
