//! Passive nodes: a catalog that copies another one (`primary_ssh_command`), over `ssh` and `rsync`, from Barman as well as from
//! this program.
//!
//! The primary node answers with [`Server::sync_info`]. The passive one keeps the answer as `primary.info`
//! ([`Server::fetch_primary_info`]), copies the backups it lacks ([`Server::sync_backup`]) and the WAL that is new
//! ([`Server::sync_wals`]), and carries over the identity of the cluster and the `keep` annotations. All files are Barman 3.19's, so
//! that each of the two programs goes on where the other stopped.

mod backup;
mod carry;
mod cycle;
mod decide;
mod error;
mod guard;
mod info;
mod primary;
mod received;
mod remote_command;
mod start;
mod transfer;
mod wals;

pub use backup::SyncedBackup;
pub use cycle::SyncWork;
pub use error::SyncError;
pub use info::{SyncInfoError, SyncStart};
pub use wals::SyncedWals;

#[cfg(doc)]
use crate::Server;
