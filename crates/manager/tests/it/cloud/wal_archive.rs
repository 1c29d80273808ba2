use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use tapster_cloud::{CloudError, Store, StoreIdentity, WriteOptions};
use tapster_manager::cloud::{
    CheckWalArchiveError, CloudArchiveOptions, CloudArchived, CloudRestoreOptions, CloudServer,
    CloudWalError, DaemonAnswer, archive_by_daemon, is_archived_ahead,
};
use walfile::Timeline;
use walfile::codec::Compression;

use super::lab::{Lab, SYSTEM, names_in, segment};
use super::proxy::{Fate, Proxy};

static STOP: AtomicBool = AtomicBool::new(false);
const FIRST: &str = "000000010000000000000001";
const SECOND: &str = "000000010000000000000002";

fn plain() -> CloudArchiveOptions {
    CloudArchiveOptions::default()
}

fn ahead(lab: &Lab) -> CloudArchiveOptions {
    let mut options = plain();
    options.parallel = 3;
    options.spool_dir = lab.path("spool");
    options
}

fn compressed(compression: Compression) -> CloudArchiveOptions {
    let mut options = plain();
    options.compression = compression;
    options
}

/// Each format, written by either program and read by the other.
#[test]
fn a_bucket_serves_barman_and_us() {
    let Some(lab) = Lab::new("both-ways") else { return };
    let formats = [
        (Compression::None, "", ""),
        (Compression::Gzip, "--gzip", ".gz"),
        (Compression::Bzip2, "--bzip2", ".bz2"),
        (Compression::Xz, "--xz", ".xz"),
        (Compression::Zstd, "--zstd", ".zst"),
        (Compression::Lz4, "--lz4", ".lz4"),
        (Compression::Snappy, "--snappy", ".snappy"),
    ];
    let server = lab.server();
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for (number, (compression, option, ending)) in formats.into_iter().enumerate() {
            let (lab, server, failures) = (&lab, &server, &failures);
            scope.spawn(move || {
                let ours = format!("0000000100000000000000{number:02X}");
                let theirs = format!("0000000100000001000000{number:02X}");
                let check = |what: &str, ok: bool, detail: String| {
                    if !ok {
                        failures.lock().unwrap().push(format!("{compression}: {what}: {detail}"));
                    }
                };
                let path = lab.segment(&ours, number as u64);
                server.wal_archive(&path, &compressed(compression), &STOP).unwrap();
                let key = format!("main/wals/0000000100000000/{ours}{ending}");
                assert!(server.store().head(&key).is_ok(), "{key}");
                let target = lab.path(&format!("{ours}.theirs"));
                let (code, log) =
                    lab.barman("barman-cloud-wal-restore", &[], &[&ours, target.to_str().unwrap()]);
                check("they read", code == 0, log);
                check("as written", same(&path, &target), target.display().to_string());

                let path = lab.segment(&theirs, 100 + number as u64);
                let options: Vec<&str> = [option].into_iter().filter(|option| !option.is_empty()).collect();
                let (code, log) = lab.barman("barman-cloud-wal-archive", &options, &[path.to_str().unwrap()]);
                check("they write", code == 0, log);
                let target = lab.path(&format!("{theirs}.ours"));
                server.wal_restore(&theirs, &target, &CloudRestoreOptions::default(), &STOP).unwrap();
                check("we read", same(&path, &target), target.display().to_string());
                // Their object is what we would have archived.
                let again = server.wal_archive(&path, &compressed(Compression::Zstd), &STOP).unwrap();
                assert_eq!(again.archived, CloudArchived::Identical);
            });
        }
    });
    assert_eq!(failures.into_inner().unwrap(), Vec::<String>::new());
}

fn same(a: &Path, b: &Path) -> bool {
    std::fs::read(a).ok() == std::fs::read(b).ok()
}

#[test]
fn what_is_archived_is_never_replaced() {
    let Some(lab) = Lab::new("replace") else { return };
    let server = lab.server();
    let path = lab.segment(FIRST, 1);
    let archive = |path: &Path, compression| server.wal_archive(path, &compressed(compression), &STOP);
    assert_eq!(archive(&path, Compression::Gzip).unwrap().archived, CloudArchived::Uploaded);
    for compression in [Compression::Gzip, Compression::None] {
        assert_eq!(archive(&path, compression).unwrap().archived, CloudArchived::Identical);
    }
    lab.segment(FIRST, 2);
    for compression in [Compression::Gzip, Compression::None] {
        let refused = archive(&path, compression);
        assert!(matches!(refused, Err(CloudWalError::Different { .. })), "{refused:?}");
    }
    // A whole segment beside its beginning is no contradiction.
    let partial = lab.path("pg_wal").join(format!("{FIRST}.partial"));
    std::fs::copy(&path, &partial).unwrap();
    assert_eq!(archive(&partial, Compression::None).unwrap().archived, CloudArchived::Uploaded);

    let history = lab.path("pg_wal/00000002.history");
    std::fs::write(&history, "1\t0/3000000\tno recovery target specified\n").unwrap();
    assert_eq!(archive(&history, Compression::None).unwrap().archived, CloudArchived::Uploaded);
    assert_eq!(archive(&history, Compression::Gzip).unwrap().archived, CloudArchived::Identical);
    std::fs::write(&history, "1\t0/4000000\tno recovery target specified\n").unwrap();
    assert!(matches!(archive(&history, Compression::None), Err(CloudWalError::Different { .. })));
    let label = lab.path("pg_wal").join(format!("{FIRST}.00000028.backup"));
    std::fs::write(&label, "START WAL LOCATION: 0/100028 (file 000000010000000000000001)\n").unwrap();
    assert_eq!(archive(&label, Compression::None).unwrap().archived, CloudArchived::Uploaded);

    assert_eq!(
        lab.keys(),
        [
            "main/identity.json".to_owned(),
            format!("main/wals/0000000100000000/{FIRST}.00000028.backup"),
            format!("main/wals/0000000100000000/{FIRST}.gz"),
            format!("main/wals/0000000100000000/{FIRST}.partial"),
            "main/wals/00000002.history".to_owned(),
        ]
    );
}

#[test]
fn what_is_not_the_segment_of_its_name_is_refused() {
    let Some(lab) = Lab::new("invalid") else { return };
    let server = lab.server();
    let put = |name: &str, bytes: &[u8]| {
        let path = lab.path("pg_wal").join(name);
        std::fs::write(&path, bytes).unwrap();
        server.wal_archive(&path, &plain(), &STOP)
    };
    let whole = segment(FIRST, SYSTEM, 1);
    assert!(matches!(put("segment", &whole), Err(CloudWalError::Name { .. })));
    for (name, bytes) in [
        (SECOND, &whole[..]),
        (FIRST, &whole[..whole.len() - 1]),
        (FIRST, &whole[..whole.len() / 2]),
        (FIRST, b""),
        (FIRST, b"no segment"),
        ("00000002.history", b""),
    ] {
        let refused = put(name, bytes);
        assert!(matches!(refused, Err(CloudWalError::NotThisWal { .. })), "{name}: {refused:?}");
    }
    let missing =
        server.wal_archive(&lab.path("pg_wal").join(SECOND).with_extension("partial"), &plain(), &STOP);
    assert!(matches!(missing, Err(CloudWalError::Read { .. })));
    assert_eq!(lab.keys(), Vec::<String>::new());
    // What a client has compressed on its way to a hook script is stored as what it is.
    let mut encoder = walfile::codec::encoder(Vec::new(), Compression::Gzip, 1).unwrap();
    encoder.write_all(&whole).unwrap();
    let bytes = encoder.finish().unwrap();
    put(FIRST, &bytes).unwrap();
    assert_eq!(server.store().read(&format!("main/wals/0000000100000000/{FIRST}"), 2 << 20).unwrap(), whole);
    assert!(put(SECOND, &bytes[..bytes.len() / 2]).is_err());
}

/// L-A17.
#[test]
fn l_a17_two_clusters_do_not_share_a_path() {
    for barman_was_first in [false, true] {
        let Some(lab) = Lab::new(&format!("two-clusters-{barman_was_first}")) else { return };
        let server = lab.server();
        let first = lab.segment(FIRST, 1);
        if barman_was_first {
            let (code, log) = lab.barman("barman-cloud-wal-archive", &["-z"], &[first.to_str().unwrap()]);
            assert_eq!(code, 0, "{log}");
        } else {
            server.wal_archive(&first, &plain(), &STOP).unwrap();
        }
        let other = lab.path(SECOND);
        std::fs::write(&other, segment(SECOND, SYSTEM + 1, 1)).unwrap();
        let mut options = ahead(&lab);
        for _ in 0..2 {
            match server.wal_archive(&other, &options, &STOP) {
                Err(CloudWalError::OtherSystem { found, own, .. }) => {
                    assert_eq!((found, own), (SYSTEM, SYSTEM + 1));
                }
                archived => panic!("{archived:?}"),
            }
        }
        assert_eq!(lab.keys().iter().filter(|key| key.contains("wals")).count(), 1);
        // Its successor after pg_upgrade says so once.
        options.take_over = true;
        server.wal_archive(&other, &options, &STOP).unwrap();
        options.take_over = false;
        server.wal_archive(&other, &options, &STOP).unwrap();
        let late = lab.segment("000000010000000000000003", 1);
        assert!(matches!(server.wal_archive(&late, &plain(), &STOP), Err(CloudWalError::OtherSystem { .. })));
    }
}

/// L-A17: what has no header belongs to the cluster that it comes from.
#[test]
fn l_a17_texts_of_another_cluster_are_refused() {
    let Some(lab) = Lab::new("texts") else { return };
    let server = lab.server();
    server.wal_archive(&lab.segment(FIRST, 1), &plain(), &STOP).unwrap();
    let keys = lab.keys();
    let control = include_bytes!("../../../../walfile/tests/data/17/pg_control.production");
    for (other, system) in
        [("controlled", walfile::ControlFile::parse(control).unwrap().system_id.get()), ("bare", SYSTEM + 1)]
    {
        let dir = lab.path(other);
        std::fs::create_dir_all(dir.join("global")).unwrap();
        std::fs::create_dir_all(dir.join("pg_wal")).unwrap();
        if other == "controlled" {
            std::fs::write(dir.join("global/pg_control"), control).unwrap();
        }
        std::fs::write(dir.join("pg_wal").join(SECOND), segment(SECOND, SYSTEM + 1, 1)).unwrap();
        for name in ["00000002.history".to_owned(), format!("{FIRST}.00000028.backup")] {
            let path = dir.join("pg_wal").join(name);
            std::fs::write(&path, "1\t0/3000000\tno recovery target specified\n").unwrap();
            for options in [plain(), ahead(&lab)] {
                match server.wal_archive(&path, &options, &STOP) {
                    Err(CloudWalError::OtherSystem { found, own, .. }) => {
                        assert_eq!((found, own), (SYSTEM, system), "{other}");
                    }
                    archived => panic!("{other}: {archived:?}"),
                }
            }
        }
    }
    assert_eq!(lab.keys(), keys);
    let own = lab.path("pg_wal/00000002.history");
    std::fs::write(&own, "1\t0/3000000\tno recovery target specified\n").unwrap();
    server.wal_archive(&own, &plain(), &STOP).unwrap();
}

/// L-A17: a place that was given to another cluster is not the first one's for as long as that runs.
#[test]
fn l_a17_whose_the_place_is_is_asked_again() {
    let Some(lab) = Lab::new("passed-on") else { return };
    let server = lab.server();
    let options = ahead(&lab);
    server.wal_archive(&lab.segment(FIRST, 1), &options, &STOP).unwrap();
    let other = lab.path("000000010000000000000009");
    std::fs::write(&other, segment("000000010000000000000009", SYSTEM + 1, 1)).unwrap();
    let mut take_over = plain();
    take_over.take_over = true;
    server.wal_archive(&other, &take_over, &STOP).unwrap();

    // For one file it is asked after some minutes.
    let spool = lab.path("spool");
    let noted = spool.join(&names_in(&spool)[0]).join("system");
    let file = std::fs::File::options().write(true).open(&noted).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(600)).unwrap();
    let keys = lab.keys();
    let late = lab.segment("000000010000000000000003", 3);
    let refused = server.wal_archive(&late, &options, &STOP);
    assert!(matches!(refused, Err(CloudWalError::OtherSystem { .. })), "{refused:?}");
    assert!(!noted.exists());
    // For several, each time.
    std::fs::write(&noted, format!("{SYSTEM}\n")).unwrap();
    lab.ready("000000010000000000000004", 4);
    let refused = server.wal_archive(&late, &options, &STOP);
    assert!(matches!(refused, Err(CloudWalError::OtherSystem { .. })), "{refused:?}");
    assert_eq!(lab.keys(), keys);
}

#[test]
fn the_others_that_are_ready_go_with_it() {
    let Some(lab) = Lab::new("ready") else { return };
    let proxy = Proxy::start(lab.moto.address(), |_, _| Fate::Pass);
    let server = CloudServer::new(lab.store_at(&proxy.endpoint()), "main");
    let options = ahead(&lab);
    let paths: Vec<_> = (1..=9).map(|n| lab.ready(&format!("00000001000000000000000{n}"), n)).collect();
    std::fs::write(lab.path("pg_wal/archive_status/00000002.history.ready"), "").unwrap();
    let report = server.wal_archive(&paths[2], &options, &STOP).unwrap();
    assert_eq!(report.archived, CloudArchived::Uploaded);
    assert_eq!(report.ahead.len(), 8, "{report:?}");
    assert_eq!(report.warnings.len(), 1, "the history file that is not there: {report:?}");
    assert_eq!(lab.keys().len(), 10);
    let asked = proxy.requests();
    let place = server.store().identity();
    for path in &paths {
        let is_other = path != &paths[2];
        assert_eq!(is_archived_ahead(place, "main", path, &options).unwrap(), is_other);
        if is_other {
            let report = server.wal_archive(path, &options, &STOP).unwrap();
            assert_eq!(report.archived, CloudArchived::Ahead);
        }
    }
    assert_eq!(proxy.requests(), asked, "what is known is not asked for");
    // A bucket of that name elsewhere has none of it.
    let elsewhere = CloudServer::new(lab.store_at("http://127.0.0.1:1"), "main");
    assert!(!is_archived_ahead(elsewhere.store().identity(), "main", &paths[0], &options).unwrap());
    assert!(elsewhere.wal_archive(&paths[0], &options, &STOP).is_err());

    // Another file of the same name, as after a restore: it was not archived.
    lab.segment("000000010000000000000004", 4);
    assert!(!is_archived_ahead(place, "main", &paths[3], &options).unwrap());
    assert_eq!(server.wal_archive(&paths[3], &options, &STOP).unwrap().archived, CloudArchived::Identical);
    lab.segment("000000010000000000000005", 50);
    let refused = server.wal_archive(&paths[4], &options, &STOP);
    assert!(matches!(refused, Err(CloudWalError::Different { .. })), "{refused:?}");

    // What PostgreSQL has been told is forgotten.
    for n in 1..=9 {
        std::fs::remove_file(lab.path(&format!("pg_wal/archive_status/00000001000000000000000{n}.ready")))
            .unwrap();
    }
    let late = lab.ready("00000001000000000000000A", 10);
    server.wal_archive(&late, &options, &STOP).unwrap();
    assert!(!is_archived_ahead(place, "main", &paths[0], &options).unwrap());
}

/// Nothing is acknowledged that the store has not said it has.
#[test]
fn a_store_that_fails_is_a_failure() {
    let Some(lab) = Lab::new("failing") else { return };
    let first = lab.ready(FIRST, 1);
    let second = lab.ready(SECOND, 2);
    let options = ahead(&lab);
    let down = CloudServer::new(lab.store_at("http://127.0.0.1:1"), "main");
    let error = down.wal_archive(&first, &options, &STOP).unwrap_err();
    assert!(matches!(&error, CloudWalError::Store(error) if error.is_unreachable()), "{error:?}");
    let busy = Proxy::start(lab.moto.address(), |_, _| Fate::Status(503));
    let server = CloudServer::new(lab.store_at(&busy.endpoint()), "main");
    let error = server.wal_archive(&first, &options, &STOP).unwrap_err();
    assert!(matches!(&error, CloudWalError::Store(error) if error.is_unreachable()), "{error:?}");
    let denied = Proxy::start(lab.moto.address(), |_, _| Fate::Status(403));
    let server = CloudServer::new(lab.store_at(&denied.endpoint()), "main");
    let error = server.wal_archive(&first, &options, &STOP).unwrap_err();
    assert!(matches!(error, CloudWalError::Store(CloudError::Denied { .. })), "{error:?}");
    assert_eq!(lab.keys(), Vec::<String>::new());

    // Only the segment that was asked for gets through: the others are not noted as archived.
    let proxy = Proxy::start(lab.moto.address(), |method, path| {
        if method == "PUT" && path.contains(SECOND) { Fate::Status(503) } else { Fate::Pass }
    });
    let server = CloudServer::new(lab.store_at(&proxy.endpoint()), "main");
    let report = server.wal_archive(&first, &options, &STOP).unwrap();
    assert_eq!((report.archived, report.ahead.len()), (CloudArchived::Uploaded, 0));
    assert!(report.warnings[0].contains(SECOND), "{report:?}");
    assert!(!is_archived_ahead(server.store().identity(), "main", &second, &options).unwrap());
    assert!(server.wal_archive(&second, &options, &STOP).is_err());

    // An answer is lost after the store has the segment; the second request finds it there.
    let mut lost = false;
    let proxy = Proxy::start(lab.moto.address(), move |method, path| {
        if method == "PUT" && path.contains(SECOND) && !std::mem::replace(&mut lost, true) {
            Fate::Mute
        } else {
            Fate::Pass
        }
    });
    let server = CloudServer::new(lab.store_at(&proxy.endpoint()), "main");
    server.wal_archive(&second, &options, &STOP).unwrap();
    let restored = lab.path("restored");
    server.wal_restore(SECOND, &restored, &CloudRestoreOptions::default(), &STOP).unwrap();
    assert!(same(&restored, &second));
}

/// A store that knows no conditional writes.
#[test]
fn what_came_meanwhile_is_not_replaced_where_the_store_cannot_decide() {
    for somebody_is_quicker in [false, true] {
        let Some(lab) = Lab::new(&format!("undecided-{somebody_is_quicker}")) else { return };
        let key = format!("main/wals/0000000100000000/{FIRST}");
        let (store, theirs, at) = (lab.store(), segment(FIRST, SYSTEM, 2), key.clone());
        let mut refused = false;
        let proxy = Proxy::start(lab.moto.address(), move |method, path| {
            if method != "PUT" || !path.contains(FIRST) || std::mem::replace(&mut refused, true) {
                return Fate::Pass;
            }
            if somebody_is_quicker {
                store.put(&at, theirs.clone(), &WriteOptions::default()).unwrap();
            }
            Fate::Status(501)
        });
        let server = CloudServer::new(lab.store_at(&proxy.endpoint()), "main");
        let archived = server.wal_archive(&lab.segment(FIRST, 1), &plain(), &STOP);
        if somebody_is_quicker {
            assert!(matches!(archived, Err(CloudWalError::Different { .. })), "{archived:?}");
        } else {
            assert_eq!(archived.unwrap().archived, CloudArchived::Uploaded);
        }
        let seed = if somebody_is_quicker { 2 } else { 1 };
        assert!(lab.store().read(&key, 2 << 20).unwrap() == segment(FIRST, SYSTEM, seed));
    }
}

/// Two programs with different contents under one name: the store decides for one of them, and the other hears it.
#[test]
fn of_two_writers_one_wins_and_the_other_hears_it() {
    let Some(lab) = Lab::new("two-writers") else { return };
    for round in 0..8_u64 {
        let name = format!("0000000100000000000000{:02X}", 0x10 + round);
        let files: Vec<_> = (0..2_u64)
            .map(|writer| {
                let dir = lab.path(&format!("writer-{writer}"));
                std::fs::create_dir_all(&dir).unwrap();
                std::fs::write(dir.join(&name), segment(&name, SYSTEM, round * 2 + writer)).unwrap();
                dir.join(&name)
            })
            .collect();
        let barrier = std::sync::Barrier::new(2);
        let outcomes: Vec<bool> = std::thread::scope(|scope| {
            let writers: Vec<_> = files
                .iter()
                .map(|file| {
                    let (lab, barrier) = (&lab, &barrier);
                    scope.spawn(move || {
                        let server = lab.server();
                        barrier.wait();
                        server.wal_archive(file, &plain(), &STOP).is_ok()
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|won| **won).count(), 1, "{outcomes:?}");
        let stored = lab.store().read(&format!("main/wals/0000000100000000/{name}"), 2 << 20).unwrap();
        let winner = if outcomes[0] { &files[0] } else { &files[1] };
        assert!(stored == std::fs::read(winner).unwrap());
    }
}

#[test]
fn whether_a_new_cluster_may_archive_is_judged_as_barman_does() {
    let Some(lab) = Lab::new("check") else { return };
    let server = lab.server();
    let missing = "s3://made-by-the-check/p".parse().unwrap();
    let missing = Store::open(&missing, lab.moto.options(), &lab.moto.environment()).unwrap();
    assert!(!missing.bucket_exists().unwrap());
    CloudServer::new(missing.clone(), "main").check_wal_archive(None).unwrap();
    assert!(missing.bucket_exists().unwrap());
    let timeline = |number| Some(Timeline::new(number).unwrap());
    server.check_wal_archive(None).unwrap();
    let (code, log) = lab.barman("barman-cloud-check-wal-archive", &[], &[]);
    assert_eq!(code, 0, "{log}");
    for name in [FIRST, "000000020000000000000002", "000000020000000000000003"] {
        server.wal_archive(&lab.segment(name, 1), &compressed(Compression::Gzip), &STOP).unwrap();
    }
    assert!(matches!(server.check_wal_archive(None), Err(CheckWalArchiveError::NotEmpty)));
    server.check_wal_archive(timeline(3)).unwrap();
    for (number, text) in [
        (1, "Found 3 files in WAL archive equal to or newer than timeline 1"),
        (2, "Found 2 files in WAL archive equal to or newer than timeline 2"),
    ] {
        let error = server.check_wal_archive(timeline(number)).unwrap_err();
        assert_eq!(error.to_string(), text);
        if number == 2 {
            let (code, log) = lab.barman("barman-cloud-check-wal-archive", &["--timeline", "2"], &[]);
            assert!(code == 1 && log.contains(text), "{code} {log}");
        }
    }
    let keys: Vec<String> = lab.keys().into_iter().filter(|key| key.contains("wals")).collect();
    server.store().delete(&keys).unwrap();
    assert!(matches!(
        server.check_wal_archive(None),
        Err(CheckWalArchiveError::Owned { system_id: SYSTEM, .. })
    ));
}

/// A process with warm connections: what it says is archived is, and without it the work is done all the same.
#[test]
fn a_daemon_archives_for_others() {
    let Some(lab) = Lab::new("daemon") else { return };
    let proxy = Proxy::start(lab.moto.address(), |_, path| {
        // Its contents do not matter to the proxy; only the last one is refused.
        if path.contains("00000001000000000000000F") { Fate::Status(403) } else { Fate::Pass }
    });
    let server = CloudServer::new(lab.store_at(&proxy.endpoint()), "main");
    let (options, wal_dir) = (ahead(&lab), lab.path("pg_wal"));
    let (place, how) = (server.store().identity(), server.store().options());
    let ask =
        |path: &Path, options: &CloudArchiveOptions| archive_by_daemon(place, "main", path, how, options);
    let paths: Vec<_> = (1..=9).map(|n| lab.ready(&format!("00000001000000000000000{n}"), n)).collect();
    assert_eq!(ask(&paths[0], &options), None, "there is none");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (sender, listens) = std::sync::mpsc::channel();
        let daemon = scope
            .spawn(|| server.serve_wal_archive(&wal_dir, &options, &stop, move || sender.send(()).unwrap()));
        listens.recv().unwrap();
        let second = server.serve_wal_archive(&wal_dir, &options, &stop, || ());
        assert!(matches!(second, Err(CloudWalError::Spool { .. })), "{second:?}");
        assert_eq!(ask(&paths[0], &compressed(Compression::Gzip)), None, "another spool, another process");
        let mut others = options.clone();
        others.compression = Compression::Gzip;
        assert_eq!(ask(&paths[0], &others), None, "it was made with other settings");
        let variables = lab.moto.variables().into_iter().chain([("AWS_SESSION_TOKEN", "new".to_owned())]);
        let others = StoreIdentity::of(server.store().url(), how, &variables.collect());
        assert_eq!(others.place(), place.place());
        let answer = archive_by_daemon(&others, "main", &paths[0], how, &options);
        assert_eq!(answer, None, "it has other credentials");
        assert_eq!(lab.keys(), Vec::<String>::new());

        assert_eq!(ask(&paths[0], &options), Some(DaemonAnswer::Archived(CloudArchived::Uploaded)));
        // Asked again, because its answer was lost: it is noted, and not compared with what the store has.
        assert!(is_archived_ahead(place, "main", &paths[0], &options).unwrap());
        assert_eq!(ask(&paths[0], &options), Some(DaemonAnswer::Archived(CloudArchived::Ahead)));
        for path in &paths[1..] {
            let answer = ask(path, &options);
            assert!(matches!(answer, Some(DaemonAnswer::Archived(_))), "{answer:?}");
            let name = path.file_name().unwrap().to_str().unwrap();
            let key = format!("main/wals/0000000100000000/{name}");
            assert!(lab.store().read(&key, 2 << 20).unwrap() == std::fs::read(path).unwrap());
        }
        let refused = lab.segment("00000001000000000000000F", 15);
        match ask(&refused, &options) {
            Some(DaemonAnswer::Failed(why)) => assert!(why.contains("00000001000000000000000F"), "{why}"),
            answer => panic!("{answer:?}"),
        }
        let missing = ask(&wal_dir.join("00000001000000000000000E"), &options);
        assert!(matches!(missing, Some(DaemonAnswer::Failed(_))), "{missing:?}");
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        daemon.join().unwrap().unwrap();
    });
    assert_eq!(ask(&paths[0], &options), None);
}

/// A promoted server and a receiver may both have the beginning of a segment: the one that has more of it wins, in whichever order.
#[test]
fn of_two_beginnings_of_a_segment_the_longer_stays() {
    let Some(lab) = Lab::new("beginnings") else { return };
    let (server, name) = (lab.server(), "000000010000000000000003.partial");
    let whole = segment("000000010000000000000003", SYSTEM, 3);
    let path = lab.path("pg_wal").join(name);
    let archive = |length: usize, compression: Compression, change: Option<usize>| {
        let mut begun = whole.clone();
        begun[length..].fill(0);
        if let Some(at) = change {
            begun[at] ^= 0xff;
        }
        std::fs::write(&path, begun).unwrap();
        server.wal_archive(&path, &compressed(compression), &STOP).map(|report| report.archived)
    };
    let stored = || {
        let mut bytes = Vec::new();
        assert!(server.get_wal("000000010000000000000003".parse().unwrap(), true, &mut bytes).unwrap());
        let keys: Vec<String> = lab.keys().into_iter().filter(|key| key.contains(".partial")).collect();
        (bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1, keys.len())
    };
    let end = |length: usize| whole[..length].iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert_eq!(archive(500_000, Compression::Zstd, None).unwrap(), CloudArchived::Uploaded);
    assert_eq!(archive(300_000, Compression::None, None).unwrap(), CloudArchived::Identical);
    assert_eq!(stored(), (end(500_000), 1));
    assert_eq!(archive(700_000, Compression::Gzip, None).unwrap(), CloudArchived::Uploaded);
    assert_eq!(stored(), (end(700_000), 1));
    let other = archive(900_000, Compression::Gzip, Some(400_000));
    assert!(matches!(other, Err(CloudWalError::Different { .. })), "{other:?}");
    assert_eq!(stored(), (end(700_000), 1));
}
