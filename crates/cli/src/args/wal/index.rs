//! `wal index`.

use crate::args::values::positive;

/// Complete the index that 'wal find' searches.
///
/// It grows as WAL is archived, and each search reads what is not in it; this reads it in advance.
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
