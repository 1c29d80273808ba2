//! `put-wal`.

/// Receive a WAL file as a tar stream on standard input and store it durably in the incoming directory.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct PutWalArgs {
    /// only say whether WAL can be received for the server
    #[arg(long, short)]
    pub(crate) test: bool,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
}
