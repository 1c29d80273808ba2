//! `check-wal-archive`.

use super::values::positive;

/// Check that a new server may archive its WAL here; fails when WAL is in the archive.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct CheckWalArchiveArgs {
    /// the earliest timeline whose WAL is in the way
    #[arg(long, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) timeline: Option<u64>,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
}
