//! Which object holds what.

use tapster_catalog::BackupId;
use walfile::WalName;

/// The keys of one server below a store's prefix, as Barman 3.19's cloud tools name them (`barman/cloud.py`):
/// `SERVER/base/ID/backup.info`, `SERVER/base/ID/data.tar…`, `SERVER/base/ID/annotations/KEY`, `SERVER/wals/HASH/NAME…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    server: String,
}

impl Layout {
    /// Of the server of this name.
    pub fn new(server: impl Into<String>) -> Self {
        Self { server: server.into() }
    }

    /// The server's name.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Where all base backups are.
    pub fn base(&self) -> String {
        format!("{}/base", self.server)
    }

    /// Where one backup is.
    pub fn backup(&self, id: &BackupId) -> String {
        format!("{}/base/{id}", self.server)
    }

    /// The record of a backup.
    pub fn record(&self, id: &BackupId) -> String {
        format!("{}/base/{id}/backup.info", self.server)
    }

    /// An annotation of a backup, such as `keep`.
    pub fn annotation(&self, id: &BackupId, key: &str) -> String {
        format!("{}/base/{id}/annotations/{key}", self.server)
    }

    /// Where all WAL files are.
    pub fn wals(&self) -> String {
        format!("{}/wals", self.server)
    }

    /// A WAL file, without the ending that compression gives it. History files have no directory of their own.
    pub fn wal(&self, name: WalName) -> String {
        match name.hash_dir() {
            Some(dir) => format!("{}/wals/{dir}/{name}", self.server),
            None => format!("{}/wals/{name}", self.server),
        }
    }
}
