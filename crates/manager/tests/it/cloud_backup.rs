//! Base backups into an object store and out of it, with a real server and a store that speaks like S3.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Barrier, LazyLock};

use tapster_catalog::{BackupRecord, BackupStatus};
use tapster_cloud::testing::Moto;
use tapster_cloud::{Store, WriteOptions};
use tapster_manager::cloud::CloudServer;
use tapster_manager::cloud::backup::{CloudBackupError, CloudBackupOptions, PostgresSource};
use tapster_manager::cloud::restore::{CloudBackupChoice, CloudRestoreError, CloudRestoreOptions};
use tapster_manager::{BackupName, Context, Observer, Progress, Silent};
use tapster_protocol::Environment;
use tapster_protocol::testing::Cluster;
use time::{Duration, OffsetDateTime, UtcOffset};
use walfile::codec::Compression;

use crate::cycle::ask_restored;

/// A cluster with a tablespace and three segments of relations.
fn cluster() -> Option<Cluster> {
    let cluster = Cluster::builder().config("wal_keep_size = 1GB").start()?;
    let place = cluster.create_dir("place");
    cluster.sql(&format!("CREATE TABLESPACE place LOCATION '{}'", place.display()));
    cluster.sql("CREATE TABLE t AS SELECT n, md5(n::text) AS v FROM generate_series(1, 20000) n");
    cluster.sql("CREATE TABLE u TABLESPACE place AS SELECT n FROM generate_series(1, 1000) n");
    Some(cluster)
}

fn source(cluster: &Cluster) -> PostgresSource {
    PostgresSource::new(cluster.conninfo(), Environment::default())
}

fn options(compression: Compression) -> CloudBackupOptions {
    let mut options = CloudBackupOptions::default();
    (options.immediate_checkpoint, options.compression) = (true, compression);
    options
}

fn keys(server: &CloudServer) -> Vec<String> {
    let directory = server.layout().base();
    let names = server.store().list(&directory).map(|object| object.unwrap().key);
    names.filter_map(|key| Some(key.rsplit_once('/')?.1.to_owned())).collect()
}

fn record(server: &CloudServer) -> BackupRecord {
    let ids = server.store().list_dirs(&server.layout().base()).unwrap();
    let id = ids.last().unwrap().parse().unwrap();
    let text = server.store().read(&server.layout().record(&id), 1 << 20).unwrap();
    BackupRecord::parse(id, &text, UtcOffset::UTC).unwrap()
}

/// Raises the flag when the first bytes have gone.
struct StopAtOnce(Arc<AtomicBool>);

impl Observer for StopAtOnce {
    fn progress(&self, _: Progress) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_cluster_goes_through_a_bucket_and_starts() {
    let (Some(cluster), Some(moto)) = (cluster(), Moto::start()) else { return };
    let silent = Context::new(&Silent);
    let server = CloudServer::new(moto.store("cycle"), "main");
    let mut backup = options(Compression::Gzip);
    // Each archive is continued many times.
    backup.max_archive_size = 1 << 20;
    backup.name = Some(BackupName::new("before").unwrap());
    let report = server.backup(&backup, &source(&cluster), &silent).unwrap();
    assert_eq!(report.record, record(&server));
    assert_eq!(report.record.status, BackupStatus::Done);
    assert_eq!(report.record.backup_name.as_deref(), Some("before"));
    assert!(keys(&server).contains(&"data_0002.tar.gz".to_owned()), "{:?}", keys(&server));
    cluster.sql("INSERT INTO t VALUES (0, 'after the backup')");

    let data = cluster.create_dir("restored");
    let place = cluster.create_dir("restored-place");
    let mut restore = CloudRestoreOptions::new("before".parse().unwrap(), &data);
    restore.tablespaces.push(("place".to_owned(), place.clone()));
    let plan = server.plan_restore(&restore).unwrap();
    assert_eq!(plan.stored, report.stored);
    assert_eq!(plan.wal.missing, [report.record.begin_wal.unwrap()], "none was archived");
    let restored = server.restore(&plan, &silent).unwrap();
    assert!(restored.verified, "against the server's manifest");
    assert!(std::fs::read_dir(&place).unwrap().next().is_some());
    let again = server.plan_restore(&restore).unwrap_err();
    assert!(matches!(again, CloudRestoreError::NotEmpty { .. }), "{again}");

    let mut settings = std::fs::File::options().append(true).open(data.join("postgresql.auto.conf")).unwrap();
    writeln!(settings, "restore_command = 'cp {}/%f %p'", cluster.wal_dir().display()).unwrap();
    std::fs::write(data.join("recovery.signal"), "").unwrap();
    own(&cluster, &place);
    let question = "SELECT (SELECT count(*) FROM t) || ' ' || (SELECT count(*) FROM u) || ' ' || \
                    (SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'place')";
    assert_eq!(ask_restored(&cluster, &data, question), format!("20001 1000 {}", place.display()));
}

fn own(cluster: &Cluster, path: &Path) {
    let owner = cluster.data_dir();
    let status = Command::new("chown").arg("-R").arg("--reference").arg(owner).arg(path).status().unwrap();
    assert!(status.success());
}

#[test]
fn what_is_not_whole_is_neither_done_nor_restored() {
    let (Some(cluster), Some(moto)) = (cluster(), Moto::start()) else { return };
    let silent = Context::new(&Silent);

    // No bucket: nothing is begun.
    let nowhere = {
        let url = "s3://nowhere/x".parse().unwrap();
        CloudServer::new(Store::open(&url, moto.options(), &moto.environment()).unwrap(), "main")
    };
    let error = nowhere.backup(&options(Compression::None), &source(&cluster), &silent).unwrap_err();
    assert!(!matches!(error, CloudBackupError::Failed { .. }), "{error}");

    // Stopped on the way: recorded as failed, and the archive under way is not there.
    let server = CloudServer::new(moto.store("stopped"), "main");
    let stop = Arc::new(AtomicBool::new(false));
    let observer = StopAtOnce(Arc::clone(&stop));
    let context = Context::new(&observer).with_stop(stop);
    let mut slowly = options(Compression::None);
    // Much of it is still to come when progress is told for the first time, however fast the machine is.
    slowly.max_bandwidth = Some(16 << 20);
    let error = server.backup(&slowly, &source(&cluster), &context).unwrap_err();
    assert!(matches!(error, CloudBackupError::Failed { .. }), "{error}");
    let failed = record(&server);
    assert_eq!(failed.status, BackupStatus::Failed);
    assert!(failed.error.as_deref().unwrap().starts_with("failure uploading data ("), "{failed:?}");
    assert!(!keys(&server).contains(&"data.tar".to_owned()), "{:?}", keys(&server));
    let destination = cluster.directory().join("never");
    for choice in [CloudBackupChoice::Latest, CloudBackupChoice::Id(failed.id), CloudBackupChoice::Auto] {
        let restore = CloudRestoreOptions::new(choice, &destination);
        server.plan_restore(&restore).unwrap_err();
    }

    // One byte of a page, and a whole archive.
    let server = CloudServer::new(moto.store("damaged"), "main");
    let id = server.backup(&options(Compression::None), &source(&cluster), &silent).unwrap().record.id;
    let key = format!("{}/data.tar", server.layout().backup(&id));
    let mut archive = server.store().read(&key, 1 << 30).unwrap();
    let place = archive.windows(32).position(|part| part == b"c4ca4238a0b923820dcc509a6f75849b").unwrap();
    archive[place] ^= 1;
    server.store().put(&key, archive, &WriteOptions::default()).unwrap();
    let mut restore = CloudRestoreOptions::new(CloudBackupChoice::Latest, &destination);
    restore.tablespaces.push(("place".to_owned(), cluster.directory().join("never-place")));
    let plan = server.plan_restore(&restore).unwrap();
    let error = server.restore(&plan, &silent).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
    assert!(!destination.join("global/pg_control").exists());
    server.store().delete(&[key]).unwrap();
    std::fs::remove_dir_all(&destination).unwrap();
    let error = server.plan_restore(&restore).unwrap_err();
    assert!(matches!(error, CloudRestoreError::MissingArchive { .. }), "{error}");
    assert!(!destination.exists());
}

/// Says to the first two who ask, together, that it is one second, and a later one to each who comes after them.
fn one_second_for_two() -> OffsetDateTime {
    static ASKED: AtomicI64 = AtomicI64::new(0);
    static BOTH: LazyLock<Barrier> = LazyLock::new(|| Barrier::new(2));
    let asked = ASKED.fetch_add(1, Ordering::Relaxed);
    if asked < 2 {
        BOTH.wait();
    }
    OffsetDateTime::UNIX_EPOCH + Duration::seconds(1_790_000_000 + (asked - 1).max(0))
}

#[test]
fn two_backups_that_begin_in_one_second_do_not_mix() {
    let (Some(cluster), Some(moto)) = (cluster(), Moto::start()) else { return };
    let server = CloudServer::new(moto.store("second"), "main");
    let take = || {
        let mut context = Context::new(&Silent);
        context.clock = one_second_for_two;
        server.backup(&options(Compression::None), &source(&cluster), &context).unwrap()
    };
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(take);
        (take(), one.join().unwrap())
    });
    assert_ne!(one.record.id, other.record.id);
    let catalog = server.catalog().unwrap();
    assert_eq!(catalog.backups.len(), 2);
    for report in [one, other] {
        let found = &catalog.backups[&report.record.id];
        assert_eq!(found.record, report.record);
        assert_eq!(found.objects.len(), 3, "{:?}", found.objects);
    }
}

/// Lets somebody else write the record anew when the first bytes have gone.
struct Meddler(CloudServer, AtomicBool);

impl Observer for Meddler {
    fn progress(&self, _: Progress) {
        if !self.1.swap(true, Ordering::Relaxed) {
            let id = record(&self.0).id;
            let mut other = BackupRecord::new(id);
            (other.status, other.server_name) = (BackupStatus::Started, Some("other".to_owned()));
            let key = self.0.layout().record(&id);
            self.0.store().put(&key, other.to_text(), &WriteOptions::default()).unwrap();
        }
    }
}

#[test]
fn a_record_that_is_not_the_backups_own_is_not_written_over() {
    let (Some(cluster), Some(moto)) = (cluster(), Moto::start()) else { return };
    let server = CloudServer::new(moto.store("own"), "main");
    let meddler = Meddler(server.clone(), AtomicBool::new(false));
    let result = server.backup(&options(Compression::None), &source(&cluster), &Context::new(&meddler));
    let Err(CloudBackupError::Failed { source: error, .. }) = result else { panic!("{result:?}") };
    assert!(matches!(*error, CloudBackupError::Lost { .. }), "{error}");
    let found = record(&server);
    assert_eq!((found.status, found.server_name.as_deref()), (BackupStatus::Started, Some("other")));
}
