//! `config-switch`.

/// Make a model the active configuration of a server, or go back to the server's own.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct ConfigSwitchArgs {
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// the model to be active from now on
    #[arg(value_name = "model_name")]
    pub(crate) model: Option<String>,
    /// no model any more
    #[arg(long)]
    pub(crate) reset: bool,
}
