//! `verify-restore`.

use std::path::PathBuf;

use super::restore::Targets;
use super::values::positive;

/// Prove that a backup can be restored: restore it into a scratch directory, start PostgreSQL there and ask it.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct VerifyRestoreArgs {
    #[command(flatten)]
    pub(crate) targets: Targets,
    /// make the scratch directory below this one (default: the server's directory in barman_home)
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) scratch: Option<PathBuf>,
    /// check every table and B-tree index with pg_amcheck
    #[arg(long)]
    pub(crate) amcheck: bool,
    /// run this SQL, up to the first error, which counts as one of the backup
    #[arg(long, value_name = "FILE")]
    pub(crate) sql: Option<PathBuf>,
    /// the database the SQL is run in
    #[arg(long, default_value = "postgres", value_name = "NAME")]
    pub(crate) dbname: String,
    /// leave the restored directory where it is, its server stopped
    #[arg(long)]
    pub(crate) keep: bool,
    /// where PostgreSQL's programs are
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) bindir: Option<PathBuf>,
    /// seconds the server may take to replay the WAL, and each check
    #[arg(long, value_name = "SECONDS", value_parser = positive, default_value = "21600", allow_negative_numbers = true)]
    pub(crate) timeout: u64,
    /// libraries the server loads; none unless told, since what they start is not under our control
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true)]
    pub(crate) shared_preload_libraries: String,
    /// the user PostgreSQL runs as, when this is root
    #[arg(long, value_name = "NAME")]
    pub(crate) os_user: Option<String>,
    /// copy with this many workers
    #[arg(long, short, value_name = "NJOBS", value_parser = positive, allow_negative_numbers = true)]
    pub(crate) jobs: Option<u64>,
    /// when the WAL is copied, also take what has arrived of an incomplete file
    #[arg(long)]
    pub(crate) partial_wal: bool,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// an id, a name, a word such as 'latest', or 'auto' to choose by the target
    #[arg(value_name = "backup_id")]
    pub(crate) backup: String,
}
