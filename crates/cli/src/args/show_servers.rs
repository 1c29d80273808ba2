//! `show-servers`.

/// Show the configuration and live state of servers.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct ShowServersArgs {
    /// servers, or 'all'
    #[arg(value_name = "server_name", required = true)]
    pub(crate) servers: Vec<String>,
}
