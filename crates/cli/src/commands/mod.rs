//! One file per command: arguments in, one call into a library, a report handed to the output.

pub(crate) mod archive_wal;
pub(crate) mod backup;
pub(crate) mod basebackup;
pub(crate) mod check;
pub(crate) mod check_backup;
pub(crate) mod check_wal_archive;
pub(crate) mod completions;
pub(crate) mod cron;
pub(crate) mod delete;
pub(crate) mod get_wal;
pub(crate) mod list_backups;
pub(crate) mod list_servers;
mod pg_connection;
pub(crate) mod processes;
pub(crate) mod put_wal;
pub(crate) mod rebuild_xlogdb;
pub(crate) mod receive_wal;
pub(crate) mod receivewal;
pub(crate) mod replication_status;
pub(crate) mod restore;
pub(crate) mod show_backup;
mod signals;
pub(crate) mod switch_wal;
pub(crate) mod wal;
pub(crate) mod wal_archive;
pub(crate) mod wal_restore;
