//! `replication-status`.

use tapster_manager::{ClientKind, StatusSource};

/// `--target`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Target {
    All,
    HotStandby,
    WalStreamer,
}

impl From<Target> for ClientKind {
    fn from(target: Target) -> Self {
        match target {
            Target::All => Self::All,
            Target::HotStandby => Self::HotStandby,
            Target::WalStreamer => Self::WalStreamer,
        }
    }
}

/// `--source`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Source {
    BackupHost,
    WalHost,
}

impl From<Source> for StatusSource {
    fn from(source: Source) -> Self {
        match source {
            Source::BackupHost => Self::BackupHost,
            Source::WalHost => Self::WalHost,
        }
    }
}

/// Show who streams from servers.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct ReplicationStatusArgs {
    /// one line per client
    #[arg(long)]
    pub(crate) minimal: bool,
    /// which clients to show
    #[arg(long, default_value = "all")]
    pub(crate) target: Target,
    /// ask the server of conninfo or that of wal_conninfo
    #[arg(long, default_value = "backup-host")]
    pub(crate) source: Source,
    /// servers, or 'all'
    #[arg(value_name = "server_name", required = true)]
    pub(crate) servers: Vec<String>,
}
