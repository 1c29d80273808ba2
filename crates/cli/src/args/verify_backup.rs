//! `verify-backup`.

/// Compare a backup with its manifest, and see whether the WAL it needs is there.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct VerifyBackupArgs {
    /// do not read the WAL that the backup needs
    #[arg(long)]
    pub(crate) no_wal: bool,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// an id, a name, or a word such as 'latest'
    #[arg(value_name = "backup_id")]
    pub(crate) backup: String,
}
