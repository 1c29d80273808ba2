//! `list-backups`.

/// List the backups of servers, newest first.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct ListBackupsArgs {
    /// ids only, one per line
    #[arg(long)]
    pub(crate) minimal: bool,
    /// say why each backup is kept or obsolete
    #[arg(long, hide_short_help = true)]
    pub(crate) explain: bool,
    /// servers, or 'all'
    #[arg(value_name = "server_name", required = true)]
    pub(crate) servers: Vec<String>,
}
