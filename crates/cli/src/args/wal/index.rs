//! `wal index`.

use crate::args::values::positive;

/// Complete the index that 'wal find' searches. It is made as WAL is archived, and completed by 'wal find' too.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct WalIndexArgs {
    /// read all WAL again, whatever the index says
    #[arg(long)]
    pub(crate) rebuild: bool,
    /// how many segments are read at once; the number of processors by default
    #[arg(long, short, value_name = "NJOBS", value_parser = positive, allow_negative_numbers = true)]
    pub(crate) jobs: Option<u64>,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
}
