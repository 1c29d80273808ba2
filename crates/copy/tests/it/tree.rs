//! Tree copies.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tapster_copy::tree::{self, Plan, RESTORE_EXCLUDES, TreeError, TreeOptions};
use tapster_copy::{CopyObserver, Silent, SyncMethod};

#[derive(Default)]
struct Counter {
    bytes: AtomicU64,
    last: std::sync::Mutex<PathBuf>,
}

impl CopyObserver for Counter {
    fn bytes(&self, n: u64) {
        self.bytes.fetch_add(n, Ordering::Relaxed);
    }
    fn file(&self, path: &Path) {
        *self.last.lock().unwrap() = path.to_path_buf();
    }
}

fn cluster(root: &Path) {
    for dir in ["base/1", "global", "pg_wal/archive_status", "log", "pg_tblspc"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    for (name, size) in [
        ("base/1/1", 20_000_000),
        ("base/1/empty", 0),
        ("base/1/log", 10),
        ("global/pg_control", 8192),
        ("pg_wal/000000010000000000000001", 100),
        ("log/x.log", 5),
        ("postmaster.pid", 5),
        ("tablespace_map", 5),
        ("PG_VERSION", 3),
    ] {
        std::fs::write(root.join(name), (0..size).map(|n: u32| (n / 3) as u8).collect::<Vec<u8>>()).unwrap();
    }
    std::fs::set_permissions(root.join("base/1/1"), std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::set_permissions(root.join("base/1"), std::fs::Permissions::from_mode(0o750)).unwrap();
    let file = std::fs::File::options().write(true).open(root.join("PG_VERSION")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_600_000_000, 5)).unwrap();
    symlink("/old/place", root.join("pg_tblspc/16384")).unwrap();
    symlink("/kept", root.join("pg_tblspc/16385")).unwrap();
}

#[test]
fn a_restore_copies_what_barman_copies() {
    for sync in [SyncMethod::None, SyncMethod::Fsync, SyncMethod::Syncfs] {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        cluster(&from);
        let mut options = TreeOptions::default();
        options.excludes = RESTORE_EXCLUDES.map(str::to_owned).to_vec();
        options.tablespaces.insert(16384, "/new/place".into());
        options.sync = sync;
        let plan = Plan::new(&from, options).unwrap();
        let counter = Counter::default();
        plan.execute(&to, &counter, &AtomicBool::new(false)).unwrap();
        assert_eq!(plan.files, 5);
        assert_eq!(counter.bytes.into_inner(), plan.bytes);
        assert_eq!(*counter.last.lock().unwrap(), Path::new("global/pg_control"));
        for name in ["base/1/1", "base/1/empty", "base/1/log", "global/pg_control", "PG_VERSION"] {
            assert_eq!(
                std::fs::read(to.join(name)).unwrap(),
                std::fs::read(from.join(name)).unwrap(),
                "{name}"
            );
        }
        for name in ["PG_VERSION", "base/1", "base/1/1"] {
            let (a, b) =
                (std::fs::metadata(from.join(name)).unwrap(), std::fs::metadata(to.join(name)).unwrap());
            assert_eq!(
                (a.mode(), a.mtime(), a.mtime_nsec()),
                (b.mode(), b.mtime(), b.mtime_nsec()),
                "{name}"
            );
        }
        for absent in ["pg_wal/archive_status", "log/x.log", "postmaster.pid", "tablespace_map"] {
            assert!(!to.join(absent).exists(), "{absent}");
        }
        assert!(to.join("pg_wal").is_dir() && to.join("log").is_dir());
        assert_eq!(std::fs::read_link(to.join("pg_tblspc/16384")).unwrap(), Path::new("/new/place"));
        assert_eq!(std::fs::read_link(to.join("pg_tblspc/16385")).unwrap(), Path::new("/kept"));
        // A second run overwrites nothing.
        assert!(matches!(plan.execute(&to, &Silent, &AtomicBool::new(false)), Err(TreeError::Io(_))));
    }
}

#[test]
fn stopping_leaves_no_control_file() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    cluster(&from);
    let plan = Plan::new(&from, TreeOptions::default()).unwrap();
    assert!(matches!(plan.execute(&to, &Silent, &AtomicBool::new(true)), Err(TreeError::Stopped)));
    assert!(!to.join("global/pg_control").exists());
    // An error of one file is the error of the copy.
    std::fs::remove_file(from.join("base/1/log")).unwrap();
    let again = dir.path().join("again");
    assert!(matches!(plan.execute(&again, &Silent, &AtomicBool::new(false)), Err(TreeError::Io(_))));
    assert!(!again.join("global/pg_control").exists());
    // So is a file that lost its end.
    std::fs::write(from.join("base/1/log"), b"short").unwrap();
    let third = dir.path().join("third");
    assert!(matches!(plan.execute(&third, &Silent, &AtomicBool::new(false)), Err(TreeError::Short { .. })));
}

#[test]
fn sizes_know_hard_links_and_remove_does_not_follow() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    std::fs::create_dir_all(root.join("a")).unwrap();
    std::fs::write(root.join("a/one"), [0; 100]).unwrap();
    std::fs::write(root.join("shared"), [0; 10]).unwrap();
    std::fs::hard_link(root.join("shared"), dir.path().join("other")).unwrap();
    symlink(dir.path(), root.join("up")).unwrap();
    let sizes = tree::sizes(&root).unwrap();
    assert_eq!((sizes.total, sizes.deduplicated, sizes.files), (110, 100, 2));
    tree::remove(&root).unwrap();
    tree::remove(&root).unwrap();
    assert!(!root.exists() && dir.path().join("other").exists());
}
