//! `sync-info`, `sync-backup`, `sync-wals`.

use super::values::{non_negative, positive};

/// Show what a passive node needs to know, as JSON.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct SyncInfoArgs {
    /// ask the primary node
    #[arg(long)]
    pub(crate) primary: bool,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// list only WAL behind this file
    #[arg(value_name = "last_wal")]
    pub(crate) last_wal: Option<String>,
    /// where the line of that file begins in the index, in bytes
    #[arg(value_name = "last_position", value_parser = position, allow_negative_numbers = true)]
    pub(crate) last_position: Option<u64>,
}

/// Barman refuses zero, which its own passive nodes ask for when the index has one line.
fn position(text: &str) -> Result<u64, String> {
    positive(text).or_else(|refusal| non_negative(text).map_err(|_| refusal))
}

/// Copy a backup from the primary node.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct SyncBackupArgs {
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// the backup
    #[arg(value_name = "backup_id")]
    pub(crate) backup: String,
}

/// Copy WAL from the primary node.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct SyncWalsArgs {
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
}
