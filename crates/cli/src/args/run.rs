//! `run`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::values::positive;

/// Look after all servers until stopped, in place of cron.
///
/// Receives and archives WAL, completes backups and enforces retention policies. SIGHUP reads the configuration again, SIGTERM
/// ends it.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct RunArgs {
    /// check every server every so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub(crate) check_interval: Option<u64>,
    /// serve metrics for Prometheus at http://ADDRESS:PORT/metrics
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// write metrics for node_exporter's textfile collector; the name should end in .prom
    #[arg(long, value_name = "PATH")]
    pub(crate) metrics_file: Option<PathBuf>,
    /// gather metrics every so many seconds (default: 15)
    #[arg(long, value_name = "SECONDS", value_parser = positive, default_value = "15", hide_default_value = true)]
    pub(crate) metrics_interval: u64,
}
