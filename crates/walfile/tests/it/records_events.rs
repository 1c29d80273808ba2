//! What SQL said happened, found again in the WAL.

use walfile::record::{Oid, RelFile, Xid};
use walfile::rmgr::{Checkpoint, EndOfRecovery, Payload, Transaction};
use walfile::{Lsn, RecordDecoder, Timeline, WalLevel};

use crate::golden::MAJORS;
use crate::wal;

/// A transaction's end, detached from its record.
#[derive(Debug)]
struct End {
    kind: &'static str,
    xid: Xid,
    unix_micros: i64,
    subtransactions: Vec<Xid>,
    dropped: Vec<RelFile>,
    dropped_on_abort: Vec<RelFile>,
    gid: Option<String>,
    database: Option<Oid>,
}

#[derive(Debug, Default)]
struct Events {
    ends: Vec<End>,
    /// Name, end of the record.
    restore_points: Vec<(String, Lsn)>,
    checkpoints: Vec<(Lsn, Checkpoint)>,
    switches: Vec<Lsn>,
    backup_ends: Vec<Lsn>,
    created: Vec<RelFile>,
    cut: Vec<(RelFile, u32)>,
    truncates: Vec<(Oid, usize)>,
    databases: Vec<(&'static str, Oid, bool)>,
    parameters: Vec<walfile::rmgr::ParameterChange>,
    full_page_writes: Vec<bool>,
    messages: Vec<(bool, String, usize)>,
    running: Vec<(Xid, Xid, Vec<Xid>)>,
    assignments: Vec<(Xid, usize)>,
    overwritten: Vec<(Option<Lsn>, Lsn)>,
    recovered: Vec<EndOfRecovery>,
    redo: Vec<Lsn>,
}

impl Events {
    fn of(log: &[u8]) -> Self {
        let mut events = Self::default();
        wal::walk(log, &mut |record| {
            let mut end = |kind, end: Transaction<'_>| {
                events.ends.push(End {
                    kind,
                    xid: end.xid,
                    unix_micros: end.time.unix_micros(),
                    subtransactions: end.subtransactions.iter().collect(),
                    dropped: end.dropped.iter().collect(),
                    dropped_on_abort: end.dropped_on_abort.iter().collect(),
                    gid: end.gid.map(|gid| String::from_utf8(gid.to_vec()).unwrap()),
                    database: end.database,
                });
            };
            match record.payload().unwrap() {
                Payload::Commit(commit) => end("commit", commit),
                Payload::Abort(abort) => end("abort", abort),
                Payload::Prepare(prepare) => end("prepare", prepare),
                Payload::CommitPrepared(commit) => end("commit_prepared", commit),
                Payload::AbortPrepared(abort) => end("abort_prepared", abort),
                Payload::Assignment(a) => events.assignments.push((a.top, a.subtransactions.len())),
                Payload::CheckpointOnline(c) | Payload::CheckpointShutdown(c) => {
                    assert_eq!(c.wal_level, (record.major() >= 17).then_some(WalLevel::Logical));
                    events.checkpoints.push((record.lsn, c));
                }
                Payload::CheckpointRedo(level) => {
                    assert_eq!(level, WalLevel::Logical);
                    events.redo.push(record.lsn);
                }
                Payload::Switch => events.switches.push(record.lsn),
                Payload::BackupEnd(start) => events.backup_ends.push(start),
                Payload::ParameterChange(change) => events.parameters.push(change),
                Payload::RestorePoint(point) => {
                    events.restore_points.push((String::from_utf8(point.name.to_vec()).unwrap(), record.end));
                }
                Payload::FullPageWrites(on) => events.full_page_writes.push(on),
                Payload::EndOfRecovery(end) => {
                    assert_eq!(end.wal_level, (record.major() >= 17).then_some(WalLevel::Logical));
                    events.recovered.push(end);
                }
                Payload::OverwriteContinued(o) => events.overwritten.push((record.replaces, o.lost)),
                Payload::FileCreate(create) => events.created.push(create.relation),
                Payload::FileTruncate(cut) => events.cut.push((cut.relation, cut.blocks)),
                Payload::TableTruncate(t) => events.truncates.push((t.database, t.tables.len())),
                Payload::DatabaseCreate(d) => {
                    events.databases.push(("create_database", d.database, d.copied_from.is_some()));
                }
                Payload::DatabaseDrop(d) => {
                    assert_eq!(d.tablespaces.iter().collect::<Vec<_>>(), [Oid::new(1663)]);
                    events.databases.push(("drop_database", d.database, true));
                }
                Payload::RunningTransactions(r) => {
                    events.running.push((r.oldest_running, r.next_xid, r.transactions.iter().collect()));
                }
                Payload::Message(message) => events.messages.push((
                    message.transactional,
                    String::from_utf8(message.prefix.to_vec()).unwrap(),
                    message.content.len(),
                )),
                _ => {}
            }
        });
        events
    }

    fn end(&self, kind: &str, xid: Xid) -> &End {
        let mut found = self.ends.iter().filter(|end| end.kind == kind && end.xid == xid);
        let one = found.next().unwrap_or_else(|| panic!("no {kind} of {xid}"));
        assert!(found.next().is_none());
        one
    }

    fn commit(&self, xid: Xid) -> &End {
        let prepared = self.ends.iter().any(|end| end.kind == "prepare" && end.xid == xid);
        self.end(if prepared { "commit_prepared" } else { "commit" }, xid)
    }
}

fn xid(text: &str) -> Xid {
    Xid::new(text.parse().unwrap())
}

fn rel(text: &str) -> RelFile {
    let parts: Vec<u32> = text.split('/').map(|part| part.parse().unwrap()).collect();
    let mut file = RelFile::default();
    (file.tablespace, file.database, file.number) = (Oid::new(parts[0]), Oid::new(parts[1]), parts[2]);
    file
}

/// Checks one line of `MAJOR.facts`.
fn check(major: u16, key: &str, value: &str, events: &Events) {
    let (first, rest) = value.split_once(' ').unwrap_or((value, ""));
    match key {
        "commit" => assert_eq!(events.commit(xid(first)).unix_micros.to_string(), rest),
        "subxacts" => {
            let expected: Vec<Xid> = rest.split(',').map(xid).collect();
            assert_eq!(events.commit(xid(first)).subtransactions, expected);
        }
        "abort" => assert_eq!(events.end("abort", xid(first)).gid, None),
        "prepare" => {
            let prepare = events.end("prepare", xid(first));
            assert_eq!(prepare.gid.as_deref(), Some(rest));
            assert!(prepare.database.is_some_and(|database| database.get() > 0));
            // The first one creates a table, whose file a rollback would delete.
            assert_eq!(prepare.dropped_on_abort.len(), usize::from(rest == "gid one"));
            assert!(prepare.dropped.is_empty());
        }
        "commit_prepared" | "abort_prepared" => {
            let expected = (major >= 11).then_some(rest);
            assert_eq!(events.end(key, xid(first)).gid.as_deref(), expected, "{major}");
        }
        "create" => assert!(events.created.contains(&rel(first))),
        "truncate" | "drop" => {
            assert!(events.commit(xid(first)).dropped.contains(&rel(rest)), "{major} {value}");
        }
        "smgr_truncate" => assert!(events.cut.contains(&(rel(first), 0)), "{:?}", events.cut),
        "create_database" | "drop_database" => {
            assert!(events.databases.contains(&(
                if key.starts_with('c') { "create_database" } else { "drop_database" },
                Oid::new(first.parse().unwrap()),
                true
            )));
        }
        "restore_point" => {
            let expected = (rest.to_owned(), first.parse().unwrap());
            assert!(events.restore_points.contains(&expected), "{:?}", events.restore_points);
        }
        "switch" => {
            let end: Lsn = first.parse().unwrap();
            assert!(events.switches.contains(&Lsn::new(end.get() - 24)));
        }
        "checkpoint" => {
            let [redo, next, seconds] = rest.split(' ').collect::<Vec<_>>()[..] else { panic!("{rest}") };
            let lsn: Lsn = first.parse().unwrap();
            let (_, checkpoint) = events.checkpoints.iter().find(|(at, _)| *at == lsn).unwrap();
            assert_eq!(checkpoint.redo.to_string(), redo);
            let next_xid = checkpoint.next_xid;
            assert_eq!(format!("{}:{}", next_xid.epoch(), next_xid.xid()), next);
            assert_eq!((checkpoint.time.unix_micros() / 1_000_000).to_string(), seconds);
            assert!(checkpoint.full_page_writes);
            assert_eq!(
                (checkpoint.timeline, checkpoint.previous_timeline),
                (Timeline::FIRST, Timeline::FIRST)
            );
            // Since 17, the place where its redo begins has a record.
            assert_eq!(events.redo.contains(&checkpoint.redo), major >= 17, "{major}");
        }
        "backup" => assert_eq!(events.backup_ends, [first.parse().unwrap()]),
        "parameter" => {
            let change = events.parameters.last().unwrap();
            assert_eq!((change.max_prepared_transactions, change.max_connections), (6, 100));
            assert_eq!((change.max_locks_per_transaction, change.max_worker_processes), (64, 8));
            assert_eq!(change.max_wal_senders, (major >= 12).then_some(10));
            assert!(change.wal_log_hints && change.track_commit_timestamp);
            assert_eq!(change.wal_level, WalLevel::Logical);
        }
        "end" => {}
        _ => panic!("{key} {value}"),
    }
}

#[test]
fn what_sql_says_happened() {
    for major in MAJORS {
        let events = Events::of(&wal::log(major));
        for (key, value) in wal::facts(major) {
            check(major, &key, &value, &events);
        }
        assert!(events.restore_points.iter().any(|(name, _)| name == "after the crash"), "{major}");
        assert!(events.full_page_writes.starts_with(&[false, true]), "{:?}", events.full_page_writes);
        let messages: Vec<_> = events.messages.iter().map(|(t, p, l)| (*t, p.as_str(), *l)).collect();
        assert_eq!(messages, [(true, "prefix", 7), (false, "p", 20_000)], "the last one was cut off");
        let [(Some(replaced), lost)] = events.overwritten[..] else { panic!("{:?}", events.overwritten) };
        assert_eq!(replaced, lost);
        if major >= 11 {
            assert!(events.truncates.iter().all(|(_, tables)| *tables == 1) && !events.truncates.is_empty());
        }
        assert!(!events.running.is_empty());
        for (oldest, next, running) in &events.running {
            assert!(oldest <= next && running.iter().all(|xid| xid >= oldest && xid < next));
        }
        // Seventy subtransactions are too many for a process to remember.
        assert!(events.assignments.iter().any(|(_, count)| *count == 64), "{major}");
    }
}

#[test]
fn a_promotion_begins_a_timeline() {
    let two = Timeline::new(2).unwrap();
    for major in MAJORS {
        let log = wal::second_timeline(major);
        let events = Events::of(&log);
        assert_eq!(events.restore_points.last().unwrap().0, "on two", "{major}");
        let ended = events.recovered.iter().map(|end| (end.previous_timeline, end.timeline));
        let shut = events.checkpoints.iter().map(|(_, c)| (c.previous_timeline, c.timeline));
        assert!(ended.chain(shut).any(|change| change == (Timeline::FIRST, two)), "{major}");
        let mut decoder = RecordDecoder::new();
        decoder.feed(&log);
        let mut timelines = Vec::new();
        while let Some(record) = decoder.poll() {
            timelines.push(record.timeline);
        }
        assert_eq!(timelines.last(), Some(&two));
        assert!(timelines.is_sorted());
    }
}
