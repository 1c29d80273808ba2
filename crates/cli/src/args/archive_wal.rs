//! `archive-wal`.

/// Move WAL that has arrived for a server into its archive.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct ArchiveWalArgs {
    /// archive whatever has the name of a WAL file, whatever is in it, as Barman does
    #[arg(long, hide_short_help = true)]
    pub(crate) accept_invalid: bool,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
}
