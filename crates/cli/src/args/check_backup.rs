//! `check-backup`.

/// Look whether the WAL a backup needs has arrived.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct CheckBackupArgs {
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// an id, a name, or a word such as 'latest'
    #[arg(value_name = "backup_id")]
    pub(crate) backup: String,
}
