//! `check-backup`.

/// Look whether the WAL a backup needs has arrived.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct CheckBackupArgs {
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// the backup
    #[arg(value_name = "backup_id")]
    pub(crate) backup: String,
}
