//! `list-servers`.

/// List the configured servers.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct ListServersArgs {
    /// names only, one per line
    #[arg(long)]
    pub(crate) minimal: bool,
}
