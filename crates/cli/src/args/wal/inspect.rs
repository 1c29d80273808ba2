//! `wal inspect`: the options of `pg_waldump`, and where the WAL is.

use std::error::Error as _;
use std::path::PathBuf;

use clap::error::ErrorKind;

use walfile::record::{Fork, Oid, RelFile, Xid};
use walfile::rmgr::Rmgr;
use walfile::{Lsn, Timeline};

use crate::args::tree::ReadError;

/// `--rmgr`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RmgrChoice {
    /// `list`: only say which there are.
    List,
    /// This one.
    Only(Rmgr),
}

/// `--stats`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Statistics {
    /// By resource manager.
    Rmgr,
    /// By resource manager and type of record.
    Record,
}

/// Show the records of WAL segments as pg_waldump does.
///
/// Segments may be compressed. With -f json before the command there is an object per line.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct WalInspectArgs {
    /// the directory of the segments, or one with pg_wal in it
    #[arg(short, long, value_name = "PATH", conflicts_with = "server")]
    pub(crate) path: Option<PathBuf>,
    /// read the WAL in the hub of this server of the configuration
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,
    /// the timeline (default: that of the first segment; for a position 1, or with --server the newest)
    #[arg(short, long, value_name = "TLI", value_parser = timeline, allow_hyphen_values = true)]
    pub(crate) timeline: Option<Timeline>,
    /// begin at this position
    #[arg(short, long, value_name = "RECPTR", value_parser = lsn, allow_hyphen_values = true)]
    pub(crate) start: Option<Lsn>,
    /// end at this position
    #[arg(short, long, value_name = "RECPTR", value_parser = lsn, allow_hyphen_values = true)]
    pub(crate) end: Option<Lsn>,
    /// only records of this resource manager; may be repeated; 'list' names them
    #[arg(short, long, value_name = "RMGR", value_parser = rmgr)]
    pub(crate) rmgr: Vec<RmgrChoice>,
    /// only records about this relation: tablespace, database, file number
    #[arg(short = 'R', long, value_name = "T/D/R", value_parser = relation)]
    pub(crate) relation: Option<RelFile>,
    /// with --relation, only records about this block
    #[arg(short = 'B', long, value_name = "N", value_parser = block, allow_hyphen_values = true)]
    pub(crate) block: Option<u32>,
    /// only records about blocks of this fork: main, fsm, vm or init
    #[arg(short = 'F', long, value_name = "FORK", value_parser = fork)]
    pub(crate) fork: Option<Fork>,
    /// only records of this transaction
    #[arg(short, long, value_name = "XID", value_parser = xid, allow_hyphen_values = true)]
    pub(crate) xid: Option<Xid>,
    /// only ends of transactions from this time on, such as "2026-11-21 00:07:20+00"
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// only ends of transactions up to this time
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// only records with the image of a page
    #[arg(short = 'w', long)]
    pub(crate) fullpage: bool,
    /// show no more than this many records
    #[arg(short = 'n', long, value_name = "N", value_parser = limit, allow_hyphen_values = true)]
    pub(crate) limit: Option<u64>,
    /// at the end of the log, wait for more
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// show details of page images
    #[arg(short, long)]
    pub(crate) bkp_details: bool,
    /// print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// show statistics instead of records; =record for each type of record
    #[arg(short = 'z', long, value_name = "record", num_args = 0..=1, require_equals = true, value_parser = statistics, default_missing_value = "")]
    pub(crate) stats: Option<Statistics>,
    /// the first segment and the last one: files, or with --server or --path their names
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// A value that was refused, in the words of `pg_waldump`; its exit code goes with them.
pub(crate) fn refusal(error: clap::Error) -> ReadError {
    match (error.kind(), error.source()) {
        (ErrorKind::ValueValidation, Some(source)) => {
            ReadError::Message { text: source.to_string(), hint: true }
        }
        _ => ReadError::Clap(error),
    }
}

fn lsn(text: &str) -> Result<Lsn, String> {
    text.parse().map_err(|_| format!("invalid WAL location: \"{text}\""))
}

fn timeline(text: &str) -> Result<Timeline, String> {
    let invalid = || format!("invalid timeline specification: \"{text}\"");
    text.parse::<u32>().ok().and_then(Timeline::new).ok_or_else(invalid)
}

fn xid(text: &str) -> Result<Xid, String> {
    text.parse().map(Xid::new).map_err(|_| format!("invalid transaction ID specification: \"{text}\""))
}

fn block(text: &str) -> Result<u32, String> {
    // The highest number is PostgreSQL's mark for none.
    let number = text.parse().ok().filter(|number| *number != u32::MAX);
    number.ok_or_else(|| format!("invalid block number: \"{text}\""))
}

fn fork(text: &str) -> Result<Fork, String> {
    let fork = (0..4).filter_map(Fork::from_number).find(|fork| fork.name() == text);
    fork.ok_or_else(|| format!("invalid fork name: \"{text}\""))
}

/// 0 is no limit.
fn limit(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("invalid value \"{text}\" for option -n/--limit"))
}

fn relation(text: &str) -> Result<RelFile, String> {
    let mut numbers = text.split('/').map(str::parse::<u32>);
    let mut next = || numbers.next()?.ok();
    let found = (next(), next(), next(), next());
    match found {
        (Some(tablespace @ 1..), Some(database), Some(number @ 1..), None)
            if text.split('/').count() == 3 =>
        {
            Ok(RelFile { tablespace: Oid::new(tablespace), database: Oid::new(database), number })
        }
        _ => Err(format!("invalid relation specification: \"{text}\"")),
    }
}

fn rmgr(text: &str) -> Result<RmgrChoice, String> {
    if text.eq_ignore_ascii_case("list") {
        return Ok(RmgrChoice::List);
    }
    if let Some(number) = text.strip_prefix("custom").and_then(|number| number.parse::<u8>().ok()) {
        let rmgr = Some(Rmgr::new(number)).filter(|rmgr| rmgr.is_custom());
        return rmgr
            .map(RmgrChoice::Only)
            .ok_or_else(|| format!("custom resource manager \"{text}\" does not exist"));
    }
    Rmgr::from_name(text)
        .map(RmgrChoice::Only)
        .ok_or_else(|| format!("resource manager \"{text}\" does not exist"))
}

fn statistics(text: &str) -> Result<Statistics, String> {
    match text {
        "" => Ok(Statistics::Rmgr),
        "record" => Ok(Statistics::Record),
        _ => Err(format!("unrecognized value for option --stats: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_pg_waldump() {
        assert_eq!(relation("1663/5/16384").map(|rel| rel.to_string()).as_deref(), Ok("1663/5/16384"));
        assert_eq!(relation("1664/0/1262").map(|rel| rel.to_string()).as_deref(), Ok("1664/0/1262"));
        for wrong in ["", "1663/5", "1663/5/1/2", "0/5/1", "1663/5/0", "1663/x/1", "1663/5/1/"] {
            assert!(relation(wrong).is_err(), "{wrong}");
        }
        assert_eq!(rmgr("btree"), Ok(RmgrChoice::Only(Rmgr::BTREE)));
        assert_eq!(rmgr("custom128"), Ok(RmgrChoice::Only(Rmgr::new(128))));
        assert!(rmgr("custom005").is_err() && rmgr("nothing").is_err());
        assert_eq!(fork("vm"), Ok(Fork::Visibility));
        assert!(fork("VM").is_err() && block("4294967295").is_err() && limit("x").is_err());
    }
}
