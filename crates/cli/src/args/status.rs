//! `status`.

/// Show the state of servers in a few lines.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct StatusArgs {
    /// servers, or 'all'
    #[arg(value_name = "server_name", required = true)]
    pub(crate) servers: Vec<String>,
}
