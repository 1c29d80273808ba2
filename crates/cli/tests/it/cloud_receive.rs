//! `cloud receive-wal` dies, and in the end the server and the spool are gone: what was acknowledged comes back from the bucket alone.

use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use tapster_cloud::Store;
use tapster_cloud::testing::Moto;
use tapster_protocol::testing::StopMode;
use walfile::codec::{decoder, detect};
use walfile::{Lsn, WalName};

use crate::chaos::{Running, acknowledged, flushed, lsn, under_load, wait_for, wait_until_received};
use crate::cloud_lab::{CloudLab, Place, Whose, installed};

const SEGMENT: u64 = 1 << 20;

/// The names of the WAL files below a prefix, and their keys.
fn archived(store: &Store) -> Vec<(WalName, String)> {
    let keys = store.list("main/wals").map(|object| object.unwrap().key);
    keys.map(|key| {
        let file = key.rsplit('/').next().unwrap();
        let stem = file.strip_suffix(".zst").unwrap_or(file);
        (stem.parse().unwrap_or_else(|_| panic!("{key}")), key.clone())
    })
    .collect()
}

fn content(store: &Store, key: &str) -> Vec<u8> {
    let stored = store.read(key, 64 << 20).unwrap();
    let mut bytes = Vec::new();
    decoder(&stored[..], detect(&stored)).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// Every whole segment is the server's, none is missing before `position`, and pg_waldump reads all their records.
fn hold_all(cloud: &CloudLab, store: &Store, from: Lsn, position: Lsn) {
    let (dir, wal_dir) = (tempfile::tempdir().unwrap(), cloud.lab.cluster.wal_dir());
    let (mut whole, mut begun) = (Vec::new(), Vec::new());
    for (name, key) in archived(store) {
        let bytes = content(store, &key);
        assert_eq!(bytes.len() as u64, SEGMENT, "{key}");
        let file = match name {
            WalName::Segment(segment) => {
                let theirs = std::fs::read(wal_dir.join(name.to_string())).unwrap();
                assert!(bytes == theirs, "{key} is not the server's");
                whole.push(segment);
                segment
            }
            WalName::Partial(segment) => {
                begun.push(segment);
                segment
            }
            _ => panic!("{key}"),
        };
        std::fs::write(dir.path().join(file.to_string()), bytes).unwrap();
    }
    let first = from.get() / SEGMENT;
    let end = first + whole.len() as u64;
    for (number, segment) in (first..).zip(&whole) {
        assert_eq!(u64::from(segment.segment()), number, "{whole:?}");
    }
    // What is not whole is the next one, which has begun.
    assert!(begun.iter().all(|segment| u64::from(segment.segment()) == end) && begun.len() <= 1, "{begun:?}");
    assert!((end + begun.len() as u64) * SEGMENT >= position.get(), "{position} {whole:?} {begun:?}");
    let dump = Command::new(cloud.lab.cluster.binaries().program("pg_waldump"))
        .args(["-q", "-s", &from.to_string(), "-e", &position.to_string(), "-p"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
}

/// L-A2, L-A27, L-A30 in a bucket.
#[test]
fn what_is_acknowledged_as_stored_outlives_the_server_and_the_spool() {
    let Some(moto) = Moto::start() else { return };
    let url = format!("s3://{}/receive", moto.bucket());
    let configure = |builder: tapster_protocol::testing::Builder| {
        builder.wal_segment_mb(1).config("wal_keep_size = 2GB").config("max_wal_size = 2GB")
    };
    let Some(cloud) = CloudLab::with(Place::s3(url, moto.endpoint(), moto.variables()), configure) else {
        return;
    };
    let (cluster, store) = (&cloud.lab.cluster, moto.store("receive"));
    let conninfo = cluster.conninfo().to_conninfo_string();
    let slot = |options: &[&str]| {
        cloud.run(Whose::Ours, "receive-wal", &[&["-d", &conninfo, "-S", "bucket"], options].concat(), &[]).0
    };
    assert_eq!([slot(&["--drop-slot"]), slot(&["--create-slot"]), slot(&["--create-slot"])], [1, 0, 1]);
    assert_eq!(slot(&["--create-slot", "--if-not-exists"]), 0);
    let from = lsn(&cluster.value("SELECT restart_lsn FROM pg_replication_slots"));
    cluster.sql("CREATE TABLE t (v text)");
    cloud.backup(Whose::Ours, &["-z", "-n", "before"]);

    let spool = cloud.lab.path("spool");
    let run = || {
        let times = ["--partial-interval", "1", "--status-interval", "1"];
        let place = ["--zstd", "--spool-dir", spool.to_str().unwrap()];
        let how = ["-d", &conninfo, "-S", "bucket", "--acknowledge", "store"];
        Running::of(cloud.start("receive-wal", &[&how[..], &place, &times].concat()))
    };
    let whole = || archived(&store).iter().filter(|(name, _)| matches!(name, WalName::Segment(_))).count();
    under_load(cluster, || {
        for round in 0..5 {
            let mut receiver = run();
            let before = whole();
            wait_for("some segments", || whole() > before + round % 3 || !receiver.is_running());
            assert!(receiver.is_running(), "{}", receiver.kill());
            // At another moment of the next segment every time.
            std::thread::sleep(std::time::Duration::from_millis(round as u64 * 7));
            receiver.kill();
            let safe = acknowledged(cluster);
            let stored = archived(&store);
            let last = stored.iter().filter_map(|(name, _)| name.segment()).max().unwrap();
            assert!((u64::from(last.segment()) + 1) * SEGMENT >= safe.get(), "{safe} {last}");
        }
    });
    // A segment that was begun is at last replaced by the whole one; then the last one has begun.
    cluster.sql("INSERT INTO t VALUES ('the last but one')");
    cluster.sql("SELECT pg_switch_wal()");
    let mut receiver = run();
    cluster.sql("INSERT INTO t VALUES ('the last')");
    let position = flushed(cluster);
    wait_until_received(cluster, position);
    assert!(receiver.is_running());
    receiver.kill();
    hold_all(&cloud, &store, from, position);
    let rows = cluster.value("SELECT count(*) FROM load");

    // Nothing is left but the bucket.
    cluster.stop(StopMode::Immediate);
    std::fs::remove_dir_all(&spool).unwrap();
    std::fs::remove_dir_all(cluster.wal_dir()).unwrap();
    std::fs::remove_file(cluster.data_dir().join("global/pg_control")).unwrap();
    let sql =
        "SELECT (SELECT count(*) FROM load) || ' ' || (SELECT string_agg(v, ', ' ORDER BY v DESC) FROM t)";
    let answer = cloud.ask_restored_at("before", Whose::Ours, Whose::Ours, "", sql);
    assert_eq!(answer, format!("{rows} the last but one, the last"));
}

/// Told to stop, it brings the beginning of the segment in hand to the bucket; and what it does without a server.
#[test]
fn told_to_stop_it_brings_the_last_to_the_bucket() {
    let Some(moto) = Moto::start() else { return };
    let url = format!("s3://{}/stop", moto.bucket());
    let Some(cloud) =
        CloudLab::with(Place::s3(url, moto.endpoint(), moto.variables()), |b| b.wal_segment_mb(1))
    else {
        return;
    };
    let (cluster, store) = (&cloud.lab.cluster, moto.store("stop"));
    let conninfo = cluster.conninfo().to_conninfo_string();
    let options = ["-d", &conninfo, "-S", "bucket"];
    cloud.ok(Whose::Ours, "receive-wal", &[&options[..], &["--create-slot"]].concat(), &[]);
    let from = lsn(&cluster.value("SELECT restart_lsn FROM pg_replication_slots"));
    let spool = cloud.lab.path("spool");
    let never = ["--partial-interval", "3600", "--zstd", "--spool-dir", spool.to_str().unwrap()];
    let start = || Running::of(cloud.start("receive-wal", &[&options[..], &never, &["-s", "1"]].concat()));
    let files = |dir: &Path| crate::chaos::names(dir);
    let receiver = start();
    cluster.sql("CREATE TABLE t AS SELECT 1 AS n");
    let end = crate::chaos::finish_segment(cluster);
    cluster.sql("INSERT INTO t VALUES (2)");
    wait_until_received(cluster, flushed(cluster));
    // Whole segments that are still there when it is told to stop would wait for the next run.
    wait_for("an empty spool", || files(&spool).iter().all(|name| name.len() != 24));
    let run = receiver.stop();
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    let names: Vec<String> = archived(&store).iter().map(|(name, _)| name.to_string()).collect();
    assert!(names.last().unwrap().ends_with(".partial"), "{names:?}");
    assert_eq!(names.len() as u64, end.get() / SEGMENT - from.get() / SEGMENT + 1, "{from} {end} {names:?}");
    assert!(files(&spool).iter().all(|name| name.len() != 24), "{:?}", files(&spool));

    // Killed with WAL in the spool, and the server does not come back.
    let partial = || content(&store, &archived(&store).last().unwrap().1);
    // The first thing it does is to upload what it has; then nothing more for an hour.
    store.delete(&[archived(&store).pop().unwrap().1]).unwrap();
    let receiver = start();
    let is_begun = || archived(&store).last().is_some_and(|(name, _)| matches!(name, WalName::Partial(_)));
    wait_for("what is in the spool", is_begun);
    cluster.sql("INSERT INTO t VALUES (3)");
    let position = flushed(cluster);
    wait_until_received(cluster, position);
    receiver.kill();
    let before = partial();
    let at = (position.get() % SEGMENT) as usize - 8;
    assert!(before[at..].iter().all(|byte| *byte == 0), "nothing is uploaded by itself");
    cluster.stop(StopMode::Immediate);
    let receiver = start();
    wait_for("the beginning of the segment", || partial() != before);
    let run = receiver.stop();
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("trying again"), "{run:?}");
    let theirs = std::fs::read(cluster.wal_dir().join(&archived(&store).last().unwrap().0.to_string()[..24]));
    assert!(partial()[..at + 8] == theirs.unwrap()[..at + 8]);

    // Barman's tool takes it for the segment, too.
    if installed("barman-cloud-wal-restore").exists() {
        let (name, dest) = (names.last().unwrap().trim_end_matches(".partial"), cloud.lab.path("dest"));
        cloud.ok(Whose::Barmans, "wal-restore", &[], &[name, dest.to_str().unwrap()]);
        assert!(std::fs::read(&dest).unwrap() == partial());
    }

    // A spool belongs to one place.
    let elsewhere = cloud.at(Place::s3(moto.url("elsewhere").to_string(), moto.endpoint(), moto.variables()));
    let other = elsewhere.run(Whose::Ours, "receive-wal", &[&options[..], &never].concat(), &[]);
    assert!(other.0 == 4 && other.2.contains("another place"), "{other:?}");
    // Wrong arguments.
    for usage in [
        &["-S", "bucket", "--acknowledge", "x"][..],
        &["--acknowledge", "store"],
        &["-S", "bucket", "--acknowledge", "store", "--partial-interval", "0"],
    ] {
        let place = ["-d", &conninfo, "--spool-dir", spool.to_str().unwrap()];
        let refused = cloud.run(Whose::Ours, "receive-wal", &[&place[..], usage].concat(), &[]);
        assert_eq!(refused.0, 3, "{refused:?}");
    }
}
