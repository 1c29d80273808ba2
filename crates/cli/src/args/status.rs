//! `status`.

/// Show the live state of servers.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct StatusArgs {
    /// servers, or 'all'
    #[arg(value_name = "server_name", required = true)]
    pub(crate) servers: Vec<String>,
}
