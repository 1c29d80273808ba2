//! Cuts after every operation of the writers in `durable`, and failing operations.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tapster_catalog::durable::testing::{Operation, RecordingDisk};
use tapster_catalog::durable::{self, Clobber, DurableError, DurableFile, OpenMode, Publish, RealDisk};
use tapster_catalog::{
    BackupId, BackupRecord, BackupStatus, Catalog, Identity, KeepTarget, ServerLayout, ServerName,
};
use time::UtcOffset;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn crashes(disk: &RecordingDisk, mut check: impl FnMut(&Path, &[String])) -> usize {
    let mut count = 0;
    disk.for_each_crash(|crash| {
        let after = tempfile::tempdir()?;
        crash.materialise(after.path())?;
        let result =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(after.path(), &crash.marks)));
        assert!(result.is_ok(), "{crash}");
        count += 1;
        Ok(())
    })
    .unwrap();
    count
}

#[test]
fn the_recorder_finds_what_is_not_durable() {
    let root = tempfile::tempdir().unwrap();
    let disk = RecordingDisk::new(root.path()).unwrap();
    let mut file = DurableFile::open(&disk, &root.path().join("a"), OpenMode::CreateNew, None).unwrap();
    file.write_all(b"0123456789").unwrap();
    drop(file);
    disk.mark("written");
    let mut seen = BTreeSet::new();
    crashes(&disk, |after, marks| {
        if !marks.is_empty() {
            seen.insert(std::fs::read(after.join("a")).ok());
        }
    });
    let expected =
        [None, Some(vec![]), Some(vec![0; 10]), Some(b"01234".to_vec()), Some(b"0123456789".to_vec())];
    assert_eq!(seen, BTreeSet::from(expected));
}

#[test]
fn an_unsynced_directory_may_forget() {
    let root = tempfile::tempdir().unwrap();
    let disk = RecordingDisk::new(root.path()).unwrap();
    let mut file = Publish::create(&disk, &root.path().join("a"), None).unwrap();
    file.write_all(b"x").unwrap();
    file.publish_unsynced(Clobber::Refuse).unwrap();
    disk.mark("renamed");
    let mut lost = false;
    crashes(&disk, |after, marks| lost |= !marks.is_empty() && !after.join("a").exists());
    assert!(lost);
    durable::sync_dir(&disk, root.path()).unwrap();
    disk.mark("synced");
    crashes(&disk, |after, marks| {
        assert!(marks.len() < 2 || std::fs::read(after.join("a")).unwrap() == b"x")
    });
}

#[test]
fn records_survive_every_cut() {
    let root = tempfile::tempdir().unwrap();
    let disk = RecordingDisk::new(root.path()).unwrap();
    let layout = |home: &Path| ServerLayout::standard(home, ServerName::new("main").unwrap());
    let catalog = Catalog::with_disk(layout(root.path()), UtcOffset::UTC, Arc::new(disk.clone()));
    let id: BackupId = "20261121T000542".parse().unwrap();
    let mut record = BackupRecord::new(id);
    let states = [BackupStatus::Empty, BackupStatus::Started, BackupStatus::Done];
    for status in states {
        record.status = status;
        catalog.save(&record).unwrap();
        disk.mark(status.as_str());
    }
    Identity::new("1", "15").save_if_absent(&disk, &root.path().join("main/identity.json")).unwrap();
    disk.mark("identity");
    catalog.set_keep_target(&id, KeepTarget::Full).unwrap();
    disk.mark("keep");
    catalog.release_keep(&id).unwrap();
    disk.mark("released");

    let count = crashes(&disk, |after, marks| {
        let catalog = Catalog::open(layout(after), UtcOffset::UTC);
        let found = catalog.backups().unwrap();
        let has = |mark: &str| marks.iter().any(|m| m == mark);
        let acknowledged = states.iter().rposition(|status| has(status.as_str()));
        match found.as_slice() {
            [] => assert_eq!(acknowledged, None),
            [(found, Ok(record))] => {
                assert_eq!(*found, id);
                let now = states.iter().position(|status| *status == record.status).unwrap();
                assert!(acknowledged.is_none_or(|least| now >= least), "{:?} came back", record.status);
            }
            other => panic!("{other:?}"),
        }
        let identity = Identity::load(&after.join("main/identity.json")).unwrap();
        assert!(identity.is_some() || !has("identity"));
        let keep = catalog.keep_target(&id).unwrap();
        assert!(keep == Some(KeepTarget::Full) || !has("keep") || catalog_may_have_released(marks));
        assert!(keep.is_none() || !has("released"));
        // Recovery removes what the crash left, and only that.
        catalog.remove_stale().unwrap();
        if let Ok(entries) = std::fs::read_dir(&catalog.layout().meta) {
            for entry in entries {
                let name = entry.unwrap().file_name();
                assert!(!name.to_str().unwrap().starts_with('.'), "{name:?}");
            }
        }
        // And the next write works.
        catalog.save(&BackupRecord::new(id)).unwrap();
    });
    assert!(count > 30, "{count} states");
}

/// Once the annotation was durable, its removal may be in flight.
fn catalog_may_have_released(marks: &[String]) -> bool {
    marks.last().is_some_and(|mark| mark == "keep" || mark == "released")
}

#[test]
fn appended_lines_survive_every_cut() {
    let root = tempfile::tempdir().unwrap();
    let disk = RecordingDisk::new(root.path()).unwrap();
    let whole = |line: &[u8]| line.len() == 6;
    for n in 0..4 {
        durable::append_line(&disk, &root.path().join("log"), format!("line {n}\n").as_bytes(), &whole)
            .unwrap();
        disk.mark(format!("line {n}"));
    }
    crashes(&disk, |after, marks| {
        let path = after.join("log");
        durable::append_line(&RealDisk, &path, b"line 9\n", &whole).unwrap();
        let text = std::fs::read(&path).unwrap();
        let lines: Vec<&[u8]> = text.strip_suffix(b"\n").unwrap().split(|b| *b == b'\n').collect();
        for mark in marks {
            assert!(lines.contains(&mark.as_bytes()), "{mark}");
        }
        assert_eq!(lines.last().unwrap(), b"line 9");
        // A tail of zeros of the right length looks whole to this test's rule; an index knows better.
        assert!(lines.iter().all(|line| line.len() == 6), "{text:?}");
    });
}

/// L-A1, L-A35: whatever step fails, the old content stays and the new one is not there in part.
#[test]
fn every_failing_step_leaves_the_old_file() {
    for errno in [EIO, ENOSPC] {
        let mut step = 0;
        loop {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("a");
            std::fs::write(&path, "old").unwrap();
            let disk = RecordingDisk::new(root.path()).unwrap();
            disk.fail_at(step, errno);
            let result = durable::replace(&disk, &path, b"brand new");
            let now = std::fs::read(&path).unwrap();
            let Err(error) = result else {
                assert_eq!(now, b"brand new");
                break;
            };
            let DurableError::Io { step: failed, .. } = &error else { panic!("{error}") };
            let renamed = *failed == durable::Step::SyncDir;
            assert_eq!(now, if renamed { &b"brand new"[..] } else { b"old" }, "{error}");
            assert_eq!(root.path().read_dir().unwrap().count(), 1, "no temporary file stays");
            step += 1;
        }
        assert!(step >= 5, "{step} steps");
    }
}

#[test]
fn a_failed_sync_poisons_the_writer() {
    let root = tempfile::tempdir().unwrap();
    let disk = RecordingDisk::new(root.path()).unwrap();
    let mut file = DurableFile::open(&disk, &root.path().join("a"), OpenMode::CreateNew, None).unwrap();
    file.write_all(b"x").unwrap();
    disk.fail_at(disk.calls(), EIO);
    assert!(matches!(file.sync(), Err(DurableError::Io { .. })));
    // The kernel would say yes now; that would be a lie.
    assert!(matches!(file.sync(), Err(DurableError::Poisoned { .. })));
    assert!(matches!(file.write_all(b"y"), Err(DurableError::Poisoned { .. })));
    let syncs = disk.operations().iter().filter(|op| matches!(op, Operation::Sync { .. })).count();
    assert_eq!(syncs, 0);
}

#[test]
fn one_name_never_has_two_contents() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    durable::write_new(&RealDisk, &path, b"first", Some(0o640)).unwrap();
    let again = durable::write_new(&RealDisk, &path, b"second", None);
    assert!(matches!(again, Err(DurableError::Exists { .. })), "{again:?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"first");
    let other = root.path().join("b");
    durable::write_new(&RealDisk, &other, b"b", None).unwrap();
    assert!(matches!(
        durable::rename(&RealDisk, &other, &path, Clobber::Refuse),
        Err(DurableError::Exists { .. })
    ));
    assert_eq!(std::fs::read(&path).unwrap(), b"first");
    durable::replace(&RealDisk, &path, b"third").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o640, "a replaced file keeps its mode");
}

#[test]
fn trees_go_without_following_links() {
    let root = tempfile::tempdir().unwrap();
    let outside = root.path().join("outside");
    durable::create_dir_all(&RealDisk, &outside, Some(0o700)).unwrap();
    std::fs::write(outside.join("precious"), "x").unwrap();
    let tree = root.path().join("base/a/b/c");
    durable::create_dir_all(&RealDisk, &tree, None).unwrap();
    std::fs::write(tree.join("file"), "y").unwrap();
    std::os::unix::fs::symlink(&outside, tree.join("16386")).unwrap();
    durable::sync_tree(&RealDisk, root.path()).unwrap();
    assert!(durable::remove_tree(&RealDisk, &root.path().join("base")).unwrap());
    assert!(!root.path().join("base").exists());
    assert!(outside.join("precious").exists());
    assert!(!durable::remove_tree(&RealDisk, &root.path().join("base")).unwrap());
}

#[test]
fn a_rename_across_directories_never_loses_the_file() {
    let root = tempfile::tempdir().unwrap();
    for dir in ["incoming", "wals"] {
        std::fs::create_dir(root.path().join(dir)).unwrap();
    }
    std::fs::write(root.path().join("incoming/a"), "wal").unwrap();
    let disk = RecordingDisk::new(root.path()).unwrap();
    durable::rename(&disk, &root.path().join("incoming/a"), &root.path().join("wals/a"), Clobber::Refuse)
        .unwrap();
    disk.mark("moved");
    crashes(&disk, |after, marks| {
        let (old, new) = (after.join("incoming/a").exists(), after.join("wals/a").exists());
        assert!(old || new);
        assert!(marks.is_empty() || (new && !old));
    });
    let io: io::Error = DurableError::Exists { path: "a".into() }.into();
    assert_eq!(io.kind(), io::ErrorKind::AlreadyExists);
}
