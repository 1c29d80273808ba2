//! `cloud receive-wal`.

use std::path::PathBuf;

use super::common::CloudArgs;
use super::connection::{ConnectionArgs, DatabaseArgs};
use super::sizes::size;
use super::wal_archive::StoredHow;
use crate::args::values::{non_negative, positive};

/// What PostgreSQL is told to be durable.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum AcknowledgeName {
    /// What is on the disk of the spool.
    #[default]
    Spool,
    /// What is in the bucket.
    Store,
}

/// Receive WAL from a server into an object store.
///
/// It comes over the replication protocol, as with pg_receivewal, is brought to disk in the spool directory, and goes from there into
/// the bucket: each segment when it is whole, and the one in hand every few seconds, which is what a crash can lose. Use a slot, so that
/// the server keeps what was not received. It runs until it gets SIGTERM or SIGINT.
#[derive(Clone, Debug, clap::Parser)]
#[command(disable_help_flag = true)]
pub(crate) struct CloudReceiveWalArgs {
    #[command(flatten)]
    pub(crate) cloud: CloudArgs,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) how: StoredHow,
    /// where WAL waits for the store; a directory of this receiver alone
    #[arg(long, required_unless_present_any = ["create_slot", "drop_slot", "test"])]
    pub(crate) spool_dir: Option<PathBuf>,
    /// replication slot to stream with
    #[arg(short = 'S', long)]
    pub(crate) slot: Option<String>,
    /// only create the slot
    #[arg(long, requires = "slot", conflicts_with = "drop_slot")]
    pub(crate) create_slot: bool,
    /// only drop the slot
    #[arg(long, requires = "slot")]
    pub(crate) drop_slot: bool,
    /// with --create-slot: one that exists is no error
    #[arg(long)]
    pub(crate) if_not_exists: bool,
    /// when the server is told that it need not keep WAL any longer: as soon as it is in the spool, or in the store, so that the spool
    /// may be lost; a server that is shut down waits for that, so stop this first while the store is away (default: spool)
    #[arg(long, value_enum, default_value = "spool", hide_default_value = true)]
    pub(crate) acknowledge: AcknowledgeName,
    /// seconds after which the segment in hand is uploaded as it is, when it has grown; 0 for never, not with --acknowledge store
    /// (default: 10)
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = non_negative, allow_negative_numbers = true, hide_default_value = true)]
    pub(crate) partial_interval: u64,
    /// stop receiving while so much waits in the spool (default: all but 512 MiB of its file system)
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) spool_max_size: Option<u64>,
    /// seconds between two reports to the server (default: 10)
    #[arg(short, long, value_name = "SECONDS", default_value = "10", value_parser = positive, allow_negative_numbers = true, hide_default_value = true)]
    pub(crate) status_interval: u64,
    /// with no WAL in the spool: begin where the slot does, whatever is missing in the archive before that; take a base backup then.
    /// Before PostgreSQL 15 this needs a database that one may connect to as well
    #[arg(long, requires = "slot")]
    pub(crate) from_slot: bool,
    /// upload so many segments at the same time, at most 64 (default: 2)
    #[arg(short = 'J', long, value_name = "JOBS", default_value = "2", value_parser = positive, hide_default_value = true)]
    pub(crate) parallel: u64,
    /// this cluster owns the archive from now on, whichever wrote to it before
    #[arg(long)]
    pub(crate) take_over: bool,
    /// the bucket and the path in it, such as s3://bucket/path
    #[arg(value_name = "destination_url")]
    pub(crate) url: String,
    /// the server's name below that path
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
}
