//! `config-update`.

/// Change options of servers and models in the configuration files.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct ConfigUpdateArgs {
    /// what to change: a JSON list of objects such as {"scope": "server", "server_name": "main", "compression": "zstd"}
    #[arg(value_name = "json_changes")]
    pub(crate) changes: String,
}
