//! `keep`, `list-files` and `delete`, each next to Barman's on an equal catalog.

use crate::program::Run;
use crate::shelf::{Shelf, id, segment};

/// Same streams and exit code, and the same catalog afterwards.
fn alike(shelf: &Shelf, args: &[&str]) -> Option<Run> {
    let (ours, theirs) = shelf.both(args)?;
    assert_eq!(ours, theirs, "{args:?}");
    Some(ours)
}

#[test]
fn backups_are_kept_and_released_as_barman_does() {
    let shelf = Shelf::new("retention_policy = REDUNDANCY 1\n");
    let old = shelf.add(9, 3);
    let (mut full, mut child) = (shelf.add(5, 5), shelf.add(4, 6));
    child.parent_backup_id = Some(full.id);
    full.children_backup_ids = vec![child.id];
    shelf.save(&child);
    shelf.save(&full);
    let mut failed = shelf.add(2, 8);
    failed.status = tapster_catalog::BackupStatus::Failed;
    shelf.save(&failed);
    let (old, full, child, failed) = (id(&old), id(&full), id(&child), id(&failed));
    for args in [
        &["keep", "main", &full][..],
        &["keep", "--status", "main", &full],
        &["keep", "--target", "full", "main", &full],
        &["keep", "-s", "main", &full],
        &["-f", "json", "keep", "--status", "main", "latest-full"],
        &["keep", "--target", "standalone", "main", &full],
        &["list-backups", "main"],
        &["show-backup", "main", &full],
        &["keep", "--release", "--target", "full", "main", &full],
        &["keep", "-r", "main", &full],
        &["keep", "--target", "full", "main", &child],
        &["keep", "--target", "full", "main", &failed],
        &["keep", "--target", "full", "main", "last-failed"],
        &["keep", "--target", "full", "main", "20200101T000000"],
        &["keep", "--target", "full", "nope", &full],
        &["-f", "json", "keep", "--target", "full", "main", &child],
        &["keep", "--target", "standalone", "main", &old],
        &["list-backups", "main"],
    ] {
        if alike(&shelf, args).is_none() {
            return;
        }
    }
    let usage = shelf.both(&["keep", "--target", "foo", "main", "x"]).unwrap();
    assert_eq!(usage.0.stderr.lines().last(), usage.1.stderr.lines().last());
    // Ours only: what is half gone is not kept.
    std::fs::write(shelf.server_dir().join(format!("meta/{full}-delete_this")), "delete").unwrap();
    let run = shelf.run(&["keep", "--target", "full", "main", &full]);
    assert_eq!(
        run.stderr,
        format!("ERROR: Cannot add keep to backup {full} because its deletion has begun\n")
    );
    assert!(!shelf.server_dir().join(format!("meta/{full}-keep")).exists());
}

#[test]
fn files_are_listed_as_barman_does() {
    let shelf = Shelf::new("");
    let first = shelf.add(3, 5);
    let mut second = shelf.add(2, 8);
    second.mode = Some(tapster_catalog::BackupMode::RsyncConcurrent);
    second.tablespaces =
        vec![tapster_catalog::TablespaceInfo { name: "t".to_owned(), oid: 16386, location: "/srv/t".into() }];
    shelf.save(&second);
    let mut archived = shelf.add(1, 10);
    archived.compression = Some("gzip".to_owned());
    shelf.save(&archived);
    let base = |id: &str| shelf.server_dir().join("base").join(id);
    let space = base(&id(&second)).join("16386");
    std::fs::create_dir_all(space.join("PG_15_202209061/5")).unwrap();
    std::fs::write(space.join("PG_15_202209061/5/16395"), "x").unwrap();
    std::fs::create_dir(base(&id(&second)).join("data/pg_tblspc")).unwrap();
    std::os::unix::fs::symlink(&space, base(&id(&second)).join("data/pg_tblspc/16386")).unwrap();
    std::os::unix::fs::symlink("nowhere", base(&id(&second)).join("data/dangling")).unwrap();
    std::fs::remove_dir_all(base(&id(&archived)).join("data")).unwrap();
    std::fs::create_dir(base(&id(&archived)).join("data")).unwrap();
    for name in ["base.tar.gz", "16386.tar.gz", "backup_manifest"] {
        std::fs::write(base(&id(&archived)).join("data").join(name), "x").unwrap();
    }
    let names = [
        segment(4),
        segment(5),
        format!("{}.00000028.backup", segment(5)),
        "00000002.history".to_owned(),
        segment(6),
        segment(8),
        format!("{}.partial", segment(9)),
        segment(9),
        segment(10),
        segment(11),
    ];
    shelf.archive(&names);
    for backup in [id(&first), id(&second), id(&archived)] {
        for target in ["standalone", "data", "wal", "full"] {
            if alike(&shelf, &["list-files", "--target", target, "main", &backup]).is_none() {
                return;
            }
        }
        alike(&shelf, &["-f", "json", "list-files", "main", &backup, "--list-empty-directories"]);
    }
    alike(&shelf, &["-q", "list-files", "main", "latest"]);
    alike(&shelf, &["list-files", "main", "nope"]);
    // A name that is none: whoever copies what is listed must not miss a file.
    let index = shelf.wals().join("main-xlog.db");
    let text = std::fs::read_to_string(&index).unwrap().replace(&segment(11), "00000001000000000000001X");
    std::fs::write(index, text).unwrap();
    let (ours, theirs) = shelf.both(&["list-files", "--target", "wal", "main", "latest"]).unwrap();
    let theirs = (theirs.code, theirs.stderr.replace("BadXlogSegmentName:", ""));
    assert_eq!((ours.code, ours.stderr), theirs);
}

/// Without the time at which it was run.
fn timeless(run: &Run) -> (Vec<String>, Vec<String>, i32) {
    let line = |line: &str| {
        line.split(" (start time: ").next().unwrap().split(" LocalBackupInfo(").next().unwrap().to_owned()
    };
    (run.stdout.lines().map(line).collect(), run.stderr.lines().map(line).collect(), run.code)
}

fn alike_but_for_the_time(shelf: &Shelf, args: &[&str]) -> Option<()> {
    let (ours, theirs) = shelf.both(args)?;
    let ours_said = timeless(&ours);
    let theirs_said = timeless(&theirs);
    // Barman's dump of the record ends where our line does.
    let strip = |said: (Vec<String>, Vec<String>, i32)| {
        let stderr = said.1.into_iter().map(|line| line.trim_end_matches(')').to_owned()).collect::<Vec<_>>();
        (
            said.0,
            stderr
                .into_iter()
                .map(|line| {
                    if line.starts_with("ERROR: Cannot delete backup (main") {
                        "ERROR: Cannot delete backup (main".to_owned()
                    } else {
                        line
                    }
                })
                .collect::<Vec<_>>(),
            said.2,
        )
    };
    assert_eq!(strip(ours_said), strip(theirs_said), "{args:?}");
    Some(())
}

#[test]
fn backups_are_deleted_as_barman_does() {
    let shelf = Shelf::new("minimum_redundancy = 1\n");
    for (days, wal) in [(9, 3), (8, 5), (7, 7), (6, 9), (3, 11)] {
        shelf.add(days, wal);
    }
    let full = shelf.add(2, 13);
    let mut child = shelf.add(1, 14);
    child.parent_backup_id = Some(full.id);
    shelf.save(&child);
    let mut full = full;
    full.children_backup_ids = vec![child.id];
    shelf.save(&full);
    shelf.archive(&(1..=15).map(segment).collect::<Vec<_>>());
    shelf.archive(&["00000002.history".to_owned(), "000000020000000000000004".to_owned()]);
    let ids = shelf.ok(&["list-backups", "--minimal", "main"]);
    let ids: Vec<&str> = ids.lines().rev().collect();
    for args in [
        &["keep", "--target", "full", "main", ids[4]][..],
        &["delete", "main", ids[4]],
        &["delete", "main", ids[1]],
        &["delete", "main", "oldest"],
        &["delete", "main", "first"],
        &["keep", "--target", "standalone", "main", ids[3]],
        &["keep", "--release", "main", ids[4]],
        &["delete", "main", ids[4]],
        &["keep", "--release", "main", ids[3]],
        &["delete", "main", "latest-full"],
        &["delete", "main", ids[3]],
        &["delete", "main", "nope"],
    ] {
        if alike_but_for_the_time(&shelf, args).is_none() {
            return;
        }
    }
    assert_eq!(shelf.ok(&["list-backups", "--minimal", "main"]).trim_end(), ids[3]);
    shelf.configure("");
    alike_but_for_the_time(&shelf, &["delete", "main", ids[3]]);
}
