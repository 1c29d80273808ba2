//! The programs on the database host: `barman-wal-archive` and `barman-wal-restore`, which know nothing but `ssh` and the
//! command `barman` on the other side (Barman 3.19.1's or this project's, both ways).
//!
//! Nothing here is reported as done before the other side said so and, for what is written here, before it is on disk.

mod ahead;
mod archive;
mod download;
mod restore;
mod spool;
mod ssh;
mod transfer;
pub(crate) mod watch;

pub use ahead::fetch_ahead;
#[cfg(feature = "cloud")]
pub(crate) use ahead::{Reader, cluster_of, fill, wait_for};
pub use archive::{SendOptions, SendWalError, send_wal, test_put_wal};
pub use restore::{
    FetchOptions, FetchWalError, Fetched, TransferCompression, ends_recovery, fetch_wal, test_get_wal,
};
#[cfg(feature = "cloud")]
pub(crate) use spool::{Spool, claim, is_ours};
pub use ssh::{RemoteBarman, SshError};
pub(crate) use transfer::Hasher;
