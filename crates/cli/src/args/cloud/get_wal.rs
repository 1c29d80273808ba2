//! `cloud get-wal`.

use super::common::CloudArgs;
use crate::args::values::positive;

/// Send an archived WAL file of an object store to standard output.
#[derive(Clone, Debug, clap::Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct CloudGetWalArgs {
    #[command(flatten)]
    pub(crate) cloud: CloudArgs,
    /// also send the beginning of a segment, when that is all there is
    #[arg(long)]
    pub(crate) partial: bool,
    /// print up to SIZE names of WAL files that are there, from this one on
    #[arg(short, long, value_name = "SIZE", value_parser = positive, allow_negative_numbers = true)]
    pub(crate) peek: Option<u64>,
    /// the bucket and the path in it, such as s3://bucket/path
    #[arg(value_name = "source_url")]
    pub(crate) url: String,
    /// the server's name below that path
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// the WAL file
    #[arg(value_name = "wal_name")]
    pub(crate) wal: String,
}
