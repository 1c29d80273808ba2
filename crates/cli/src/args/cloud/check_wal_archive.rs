//! `barman-cloud-check-wal-archive`.

use super::common::CloudArgs;
use crate::args::values::positive;

/// Check that a new cluster, or a new timeline, may archive WAL to an object store.
///
/// A bucket that is not there is made.
#[derive(Clone, Debug, clap::Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct CloudCheckWalArchiveArgs {
    #[command(flatten)]
    pub(crate) cloud: CloudArgs,
    /// fail only for WAL of this timeline and later ones
    #[arg(long, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) timeline: Option<u64>,
    /// the bucket and the path in it, such as s3://bucket/path
    #[arg(value_name = "destination_url")]
    pub(crate) url: String,
    /// the server's name below that path
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
}
