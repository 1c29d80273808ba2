//! What was found.

use tapster_catalog::BackupRecord;
use tapster_catalog::wal_store::Place;
use time::OffsetDateTime;
use walfile::record::{RelFile, Timestamp, Xid};
use walfile::{Lsn, Timeline, WalName};

use super::WalFindError;
use crate::Server;

/// The result of a search.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WalFindReport {
    /// By timeline and position.
    pub found: Vec<FoundPoint>,
    /// Segments of the archive.
    pub segments: usize,
    /// Of which so many were read for this search.
    pub read: usize,
    /// And so many were read because the index did not know them.
    pub indexed: usize,
    /// Worth knowing: damaged segments, an index that could not be written.
    pub warnings: Vec<String>,
}

/// A record that was searched for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FoundPoint {
    /// Where its record begins.
    pub lsn: Lsn,
    /// Where the log goes on after it.
    pub end: Lsn,
    /// The timeline on which it was written.
    pub timeline: Timeline,
    /// The transaction, when the record has one.
    pub xid: Option<Xid>,
    /// When it was written, when the record says so.
    pub time: Option<OffsetDateTime>,
    /// What it is.
    pub what: FoundWhat,
    /// The file it was found in.
    pub file: WalName,
    /// Where that file is.
    pub place: Place,
    /// How to restore to just before it.
    pub restore: RestoreAdvice,
}

/// What a record that was found is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FoundWhat {
    /// A commit.
    Commit {
        /// Of a prepared transaction.
        prepared: bool,
        /// Its subtransactions.
        subtransactions: Vec<Xid>,
        /// Relation files that it removed.
        removed: Vec<RelFile>,
        /// What that was, when files were searched for.
        removal: Option<Removal>,
    },
    /// A rollback.
    Abort {
        /// Of a prepared transaction.
        prepared: bool,
    },
    /// A transaction was prepared.
    Prepare {
        /// Its name.
        gid: String,
    },
    /// A restore point.
    RestorePoint {
        /// Its name.
        name: String,
    },
    /// A file was cut off in place.
    Cut {
        /// The file.
        file: RelFile,
        /// Blocks that are left.
        blocks: u32,
    },
    /// The files of a database were removed.
    DropDatabase {
        /// The database, as a path with file number zero.
        file: RelFile,
    },
}

/// Why a commit removed a file. WAL does not say; it is told by whether the same transaction also made files.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Removal {
    /// The transaction made no file, as far as was read (its segment and the one before): a `DROP`.
    Dropped,
    /// It made files too: `TRUNCATE`, `VACUUM FULL`, `CLUSTER`, `REINDEX`, `ALTER TABLE`; or a `DROP` and a `CREATE`.
    Replaced,
}

/// How to restore to just before a record.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum RestoreAdvice {
    /// No backup ends before it.
    #[default]
    NoBackup,
    /// With these options of `restore`.
    Stop {
        /// The timeline to recover along.
        timeline: Timeline,
        /// The position, together with `--exclusive`.
        lsn: Lsn,
        /// The record lies in a segment that is still being received, so `--partial-wal` is needed.
        partial: bool,
    },
}

/// A time of PostgreSQL's as a date, when it has one.
pub(super) fn date(time: Timestamp) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.unix_micros()) * 1000).ok()
}

/// A date as a time of PostgreSQL's.
pub(super) fn timestamp(date: OffsetDateTime) -> Timestamp {
    let micros = date.unix_timestamp_nanos().div_euclid(1000) - 946_684_800_000_000;
    Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// Says for each point how to get there: `restore … auto` takes the newest backup that ends before it.
pub(super) fn advise(server: &Server, report: &mut WalFindReport) -> Result<(), WalFindError> {
    let records = server.catalog().records()?;
    let going = server.catalog().deletions_in_progress()?;
    for point in &mut report.found {
        let fits = |record: &BackupRecord| {
            record.status.is_copied()
                && !going.contains(&record.id)
                && record.end_xlog.is_some_and(|end| end <= point.lsn)
                && record.timeline.is_some_and(|timeline| timeline <= point.timeline)
        };
        if records.iter().any(fits) {
            let partial = matches!(point.file, WalName::Partial(_));
            point.restore = RestoreAdvice::Stop { timeline: point.timeline, lsn: point.lsn, partial };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_converted_both_ways() {
        let date_there = time::macros::datetime!(2026-11-21 06:12:01.123456 UTC);
        assert_eq!(date(timestamp(date_there)), Some(date_there));
        assert_eq!(timestamp(time::macros::datetime!(2000-01-01 00:00 UTC)).micros(), 0);
        assert_eq!(date(Timestamp::from_micros(i64::MAX)), None);
    }
}
