//! Copies by the real rsync, without a network between (the manager's tests have one).

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tapster_copy::Silent;
use tapster_copy::live::{LiveReport, Reference, Reuse, Rules};
use tapster_copy::pages::{PAGE_SIZE, PageRules, page_checksum};
use tapster_copy::rsync::{Rsync, RsyncError, RsyncTree};
use walfile::Lsn;

fn page(block: u32, fill: u8) -> [u8; PAGE_SIZE] {
    let mut page = [fill; PAGE_SIZE];
    page[..8].fill(0);
    let sum = page_checksum(&page, block);
    page[8..10].copy_from_slice(&sum.to_le_bytes());
    page
}

fn is_there() -> bool {
    let there = std::process::Command::new("rsync").arg("--version").output().is_ok();
    assert!(there || std::env::var_os("CI").is_none(), "rsync is not installed");
    there
}

fn cluster(root: &Path) {
    for dir in ["base/5", "base/pgsql_tmp", "global", "pg_tblspc/16500/PG_15_1/5", "log", "wal", "ts"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(root.join(name), bytes).unwrap();
        age(&root.join(name), 1_000_000);
    };
    for n in 0..30u32 {
        write(&format!("base/5/{}", 16384 + n), &[page(0, 1), page(1, n as u8 + 1)].concat());
    }
    write("base/5/a b\n*c", b"odd");
    write("base/5/t3_18000", b"temporary");
    write("base/pgsql_tmp/x", b"x");
    write("global/pg_control", b"not copied here");
    write("log/today", b"log");
    write("wal/000000010000000000000001", b"wal");
    write("postmaster.pid", b"1");
    write("backup_label", b"of another backup");
    write("PG_VERSION", b"15\n");
    write("ts/file", b"in a tablespace");
    write("pg_tblspc/16500/PG_15_1/5/1", &page(0, 9));
    symlink("wal", root.join("pg_wal")).unwrap();
    symlink(root.join("ts"), root.join("pg_tblspc/16501")).unwrap();
    std::fs::set_permissions(root.join("PG_VERSION"), std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::set_permissions(root.join("base/5"), std::fs::Permissions::from_mode(0o750)).unwrap();
}

fn age(path: &Path, seconds: u64) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

fn tree(from: &Path, to: &Path) -> RsyncTree {
    let rules = Rules::Data { elsewhere: [PathBuf::from("ts"), PathBuf::from("wal")].into() };
    let mut tree = RsyncTree::new("pgdata", from.to_str().unwrap(), to, rules);
    tree.in_place.insert(16500);
    tree
}

fn rules() -> Option<PageRules> {
    Some(PageRules { segment_blocks: 131_072, start: Lsn::new(u64::MAX) })
}

fn run(rsync: &Rsync, tree: RsyncTree) -> LiveReport {
    rsync.copy(&[tree], rules(), &Silent, &|_, _| {}, &AtomicBool::new(false)).unwrap()
}

#[test]
fn a_tree_is_copied_and_what_is_unchanged_linked() {
    if !is_there() {
        return;
    }
    for reuse in [Reuse::Link, Reuse::Copy, Reuse::Off] {
        let dir = tempfile::tempdir().unwrap();
        let (from, first, second) = (dir.path().join("fr om"), dir.path().join("1"), dir.path().join("2"));
        std::fs::create_dir(&from).unwrap();
        cluster(&from);
        age(&from.join("base/5/16385"), 2_000_000);
        age(&from.join("base/5/16386"), 2_000_000);
        let mut rsync = Rsync::default();
        rsync.jobs = 3;
        rsync.reuse = reuse;
        let report = run(&rsync, tree(&from, &first));
        assert_eq!(
            (report.files, report.reused, report.pages.as_ref().unwrap().bad),
            (33, 0, 0),
            "{report:?}"
        );
        assert_eq!(report.pages.unwrap().good, 61);
        for absent in [
            "base/5/t3_18000",
            "base/pgsql_tmp",
            "global/pg_control",
            "log/today",
            "ts",
            "wal",
            "postmaster.pid",
        ] {
            assert!(!first.join(absent).exists(), "{absent}");
        }
        assert!(!first.join("backup_label").exists() && !first.join("pg_tblspc/16501").exists());
        assert!(
            first.join("pg_wal").is_dir() && !first.join("pg_wal").is_symlink() && first.join("log").is_dir()
        );
        assert_eq!(first.join("base/5").metadata().unwrap().mode() & 0o777, 0o750);

        let changed = [page(0, 1), page(1, 200)].concat();
        std::fs::write(from.join("base/5/16385"), &changed).unwrap(); // same size, same time
        age(&from.join("base/5/16385"), 2_000_000);
        std::fs::write(from.join("base/5/16387"), &changed).unwrap(); // same size, other time
        let mut again = tree(&from, &second);
        again.reference = Some(Reference::new(&first, 1_500_000));
        let report = run(&rsync, again);
        assert_eq!(report.files, 33);
        // What had to be compared is linked by rsync, where it is the same.
        let linked = |name: &str| {
            second.join(name).metadata().unwrap().ino() == first.join(name).metadata().unwrap().ino()
        };
        let links = reuse == Reuse::Link;
        assert_eq!(report.reused, if links { 30 } else { 0 });
        for (name, same) in [
            ("base/5/16384", true),
            ("base/5/a b\n*c", true),
            ("base/5/16386", true),
            ("base/5/16385", false),
            ("base/5/16387", false),
        ] {
            assert_eq!(linked(name), same && links, "{name}");
            let (a, b) = (from.join(name), second.join(name));
            assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap(), "{name}");
            let (a, b) = (a.metadata().unwrap(), b.metadata().unwrap());
            assert_eq!((a.mode(), a.mtime()), (b.mode(), b.mtime()), "{name}");
        }
    }
}

/// An `rsync` that does something else first.
fn wrapped(dir: &Path, script: &str) -> Rsync {
    let program = dir.join("rsync");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\nexec rsync \"$@\"\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut rsync = Rsync::default();
    rsync.program = program;
    rsync.retry_sleep = Duration::from_millis(10);
    rsync
}

#[test]
fn what_vanishes_is_forgiven_and_what_fails_is_tried_again() {
    if !is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    std::fs::create_dir(&from).unwrap();
    cluster(&from);
    // After the list was made.
    let gone = format!("case \"$*\" in *files-from*) rm -f {}/base/5/16390;; esac", from.display());
    let report = run(&wrapped(dir.path(), &gone), tree(&from, &dir.path().join("1")));
    assert_eq!(report.files, 33);
    assert!(!dir.path().join("1/base/5/16390").exists() && dir.path().join("1/base/5/16391").exists());

    // Each command fails twice.
    let counter = dir.path().join("count");
    let failing = format!(
        "echo x >> {0}; if [ $(($(wc -l < {0}) % 3)) != 0 ]; then echo 'rsync: connection unexpectedly closed' >&2; exit 12; fi",
        counter.display()
    );
    let mut rsync = wrapped(dir.path(), &failing);
    let told = AtomicU32::new(0);
    let copy = |rsync: &Rsync, to: &str| {
        rsync.copy(
            &[tree(&from, &dir.path().join(to))],
            None,
            &Silent,
            &|_, error| {
                assert!(error.to_string().ends_with("rsync: connection unexpectedly closed"), "{error}");
                told.fetch_add(1, Ordering::Relaxed);
            },
            &AtomicBool::new(false),
        )
    };
    let error = copy(&rsync, "2").unwrap_err();
    assert!(matches!(&error, RsyncError::Failed { what, .. } if what == "listing pgdata"), "{error}");
    rsync.retry_times = 2;
    std::fs::write(&counter, "").unwrap();
    assert_eq!(copy(&rsync, "3").unwrap().files, 32);
    assert_eq!(told.into_inner(), 4);

    // A server that is not there, a list that is none, and a request to stop.
    let rsync = Rsync::default();
    let no = tree(Path::new("/no/such/directory"), &dir.path().join("4"));
    let error = rsync.copy(&[no], None, &Silent, &|_, _| {}, &AtomicBool::new(false)).unwrap_err();
    assert_eq!(error.to_string(), "'/no/such/directory' is not on the server");
    std::fs::create_dir_all(dir.path().join("empty")).unwrap();
    std::fs::create_dir_all(dir.path().join("whole/PG_15_1")).unwrap();
    let spaces = ["empty", "missing", "whole"].map(|name| {
        let source = dir.path().join(name);
        let target = dir.path().join("7").join(name);
        RsyncTree::new(name, source.to_str().unwrap(), target, Rules::Tablespace { major: 15 })
    });
    let report = rsync.copy(&spaces, None, &Silent, &|_, _| {}, &AtomicBool::new(false)).unwrap();
    assert_eq!(report.absent, ["empty", "missing"]);
    let noisy = wrapped(dir.path(), "echo Welcome");
    assert!(matches!(copy_of(&noisy, &from, &dir.path().join("5"), false), Err(RsyncError::List { .. })));
    assert!(matches!(copy_of(&rsync, &from, &dir.path().join("6"), true), Err(RsyncError::Stopped)));
    let control = rsync.control_file(from.to_str().unwrap(), &dir.path().join("1"), &AtomicBool::new(false));
    assert!(matches!(control, Err(RsyncError::Control { .. })), "{control:?}");
}

fn copy_of(rsync: &Rsync, from: &Path, to: &Path, stop: bool) -> Result<LiveReport, RsyncError> {
    rsync.copy(&[tree(from, to)], None, &Silent, &|_, _| {}, &AtomicBool::new(stop))
}

#[test]
fn torn_pages_are_fetched_again() {
    if !is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    std::fs::create_dir(&from).unwrap();
    cluster(&from);
    let whole = std::fs::read(from.join("base/5/16391")).unwrap();
    std::fs::write(dir.path().join("whole"), &whole).unwrap();
    for name in ["16391", "16392"] {
        let mut torn = whole.clone();
        torn[9000] ^= 1;
        std::fs::write(from.join("base/5").join(name), torn).unwrap();
    }
    // The server has written it by then, and the connection breaks once.
    let script = format!(
        "case \"$*\" in *ignore-times*) if [ ! -e {0}/failed ]; then touch {0}/failed; exit 12; fi; \
         cp {0}/whole {0}/from/base/5/16391;; esac",
        dir.path().display()
    );
    let mut rsync = wrapped(dir.path(), &script);
    rsync.retry_times = 1;
    let report = run(&rsync, tree(&from, &dir.path().join("to")));
    let pages = report.pages.unwrap();
    assert_eq!((pages.bad, pages.pages[0].path.as_path()), (1, Path::new("base/5/16392")), "{pages}");
    assert_eq!(std::fs::read(dir.path().join("to/base/5/16391")).unwrap(), whole);
}

#[test]
fn a_further_attempt_leaves_the_previous_backup_as_it_is() {
    if !is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (from, first, second) = (dir.path().join("from"), dir.path().join("1"), dir.path().join("2"));
    std::fs::create_dir(&from).unwrap();
    cluster(&from);
    for name in ["16386", "16387", "16388", "16389"] {
        age(&from.join("base/5").join(name), 2_000_000);
    }
    run(&Rsync::default(), tree(&from, &first));
    let state = |name: &str| {
        let path = first.join("base/5").join(name);
        let metadata = path.metadata().unwrap();
        (std::fs::read(&path).unwrap(), metadata.mode(), metadata.mtime())
    };
    let names = ["16386", "16387", "16388", "16389"];
    let before = names.map(state);

    // The first attempt links what is unchanged, and fails; then the server writes to it, by content, mode and time.
    std::fs::write(dir.path().join("new"), [page(0, 1), page(1, 201)].concat()).unwrap();
    let script = format!(
        "cd {0}; case \"$*\" in *files-from*) if [ ! -e failed ]; then \
         rsync \"$@\"; [ 2/base/5/16389 -ef 1/base/5/16389 ] && touch failed; \
         cat new > from/base/5/16386; chmod 640 from/base/5/16387; touch -d @2000100 from/base/5/16388; exit 12; \
         fi;; esac",
        dir.path().display()
    );
    let mut rsync = wrapped(dir.path(), &script);
    rsync.reuse = Reuse::Link;
    rsync.retry_times = 1;
    let mut again = tree(&from, &second);
    again.reference = Some(Reference::new(&first, 1_500_000));
    let report = run(&rsync, again);
    assert!(dir.path().join("failed").exists(), "the first attempt linked nothing");
    assert_eq!(report.pages.unwrap().bad, 0);
    for (name, before) in names.into_iter().zip(before) {
        assert!(state(name) == before, "{name} of the previous backup has changed");
        let (a, b) = (from.join("base/5").join(name), second.join("base/5").join(name));
        assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap(), "{name}");
        let (a, b) = (a.metadata().unwrap(), b.metadata().unwrap());
        assert_eq!((a.mode(), a.mtime()), (b.mode(), b.mtime()), "{name}");
    }
    let left = std::fs::read_dir(&second).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_str().unwrap().starts_with('.')));
}
