//! The verbs of Barman's cloud tools: base backups and WAL of one server in an object store, without a backup host.
//!
//! A [`CloudServer`] is a [`Store`] and a server's name in it; what it does is a method each, in a file of that name.

pub mod backup;
mod catalog;
mod catalog_objects;
mod check_wal_archive;
pub mod delete;
mod keep;
pub mod list_files;
mod place;
pub mod restore;
pub mod verify;
mod wal_archive;
mod wal_configured;
mod wal_content;
mod wal_daemon;
mod wal_error;
mod wal_get;
mod wal_objects;
mod wal_owner;
mod wal_receive;
mod wal_restore;

use tapster_cloud::{CloudError, Layout, Store};
pub(crate) use wal_objects::ending as wal_ending;

pub use catalog::{CloudBackup, CloudCatalog, CloudKeep, CloudSelectError};
pub use keep::CloudKeepError;

pub use check_wal_archive::CheckWalArchiveError;
pub use place::CloudPlace;
pub use wal_archive::{CloudArchiveOptions, CloudArchiveReport, CloudArchived, is_archived_ahead};
pub use wal_configured::{ConfiguredArchiveOptions, ConfiguredWalError};
pub use wal_daemon::{DaemonAnswer, archive_by_daemon};
pub use wal_error::CloudWalError;
pub use wal_receive::{
    Acknowledge, CloudReceiveError, CloudReceiveEvent, CloudReceiveOptions, CloudReceiveReport,
    create_receive_slot, drop_receive_slot,
};
pub use wal_restore::{CloudRestoreOptions, CloudRestored, take_from_spool};

/// A server whose base backups and WAL are in an object store.
#[derive(Debug, Clone)]
pub struct CloudServer {
    store: Store,
    layout: Layout,
}

impl CloudServer {
    /// The server of this name in that store.
    pub fn new(store: Store, name: impl Into<String>) -> Self {
        Self { store, layout: Layout::new(name) }
    }

    /// Where its objects are.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// What they are called.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether the store can be reached and has the bucket.
    ///
    /// # Errors
    /// [`CloudError::NoBucket`] when it says that there is none; others when that is not known.
    pub fn test(&self) -> Result<(), CloudError> {
        // Listing needs no more rights than every other call here, and one page says as much as any.
        self.store.list("").next().transpose().map(drop)
    }
}
