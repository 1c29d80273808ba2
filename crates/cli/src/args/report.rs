//! `report`.

use std::path::PathBuf;

/// Show from when to when one can recover, and what stands in the way; with --html as a page for a browser.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct ReportArgs {
    /// write one self-contained page to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// leave PostgreSQL alone: only the catalog is read
    #[arg(long)]
    pub(crate) no_check: bool,
    /// servers, or 'all' (default: all)
    #[arg(value_name = "server_name")]
    pub(crate) servers: Vec<String>,
}
