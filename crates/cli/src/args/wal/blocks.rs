//! `wal blocks`.

use std::path::PathBuf;

use walfile::{Lsn, Timeline};

/// Show which blocks changed in a range of the WAL.
///
/// Prints them by relation, as pg_walsummary does, for WAL of any PostgreSQL release.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct WalBlocksArgs {
    /// where the range begins: the start of a record, such as where a backup begins, or of a segment
    #[arg(long, value_name = "LSN", value_parser = lsn)]
    pub(crate) start: Lsn,
    /// where the range ends: a record that begins here is not in it
    #[arg(long, value_name = "LSN", value_parser = lsn)]
    pub(crate) end: Lsn,
    /// the timeline on which the range ends; the newest one in the archive by default
    #[arg(long, value_name = "TLI", value_parser = timeline)]
    pub(crate) timeline: Option<Timeline>,
    /// read the WAL files in this directory instead of a server's archive
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    pub(crate) path: Option<PathBuf>,
    /// the server
    #[arg(value_name = "server_name", required_unless_present = "path")]
    pub(crate) server: Option<String>,
}

fn lsn(text: &str) -> Result<Lsn, String> {
    text.parse().map_err(|error: walfile::ParseLsnError| error.to_string())
}

fn timeline(text: &str) -> Result<Timeline, String> {
    text.parse().ok().and_then(Timeline::new).ok_or_else(|| format!("'{text}' is not a valid timeline"))
}
