//! The verbs of Barman's cloud tools: base backups and WAL of one server in an object store, without a backup host.
//!
//! A [`CloudServer`] is a [`Store`] and a server's name in it; what it does is a method each, in a file of that name.

pub mod backup;
pub mod restore;

use tapster_cloud::{Layout, Store};

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
}
