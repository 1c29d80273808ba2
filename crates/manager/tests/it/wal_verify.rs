//! `wal verify` on the archive of a real server: 1 MiB segments, a backup, a promotion; then what can go wrong with it.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tapster_catalog::{BackupRecord, WalStore};
use tapster_manager::backup::BackupOptions;
use tapster_manager::config::{Config, ConfigSources};
use tapster_manager::wal_verify::{WalProblem, WalRange};
use tapster_manager::{
    ArchiveOptions, Context, Server, Silent, WalVerifyError, WalVerifyOptions, WalVerifyReport,
};
use tapster_protocol::Environment;
use tapster_protocol::testing::{Cluster, StopMode};
use walfile::codec::{Compression, Level, encoder};
use walfile::{Lsn, SegmentName, SegmentSize, Timeline, WalName};

const SIZE: SegmentSize = SegmentSize::MIN;

/// A hub whose archive can be changed.
pub(crate) struct Hub {
    home: tempfile::TempDir,
    server: Server,
}

pub(crate) fn open(home: &Path, conninfo: &str) -> Server {
    let text = format!(
        "[barman]\nbarman_home = {home}\n[main]\nconninfo = {conninfo}\nstreaming_conninfo = {conninfo}\n\
         backup_method = postgres\narchiver = on\nimmediate_checkpoint = on\n",
        home = home.display(),
    );
    let path = home.join("tapster.conf");
    std::fs::write(&path, text).unwrap();
    let config = Config::load(&ConfigSources::file(path)).unwrap();
    Server::open(&config, "main", Environment::default()).unwrap()
}

impl Hub {
    /// The same archive in another place.
    fn copy(&self) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("main")).unwrap();
        // Not the files of the backup.
        for dir in ["wals", "meta"] {
            let (from, to) = (self.home.path().join("main").join(dir), home.path().join("main").join(dir));
            let status = std::process::Command::new("cp").arg("-r").args([from, to]).status();
            assert!(status.unwrap().success());
        }
        let server = open(home.path(), "host=none");
        server.create_directories().unwrap();
        Self { home, server }
    }

    fn path(&self, name: impl Into<WalName>) -> PathBuf {
        self.server.catalog().layout().wal(name.into())
    }

    fn change(&self, name: SegmentName, change: impl FnOnce(&mut Vec<u8>)) {
        let mut content = std::fs::read(self.path(name)).unwrap();
        change(&mut content);
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn verify(&self, backup: Option<&BackupRecord>, jobs: usize) -> WalVerifyReport {
        let mut options = WalVerifyOptions::default();
        options.backup = backup.cloned();
        options.jobs = Some(jobs);
        self.server.verify_wal(&options, &Context::new(&Silent)).unwrap()
    }

    pub(crate) fn record(&self) -> BackupRecord {
        self.server.catalog().records().unwrap().remove(0)
    }

    /// The archived segments of a timeline.
    fn segments(&self, timeline: Timeline) -> Vec<SegmentName> {
        let runs = WalStore::new(self.server.catalog().layout()).segment_runs(SIZE).unwrap();
        let run = runs[&timeline].last().unwrap();
        (run.first.get()..=run.last.get()).map(|n| walfile::SegmentNo::new(n).name(timeline, SIZE)).collect()
    }

    fn pack(&self, compression: Compression) {
        for name in [Timeline::FIRST, Timeline::new(2).unwrap()].into_iter().flat_map(|t| self.segments(t)) {
            let mut content = Vec::new();
            let store = WalStore::new(self.server.catalog().layout());
            store.open(name.into(), false).unwrap().read_to_end(&mut content).unwrap();
            let mut packer = encoder(Vec::new(), compression, Level::Low).unwrap();
            packer.write_all(&content).unwrap();
            std::fs::write(self.path(name), packer.finish().unwrap()).unwrap();
        }
    }
}

/// Archives until `name` is there.
pub(crate) fn archive_until(server: &Server, name: &str) {
    let patience = Instant::now() + Duration::from_secs(60);
    let path = server.catalog().layout().wal(name.parse().unwrap());
    while !path.exists() {
        assert!(Instant::now() < patience, "{name} does not arrive");
        server.archive_wal(&ArchiveOptions::default(), &Context::new(&Silent)).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A server with segments of 1 MiB that archives to the hub below `home`; its hub.
pub(crate) fn archiving(home: &Path) -> Option<(Cluster, Server)> {
    let incoming = home.join("main/incoming");
    let builder = Cluster::builder()
        .wal_segment_mb(1)
        .config("archive_mode = on")
        .config("track_commit_timestamp = on");
    // Under another name first: nobody may see half a file.
    let command = format!("cp %p {0}/.%f.tmp && mv {0}/.%f.tmp {0}/%f", incoming.display());
    let cluster = builder.config(&format!("archive_command = '{command}'")).start()?;
    let server = open(home, &cluster.conninfo().to_conninfo_string());
    server.create_directories().unwrap();
    for dir in [home, &incoming] {
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(dir, all).unwrap();
    }
    Some((cluster, server))
}

/// A hub with a backup, some WAL on timeline 1 and some on timeline 2; and the last commit in it by the server's own word,
/// as microseconds since 1970. Timeline 2 begins inside a segment, or
/// with one.
fn promoted(on_a_boundary: bool) -> Option<(Hub, i128)> {
    let home = tempfile::tempdir().unwrap();
    let (cluster, server) = archiving(home.path())?;
    let switch = || {
        let name = cluster.value("SELECT pg_walfile_name(pg_switch_wal())");
        archive_until(&server, &name);
    };
    cluster.sql("CREATE TABLE t AS SELECT g FROM generate_series(1, 4000) g");
    switch();
    server.backup(&BackupOptions::default(), &Context::new(&Silent)).unwrap();
    cluster.sql("INSERT INTO t SELECT g FROM generate_series(1, 6000) g");
    // A record over several segments.
    cluster.sql("SELECT pg_logical_emit_message(false, 'big', repeat('0123456789', 300000))");
    cluster.sql("UPDATE t SET g = g + 1");
    switch();
    if !on_a_boundary {
        cluster.sql("INSERT INTO t VALUES (1)");
    }
    cluster.stop(StopMode::Immediate);
    cluster.append("postgresql.conf", "restore_command = 'false'\n");
    cluster.replace("recovery.signal", "");
    cluster.start();
    let patience = Instant::now() + Duration::from_secs(60);
    while cluster.value("SELECT pg_is_in_recovery()") == "t" {
        assert!(Instant::now() < patience);
        std::thread::sleep(Duration::from_millis(50));
    }
    archive_until(&server, "00000002.history");
    cluster.sql("INSERT INTO t SELECT g FROM generate_series(1, 40000) g");
    let last = cluster
        .value("SELECT (extract(epoch FROM timestamp) * 1000000)::bigint FROM pg_last_committed_xact()");
    switch();
    cluster.stop(StopMode::Immediate);
    Some((Hub { home, server }, last.parse().unwrap()))
}

#[test]
fn an_archive_is_proved_and_what_is_wrong_with_it_is_found() {
    let Some((hub, last_commit)) = promoted(false) else { return };
    let (one, two) = (Timeline::FIRST, Timeline::new(2).unwrap());
    let record = hub.record();
    let sound = hub.verify(None, 2);
    assert!(sound.is_sound(), "{sound:?}");
    assert_eq!(sound, hub.verify(None, 1));
    let line = &sound.lines[0];
    let end = hub.segments(two).last().unwrap().end(SIZE).unwrap();
    let [range] = line.ranges[..] else { panic!("{line:?}") };
    assert_eq!((line.timeline, line.start, line.problems.len()), (two, record.begin_xlog.unwrap(), 0));
    assert_eq!((range.start, range.end, range.timeline), (line.start, end, two));
    assert_eq!(range.last_commit.unwrap().time.unix_timestamp_nanos() / 1000, last_commit);
    assert_eq!(sound.backups.len(), 1);
    assert_eq!((sound.backups[0].id, sound.backups[0].reach), (record.id, Some(range)));
    let from_backup = hub.verify(Some(&record), 2);
    assert_eq!((&from_backup.lines[0], &from_backup.backups), (line, &sound.backups));

    for compression in [Compression::Gzip, Compression::Zstd, Compression::Lz4] {
        let packed = hub.copy();
        packed.pack(compression);
        assert_eq!(packed.verify(None, 2), sound, "{compression}");
        // Cut off.
        let name = packed.segments(two)[1];
        packed.change(name, |content| content.truncate(content.len() - 20));
        let report = packed.verify(None, 2);
        let [WalProblem::Damaged { file, timeline, .. }] = &report.lines[0].problems[..] else {
            panic!("{compression}: {report:?}")
        };
        assert_eq!((*file, *timeline), (Some(name.into()), two));
    }

    // A gap of two, where the large record goes on.
    let gap = hub.copy();
    let segments = gap.segments(one);
    let missing = &segments[segments.len() - 3..segments.len() - 1];
    for name in missing {
        std::fs::remove_file(gap.path(*name)).unwrap();
    }
    let report = gap.verify(None, 2);
    let problem = WalProblem::Missing { first: missing[0], last: missing[1], count: 2 };
    assert_eq!(report.lines[0].problems, [problem]);
    let [before, after] = report.lines[0].ranges[..] else { panic!("{report:?}") };
    let hole = missing[0].start(SIZE).unwrap()..missing[1].end(SIZE).unwrap();
    assert!(before.start == line.start && before.end <= hole.start && after.start >= hole.end, "{report:?}");
    assert_eq!((after.end, report.backups[0].reach), (end, Some(before)));

    // A flipped bit in a record's own bytes: found exactly there, with any number of workers.
    let flipped = hub.copy();
    let hit = range.last_commit.unwrap().lsn;
    let name = SegmentName::containing(two, hit, SIZE);
    flipped.change(name, |content| content[hit.offset_in_segment(SIZE) as usize + 5] ^= 1);
    for jobs in [1, 3] {
        let report = flipped.verify(None, jobs);
        let [WalProblem::Damaged { at, file, .. }] = &report.lines[0].problems[..] else {
            panic!("{report:?}")
        };
        assert_eq!((*at, *file, report.lines[0].ranges[0].end), (hit, Some(name.into()), hit));
        assert!(!report.is_sound() && report.backups[0].reach.is_some_and(|reach| reach.end == hit));
    }

    // The backup's own WAL.
    let first = hub.copy();
    std::fs::remove_file(first.path(record.begin_wal.unwrap())).unwrap();
    let report = first.verify(None, 2);
    assert!(report.backups[0].reach.is_none() && !report.is_sound(), "{report:?}");

    crate::wal_verify_backup::what_a_backup_needs_is_looked_for(&hub);
    what_is_wrong_with_timelines_is_found(&hub, range);
    wal_of_another_cluster_is_found(&hub);

    // What the receiver has of the next segment.
    let growing = hub.copy();
    let last = *growing.segments(two).last().unwrap();
    let streaming = growing.server.catalog().layout().streaming.join(format!("{last}.partial"));
    let mut content = std::fs::read(growing.path(last)).unwrap();
    content.truncate(hit.offset_in_segment(SIZE) as usize);
    std::fs::write(streaming, content).unwrap();
    std::fs::remove_file(growing.path(last)).unwrap();
    if SegmentName::containing(two, hit, SIZE) == last {
        let report = growing.verify(None, 2);
        assert!(report.is_sound(), "{report:?}");
        assert_eq!(report.lines[0].end.as_ref().unwrap().partial, Some(last));
        assert_eq!(report.lines[0].ranges[0].end, hit);
    }
}

fn what_is_wrong_with_timelines_is_found(hub: &Hub, range: WalRange) {
    let (one, two, three) = (Timeline::FIRST, Timeline::new(2).unwrap(), Timeline::new(3).unwrap());
    let text = std::fs::read_to_string(hub.path(WalName::History(two))).unwrap();
    let switch: Lsn = text.split('\t').nth(1).unwrap().parse().unwrap();
    // A history file that puts the switch elsewhere, be it in the same page.
    for distance in [0x6000, 0x20] {
        for wrong in [switch.get() + distance, switch.get() - distance] {
            let (moved, wrong) = (hub.copy(), Lsn::new(wrong));
            let path = moved.path(WalName::History(two));
            std::fs::write(&path, text.replace(&switch.to_string(), &wrong.to_string())).unwrap();
            let report = moved.verify(None, 2);
            assert!(!report.lines[0].problems.is_empty(), "{wrong}: {report:?}");
            if distance > 8192 && wrong > switch {
                assert!(report.lines[0].ranges[0].end < wrong.saturating_add(8192), "{report:?}");
            }
        }
    }

    // No history file.
    let lost = hub.copy();
    std::fs::remove_file(lost.path(WalName::History(two))).unwrap();
    for backup in [None, Some(&hub.record())] {
        let report = lost.verify(backup, 2);
        assert_eq!(report.lines[0].problems, [WalProblem::MissingHistory { timeline: two }]);
        assert!(report.lines[1..].iter().all(|line| line.problems.is_empty()), "{report:?}");
        assert_eq!(report.backups[0].reach.map(|reach| reach.timeline), Some(one));
    }
    // Nobody finds timeline 4.
    let hole = hub.copy();
    std::fs::write(hole.path(WalName::History(Timeline::new(4).unwrap())), &text).unwrap();
    let report = hole.verify(None, 2);
    assert_eq!(report.lines[0].problems, [WalProblem::MissingHistory { timeline: three }]);

    // The segment in which timeline 2 begins.
    let first = SegmentName::containing(two, switch, SIZE);
    let gap = hub.copy();
    std::fs::remove_file(gap.path(first)).unwrap();
    let report = gap.verify(None, 2);
    assert_eq!(report.lines[0].problems, [WalProblem::Missing { first, last: first, count: 1 }]);
    // The same when another timeline was chosen for the main line, on which there is nothing yet.
    std::fs::write(gap.path(WalName::History(three)), &text).unwrap();
    let report = gap.verify(None, 2);
    assert_eq!((report.lines[0].timeline, report.lines[0].problems.len()), (three, 0), "{report:?}");
    let line = report.lines.iter().find(|line| line.timeline == two).unwrap();
    assert_eq!(line.problems, [WalProblem::Missing { first, last: first, count: 1 }]);

    // Timeline 1 went on elsewhere, and of timeline 2 there is only the beginning, or nothing yet.
    let young = hub.copy();
    let mut content = std::fs::read(young.path(first)).unwrap();
    let streaming = young.server.catalog().layout().streaming.join(format!("{first}.partial"));
    std::fs::write(&streaming, &content).unwrap();
    for name in young.segments(two) {
        std::fs::remove_file(young.path(name)).unwrap();
    }
    content[switch.offset_in_segment(SIZE) as usize..].fill(0);
    std::fs::write(young.path(first.on_timeline(one)), content).unwrap();
    let report = young.verify(Some(&hub.record()), 2);
    let end = report.lines[0].end.as_ref().unwrap();
    assert!(report.is_sound() && end.partial == Some(first), "{report:?}");
    let [reached] = report.lines[0].ranges[..] else { panic!("{report:?}") };
    assert!(reached.end > switch && reached.end <= range.end && reached.timeline == two, "{report:?}");
    std::fs::remove_file(streaming).unwrap();
    let report = young.verify(Some(&hub.record()), 2);
    assert!(report.is_sound() && report.lines[0].ranges[0].end == switch, "{report:?}");
}

fn wal_of_another_cluster_is_found(hub: &Hub) {
    let segments: Vec<_> = [1, 2].into_iter().flat_map(|t| hub.segments(Timeline::new(t).unwrap())).collect();
    let alien = |names: &[SegmentName]| {
        let hub = hub.copy();
        for name in names {
            hub.change(*name, |content| content[24] ^= 1);
        }
        hub.verify(None, 2)
    };
    let name = *segments.last().unwrap();
    let report = alien(&[name]);
    let [WalProblem::Damaged { file, .. }] = &report.lines[0].problems[..] else { panic!("{report:?}") };
    assert_eq!(*file, Some(name.into()));
    // All of it: then nothing but the backup says so.
    let report = alien(&segments);
    assert!(!report.is_sound() && report.records() == 0 && report.backups[0].reach.is_none(), "{report:?}");
}

#[test]
fn a_timeline_may_begin_with_a_segment() {
    let Some((hub, last_commit)) = promoted(true) else { return };
    for jobs in [1, 2] {
        let report = hub.verify(None, jobs);
        assert!(report.is_sound(), "{report:?}");
        let [range] = report.lines[0].ranges[..] else { panic!("{report:?}") };
        assert_eq!(range.last_commit.unwrap().time.unix_timestamp_nanos() / 1000, last_commit);
    }
}

#[test]
fn without_wal_there_is_nothing_to_prove() {
    let home = tempfile::tempdir().unwrap();
    let server = open(home.path(), "host=none");
    server.create_directories().unwrap();
    let error = server.verify_wal(&WalVerifyOptions::default(), &Context::new(&Silent)).unwrap_err();
    assert!(matches!(error, WalVerifyError::Empty { .. }), "{error}");
    let mut options = WalVerifyOptions::default();
    options.backup = Some(BackupRecord::new("20261121T000000".parse().unwrap()));
    let error = server.verify_wal(&options, &Context::new(&Silent)).unwrap_err();
    assert!(matches!(error, WalVerifyError::NoPosition { .. }), "{error}");
}
