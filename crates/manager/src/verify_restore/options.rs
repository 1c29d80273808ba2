//! What a test restore can be told.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::RestoreOptions;

/// Options of [`Server::verify_restore`](crate::Server::verify_restore).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifyRestoreOptions {
    /// Which backup and how far, as for a restore. Where to is decided by `scratch`; what happens at the target, where WAL
    /// comes from and the like are not asked.
    pub restore: RestoreOptions,
    /// A directory below which a new one is made for the restore and removed again; the server's own directory in the
    /// catalog without it.
    pub scratch: Option<PathBuf>,
    /// Run `pg_amcheck` over all databases.
    pub amcheck: bool,
    /// Run this file of SQL, and take an error in it as one of the backup.
    pub sql: Option<PathBuf>,
    /// The database `sql` runs in.
    pub database: String,
    /// Leave the restored directory where it is, with its server stopped.
    pub keep: bool,
    /// Where PostgreSQL's programs are.
    pub bindir: Option<PathBuf>,
    /// Directories to look for them in, after Debian's.
    pub path: Vec<PathBuf>,
    /// Where the dynamic loader looks for their libraries first (`LD_LIBRARY_PATH`): a build that is not installed may need it.
    pub library_path: Option<OsString>,
    /// The home directory of the user we are, for what the server starts as that user (`get-wal`).
    pub home: Option<PathBuf>,
    /// How long the server may take to get to the target, and each check.
    pub timeout: Duration,
    /// `shared_preload_libraries` of the started server: none unless told, since what they start is not under our control.
    pub preload: String,
    /// The user PostgreSQL runs as when we are root; `postgres` without it.
    pub os_user: Option<String>,
    /// Let the server fetch its WAL with `restore.program` (`get-wal`) instead of copying all of it before; only where it runs as
    /// the user we are, who may read the catalog.
    pub get_wal: bool,
}

impl VerifyRestoreOptions {
    /// The defaults: six hours, no more checks than that the server starts and every database can be connected to.
    pub fn new(restore: RestoreOptions) -> Self {
        Self {
            restore,
            scratch: None,
            amcheck: false,
            sql: None,
            database: "postgres".to_owned(),
            keep: false,
            bindir: None,
            path: Vec::new(),
            library_path: None,
            home: None,
            timeout: Duration::from_secs(6 * 3600),
            preload: String::new(),
            os_user: None,
            get_wal: false,
        }
    }
}
