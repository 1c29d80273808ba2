//! Backups by file copy: real servers, real files, the restored data is right.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tapster_catalog::{BackupMode, BackupRecord, BackupStatus};
use tapster_manager::backup::{BackupError, BackupOptions};
use tapster_manager::config::{Config, ConfigSources, ReuseBackup};
use tapster_manager::restore::{BackupChoice, RestoreOptions};
use tapster_manager::{Context, Event, Observer, Server, Silent};
use tapster_protocol::Environment;
use tapster_protocol::testing::{Cluster, StopMode, servers};

use crate::cycle::{ask_restored, while_receiving};

fn server(cluster: &Cluster, home: &Path, extra: &str) -> Server {
    let text = format!(
        "[barman]\nbarman_home = {home}\n[main]\nconninfo = {c}\nstreaming_conninfo = {c}\n\
         streaming_archiver = on\nslot_name = tapster\ncreate_slot = auto\nimmediate_checkpoint = on\n\
         backup_options = concurrent_backup\nparallel_jobs = 2\n{extra}",
        home = home.display(),
        c = cluster.conninfo().to_conninfo_string(),
    );
    let path = home.join("tapster.conf");
    std::fs::write(&path, text).unwrap();
    let config = Config::load(&ConfigSources::file(path)).unwrap();
    assert_eq!(config.errors, Vec::<String>::new());
    Server::open(&config, "main", Environment::default()).unwrap()
}

fn waiting() -> BackupOptions {
    let mut options = BackupOptions::default();
    options.wait = true;
    options.wait_timeout = Some(Duration::from_secs(60));
    options
}

fn back_up(server: &Server, options: &BackupOptions) -> BackupRecord {
    let report = server.backup(options, &Context::new(&Silent)).unwrap();
    assert_eq!(report.record.status, BackupStatus::Done);
    assert_eq!(report.record.mode, Some(BackupMode::RsyncConcurrent));
    report.record
}

/// The one relation file of a table, relative to the data directory.
fn relation(cluster: &Cluster, table: &str) -> String {
    cluster.value(&format!("SELECT pg_relation_filepath('{table}')"))
}

fn restored(server: &Server, cluster: &Cluster, record: &BackupRecord, sql: &str) -> String {
    let destination = cluster.create_dir(&format!("restored-{}", record.id));
    let mut options = RestoreOptions::new(BackupChoice::Record(Box::new(record.clone())), &destination);
    for tablespace in &record.tablespaces {
        let place = cluster.create_dir(&format!("restored-{}-{}", record.id, tablespace.name));
        options.tablespaces.push((tablespace.name.clone(), place));
    }
    let plan = server.plan_restore(&options, &Context::new(&Silent)).unwrap();
    server.restore(plan, &Context::new(&Silent)).unwrap();
    for (_, place) in &options.tablespaces {
        let status = std::process::Command::new("chown")
            .arg("-R")
            .arg("--reference")
            .arg(cluster.data_dir())
            .arg(place)
            .status();
        assert!(status.unwrap().success());
    }
    ask_restored(cluster, &destination, sql)
}

/// Writes to the server until it is dropped.
struct Load<'c>(&'c Cluster, AtomicBool);

impl Load<'_> {
    fn run(&self) {
        let mut connection = self.0.connect();
        while !self.1.load(Ordering::Relaxed) {
            // Debit and credit: whatever is torn apart shows in the sum.
            connection
                .query(
                    "WITH a AS (SELECT (random() * 19999)::int AS d, (random() * 19999)::int AS c) \
                     UPDATE accounts SET v = v + (id = c)::int - (id = d)::int FROM a WHERE id IN (c, d)",
                )
                .unwrap();
            connection.query("CREATE TABLE IF NOT EXISTS gone AS SELECT 1").unwrap();
            connection.query("DROP TABLE gone").unwrap();
        }
    }
}

const SUM: &str = "SELECT count(*) || ' ' || sum(v) || ' ' || (SELECT count(*) FROM spaced) FROM accounts";

#[test]
fn pg_local_copies_under_load_restore_to_a_consistent_cluster() {
    let servers = servers();
    let (Some(newest), Some(oldest)) = (servers.first(), servers.last()) else { return };
    for binaries in [newest, oldest] {
        let cluster = Cluster::builder().binaries(binaries).checksums(true).start().unwrap();
        let home = tempfile::tempdir().unwrap();
        let server = server(&cluster, home.path(), "backup_method = local-rsync\n");
        let (space, inside) = (cluster.create_dir("space"), cluster.data_dir().join("inside"));
        std::fs::create_dir(&inside).unwrap();
        let owner = cluster.data_dir().metadata().unwrap();
        std::os::unix::fs::chown(&inside, Some(owner.uid()), Some(owner.gid())).unwrap();
        cluster.sql(&format!("CREATE TABLESPACE one LOCATION '{}'", space.display()));
        cluster.sql(&format!("CREATE TABLESPACE two LOCATION '{}'", inside.display()));
        cluster.sql("CREATE TABLE spaced TABLESPACE one AS SELECT g FROM generate_series(1, 5000) g");
        cluster.sql("CREATE TABLE spaced2 TABLESPACE two AS SELECT g FROM generate_series(1, 5000) g");
        cluster.sql("CREATE TABLE still AS SELECT g FROM generate_series(1, 20000) g");
        cluster.sql("CREATE TABLE accounts AS SELECT g AS id, 100 AS v FROM generate_series(0, 19999) g");
        cluster.sql("CREATE INDEX ON accounts (id)");
        cluster.sql("CREATE UNLOGGED TABLE unlogged AS SELECT g FROM generate_series(1, 20000) g");
        let (still, unlogged) = (relation(&cluster, "still"), relation(&cluster, "unlogged"));
        cluster.sql("CHECKPOINT");

        let mut linking = waiting();
        linking.reuse_backup = Some(ReuseBackup::Link);
        let records = while_receiving(&cluster, &server, || {
            server.switch_wal(true, &Context::new(&Silent)).unwrap();
            let load = Load(&cluster, AtomicBool::new(false));
            std::thread::scope(|scope| {
                scope.spawn(|| load.run());
                let records = [back_up(&server, &waiting()), back_up(&server, &linking)];
                load.1.store(true, Ordering::Relaxed);
                records
            })
        });
        // The server knows of no backup any more.
        assert!(!cluster.data_dir().join("backup_label").exists());
        let [first, second] = &records;
        let file =
            |record: &BackupRecord, name: &str| server.catalog().layout().data_dir(&record.id).join(name);
        let inode = |path: PathBuf| path.metadata().unwrap().ino();
        assert_eq!(inode(file(first, &still)), inode(file(second, &still)));
        assert!(second.deduplicated_size.unwrap() < second.size.unwrap());
        assert_eq!(first.deduplicated_size, first.size);
        for record in &records {
            assert!(!file(record, &unlogged).exists() && file(record, &format!("{unlogged}_init")).exists());
            assert!(!file(record, "inside").exists() && !file(record, "postmaster.pid").exists());
            assert_eq!(std::fs::read_dir(file(record, "pg_tblspc")).unwrap().count(), 0);
            assert_eq!(std::fs::read_dir(file(record, "pg_wal")).unwrap().count(), 0);
            let label = std::fs::read_to_string(file(record, "backup_label")).unwrap();
            assert_eq!(Some(label), record.backup_label);
        }
        cluster.stop(StopMode::Immediate);
        for record in &records {
            assert_eq!(restored(&server, &cluster, record, SUM), "20000 2000000 5000");
        }
    }
}

/// Does something when the copy begins.
struct AtCopy<F: Fn() + Sync>(F, Mutex<Vec<String>>);

impl<F: Fn() + Sync> Observer for AtCopy<F> {
    fn event(&self, event: &Event) {
        match event {
            Event::CopyStarting { .. } => (self.0)(),
            Event::Warning(text) => self.1.lock().unwrap().push(text.clone()),
            _ => {}
        }
    }
}

/// Asks to stop when WAL is waited for.
struct AtWait(std::sync::Arc<AtomicBool>);

impl Observer for AtWait {
    fn event(&self, event: &Event) {
        if matches!(event, Event::WaitingForWal { .. }) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn pg_a_tablespace_that_is_not_seen_fails_the_backup_and_a_dropped_one_does_not() {
    let Some(cluster) = Cluster::builder().start() else { return };
    let home = tempfile::tempdir().unwrap();
    let server = server(&cluster, home.path(), "backup_method = local-rsync\n");
    let [one, two] = ["one", "two"].map(|name| {
        let place = cluster.create_dir(name);
        cluster.sql(&format!("CREATE TABLESPACE {name} LOCATION '{}'", place.display()));
        place
    });
    cluster.sql("CREATE TABLE t TABLESPACE one AS SELECT g FROM generate_series(1, 1000) g");
    cluster.sql("CHECKPOINT");
    let hidden = one.with_extension("hidden");
    while_receiving(&cluster, &server, || {
        server.switch_wal(true, &Context::new(&Silent)).unwrap();
        let unmount = AtCopy(|| std::fs::rename(&one, &hidden).unwrap(), Mutex::default());
        let result = server.backup(&waiting(), &Context::new(&unmount));
        std::fs::rename(&hidden, &one).unwrap();
        let error = result.unwrap_err();
        let BackupError::Failed { id, source, .. } = &error else { panic!("{error}") };
        let text = source.to_string();
        assert!(text.starts_with("tablespace 'one': ") && text.contains(one.to_str().unwrap()), "{text}");
        assert_eq!(server.catalog().load(id).unwrap().status, BackupStatus::Failed);

        let drop = AtCopy(
            || {
                cluster.sql("DROP TABLESPACE two");
            },
            Mutex::default(),
        );
        let report = server.backup(&waiting(), &Context::new(&drop)).unwrap();
        assert_eq!(report.record.status, BackupStatus::Done);
        let known: Vec<_> = report.record.tablespaces.iter().map(|known| known.name.as_str()).collect();
        assert_eq!(known, ["one"]);

        // Asked to stop while only WAL is waited for: all of the backup is there.
        let context = Context::new(&Silent);
        let observer = AtWait(context.stop.clone());
        let context = Context::new(&observer).with_stop(context.stop.clone());
        let mut with_manifest = waiting();
        with_manifest.manifest = Some(true);
        let waited = server.backup(&with_manifest, &context).unwrap().record;
        let manifest = server.catalog().layout().data_dir(&waited.id).join("backup_manifest");
        assert!(manifest.is_file());
        let sizes = tapster_copy::tree::sizes(&server.catalog().layout().backup_dir(&waited.id)).unwrap();
        assert_eq!(waited.size, Some(sizes.total));

        let oid = report.record.tablespaces[0].oid;
        let layout = server.catalog().layout();
        assert!(layout.tablespace_dir(&report.record.id, oid).is_dir());
        let dirs = std::fs::read_dir(layout.backup_dir(&report.record.id)).unwrap();
        assert!(dirs.map(|entry| entry.unwrap()).filter(|entry| entry.path().is_dir()).count() == 2);
        assert!(two.is_dir());
    });
}

#[test]
fn pg_l_b17_links_external_files_and_broken_pages() {
    let Some(cluster) = Cluster::builder().checksums(true).start() else { return };
    let home = tempfile::tempdir().unwrap();
    let server = server(&cluster, home.path(), "backup_method = local-rsync\nkeepalive_interval = 1\n");
    // `pg_wal` elsewhere, and `pg_hba.conf` too.
    cluster.sql("CREATE TABLE t AS SELECT g FROM generate_series(1, 20000) g");
    cluster.stop(StopMode::Fast);
    let elsewhere = cluster.create_dir("elsewhere");
    let wal = cluster.wal_dir();
    std::fs::rename(&wal, elsewhere.join("wal")).unwrap();
    symlink(elsewhere.join("wal"), &wal).unwrap();
    std::fs::copy(cluster.data_dir().join("pg_hba.conf"), elsewhere.join("other_hba.conf")).unwrap();
    let settings =
        format!("hba_file = '{0}/other_hba.conf'\nident_file = '{0}/none.conf'\n", elsewhere.display());
    cluster.append("postgresql.conf", &settings);
    std::process::Command::new("chown")
        .args(["-R", "--reference"])
        .arg(cluster.data_dir())
        .arg(&elsewhere)
        .status()
        .unwrap();
    cluster.start();

    let layout = server.catalog().layout();
    // The mode lives as long as the session that began it.
    let is_out_of_backup_mode = || {
        let patience = Instant::now() + Duration::from_secs(30);
        while cluster.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'barman'") != "0"
        {
            assert!(Instant::now() < patience, "a session stays");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    while_receiving(&cluster, &server, || {
        server.switch_wal(true, &Context::new(&Silent)).unwrap();
        let record = back_up(&server, &waiting());
        let data = layout.data_dir(&record.id);
        assert!(data.join("other_hba.conf").exists() && !data.join("none.conf").exists());
        assert!(data.join("pg_wal").is_dir() && !data.join("pg_wal").is_symlink());
        assert_eq!(std::fs::read_dir(data.join("pg_wal")).unwrap().count(), 0);

        // A request to stop, at the begin of the copy.
        let context = Context::new(&Silent);
        let stop = context.stop.clone();
        let observer = AtCopy(|| stop.store(true, Ordering::Relaxed), Mutex::default());
        let context = Context::new(&observer).with_stop(stop.clone());
        let error = server.backup(&waiting(), &context).unwrap_err();
        let BackupError::Failed { id, .. } = &error else { panic!("{error}") };
        let failed = server.catalog().load(id).unwrap();
        assert_eq!(failed.status, BackupStatus::Failed);
        assert_eq!(failed.error.as_deref(), Some("failure copying files (stopped on request)"));
        is_out_of_backup_mode();

        // The session is lost while the copy waits for its bandwidth.
        let observer = AtCopy(
            || {
                cluster.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'barman'",
                );
            },
            Mutex::default(),
        );
        let mut slow = waiting();
        slow.bandwidth_limit = Some(1000);
        let error = server.backup(&slow, &Context::new(&observer)).unwrap_err();
        let BackupError::Failed { id, source, .. } = &error else { panic!("{error}") };
        assert_eq!(source.to_string(), "Connection to the Postgres server was lost during the backup.");
        assert_eq!(server.catalog().load(id).unwrap().status, BackupStatus::Failed);
        is_out_of_backup_mode();
    });
    // A byte of a page that the server does not look at meanwhile.
    let table = relation(&cluster, "t");
    cluster.stop(StopMode::Fast);
    let file = std::fs::File::options().write(true).open(cluster.data_dir().join(&table)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"!", 3 * 8192 + 7000).unwrap();
    cluster.start();
    let error =
        while_receiving(&cluster, &server, || server.backup(&waiting(), &Context::new(&Silent)).unwrap_err());
    let BackupError::Failed { id, source, .. } = &error else { panic!("{error}") };
    assert!(source.to_string().contains(&format!("1 bad page: {table} block 3")), "{source}");
    let record = server.catalog().load(id).unwrap();
    assert_eq!(record.status, BackupStatus::Failed);
    let data = layout.data_dir(id);
    assert!(
        data.join("backup_label").exists() && data.join("global/pg_control").exists(),
        "all of it is kept"
    );
    // The server finds it too when it sends the files; which page it was is seen here.
    for form in ["", "backup_compression = lz4\n"] {
        let server = self::server(&cluster, home.path(), &format!("backup_method = postgres\n{form}"));
        let error = while_receiving(&cluster, &server, || {
            server.backup(&waiting(), &Context::new(&Silent)).unwrap_err()
        });
        let BackupError::Failed { id, source, .. } = &error else { panic!("{error}") };
        let text = source.to_string();
        let begin =
            "data pages fail their checksums: checksum verification failure during base backup: 1 bad page: ";
        assert!(text.starts_with(&format!("{begin}{table} block 3 (checksum ")), "{text}");
        let record = server.catalog().load(id).unwrap();
        assert_eq!(record.status, BackupStatus::Failed);
        assert!(record.error.unwrap().contains(&format!("{table} block 3")));
    }
}
