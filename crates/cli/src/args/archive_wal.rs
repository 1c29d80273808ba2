//! `archive-wal`.

/// Move WAL that has arrived for a server into its archive.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct ArchiveWalArgs {
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
}
