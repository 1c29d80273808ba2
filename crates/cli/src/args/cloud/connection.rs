//! How the server is reached whose base backup or WAL goes into a store.

/// As `barman-cloud-backup` has them.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ConnectionArgs {
    /// host or directory of the Unix socket of the server
    #[arg(short = 'h', long)]
    pub(crate) host: Option<String>,
    /// port of the server
    #[arg(short, long)]
    pub(crate) port: Option<String>,
    /// role to connect as
    #[arg(short = 'U', long)]
    pub(crate) user: Option<String>,
}

/// Apart from these, as there it has another place among the options.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DatabaseArgs {
    /// database, or connection string (default: postgres)
    #[arg(short, long)]
    pub(crate) dbname: Option<String>,
}
