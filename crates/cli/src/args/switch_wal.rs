//! `switch-wal`.

use super::values::non_negative;

/// Make the server close its current WAL file.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct SwitchWalArgs {
    /// run a checkpoint first, so that there is something to switch
    #[arg(long)]
    pub(crate) force: bool,
    /// wait until the WAL file is in the archive
    #[arg(long)]
    pub(crate) archive: bool,
    /// seconds to wait with --archive
    #[arg(long, value_name = "TIMEOUT", default_value = "30", value_parser = non_negative, allow_negative_numbers = true)]
    pub(crate) archive_timeout: u64,
    /// servers, or 'all'
    #[arg(value_name = "server_name", required = true)]
    pub(crate) servers: Vec<String>,
}
