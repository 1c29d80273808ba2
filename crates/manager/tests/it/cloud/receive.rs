//! WAL from a real server into a bucket: a store that is away, a spool that is full, a standby that is promoted.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tapster_cloud::WriteOptions;
use tapster_manager::cloud::backup::PostgresSource;
use tapster_manager::cloud::{
    Acknowledge, CloudReceiveError, CloudReceiveEvent, CloudReceiveOptions, CloudReceiveReport,
    CloudRestoreOptions, CloudServer, create_receive_slot, drop_receive_slot,
};
use tapster_protocol::testing::{Cluster, StopMode};
use tapster_protocol::{ConnInfo, Environment, SlotName};

use super::lab::{Lab, names_in};
use super::proxy::{Fate, Proxy};

pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < patience, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn cluster() -> Option<Cluster> {
    Cluster::builder().wal_segment_mb(1).config("wal_keep_size = 1GB").config("max_wal_size = 1GB").start()
}

pub fn slot() -> SlotName {
    SlotName::new("bucket").unwrap()
}

pub fn source(conninfo: ConnInfo) -> PostgresSource {
    PostgresSource::new(conninfo, Environment::default())
}

pub fn options(lab: &Lab) -> CloudReceiveOptions {
    let mut options = CloudReceiveOptions::new(lab.path("spool"));
    options.slot = Some(slot());
    options.status_interval = Duration::from_secs(1);
    options.partial_interval = Some(Duration::from_millis(300));
    options
}

/// Receives while `work` is done, which gets what was told until then.
pub fn while_receiving<T>(
    server: &CloudServer,
    source: &PostgresSource,
    options: &CloudReceiveOptions,
    work: impl FnOnce(&Mutex<Vec<String>>) -> T,
) -> (Result<CloudReceiveReport, CloudReceiveError>, T) {
    struct Stop<'s>(&'s AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let (stop, told) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let observer = |event: &CloudReceiveEvent<'_>| told.lock().unwrap().push(format!("{event:?}"));
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| server.receive_wal(source, options, &observer, &stop));
        let done = {
            let _stop = Stop(&stop);
            work(&told)
        };
        (receiver.join().unwrap(), done)
    })
}

/// Closes the segment in hand.
pub fn switch(cluster: &Cluster) -> String {
    cluster.sql("CREATE TABLE IF NOT EXISTS t (n int)");
    cluster.sql("INSERT INTO t VALUES (1)");
    cluster.value("SELECT pg_walfile_name(pg_switch_wal())")
}

fn restart(cluster: &Cluster) -> String {
    cluster.value("SELECT restart_lsn FROM pg_replication_slots")
}

pub fn flushed(cluster: &Cluster, position: &str) -> bool {
    cluster.value(&format!("SELECT restart_lsn >= '{position}' FROM pg_replication_slots")) == "t"
}

#[test]
fn a_store_that_is_away_is_waited_for_and_the_spool_is_not_filled_beyond_measure() {
    let (Some(lab), Some(cluster)) = (Lab::new("receive-away"), cluster()) else { return };
    let is_away = std::sync::Arc::new(AtomicBool::new(true));
    let away = std::sync::Arc::clone(&is_away);
    let proxy =
        Proxy::start(
            lab.moto.address(),
            move |_, _| {
                if away.load(Ordering::SeqCst) { Fate::Close } else { Fate::Pass }
            },
        );
    let server = CloudServer::new(lab.store_at(&proxy.endpoint()), "main");
    let source = source(cluster.conninfo());
    assert!(
        create_receive_slot(&source, &slot()).unwrap() && !create_receive_slot(&source, &slot()).unwrap()
    );
    let mut options = options(&lab);
    options.spool_max_size = Some(4 << 20);
    let has =
        |told: &Mutex<Vec<String>>, word: &str| told.lock().unwrap().iter().any(|e| e.starts_with(word));
    let whole = || names_in(&lab.path("spool")).into_iter().filter(|name| name.len() == 24).count();

    // Acknowledged is what is in the spool. The archive is asked where it ends before anything is received.
    is_away.store(false, Ordering::SeqCst);
    let (report, (last, begin)) = while_receiving(&server, &source, &options, |told| {
        wait_for("the stream", || has(told, "Streaming"));
        is_away.store(true, Ordering::SeqCst);
        let names: Vec<String> = (0..9).map(|_| switch(&cluster)).collect();
        wait_for("a full spool", || has(told, "SpoolFull"));
        wait_for("a failure of the store", || has(told, "StoreFailed"));
        assert_eq!(whole(), 4, "{:?}", names_in(&lab.path("spool")));
        let begin = restart(&cluster);
        assert!(!flushed(&cluster, &cluster.value("SELECT pg_current_wal_flush_lsn()")), "{begin}");
        is_away.store(false, Ordering::SeqCst);
        let last = names.last().unwrap().clone();
        wait_for("all of it", || lab.keys().iter().any(|key| key.ends_with(&last)));
        assert!(has(told, "SpoolHasRoom"));
        wait_for("an empty spool", || whole() == 0);
        (last, begin)
    });
    assert!(report.unwrap().waiting.is_empty());
    let keys = lab.keys();
    let segments: Vec<&String> =
        keys.iter().filter(|key| key.len() == "main/wals/".len() + 17 + 24).collect();
    // One after the other, up to the last.
    assert!(segments.len() >= 9 && segments.last().unwrap().ends_with(&last), "{keys:?}");
    for key in &segments {
        let name = key.rsplit('/').next().unwrap();
        let theirs = std::fs::read(cluster.wal_dir().join(name)).unwrap();
        assert!(lab.store().read(key, 2 << 20).unwrap() == theirs, "{name}");
    }

    // Acknowledged is only what is in the bucket.
    options.acknowledge = Acknowledge::Store;
    let (report, waiting) = while_receiving(&server, &source, &options, |told| {
        wait_for("the stream", || has(told, "Streaming"));
        is_away.store(true, Ordering::SeqCst);
        let position = cluster.value("SELECT pg_current_wal_insert_lsn()");
        let waiting = switch(&cluster);
        wait_for("the segment in the spool", || names_in(&lab.path("spool")).contains(&waiting));
        wait_for("a failure of the store", || has(told, "StoreFailed"));
        // Reports have come since.
        let heard = cluster.value("SELECT reply_time FROM pg_stat_replication");
        wait_for("a report", || cluster.value("SELECT reply_time FROM pg_stat_replication") != heard);
        assert!(!flushed(&cluster, &position), "{begin} {}", restart(&cluster));
        waiting
    });
    let left: Vec<String> = report.unwrap().waiting.iter().map(ToString::to_string).collect();
    assert!(
        left.first() == Some(&waiting)
            && left.iter().all(|name| *name == waiting || name.ends_with(".partial")),
        "{left:?}"
    );
    is_away.store(false, Ordering::SeqCst);
    let (report, ()) = while_receiving(&server, &source, &options, |_| {
        wait_for("the segment", || lab.keys().iter().any(|key| key.ends_with(&waiting)));
        let position = cluster.value("SELECT pg_current_wal_flush_lsn()");
        wait_for("its acknowledgement", || flushed(&cluster, &position));
    });
    report.unwrap();

    // Nothing could be acknowledged so, or not in time.
    drop_receive_slot(&source, &slot()).unwrap();
    let refused = |options: &CloudReceiveOptions| {
        server.receive_wal(&source, options, &|_| (), &AtomicBool::new(false)).unwrap_err()
    };
    options.partial_interval = None;
    assert!(matches!(refused(&options), CloudReceiveError::NeedsPartial));
    options.slot = None;
    assert!(matches!(refused(&options), CloudReceiveError::NeedsSlot));
}

#[test]
fn a_promoted_standby_is_followed_and_everything_can_be_replayed() {
    let (Some(lab), Some(primary)) = (Lab::new("receive-timeline"), cluster()) else { return };
    let server = lab.server();
    create_receive_slot(&source(primary.conninfo()), &slot()).unwrap();
    let standby = Cluster::builder().config("wal_keep_size = 1GB").standby_of(&primary, None);
    let mut options = options(&lab);
    switch(&primary);
    let (report, ()) = while_receiving(&server, &source(primary.conninfo()), &options, |_| {
        switch(&primary);
        primary.sql("INSERT INTO t VALUES (2)");
        let position = primary.value("SELECT pg_current_wal_flush_lsn()");
        wait_for("the receiver", || flushed(&primary, &position));
        wait_for("the standby", || {
            standby.value(&format!("SELECT pg_last_wal_receive_lsn() >= '{position}'")) == "t"
        });
    });
    report.unwrap();
    let tail = primary.value("SELECT pg_walfile_name(pg_current_wal_lsn())") + ".partial.gz";
    assert!(lab.keys().iter().any(|key| key.ends_with(&tail)), "{:?}", lab.keys());
    primary.stop(StopMode::Immediate);
    standby.promote();
    let source = source(standby.conninfo());
    create_receive_slot(&source, &slot()).unwrap();
    options.acknowledge = Acknowledge::Store;
    let (report, last) = while_receiving(&server, &source, &options, |_| {
        standby.sql("INSERT INTO t VALUES (3)");
        let last = standby.value("SELECT pg_walfile_name(pg_switch_wal())");
        let position = standby.value("SELECT pg_current_wal_flush_lsn()");
        wait_for("the receiver", || flushed(&standby, &position));
        last
    });
    report.unwrap();
    assert!(last.starts_with("00000002"));
    let keys = lab.keys();
    for name in ["00000002.history", &last, &tail] {
        assert!(keys.iter().any(|key| key.ends_with(name)), "{name} {keys:?}");
    }
    // The old timeline's beginning is in the bucket alone, and what it has is what the server had.
    let spooled = names_in(&lab.path("spool"));
    assert!(!spooled.iter().any(|name| name.starts_with("00000001") && name.len() >= 24), "{spooled:?}");
    let (target, stop) = (lab.path("RECOVERYXLOG"), AtomicBool::new(false));
    let restore = |name: &str, dir: &std::path::Path| {
        let restored = server.wal_restore(name, &target, &CloudRestoreOptions::default(), &stop).unwrap();
        let (ours, theirs) = (std::fs::read(&target).unwrap(), std::fs::read(dir.join(name)).unwrap());
        (restored.partial, ours == theirs)
    };
    assert_eq!(restore(&last, &standby.wal_dir()), (false, true));
    assert_eq!(restore("00000002.history", &standby.wal_dir()), (false, true));
    assert!(restore(&tail[..24], &primary.wal_dir()).0);
    // A new spool goes on where the archive ends.
    options.spool_dir = lab.path("other");
    let (report, ()) = while_receiving(&server, &source, &options, |told| {
        wait_for("the stream", || told.lock().unwrap().iter().any(|event| event.starts_with("Streaming")));
        let first = told.lock().unwrap().iter().find(|event| event.starts_with("Streaming")).unwrap().clone();
        let next = (u64::from_str_radix(&last[16..], 16).unwrap() + 1) << 20;
        assert!(first.contains("Timeline(2)") && first.contains(&format!("Lsn({next})")), "{first}");
    });
    report.unwrap();
    assert_eq!(names_in(&lab.path("other")).iter().filter(|name| name.len() == 24).count(), 0);

    // Another timeline of the same number is not this one's continuation.
    let histories: Vec<String> = lab.keys().into_iter().filter(|key| key.ends_with(".history")).collect();
    lab.store().delete(&histories).unwrap();
    std::fs::write(lab.path("other/00000002.history"), "1\t0/100000\tanother restore\n").unwrap();
    let stop = AtomicBool::new(false);
    let until_it_streams = |event: &CloudReceiveEvent<'_>| {
        if matches!(event, CloudReceiveEvent::Streaming { .. }) {
            stop.store(true, Ordering::SeqCst);
        }
    };
    let refused = server.receive_wal(&source, &options, &until_it_streams, &stop).unwrap_err();
    assert!(matches!(refused, CloudReceiveError::Directory(_)), "{refused}");
}

/// A spool is lost, and the next receiver begins the segment again: until it has as much as the bucket has, that stays.
#[test]
fn the_beginning_of_a_segment_is_not_replaced_by_less() {
    let (Some(lab), Some(cluster)) = (Lab::new("receive-less"), cluster()) else { return };
    let server = lab.server();
    let source = source(cluster.conninfo());
    create_receive_slot(&source, &slot()).unwrap();
    let mut options = options(&lab);
    options.acknowledge = Acknowledge::Store;
    let (report, ()) = while_receiving(&server, &source, &options, |_| {
        cluster.sql("CREATE TABLE t AS SELECT 1 AS n");
        let position = cluster.value("SELECT pg_current_wal_flush_lsn()");
        wait_for("the bucket", || flushed(&cluster, &position));
    });
    report.unwrap();
    let key = lab.keys().into_iter().find(|key| key.ends_with(".partial.gz")).unwrap();
    let name = key.rsplit('/').next().unwrap()[..24].to_owned();
    // It says more than the server has by now.
    let (mut stored, mut more) = (Vec::new(), Vec::new());
    server.get_wal(name.parse().unwrap(), true, &mut stored).unwrap();
    more.clone_from(&stored);
    let end = more.len() - 100;
    more[end..].fill(7);
    let partial = format!("main/wals/{}/{name}.partial", &name[..16]);
    lab.store().put(&partial, more.clone(), &WriteOptions::default()).unwrap();
    lab.store().delete(&[key]).unwrap();
    options.spool_dir = lab.path("other");
    let (report, ()) = while_receiving(&server, &source, &options, |told| {
        let written = || {
            let bytes = std::fs::read(lab.path("other").join(format!("{name}.partial"))).unwrap_or_default();
            stored.iter().zip(&bytes).all(|(old, new)| *old == 0 || old == new) && !bytes.is_empty()
        };
        wait_for("the same WAL once more", written);
        let heard = cluster.value("SELECT reply_time FROM pg_stat_replication");
        wait_for("a report", || cluster.value("SELECT reply_time FROM pg_stat_replication") != heard);
        assert!(!told.lock().unwrap().iter().any(|event| event.starts_with("Begun")));
    });
    report.unwrap();
    let mut kept = Vec::new();
    assert!(server.get_wal(name.parse().unwrap(), true, &mut kept).unwrap());
    assert!(kept == more);
}
