//! `cloud`: Barman's cloud tools. Each has a file of its own and an entry `cloud NAME` in the tree; called
//! `barman-cloud-NAME`, the program is that one.

pub(crate) mod backup;
pub(crate) mod backup_delete;
pub(crate) mod backup_keep;
pub(crate) mod backup_list;
pub(crate) mod backup_show;
pub(crate) mod check_wal_archive;
pub(crate) mod common;
pub(crate) mod connection;
pub(crate) mod get_wal;
pub(crate) mod list_files;
pub(crate) mod receive_wal;
pub(crate) mod restore;
mod sizes;
pub(crate) mod verify_backup;
pub(crate) mod wal_archive;
pub(crate) mod wal_restore;

/// What `help` says about the group.
pub(super) const ABOUT: &str =
    "Keep backups and WAL in S3, Google Cloud Storage or Azure Blob Storage, without a backup host";
