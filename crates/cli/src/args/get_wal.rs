//! `get-wal`.

use std::path::PathBuf;

use super::values::positive;

/// Send a WAL file of the archive to standard output, or into a directory.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct GetWalArgs {
    /// write the file into this directory under its own name
    #[arg(long, short)]
    pub(crate) output_directory: Option<PathBuf>,
    /// also look for a partial file
    #[arg(long, short = 'P')]
    pub(crate) partial: bool,
    /// send it compressed with gzip
    #[arg(long, short = 'z', short_alias = 'x', overrides_with = "bzip2")]
    pub(crate) gzip: bool,
    /// send it compressed with bzip2
    #[arg(long, short = 'j', overrides_with = "gzip")]
    pub(crate) bzip2: bool,
    /// send it as it is stored
    #[arg(long)]
    pub(crate) keep_compression: bool,
    /// print up to SIZE names of WAL files that are there, from this one on
    #[arg(long, short, value_name = "SIZE", value_parser = positive, allow_negative_numbers = true)]
    pub(crate) peek: Option<u64>,
    /// only say whether WAL can be retrieved for the server; the WAL name is not used
    #[arg(long, short)]
    pub(crate) test: bool,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// the WAL file
    #[arg(value_name = "wal_name")]
    pub(crate) wal: String,
}
