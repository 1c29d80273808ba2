//! The whole job as an embedder does it: receive, back up, restore, and the data is right.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use tapster_catalog::BackupStatus;
use tapster_manager::backup::BackupOptions;
use tapster_manager::config::{Config, ConfigSources};
use tapster_manager::restore::{
    BackupChoice, RecoveryTarget, RestoreOptions, RestorePlanError, TargetAction, TimelineTarget,
    WalPlanError,
};
use tapster_manager::{ArchiveOptions, Context, Event, Observer, Server, Silent, Switched};
use tapster_protocol::testing::{Cluster, StopMode, servers};
use tapster_protocol::{ConnectOptions, Connection, Environment, Mode};
use time::OffsetDateTime;
use time::macros::datetime;
use walfile::Lsn;

/// Keeps what it is told.
#[derive(Default)]
struct Recorder(Mutex<Vec<Event>>);

impl Observer for Recorder {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

fn server(cluster: &Cluster, home: &Path, extra: &str) -> Server {
    let conninfo = cluster.conninfo();
    let text = format!(
        "[barman]\nbarman_home = {home}\n[main]\nconninfo = {c}\nstreaming_conninfo = {c}\nbackup_method = postgres\n\
         streaming_archiver = on\nslot_name = tapster\ncreate_slot = auto\ncompression = gzip\nimmediate_checkpoint = on\n{extra}",
        home = home.display(),
        c = conninfo.to_conninfo_string(),
    );
    let path = home.join("tapster.conf");
    std::fs::write(&path, text).unwrap();
    let config = Config::load(&ConfigSources::file(path)).unwrap();
    assert_eq!(config.errors, Vec::<String>::new());
    Server::open(&config, "main", Environment::default()).unwrap()
}

/// Runs the receiver of `server` while `work` runs.
pub(crate) fn while_receiving<T>(cluster: &Cluster, server: &Server, work: impl FnOnce() -> T) -> T {
    let stop = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let receiver =
            scope.spawn(|| server.receive_wal(&Context::new(&Silent).with_stop(Arc::clone(&stop))));
        let patience = Instant::now() + Duration::from_secs(30);
        while cluster.sql("SELECT 1 FROM pg_replication_slots WHERE active").is_empty() {
            assert!(!receiver.is_finished(), "{:?}", receiver.join().unwrap().unwrap_err());
            assert!(Instant::now() < patience, "the receiver does not connect");
            std::thread::sleep(Duration::from_millis(50));
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        let report = receiver.join().unwrap();
        match result {
            Ok(value) => {
                report.unwrap();
                value
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Starts PostgreSQL on a restored directory and asks it one question after recovery has ended.
pub(crate) fn ask_restored(cluster: &Cluster, data: &Path, sql: &str) -> String {
    let sockets = cluster.create_dir(&format!("sockets-{}", data.file_name().unwrap().display()));
    if rustix_is_root() {
        let owner = cluster.data_dir();
        let status =
            Command::new("chown").arg("-R").arg("--reference").arg(&owner).arg(data).status().unwrap();
        assert!(status.success());
    }
    let options = format!("-c listen_addresses='' -c unix_socket_directories={}", sockets.display());
    let log = sockets.join("log");
    let pg_ctl = |words: &[&str]| {
        let status = cluster
            .command("pg_ctl")
            .arg("-D")
            .arg(data)
            .args(words)
            .stdout(std::process::Stdio::null())
            .status();
        assert!(status.unwrap().success(), "{}", std::fs::read_to_string(&log).unwrap_or_default());
    };
    pg_ctl(&["-w", "-t", "60", "-l", log.to_str().unwrap(), "-o", &options, "start"]);
    let mut conninfo = cluster.conninfo();
    conninfo.set("host", sockets.to_str().unwrap()).unwrap();
    let options = ConnectOptions::resolve(&conninfo, &Environment::default()).unwrap();
    let mut connection = Connection::connect(&options, Mode::Sql).unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while connection.query("SELECT pg_is_in_recovery() AS r").unwrap().get(0, "r") == Some("t") {
        assert!(Instant::now() < patience, "{}", std::fs::read_to_string(&log).unwrap());
        std::thread::sleep(Duration::from_millis(100));
    }
    let answer = connection.query(sql).unwrap().value(0, 0).unwrap().to_owned();
    pg_ctl(&["-m", "immediate", "stop"]);
    answer
}

fn rustix_is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn pg_receive_back_up_and_restore_to_a_position() {
    let Some(cluster) = Cluster::builder().start() else { return };
    drop(cluster);
    for binaries in servers() {
        let cluster = Cluster::builder().binaries(&binaries).start().unwrap();
        cycle(&cluster);
    }
}

fn cycle(cluster: &Cluster) {
    let home = tempfile::tempdir().unwrap();
    let restored = cluster.create_dir("restored");
    let server = server(cluster, home.path(), "");
    cluster.sql("CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) g");

    let recorder = Recorder::default();
    let target: Lsn = while_receiving(cluster, &server, || {
        let context = Context::new(&recorder);
        assert!(matches!(server.switch_wal(true, &context).unwrap(), Switched::Closed(_)));
        let mut options = BackupOptions::default();
        options.wait = true;
        options.wait_timeout = Some(Duration::from_secs(60));
        let report = server.backup(&options, &context).unwrap();
        assert_eq!(report.record.status, BackupStatus::Done);
        assert_eq!(server.catalog().load(&report.record.id).unwrap(), report.record);

        cluster.sql("INSERT INTO t SELECT g FROM generate_series(1001, 1500) g");
        let target = cluster.value("SELECT pg_current_wal_lsn()").parse().unwrap();
        cluster.sql("DROP TABLE t");
        server.switch_wal(false, &context).unwrap();
        // The last whole segment waits in `streaming/` until the next one begins.
        cluster.sql("CREATE TABLE u()");
        let patience = Instant::now() + Duration::from_secs(60);
        while server.archive_wal(&ArchiveOptions::default(), &context).unwrap().archived() == 0 {
            assert!(Instant::now() < patience, "nothing to archive");
            std::thread::sleep(Duration::from_millis(100));
        }
        if cluster.major() >= 13 {
            times_are_judged_by_the_wal(&server, &restored);
        }
        target
    });
    cluster.stop(StopMode::Immediate);

    let record = server.catalog().records().unwrap().pop().unwrap();
    let choice = || BackupChoice::Record(Box::new(record.clone()));
    let context = Context::new(&recorder);

    let mut beyond = RestoreOptions::new(choice(), &restored);
    beyond.target = RecoveryTarget::Lsn(Lsn::new(0xFF_0000_0000));
    assert!(matches!(
        server.plan_restore(&beyond, &context).unwrap_err(),
        RestorePlanError::LsnBeyondArchive { last: Some(_), .. }
    ));
    // The last position there is: inside the last segment, behind its last record.
    if cluster.major() >= 13 {
        let whole = server.plan_restore(&RestoreOptions::new(choice(), &restored), &context).unwrap();
        beyond.target = RecoveryTarget::Lsn(Lsn::new(whole.wal.reach.get() - 1));
        let refused = server.plan_restore(&beyond, &context).unwrap_err();
        let RestorePlanError::LsnBeyondArchive { last: Some(last), .. } = refused else {
            panic!("{refused}")
        };
        beyond.target = RecoveryTarget::Lsn(last);
        assert_eq!(server.plan_restore(&beyond, &context).unwrap().stop.unwrap().lsn, last);
        beyond.target = RecoveryTarget::Lsn(Lsn::new(last.get() + 1));
        assert!(server.plan_restore(&beyond, &context).is_err());
    }
    let mut before = RestoreOptions::new(choice(), &restored);
    before.target = RecoveryTarget::Lsn(record.begin_xlog.unwrap());
    assert!(matches!(
        server.plan_restore(&before, &context).unwrap_err(),
        RestorePlanError::Wal(WalPlanError::BeforeBackupEnd { .. })
    ));
    assert_eq!(std::fs::read_dir(&restored).unwrap().count(), 0, "planning writes nothing");

    let mut options = RestoreOptions::new(BackupChoice::Auto, &restored);
    options.target = RecoveryTarget::Lsn(target);
    options.action = Some(TargetAction::Promote);
    let plan = server.plan_restore(&options, &context).unwrap();
    assert_eq!(plan.backup(), record.id);
    let report = server.restore(plan, &context).unwrap();
    assert_eq!(report.missing_files, Vec::<String>::new());
    assert!(matches!(
        server.plan_restore(&options, &context).unwrap_err(),
        RestorePlanError::DestinationNotEmpty { .. }
    ));
    assert_eq!(ask_restored(cluster, &restored, "SELECT count(*) FROM t"), "1500");

    let events = recorder.0.into_inner().unwrap();
    let archived = events.iter().filter(|event| matches!(event, Event::Archived { .. })).count();
    assert!(archived >= 2, "{events:?}");
    assert!(events.iter().any(|event| matches!(event, Event::BackupCompleted { .. })));
    assert!(!events.iter().any(|event| matches!(event, Event::Warning(_))), "{events:?}");
}

/// The archive ends with `DROP TABLE`; `CREATE TABLE` is in what is being received.
fn times_are_judged_by_the_wal(server: &Server, destination: &Path) {
    let context = Context::new(&Silent);
    let plan = |target: OffsetDateTime, change: &dyn Fn(&mut RestoreOptions)| {
        let mut options = RestoreOptions::new(BackupChoice::Auto, destination);
        options.target = RecoveryTarget::Time(target);
        change(&mut options);
        server.plan_restore(&options, &context)
    };
    let written = |year: u64| {
        let dir = server.catalog().layout().wals.join("0000000100000000");
        for entry in std::fs::read_dir(dir).unwrap() {
            let file = std::fs::File::options().append(true).open(entry.unwrap().path()).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_557_600)).unwrap();
        }
    };
    let far = datetime!(2199-01-01 00:00 +2);
    written(2200);
    let error = plan(far, &|_| {}).unwrap_err();
    let RestorePlanError::TimeBeyondArchive { last: Some(last), partial: Some(partial), .. } = error else {
        panic!("{error}")
    };
    assert!(!partial.enough && last.time.offset() == far.offset(), "{last:?} {partial:?}");
    for (change, consequence) in [
        (
            (|options| options.get_wal = Some(true)) as fn(&mut RestoreOptions),
            "recovery stops there once such WAL has come",
        ),
        (|options| options.standby_mode = true, "recovery stops there once such WAL has come"),
    ] {
        let warnings = plan(far, &change).unwrap().warnings;
        assert!(warnings.len() == 1 && warnings[0].ends_with(consequence), "{warnings:?}");
    }

    written(2001);
    let before = last.time - Duration::from_micros(1);
    assert_eq!(plan(before, &|_| {}).unwrap().warnings, Vec::<String>::new());
    // PostgreSQL stops before what is later than the target, or with `exclusive` not earlier.
    assert_eq!(plan(last.time, &|options| options.exclusive = true).unwrap().warnings, Vec::<String>::new());
    let patience = Instant::now() + Duration::from_secs(60);
    while let Err(error) = plan(last.time, &|options| options.partial_wal = true) {
        assert!(Instant::now() < patience, "{error}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let error = plan(last.time, &|_| {}).unwrap_err();
    assert!(
        matches!(error, RestorePlanError::TimeBeyondArchive { partial: Some(partial), .. } if partial.enough),
        "{error}"
    );
}

#[test]
fn pg_l_c5_after_a_failover_each_restore_follows_its_own_timeline() {
    let Some(cluster) = Cluster::builder().start() else { return };
    if cluster.major() < 12 {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let server = server(&cluster, home.path(), "");
    let context = Context::new(&Silent);
    while_receiving(&cluster, &server, || {
        cluster.sql("CREATE TABLE t AS SELECT 1 AS g");
        server.switch_wal(true, &context).unwrap();
        let mut options = BackupOptions::default();
        options.wait = true;
        options.wait_timeout = Some(Duration::from_secs(60));
        server.backup(&options, &context).unwrap();
        cluster.sql("INSERT INTO t VALUES (2)");
        server.switch_wal(false, &context).unwrap();
    });
    // The same data on a new timeline, as after a promotion.
    cluster.stop(StopMode::Fast);
    cluster.append("postgresql.conf", "restore_command = 'false'\n");
    cluster.replace("recovery.signal", "");
    cluster.start();
    while_receiving(&cluster, &server, || {
        cluster.sql("INSERT INTO t VALUES (4)");
        server.switch_wal(false, &context).unwrap();
        cluster.sql("CREATE TABLE u()");
        let patience = Instant::now() + Duration::from_secs(60);
        let layout = server.catalog().layout();
        while !layout.wal("00000002.history".parse().unwrap()).exists()
            || !std::fs::read_dir(&layout.wals)
                .unwrap()
                .any(|entry| entry.unwrap().file_name().to_str().unwrap().starts_with("0000000200000000"))
        {
            assert!(Instant::now() < patience, "timeline 2 does not arrive");
            server.archive_wal(&ArchiveOptions::default(), &context).unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    cluster.stop(StopMode::Immediate);

    let restore = |name: &str, timeline: Option<TimelineTarget>| {
        let destination = cluster.create_dir(name);
        let mut options = RestoreOptions::new(BackupChoice::Auto, &destination);
        options.timeline = timeline;
        options.action = timeline.map(|_| TargetAction::Promote);
        let plan = server.plan_restore(&options, &context).unwrap();
        assert_eq!(plan.warnings.len(), usize::from(timeline.is_none()), "{:?}", plan.warnings);
        assert_eq!(plan.wal.timeline.get(), if timeline.is_none() { 1 } else { 2 });
        server.restore(plan, &context).unwrap();
        ask_restored(
            &cluster,
            &destination,
            "SELECT sum(g) || ' on ' || (SELECT timeline_id FROM pg_control_checkpoint()) FROM t",
        )
    };
    assert_eq!(restore("own", None), "3 on 1");
    assert!(restore("latest", Some(TimelineTarget::Latest)).starts_with("7 on "));
}
