//! `delete`.

/// Delete a backup and the WAL that no other backup needs.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct DeleteArgs {
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// an id, a name, or a word such as 'oldest'
    #[arg(value_name = "backup_id")]
    pub(crate) backup: String,
}
