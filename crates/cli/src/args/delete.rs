//! `delete`.

/// Delete a backup and the WAL that no other backup needs.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct DeleteArgs {
    /// say what would be deleted, without deleting it
    #[arg(long, hide_short_help = true)]
    pub(crate) dry_run: bool,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// an id, a name, or a word such as 'oldest'
    #[arg(value_name = "backup_id")]
    pub(crate) backup: String,
}
