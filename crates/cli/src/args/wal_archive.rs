//! `barman-wal-archive`: the `archive_command` of a database host.

use std::path::PathBuf;

use super::Command;
use super::values::{compression_level, positive};

/// Send a WAL file to the backup host over ssh (archive_command); it is stored durably there before this returns 0.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct WalArchiveArgs {
    #[command(flatten)]
    pub(crate) send: SendArgs,
    /// the backup host
    #[arg(value_name = "BARMAN_HOST")]
    pub(crate) host: String,
    /// the server's name in the configuration of the backup host
    #[arg(value_name = "SERVER_NAME")]
    pub(crate) server: String,
    /// the WAL file (%p of archive_command)
    #[arg(value_name = "WAL_PATH")]
    pub(crate) wal_path: PathBuf,
}

/// Store a WAL file, as archive_command; returns 0 only when it is stored durably.
///
/// Without BARMAN_HOST it goes into the incoming directory of a server of this host's own configuration, with it over ssh.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct OwnWalArchiveArgs {
    #[command(flatten)]
    send: SendArgs,
    /// the backup host, when it is not this one; the options are for this case
    #[arg(value_name = "[BARMAN_HOST]")]
    first: String,
    /// the server's name in the configuration of the backup host
    #[arg(value_name = "SERVER_NAME")]
    second: String,
    /// the WAL file (%p of archive_command)
    #[arg(value_name = "WAL_PATH")]
    third: Option<PathBuf>,
}

impl OwnWalArchiveArgs {
    /// One of the two commands behind this one.
    pub(crate) fn into_command(self) -> Command {
        match self.third {
            Some(wal_path) => Command::WalArchive(Box::new(WalArchiveArgs {
                send: self.send,
                host: self.first,
                server: self.second,
                wal_path,
            })),
            None => Command::LocalWalArchive(LocalWalArchiveArgs {
                config: self.send.config,
                server: self.first,
                wal_path: PathBuf::from(self.second),
            }),
        }
    }
}

/// `wal-archive` on the backup host itself.
#[derive(Clone, Debug)]
pub(crate) struct LocalWalArchiveArgs {
    /// The configuration file, given after the command.
    pub(crate) config: Option<String>,
    /// The server.
    pub(crate) server: String,
    /// The WAL file.
    pub(crate) wal_path: PathBuf,
}

/// How to send over ssh.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SendArgs {
    /// show the program's version and exit
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// user on the backup host (default: barman)
    #[arg(short = 'U', long, default_value = "barman")]
    pub(crate) user: String,
    /// ssh port of the backup host
    #[arg(long)]
    pub(crate) port: Option<String>,
    /// configuration file on the backup host
    #[arg(short, long)]
    pub(crate) config: Option<String>,
    /// only test the connection and the configuration on the backup host; WAL_PATH is not used
    #[arg(short, long)]
    pub(crate) test: bool,
    /// checksum with MD5, for backup hosts too old for SHA-256
    #[arg(long)]
    pub(crate) md5: bool,
    /// compress with gzip before sending
    #[arg(short = 'z', long)]
    gzip: bool,
    /// compress with bzip2 before sending
    #[arg(short = 'j', long)]
    bzip2: bool,
    /// compress with xz before sending
    #[arg(long)]
    xz: bool,
    /// compress with snappy before sending
    #[arg(long)]
    snappy: bool,
    /// compress with zstd before sending
    #[arg(long)]
    zstd: bool,
    /// compress with lz4 before sending
    #[arg(long)]
    lz4: bool,
    /// level of that compression: low, medium, high or an integer
    #[arg(long, value_parser = compression_level, allow_negative_numbers = true)]
    pub(crate) compression_level: Option<String>,
    /// give up when nothing moves for so long, with the exit code of a failed connection (default: wait for ever, as
    /// Barman does); must be longer than the backup host may take to write the file to its disk
    #[arg(long, value_name = "SECONDS", value_parser = positive, hide_short_help = true)]
    pub(crate) io_timeout: Option<u64>,
}

impl SendArgs {
    /// Barman's name of the compression of what is sent. Of several the order of the help text decides, not that of
    /// the arguments.
    pub(crate) fn compression(&self) -> Option<&'static str> {
        [
            (self.gzip, "gzip"),
            (self.bzip2, "bzip2"),
            (self.xz, "xz"),
            (self.snappy, "snappy"),
            (self.zstd, "zstd"),
            (self.lz4, "lz4"),
        ]
        .into_iter()
        .find_map(|(wanted, name)| wanted.then_some(name))
    }
}
