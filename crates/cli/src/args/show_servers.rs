//! `show-servers`.

/// Show all settings of servers, and what is known of them at this moment.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct ShowServersArgs {
    /// servers, or 'all'
    #[arg(value_name = "server_name", required = true)]
    pub(crate) servers: Vec<String>,
}
