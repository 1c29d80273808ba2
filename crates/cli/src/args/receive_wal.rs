//! `receive-wal`.

/// Receive WAL from the server over the replication protocol until stopped.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct ReceiveWalArgs {
    /// stop the receiver that is running for the server
    #[arg(long)]
    pub(crate) stop: bool,
    /// start over at the server's current position
    #[arg(long)]
    pub(crate) reset: bool,
    /// create the replication slot
    #[arg(long)]
    pub(crate) create_slot: bool,
    /// with --create-slot: a slot that is already there is not an error
    #[arg(long)]
    pub(crate) if_not_exists: bool,
    /// drop the replication slot
    #[arg(long)]
    pub(crate) drop_slot: bool,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
}
