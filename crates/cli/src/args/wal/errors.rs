//! `wal errors`.

/// List the files the archiver refused, with the reasons, and put them back into the queue or remove them.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct WalErrorsArgs {
    /// find the first byte in which a file differs from the archived one
    #[arg(long)]
    pub(crate) compare: bool,
    /// put back into the queue what can be archived now, or the files named
    #[arg(long, conflicts_with = "discard")]
    pub(crate) retry: bool,
    /// remove what the archive has with the same WAL, or the files named
    #[arg(long)]
    pub(crate) discard: bool,
    /// with --discard, remove everything
    #[arg(long, requires = "discard", conflicts_with = "names")]
    pub(crate) all: bool,
    /// only show what --retry or --discard would do
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// only these files, by the name they have in the errors directory or had before
    #[arg(value_name = "name")]
    pub(crate) names: Vec<String>,
}
