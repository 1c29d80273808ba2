//! Copies of data directories that change meanwhile.

use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tapster_copy::live::{LiveOptions, LiveReport, LiveTree, Reference, Reuse, Rules, control_file, copy};
use tapster_copy::pages::{PAGE_SIZE, PageRules, page_checksum};
use tapster_copy::tree::TreeError;
use tapster_copy::{CopyObserver, Silent};
use walfile::Lsn;

fn page(block: u32, fill: u8) -> [u8; PAGE_SIZE] {
    let mut page = [fill; PAGE_SIZE];
    page[..8].fill(0);
    let sum = page_checksum(&page, block);
    page[8..10].copy_from_slice(&sum.to_le_bytes());
    page
}

fn cluster(root: &Path) {
    for dir in ["base/5", "base/pgsql_tmp", "global", "pg_tblspc", "log", "pg_xact"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    let write = |name: &str, bytes: &[u8]| std::fs::write(root.join(name), bytes).unwrap();
    for n in 0..40u32 {
        write(&format!("base/5/{}", 16384 + n), &[page(0, 1), page(1, n as u8 + 1)].concat());
    }
    write("base/5/17000_init", &page(0, 2));
    write("base/5/17000", &page(0, 3));
    write("base/5/17000_vm", &page(0, 3));
    write("base/5/t3_18000", b"temporary");
    write("base/pgsql_tmp/x", b"x");
    write("global/pg_control", b"not copied here");
    write("log/today", b"log");
    write("postmaster.pid", b"1");
    write("backup_label", b"of another backup");
    write("PG_VERSION", b"15\n");
    write("pg_xact/0000", &[7; 8192]);
    std::fs::set_permissions(root.join("PG_VERSION"), std::fs::Permissions::from_mode(0o640)).unwrap();
}

fn data(from: &Path, to: &Path) -> LiveTree {
    LiveTree::new("pgdata", from, to, Rules::Data { elsewhere: Default::default() })
}

fn run(tree: LiveTree, options: &LiveOptions) -> LiveReport {
    copy(&[tree], options, &Silent, &AtomicBool::new(false)).unwrap()
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path)
            } else {
                found.push(path.strip_prefix(root).unwrap().into())
            }
        }
    }
    found.sort();
    found
}

fn age(path: &Path, seconds: u64) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(seconds, 5)).unwrap();
}

#[test]
fn l_b17_a_data_directory_behind_links_is_copied_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("real");
    cluster(&real);
    for outside in ["wal/archive_status", "outside/sub", "ts/PG_15_1/5", "ts/PG_14_1/5"] {
        std::fs::create_dir_all(dir.path().join(outside)).unwrap();
    }
    std::fs::write(dir.path().join("wal/000000010000000000000001"), b"wal").unwrap();
    std::fs::write(dir.path().join("outside/sub/file"), b"linked").unwrap();
    std::fs::write(dir.path().join("ts/PG_15_1/5/99"), page(0, 9)).unwrap();
    std::fs::write(dir.path().join("ts/PG_14_1/5/99"), b"old version").unwrap();
    symlink(dir.path().join("wal"), real.join("pg_wal")).unwrap();
    symlink(dir.path().join("outside"), real.join("extra")).unwrap();
    symlink(dir.path().join("ts"), real.join("pg_tblspc/16400")).unwrap();
    std::fs::create_dir_all(real.join("pg_tblspc/16401/PG_15_1/5")).unwrap();
    std::fs::write(real.join("pg_tblspc/16401/PG_15_1/5/100"), page(0, 9)).unwrap();
    symlink("/nowhere/at/all", real.join("dangling")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(real.join("socket")).unwrap();
    symlink(&real, dir.path().join("link")).unwrap();

    let (to, space) = (dir.path().join("to/data"), dir.path().join("to/16400"));
    let trees = [
        LiveTree::new("ts", dir.path().join("ts"), &space, Rules::Tablespace { major: 15 }),
        data(&dir.path().join("link"), &to),
    ];
    let report = copy(&trees, &LiveOptions::default(), &Silent, &AtomicBool::new(false)).unwrap();
    let mut expected: Vec<PathBuf> =
        (0..40).map(|n| PathBuf::from(format!("base/5/{}", 16384 + n))).collect();
    expected.extend(
        [
            "PG_VERSION",
            "base/5/17000_init",
            "extra/sub/file",
            "pg_xact/0000",
            "pg_tblspc/16401/PG_15_1/5/100",
        ]
        .map(PathBuf::from),
    );
    expected.sort();
    assert_eq!(files(&to), expected);
    assert_eq!(files(&space), [Path::new("PG_15_1/5/99")]);
    assert_eq!(report.files, expected.len() as u64 + 1);
    for empty in ["pg_wal", "log", "pg_tblspc"] {
        assert!(to.join(empty).is_dir() && !to.join(empty).is_symlink(), "{empty}");
    }
    assert!(!to.join("base/pgsql_tmp").exists() && !to.join("pg_wal/archive_status").exists());
    let mut skipped: Vec<_> = report.skipped.iter().map(|path| path.file_name().unwrap()).collect();
    skipped.sort();
    assert_eq!(skipped, ["dangling", "socket"]);
    for name in &expected {
        let (a, b) = (real.join(name).metadata().unwrap(), to.join(name).metadata().unwrap());
        assert_eq!((a.mode(), a.mtime(), a.mtime_nsec()), (b.mode(), b.mtime(), b.mtime_nsec()));
        assert_eq!(std::fs::read(real.join(name)).unwrap(), std::fs::read(to.join(name)).unwrap());
    }
    assert_eq!(report.trees.iter().map(|tree| tree.label.as_str()).collect::<Vec<_>>(), ["ts", "pgdata"]);
    // A link to a directory above itself is no way to fill the disk.
    symlink(&real, real.join("loop")).unwrap();
    let result = copy(
        &[data(&real, &dir.path().join("loop"))],
        &LiveOptions::default(),
        &Silent,
        &AtomicBool::new(false),
    );
    assert!(matches!(result, Err(TreeError::Io(_))), "{result:?}");
}

#[test]
fn l_b1_only_what_cannot_have_changed_is_shared() {
    for reuse in [Reuse::Link, Reuse::Copy] {
        let dir = tempfile::tempdir().unwrap();
        let (from, first, second) = (dir.path().join("from"), dir.path().join("1"), dir.path().join("2"));
        cluster(&from);
        for path in files(&from) {
            age(&from.join(path), 1_000_000);
        }
        // Written after the previous backup began: same size and time say nothing.
        age(&from.join("base/5/16385"), 2_000_000);
        age(&from.join("base/5/16386"), 2_000_000);
        run(data(&from, &first), &LiveOptions::default());
        let inode = |root: &Path, name: &str| root.join(name).metadata().unwrap().ino();

        let overwrite = |name: &str, seconds| {
            let file = std::fs::File::options().write(true).open(from.join(name)).unwrap();
            file.write_all_at(&page(1, 200), 8192).unwrap();
            age(&from.join(name), seconds);
        };
        overwrite("base/5/16385", 2_000_000); // changed, same size, same time
        overwrite("base/5/16387", 2_000_001); // changed, same size, other time
        std::fs::write(from.join("base/5/16388"), page(0, 1)).unwrap(); // other size
        age(&from.join("base/5/16388"), 1_000_000);
        std::fs::set_permissions(from.join("base/5/16389"), std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::remove_file(first.join("base/5/16390")).unwrap();

        let mut tree = data(&from, &second);
        tree.reference = Some(Reference::new(&first, 1_500_000));
        let mut options = LiveOptions::default();
        options.reuse = reuse;
        options.pages = Some(PageRules { segment_blocks: 131_072, start: Lsn::new(u64::MAX) });
        let report = run(tree, &options);
        for name in files(&second) {
            let text = name.to_str().unwrap();
            let changed = ["base/5/16385", "base/5/16387", "base/5/16388", "base/5/16389", "base/5/16390"];
            let shared = reuse == Reuse::Link && !changed.contains(&text);
            assert_eq!(
                first.join(&name).exists() && inode(&first, text) == inode(&second, text),
                shared,
                "{text}"
            );
            assert_eq!(std::fs::read(from.join(&name)).unwrap(), std::fs::read(second.join(&name)).unwrap());
            let (a, b) = (from.join(&name).metadata().unwrap(), second.join(&name).metadata().unwrap());
            assert_eq!(
                (a.mode(), a.mtime(), a.mtime_nsec()),
                (b.mode(), b.mtime(), b.mtime_nsec()),
                "{text}"
            );
        }
        assert_eq!(report.files, 43);
        assert_eq!(report.reused, if reuse == Reuse::Link { 38 } else { 0 });
        assert_eq!(report.pages.unwrap().bad, 0);
    }
}

/// Removes, cuts or repairs files when the first file is done.
struct Meddler<F: Fn() + Sync>(Mutex<bool>, F);

impl<F: Fn() + Sync> CopyObserver for Meddler<F> {
    fn file(&self, _: &Path) {
        if !std::mem::replace(&mut *self.0.lock().unwrap(), true) {
            (self.1)();
        }
    }
}

#[test]
fn files_vanish_grow_and_shrink_under_the_copy() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    cluster(&from);
    std::fs::create_dir_all(from.join("base/6")).unwrap();
    let meddler = Meddler(Mutex::new(false), || {
        // The walk goes on meanwhile: what it has not listed yet would be gone without having vanished.
        std::thread::sleep(std::time::Duration::from_millis(200));
        for n in 0..40 {
            let path = from.join(format!("base/5/{}", 16384 + n));
            match n % 3 {
                0 => std::fs::remove_file(path).unwrap(),
                1 => std::fs::write(path, page(0, 1)).unwrap(),
                _ => std::fs::File::options()
                    .append(true)
                    .open(path)
                    .map(|mut f| std::io::Write::write_all(&mut f, &page(2, 9)).unwrap())
                    .unwrap(),
            }
        }
        let _ = std::fs::remove_dir(from.join("base/6"));
    });
    let mut options = LiveOptions::default();
    options.threads = 1;
    options.pages = Some(PageRules { segment_blocks: 131_072, start: Lsn::new(u64::MAX) });
    let report = copy(&[data(&from, &to)], &options, &meddler, &AtomicBool::new(false)).unwrap();
    assert!(report.vanished >= 13 && report.vanished <= 15, "{}", report.vanished);
    assert_eq!(report.files + report.vanished, 43 + u64::from(report.vanished == 15), "{report:?}");
    assert_eq!(report.pages.unwrap().bad, 0);
    // A data directory that is not there is not one that vanished.
    assert!(copy(&[data(&dir.path().join("no"), &to)], &options, &Silent, &AtomicBool::new(false)).is_err());
}

#[test]
fn a_torn_page_is_read_again_and_a_broken_one_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    cluster(&from);
    let torn = from.join("base/5/16400");
    let mut bytes = std::fs::read(&torn).unwrap();
    bytes[PAGE_SIZE + 5000] ^= 1;
    std::fs::write(&torn, &bytes).unwrap();
    let broken = from.join("base/5/16401");
    let mut page = std::fs::read(&broken).unwrap();
    page[100] ^= 1;
    std::fs::write(&broken, &page).unwrap();
    let done = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        // The server finishes its write while the page is looked at again.
        scope.spawn(|| {
            bytes[PAGE_SIZE + 5000] ^= 1;
            while !to.join("base/5/16400").exists() && !done.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
            std::thread::sleep(std::time::Duration::from_millis(8));
            let file = std::fs::File::options().write(true).open(&torn).unwrap();
            file.write_all_at(&bytes[PAGE_SIZE..], PAGE_SIZE as u64).unwrap();
        });
        let mut options = LiveOptions::default();
        options.pages = Some(PageRules { segment_blocks: 131_072, start: Lsn::new(u64::MAX) });
        let report = run(data(&from, &to), &options);
        done.store(true, Ordering::Relaxed);
        report
    });
    let pages = report.pages.unwrap();
    assert_eq!(pages.bad, 1, "{pages}");
    assert_eq!(pages.pages[0].path, Path::new("base/5/16401"));
    assert_eq!(pages.pages[0].block, 0);
    assert_eq!(std::fs::read(to.join("base/5/16400")).unwrap(), std::fs::read(&torn).unwrap());
    assert_eq!(std::fs::read(to.join("base/5/16401")).unwrap(), page, "kept as it is");
}

#[test]
fn a_stop_and_an_error_end_the_copy() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    cluster(&from);
    let result = copy(&[data(&from, &to)], &LiveOptions::default(), &Silent, &AtomicBool::new(true));
    assert!(matches!(result, Err(TreeError::Stopped)), "{result:?}");
    // Something is where a file goes.
    let again = dir.path().join("again");
    std::fs::create_dir_all(again.join("base/5/16390")).unwrap();
    let result = copy(&[data(&from, &again)], &LiveOptions::default(), &Silent, &AtomicBool::new(false));
    assert!(matches!(&result, Err(TreeError::Io(error)) if error.path.ends_with("16390")), "{result:?}");
    assert!(control_file(&from, &to).is_err(), "fifteen bytes are no control file");
    assert!(!to.join("global/pg_control").exists());
}

#[test]
fn what_is_not_seen_is_no_empty_tablespace() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    cluster(&from);
    for there in ["empty", "other/PG_14_1/5", "file", "whole/PG_15_1"] {
        std::fs::create_dir_all(dir.path().join(there)).unwrap();
    }
    std::fs::write(dir.path().join("file/PG_15_1"), "no directory").unwrap();
    let space = |name: &str| {
        let target = dir.path().join("to").join(name);
        LiveTree::new(name, dir.path().join(name), target, Rules::Tablespace { major: 15 })
    };
    let names = ["missing", "empty", "other", "file", "whole"];
    let mut trees: Vec<_> = names.into_iter().map(space).collect();
    trees.push(data(&from, &dir.path().join("to/data")));
    let report = copy(&trees, &LiveOptions::default(), &Silent, &AtomicBool::new(false)).unwrap();
    assert_eq!(report.absent, names[..4]);

    // A link that cannot be followed, though something may be there.
    symlink("itself", from.join("itself")).unwrap();
    let tree = data(&from, &dir.path().join("again"));
    let error = copy(&[tree], &LiveOptions::default(), &Silent, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(&error, TreeError::Io(error) if error.path.ends_with("itself")), "{error}");
}

#[test]
fn a_file_of_the_server_itself_is_not_shared() {
    for reuse in [Reuse::Link, Reuse::Copy] {
        let dir = tempfile::tempdir().unwrap();
        let (from, first, second) = (dir.path().join("from"), dir.path().join("1"), dir.path().join("2"));
        cluster(&from);
        for path in files(&from) {
            age(&from.join(path), 1_000_000);
        }
        run(data(&from, &first), &LiveOptions::default());
        // As a server is that was started from the backup's own files.
        std::fs::remove_file(from.join("base/5/16385")).unwrap();
        std::fs::hard_link(first.join("base/5/16385"), from.join("base/5/16385")).unwrap();
        let mut tree = data(&from, &second);
        tree.reference = Some(Reference::new(&first, 1_500_000));
        let mut options = LiveOptions::default();
        options.reuse = reuse;
        run(tree, &options);
        let inode = |root: &Path, name: &str| root.join(name).metadata().unwrap().ino();
        assert_ne!(inode(&from, "base/5/16385"), inode(&second, "base/5/16385"));
        let shared = inode(&first, "base/5/16386") == inode(&second, "base/5/16386");
        assert_eq!(shared, reuse == Reuse::Link);
    }
}
