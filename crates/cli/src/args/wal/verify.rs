//! `wal verify`.

use crate::args::values::positive;

/// Prove that the WAL of the archive can be replayed.
///
/// Reads every record from a backup on, and says how far a restore can reach.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct WalVerifyArgs {
    /// how many segments are read at once; the number of processors by default
    #[arg(long, short, value_name = "NJOBS", value_parser = positive, allow_negative_numbers = true)]
    pub(crate) jobs: Option<u64>,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// begin with this backup: an id, a name, or a word such as 'latest'; the oldest one by default
    #[arg(value_name = "backup_id")]
    pub(crate) backup: Option<String>,
}
