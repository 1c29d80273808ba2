//! `barman-wal-restore`: the `restore_command` of a database host.

use std::path::PathBuf;

use super::Command;
use super::values::{int, non_negative, positive};

/// Fetch a WAL file from the backup host over ssh (restore_command).
#[derive(Clone, Debug, clap::Parser)]
#[command(group = clap::ArgGroup::new("exclusive").args(["gzip", "bzip2", "keep_compression"]))]
pub(crate) struct WalRestoreArgs {
    #[command(flatten)]
    pub(crate) fetch: FetchArgs,
    /// the backup host
    #[arg(value_name = "BARMAN_HOST")]
    pub(crate) host: String,
    /// the server's name in the configuration of the backup host
    #[arg(value_name = "SERVER_NAME")]
    pub(crate) server: String,
    /// the WAL file (%f of restore_command)
    #[arg(value_name = "WAL_NAME")]
    pub(crate) wal_name: String,
    /// where to put it (%p of restore_command)
    #[arg(value_name = "WAL_DEST")]
    pub(crate) wal_dest: PathBuf,
}

/// How to fetch over ssh.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FetchArgs {
    /// show the program's version and exit
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// user on the backup host (default: barman)
    #[arg(short = 'U', long, default_value = "barman")]
    pub(crate) user: String,
    /// ssh port of the backup host
    #[arg(long)]
    pub(crate) port: Option<String>,
    /// seconds to sleep before reporting a failure
    #[arg(short, long, value_name = "SECONDS", value_parser = int, allow_negative_numbers = true)]
    pub(crate) sleep: Option<i64>,
    /// fetch up to this many files ahead, at the same time
    #[arg(short, long, value_name = "JOBS", default_value = "0", value_parser = jobs, allow_negative_numbers = true)]
    pub(crate) parallel: u64,
    /// where files fetched ahead wait
    #[arg(long, default_value = "/var/tmp/walrestore")]
    pub(crate) spool_dir: PathBuf,
    /// also accept a partial file
    #[arg(short = 'P', long)]
    pub(crate) partial: bool,
    /// compress with gzip for the transfer
    #[arg(short = 'z', long)]
    pub(crate) gzip: bool,
    /// compress with bzip2 for the transfer
    #[arg(short = 'j', long)]
    pub(crate) bzip2: bool,
    /// transfer as stored, decompress here
    #[arg(long)]
    pub(crate) keep_compression: bool,
    /// configuration file on the backup host
    #[arg(short, long)]
    pub(crate) config: Option<String>,
    /// only test the connection and the configuration on the backup host; WAL_NAME and WAL_DEST are not used
    #[arg(short, long)]
    pub(crate) test: bool,
    /// give up when nothing moves for so long, with the exit code of a failed connection (default: wait for ever, as
    /// Barman does)
    #[arg(long, value_name = "SECONDS", value_parser = positive, hide_short_help = true)]
    pub(crate) io_timeout: Option<u64>,
    /// exit with 255 unless the file was fetched or the backup host says that it has no such file (1). PostgreSQL takes
    /// codes up to 125, with which Barman reports a failed connection, for the end of the archive and opens for
    /// writing there; at 255 it stops, and nothing is lost. So it is without this option too where recovery.signal
    /// says that the server is no standby, which would only try again
    #[arg(long, hide_short_help = true)]
    pub(crate) fail_hard: bool,
    /// How this program calls itself for what follows WAL_NAME.
    #[arg(long, hide = true)]
    pub(crate) fetch_ahead: bool,
}

/// Fetch a WAL file, as restore_command.
///
/// Without BARMAN_HOST it comes from the archive of a server of this host's own configuration, with it over ssh.
#[derive(Clone, Debug, clap::Parser)]
#[command(group = clap::ArgGroup::new("exclusive").args(["gzip", "bzip2", "keep_compression"]))]
pub(crate) struct OwnWalRestoreArgs {
    #[command(flatten)]
    fetch: FetchArgs,
    /// the backup host, when it is not this one; all options but --partial are for this case
    #[arg(value_name = "[BARMAN_HOST]")]
    first: String,
    /// the server's name in the configuration of the backup host
    #[arg(value_name = "SERVER_NAME")]
    second: String,
    /// the WAL file (%f of restore_command)
    #[arg(value_name = "WAL_NAME")]
    third: String,
    /// where to put it (%p of restore_command)
    #[arg(value_name = "WAL_DEST")]
    fourth: Option<PathBuf>,
}

impl OwnWalRestoreArgs {
    /// One of the two commands behind this one.
    pub(crate) fn into_command(self) -> Command {
        match self.fourth {
            Some(wal_dest) => Command::WalRestore(Box::new(WalRestoreArgs {
                fetch: self.fetch,
                host: self.first,
                server: self.second,
                wal_name: self.third,
                wal_dest,
            })),
            None => Command::LocalWalRestore(LocalWalRestoreArgs {
                config: self.fetch.config,
                partial: self.fetch.partial,
                server: self.first,
                wal_name: self.second,
                wal_dest: PathBuf::from(self.third),
            }),
        }
    }
}

/// `wal-restore` on the backup host itself.
#[derive(Clone, Debug)]
pub(crate) struct LocalWalRestoreArgs {
    /// The configuration file, given after the command.
    pub(crate) config: Option<String>,
    /// Also a partial file.
    pub(crate) partial: bool,
    /// The server.
    pub(crate) server: String,
    /// The WAL file.
    pub(crate) wal_name: String,
    /// Where to put it.
    pub(crate) wal_dest: PathBuf,
}

/// Negative counts are what Barman makes of them: no parallelism.
fn jobs(text: &str) -> Result<u64, String> {
    int(text)?;
    Ok(non_negative(text).unwrap_or(0))
}
