//! `check`.

use super::values::non_negative;

/// Check whether servers are ready to be backed up; fails when any check of an active server fails.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct CheckArgs {
    /// one summary line and exit code for Nagios
    #[arg(long)]
    pub(crate) nagios: bool,
    /// seconds after which the check counts as failed; 0 means no limit
    #[arg(long, value_name = "TIMEOUT", value_parser = non_negative, allow_negative_numbers = true)]
    pub(crate) check_timeout: Option<u64>,
    /// also look for WAL missing behind any backup, free space, slots that fall behind, and restores that were not verified
    #[arg(long, hide_short_help = true)]
    pub(crate) extended: bool,
    /// servers to check, or 'all'
    #[arg(value_name = "server_name", required = true)]
    pub(crate) servers: Vec<String>,
}
