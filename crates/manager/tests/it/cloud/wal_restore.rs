use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tapster_cloud::{CloudError, WriteOptions};
use tapster_manager::cloud::{
    CloudArchiveOptions, CloudRestoreOptions, CloudServer, CloudWalError, take_from_spool,
};
use walfile::SegmentName;
use walfile::codec::Compression;

use super::lab::{Lab, names_in, segment};
use super::proxy::{Fate, Proxy};

static STOP: AtomicBool = AtomicBool::new(false);
const FIRST: &str = "000000010000000000000001";

fn archive(lab: &Lab, names: &[&str]) {
    let mut options = CloudArchiveOptions::default();
    options.compression = Compression::Gzip;
    for name in names {
        lab.server().wal_archive(&lab.segment(name, 1), &options, &STOP).unwrap();
    }
}

fn ahead(lab: &Lab, parallel: u64) -> CloudRestoreOptions {
    let mut options = CloudRestoreOptions::default();
    options.parallel = parallel;
    options.spool_dir = lab.path("spool");
    options
}

/// A recovery ends, and a standby is promoted, when there is no such file: that is said only when the store says it.
#[test]
fn only_the_store_says_that_there_is_no_such_file() {
    let Some(lab) = Lab::new("missing") else { return };
    archive(&lab, &[FIRST]);
    let plain = CloudRestoreOptions::default();
    let target = lab.path("RECOVERYXLOG");
    let restore = |server: &CloudServer, name: &str| server.wal_restore(name, &target, &plain, &STOP);
    for name in [
        "000000010000000000000002",
        "000000020000000000000001",
        "00000002.history",
        "000000010000000000000001.partial",
    ] {
        assert!(restore(&lab.server(), name).is_err_and(|error| error.is_missing()), "{name}");
    }
    let none = CloudServer::new(lab.store(), "nobody");
    assert!(restore(&none, FIRST).is_err_and(|error| error.is_missing()));
    assert!(matches!(restore(&none, "nonsense"), Err(CloudWalError::Name { .. })));

    // Whatever is asked, or only the object itself, is answered so.
    for fate in [Fate::Status(503), Fate::Status(403), Fate::Close, Fate::Cut(10)] {
        for spoiled in ["", &format!("{FIRST}.gz")] {
            let spoiled = spoiled.to_owned();
            let mut was_cut = false;
            let proxy = Proxy::start(lab.moto.address(), move |_, path| match fate {
                _ if !path.contains(&spoiled) => Fate::Pass,
                // What is left does not come either.
                Fate::Cut(_) if std::mem::replace(&mut was_cut, true) => Fate::Close,
                fate => fate,
            });
            let server = CloudServer::new(lab.store_at(&proxy.endpoint()), "main");
            let error = restore(&server, FIRST).unwrap_err();
            assert!(!error.is_missing(), "{fate:?}: {error:?}");
            assert_eq!(names_in(lab.dir.path()), ["pg_wal"], "{fate:?}");
        }
    }
    let proxy = Proxy::start(lab.moto.address(), |_, _| Fate::Status(503));
    let server = CloudServer::new(lab.store_at(&proxy.endpoint()), "main");
    let error = restore(&server, "00000002.history").unwrap_err();
    assert!(!error.is_missing(), "{error:?}");
    let no_bucket: tapster_cloud::StoreUrl = "s3://no-such-bucket/p".parse().unwrap();
    let store = tapster_cloud::Store::open(&no_bucket, lab.moto.options(), &lab.moto.environment()).unwrap();
    let error = restore(&CloudServer::new(store, "main"), FIRST).unwrap_err();
    assert!(!error.is_missing(), "{error:?}");
    restore(&lab.server(), FIRST).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), segment(FIRST, super::lab::SYSTEM, 1));
}

#[test]
fn what_is_broken_there_is_not_given_to_postgresql() {
    let Some(lab) = Lab::new("broken") else { return };
    let server = lab.server();
    let target = lab.path("RECOVERYXLOG");
    std::fs::write(&target, "old").unwrap();
    let whole = segment(FIRST, super::lab::SYSTEM, 1);
    let key = format!("main/wals/0000000100000000/{FIRST}");
    let put = |ending: &str, bytes: &[u8]| {
        server.store().put(&format!("{key}{ending}"), bytes.to_vec(), &WriteOptions::default()).unwrap();
    };
    let plain = CloudRestoreOptions::default();
    for bytes in [&b""[..], b"garbage", &whole[..whole.len() / 2], &segment("000000010000000000000002", 7, 1)]
    {
        put("", bytes);
        let outcome = server.wal_restore(FIRST, &target, &plain, &STOP);
        assert!(matches!(outcome, Err(CloudWalError::Content { .. })), "{outcome:?}");
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
    }
    // The same file in another form is whole.
    let path = lab.segment(FIRST, 1);
    let mut encoder = walfile::codec::encoder(Vec::new(), Compression::Zstd, 1).unwrap();
    std::io::Write::write_all(&mut encoder, &std::fs::read(&path).unwrap()).unwrap();
    let bytes = encoder.finish().unwrap();
    put(".zst", &bytes[..bytes.len() - 10]);
    assert!(matches!(server.wal_restore(FIRST, &target, &plain, &STOP), Err(CloudWalError::Content { .. })));
    put(".zst", &bytes);
    let restored = server.wal_restore(FIRST, &target, &plain, &STOP).unwrap();
    assert_eq!(restored.warnings.len(), 1);
    assert_eq!(std::fs::read(&target).unwrap(), whole);
    assert_eq!(names_in(lab.dir.path()), ["RECOVERYXLOG", "pg_wal"]);
}

/// What the store says in the middle of an object is not about its content, whatever decoder it passes.
#[test]
fn a_store_that_refuses_in_the_middle_is_not_a_broken_object() {
    let Some(lab) = Lab::new("middle") else { return };
    let target = lab.path("RECOVERYXLOG");
    for (number, compression) in Compression::ALL.into_iter().enumerate() {
        let mut options = CloudArchiveOptions::default();
        options.compression = compression;
        let name = format!("00000001000000000000001{number}");
        lab.server().wal_archive(&lab.segment(&name, 1), &options, &STOP).unwrap();
        let (key, mut was_cut) = (name.clone(), false);
        let proxy = Proxy::start(lab.moto.address(), move |_, path| match () {
            () if path.contains("list-type") || !path.contains(&key) => Fate::Pass,
            () if std::mem::replace(&mut was_cut, true) => Fate::Status(403),
            () => Fate::Cut(100_000),
        });
        let server = CloudServer::new(lab.store_at(&proxy.endpoint()), "main");
        let error = server.wal_restore(&name, &target, &CloudRestoreOptions::default(), &STOP).unwrap_err();
        assert!(
            matches!(error, CloudWalError::Store(CloudError::Denied { .. })),
            "{compression:?}: {error:?}"
        );
        assert!(!target.exists());
    }
}

#[test]
fn the_beginning_of_a_segment_will_do_unless_it_must_not() {
    let Some(lab) = Lab::new("partial") else { return };
    let server = lab.server();
    let path = lab.segment(FIRST, 1);
    let partial = lab.path("pg_wal").join(format!("{FIRST}.partial"));
    std::fs::rename(&path, &partial).unwrap();
    server.wal_archive(&partial, &CloudArchiveOptions::default(), &STOP).unwrap();
    let target = lab.path("RECOVERYXLOG");
    let mut options = ahead(&lab, 4);
    let restored = server.wal_restore(FIRST, &target, &options, &STOP).unwrap();
    assert!(restored.partial && !restored.fetch_ahead);
    assert_eq!(std::fs::read(&target).unwrap(), std::fs::read(&partial).unwrap());
    options.no_partial = true;
    assert!(server.wal_restore(FIRST, &target, &options, &STOP).unwrap_err().is_missing());
    options.no_partial = false;
    lab.segment(FIRST, 2);
    server.wal_archive(&path, &CloudArchiveOptions::default(), &STOP).unwrap();
    assert!(
        !server.wal_restore(FIRST, &target, &options, &STOP).unwrap().partial,
        "the whole one comes first"
    );
    assert_eq!(std::fs::read(&target).unwrap(), std::fs::read(&path).unwrap());

    // What the whole one holds is not given up because it is broken.
    let key = format!("main/wals/0000000100000000/{FIRST}");
    let half = std::fs::read(&path).unwrap().split_off(super::lab::SEGMENT as usize / 2);
    server.store().put(&key, half, &WriteOptions::default()).unwrap();
    std::fs::write(&target, "old").unwrap();
    let outcome = server.wal_restore(FIRST, &target, &options, &STOP);
    assert!(matches!(outcome, Err(CloudWalError::Content { .. })), "{outcome:?}");
    assert_eq!(std::fs::read(&target).unwrap(), b"old");
}

#[test]
fn those_that_follow_wait_in_the_spool() {
    let Some(lab) = Lab::new("ahead") else { return };
    // Segments of 1 MiB: the third begins another directory.
    let names = [
        "000000010000000000000FFE",
        "000000010000000000000FFF",
        "000000010000000100000000",
        "000000010000000100000001",
    ];
    let fork = "000000020000000000000FFF";
    archive(&lab, &names);
    archive(&lab, &[fork]);
    let is_down = Arc::new(AtomicBool::new(false));
    let down = Arc::clone(&is_down);
    let proxy =
        Proxy::start(
            lab.moto.address(),
            move |_, _| {
                if down.load(Ordering::SeqCst) { Fate::Close } else { Fate::Pass }
            },
        );
    let server = CloudServer::new(lab.store_at(&proxy.endpoint()), "main");
    let (target, options) = (lab.path("RECOVERYXLOG"), ahead(&lab, 4));
    let restored = server.wal_restore(names[0], &target, &options, &STOP).unwrap();
    assert!(restored.fetch_ahead && !restored.spooled, "{restored:?}");
    let after: SegmentName = names[0].parse().unwrap();
    assert_eq!(server.fetch_wal_ahead(after, &target, &options, &STOP).unwrap(), 3);
    let spooled = |names: &[&str]| {
        let mut found = names_in(&lab.path("spool"));
        found.retain(|name| !name.starts_with('.'));
        assert_eq!(found, names);
    };
    spooled(&names[1..]);
    // From here on the store is not asked.
    is_down.store(true, Ordering::SeqCst);
    for name in &names[1..3] {
        let restored = server.wal_restore(name, &target, &options, &STOP).unwrap();
        assert!(restored.spooled);
        assert_eq!(std::fs::read(&target).unwrap(), segment(name, super::lab::SYSTEM, 1));
    }
    is_down.store(false, Ordering::SeqCst);
    let take = |name: &str, target: &Path| {
        let place = server.store().identity();
        take_from_spool(place, "main", name, target, &options, &STOP).unwrap().is_some()
    };
    assert!(!take(fork, &target));
    // Another timeline is another history: nothing of this one is used after it.
    let restored = server.wal_restore(fork, &target, &options, &STOP).unwrap();
    assert!(!restored.spooled);
    spooled(&[]);
    assert!(!take(names[3], &lab.path("elsewhere")));
    // Nor is what came of a bucket of that name at another endpoint.
    server.wal_restore(names[0], &target, &options, &STOP).unwrap();
    assert_eq!(server.fetch_wal_ahead(after, &target, &options, &STOP).unwrap(), 3);
    assert!(take(names[1], &target));
    let other = lab.server();
    let other = other.store().identity();
    assert!(take_from_spool(other, "main", names[2], &target, &options, &STOP).unwrap().is_none());
    spooled(&[]);
}
