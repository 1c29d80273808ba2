//! What was found.

use std::collections::BTreeMap;

use tapster_catalog::BackupRecord;
use tapster_catalog::wal_store::Place;
use time::OffsetDateTime;
use walfile::record::{RelFile, Timestamp, Xid};
use walfile::{Lsn, Timeline, WalName};

use super::WalFindError;
use crate::Server;
use crate::restore::{TimelineTarget, leads_to};

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

impl FoundWhat {
    /// SQL to run as a superuser in the restored cluster, when stopping before the record does not undo all of it.
    ///
    /// `dropdb()` marks the database as invalid before it removes the files (since PostgreSQL 15.4, 14.9, 13.12), in place, so that
    /// even a cluster that never saw the commit lets nobody in. The files are whole before this record.
    pub fn after_restore(&self) -> Option<String> {
        match self {
            Self::DropDatabase { file } => Some(format!(
                "UPDATE pg_database SET datconnlimit = -1 WHERE oid = {} AND datconnlimit = -2",
                file.database
            )),
            _ => None,
        }
    }
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
    let store = server.wal_store();
    let mut histories = BTreeMap::new();
    for timeline in store.history_files()? {
        // Of one that cannot be read the search has warned; nothing is known to lead to its timeline.
        histories.extend(store.history(timeline).ok().flatten().map(|history| (timeline, history)));
    }
    for point in &mut report.found {
        let fits = |record: &BackupRecord| {
            record.status.is_copied()
                && !going.contains(&record.id)
                && record.end_xlog.zip(record.timeline).is_some_and(|(end, timeline)| {
                    // Numbers say nothing about who descends from whom.
                    let target = TimelineTarget::Number(point.timeline);
                    end <= point.lsn && leads_to(target, timeline, end, &histories)
                })
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

    /// A backup of timeline 2 is no way to a point of timeline 3 that left timeline 1 too.
    #[test]
    fn the_number_of_a_timeline_is_no_ancestry() {
        let home = tempfile::tempdir().unwrap();
        let conf = home.path().join("tapster.conf");
        let put = |path: &std::path::Path, text: &str| {
            std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), text.as_bytes()).unwrap();
        };
        let text = format!(
            "[barman]\nbarman_home = {}\n[main]\nconninfo = host=none\nstreaming_conninfo = host=none\n\
             backup_method = postgres\nstreaming_archiver = on\n",
            home.path().display()
        );
        put(&conf, &text);
        let sources = crate::config::ConfigSources::file(conf);
        let config = crate::config::Config::load(&sources).unwrap();
        let server = Server::open(&config, "main", tapster_protocol::Environment::default()).unwrap();
        server.create_directories().unwrap();
        for name in ["00000002.history", "00000003.history"] {
            put(&server.layout().wals.join(name), "1\t0/6000100\tno recovery target specified\n");
        }
        let advice = |timeline| {
            let mut record = BackupRecord::new("20261121T000000".parse().unwrap());
            record.status = tapster_catalog::BackupStatus::Done;
            record.timeline = Timeline::new(timeline);
            record.end_xlog = Some(Lsn::new(if timeline == 1 { 0x500_0100 } else { 0x700_0100 }));
            server.catalog().save(&record).unwrap();
            let point = FoundPoint {
                lsn: Lsn::new(0x900_0000),
                end: Lsn::new(0x900_0040),
                timeline: Timeline::new(3).unwrap(),
                xid: None,
                time: None,
                what: FoundWhat::RestorePoint { name: "x".to_owned() },
                file: "000000030000000000000009".parse().unwrap(),
                place: Place::Archive,
                restore: RestoreAdvice::NoBackup,
            };
            let mut report = WalFindReport { found: vec![point], ..WalFindReport::default() };
            advise(&server, &mut report).unwrap();
            report.found[0].restore.clone()
        };
        assert_eq!(advice(2), RestoreAdvice::NoBackup);
        assert!(
            matches!(advice(1), RestoreAdvice::Stop { .. })
                && matches!(advice(3), RestoreAdvice::Stop { .. })
        );
    }
}
