//! `cloud-wal-archive` and `cloud-wal-restore`.

use std::path::PathBuf;

use tapster_manager::cloud::ConfiguredArchiveOptions;

use super::values::int;

/// Archive a WAL file of this host in the server's object store (archive_command).
///
/// For a server whose wals_directory is an address, with backup_method = local-to-cloud.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct CloudWalArchiveArgs {
    /// archive up to this many files at the same time: others that PostgreSQL has ready go with the one it asks for (default:
    /// cloud_wal_archive_parallel)
    #[arg(short, long, value_parser = int, allow_negative_numbers = true)]
    parallel: Option<i64>,
    /// this cluster owns the archive from now on, whichever wrote to it before; once, after pg_upgrade
    #[arg(long, hide_short_help = true)]
    take_over: bool,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// the WAL file (%p of archive_command)
    #[arg(value_name = "wal_path")]
    pub(crate) wal_path: PathBuf,
}

/// Fetch a WAL file from the server's object store (restore_command).
///
/// Exits with 1 when the store has no such file. PostgreSQL takes every code up to 125 for the end of the archive; so where that is not
/// known, the code is 255, at which it stops.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct CloudWalRestoreArgs {
    /// fetch up to this many files at the same time, ahead of the replay (default: cloud_wal_restore_parallel)
    #[arg(short, long, value_parser = int, allow_negative_numbers = true)]
    parallel: Option<i64>,
    /// where files fetched ahead wait
    #[arg(long, default_value = "/var/tmp/walrestore")]
    pub(crate) spool_dir: PathBuf,
    /// How this program calls itself for what follows WAL_NAME.
    #[arg(long, hide = true)]
    pub(crate) fetch_ahead: bool,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// the WAL file (%f of restore_command)
    #[arg(value_name = "wal_name")]
    pub(crate) wal_name: String,
    /// where to put it (%p of restore_command)
    #[arg(value_name = "wal_dest")]
    pub(crate) wal_dest: PathBuf,
}

impl CloudWalArchiveArgs {
    /// Less than none at the same time is none, as in Barman.
    pub(crate) fn options(&self) -> ConfiguredArchiveOptions {
        let mut options = ConfiguredArchiveOptions::default();
        options.parallel = self.parallel.map(|count| u32::try_from(count.max(0)).unwrap_or(u32::MAX));
        options.take_over = self.take_over;
        options
    }
}

impl CloudWalRestoreArgs {
    /// The same.
    pub(crate) fn parallel(&self) -> Option<u64> {
        self.parallel.map(|count| u64::try_from(count).unwrap_or(0))
    }
}
