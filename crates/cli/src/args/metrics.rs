//! `metrics`.

/// Print metrics of servers for Prometheus.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct MetricsArgs {
    /// servers (default: all)
    #[arg(value_name = "server_name")]
    pub(crate) servers: Vec<String>,
}
