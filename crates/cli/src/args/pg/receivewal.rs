//! `tapster receivewal`: the options of `pg_receivewal`.

use std::ffi::OsString;
use std::path::PathBuf;

use walfile::Lsn;

use super::super::tree::ReadError;
use super::compress::{self, Compress, Method, Spec};
use super::connection::ConnectionArgs;
use super::{Tool, no_operands, status_interval, usage_error, value_error};

/// Receive WAL into a directory, with the options of pg_receivewal.
#[derive(Clone, Debug, clap::Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct ReceiveWalArgs {
    #[arg(short = 'D', long, allow_hyphen_values = true)]
    directory: Option<PathBuf>,
    #[arg(short = 'E', long, allow_hyphen_values = true)]
    endpos: Option<String>,
    #[arg(long)]
    if_not_exists: bool,
    #[arg(short, long)]
    no_loop: bool,
    #[arg(long)]
    no_sync: bool,
    #[arg(short, long, allow_hyphen_values = true)]
    status_interval: Option<String>,
    #[arg(short = 'S', long, allow_hyphen_values = true)]
    slot: Option<String>,
    #[arg(long)]
    synchronous: bool,
    #[arg(short, long)]
    verbose: bool,
    #[arg(short = 'Z', long, allow_hyphen_values = true)]
    compress: Option<String>,
    #[arg(long)]
    create_slot: bool,
    #[arg(long)]
    drop_slot: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[arg(short = '?', long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    #[arg(hide = true)]
    operands: Vec<OsString>,
}

/// What is to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    /// Receive into this directory.
    Receive(PathBuf),
    /// Only create the slot of this name.
    CreateSlot(String),
    /// Only drop it.
    DropSlot(String),
}

/// A checked `receivewal` command line.
#[derive(Clone, Debug)]
pub(crate) struct ReceiveWal {
    /// What to do.
    pub(crate) action: Action,
    /// `-E`
    pub(crate) endpos: Option<Lsn>,
    /// `--if-not-exists`
    pub(crate) if_not_exists: bool,
    /// `-n`
    pub(crate) no_loop: bool,
    /// `--no-sync`
    pub(crate) no_sync: bool,
    /// `-s` in seconds.
    pub(crate) status_interval: u32,
    /// `-S`
    pub(crate) slot: Option<String>,
    /// `--synchronous`
    pub(crate) synchronous: bool,
    /// `-v`
    pub(crate) verbose: bool,
    /// `-Z`: none, gzip or lz4.
    pub(crate) compress: Spec,
    /// `-d -h -p -U -w -W`
    pub(crate) connection: ConnectionArgs,
}

impl ReceiveWalArgs {
    /// The values, then what goes together with what, in the order of the original.
    pub(crate) fn check(self) -> Result<ReceiveWal, ReadError> {
        let status_interval = self.status_interval.as_deref().map(status_interval).transpose()?.unwrap_or(10);
        let endpos = self
            .endpos
            .as_deref()
            .map(|text| {
                text.parse::<Lsn>()
                    .map_err(|_| value_error(format!("could not parse end position \"{text}\"")))
            })
            .transpose()?;
        no_operands(&self.operands)?;
        let action = match (self.create_slot, self.drop_slot, &self.slot, &self.directory) {
            (true, true, ..) => {
                return Err(usage_error("cannot use --create-slot together with --drop-slot"));
            }
            (true, _, Some(slot), _) => Action::CreateSlot(slot.clone()),
            (_, true, Some(slot), _) => Action::DropSlot(slot.clone()),
            (true, _, None, _) => {
                return Err(usage_error("--create-slot needs a slot to be specified using --slot"));
            }
            (_, true, None, _) => {
                return Err(usage_error("--drop-slot needs a slot to be specified using --slot"));
            }
            (false, false, _, Some(directory)) => Action::Receive(directory.clone()),
            (false, false, _, None) => return Err(usage_error("no target directory specified")),
        };
        if self.synchronous && self.no_sync {
            return Err(usage_error("cannot use --synchronous together with --no-sync"));
        }
        let compress = match self.compress.as_deref().map(compress::parse).transpose()? {
            None => Spec::NONE,
            Some(Compress::Client(spec)) if spec.method == Method::Zstd => {
                return Err(value_error("compression with ZSTD is not yet supported"));
            }
            Some(Compress::Client(spec)) => spec,
            Some(Compress::Server { method, .. }) => {
                return Err(value_error(format!("unrecognized compression algorithm: \"server-{method}\"")));
            }
        };
        Ok(ReceiveWal {
            action,
            endpos,
            if_not_exists: self.if_not_exists,
            no_loop: self.no_loop,
            no_sync: self.no_sync,
            status_interval,
            slot: self.slot,
            synchronous: self.synchronous,
            verbose: self.verbose,
            compress,
            connection: self.connection,
        })
    }
}

/// Help.
pub(crate) const TOOL: Tool = Tool {
    purpose: "receives the write-ahead log of a PostgreSQL server as it is written.",
    operands: "[OPTION]...",
    options: "
Options:
  -D, --directory=DIR    write the WAL files into this directory
  -E, --endpos=LSN       stop after this position
      --if-not-exists    with --create-slot: an existing slot is not an error
  -n, --no-loop          give up when the connection is lost
      --no-sync          do not wait until the files are on disk
  -s, --status-interval=SECS
                         seconds between status messages (default: 10)
  -S, --slot=SLOTNAME    replication slot to use
      --synchronous      flush to disk at once after each write
  -v, --verbose          say more
  -Z, --compress=METHOD[:DETAIL]
                         compress the files

Optional actions:
      --create-slot      create the replication slot named with --slot
      --drop-slot        drop the replication slot named with --slot
",
    other: super::connection::HELP,
};
