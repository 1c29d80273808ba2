//! `wal find`.

use clap::ArgGroup;

use crate::args::values::positive;

/// Find a moment in the WAL by what happened, and print the restore that stops just before it.
///
/// WAL holds no names of tables: REL is the path of a relation's file as pg_waldump prints it (1663/5/16384), as
/// pg_relation_filepath() says it (base/5/16384), or its number alone.
#[derive(Clone, Debug, clap::Parser)]
#[command(group = ArgGroup::new("target").required(true).args(["time", "xid", "restore_point", "dropped", "truncated"]))]
pub(crate) struct WalFindArgs {
    /// the commits next to this time, such as "2026-11-21 00:07:20.915+00"
    #[arg(long)]
    pub(crate) time: Option<String>,
    /// how many commits at or before the time, and how many after it
    #[arg(long, value_name = "COUNT", value_parser = positive, default_value = "5", allow_negative_numbers = true)]
    pub(crate) around: u64,
    /// where this transaction or subtransaction was prepared, committed or rolled back
    #[arg(long, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) xid: Option<u64>,
    /// a restore point
    #[arg(long, value_name = "NAME")]
    pub(crate) restore_point: Option<String>,
    /// the commit that removed this relation's file, by DROP or by a rewrite
    #[arg(long, value_name = "REL")]
    pub(crate) dropped: Option<String>,
    /// as --dropped, and where the file was cut off in place
    #[arg(long, value_name = "REL")]
    pub(crate) truncated: Option<String>,
    /// only on this timeline
    #[arg(long, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) timeline: Option<u64>,
    /// how many segments are read at once when the index is incomplete; the number of processors by default
    #[arg(long, short, value_name = "NJOBS", value_parser = positive, allow_negative_numbers = true)]
    pub(crate) jobs: Option<u64>,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
}
