//! `keep`, `list-files` and `delete`, each next to Barman's on an equal catalog.

use tapster_catalog::BackupRecord;

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

/// What a script is told, on one line; compared with what Barman 3.19.1 tells.
fn scripts(shelf: &Shelf, names: &[&str], more: &str) -> String {
    let log = shelf.path("told").display().to_string();
    let line = "$BARMAN_PHASE $BARMAN_HOOK $BARMAN_RETRY $BARMAN_SEGMENT$BARMAN_BACKUP_ID $BARMAN_PREVIOUS_ID/$BARMAN_NEXT_ID \
                $BARMAN_STATUS$BARMAN_SIZE $BARMAN_TIMESTAMP$BARMAN_COMPRESSION";
    let write = format!("echo \"{line} ${{BARMAN_FILE##*main/}} ${{BARMAN_ERROR:+error}}\" >> {log}");
    let all = names.iter().map(|name| format!("{name} = {write}\n")).collect::<String>();
    format!("{all}{more}")
}

fn told(shelf: &Shelf) -> Vec<String> {
    let text = std::fs::read_to_string(shelf.path("told")).unwrap_or_default();
    let _ = std::fs::remove_file(shelf.path("told"));
    text.lines().map(|line| line.trim_end().to_owned()).collect()
}

const DELETE: [&str; 8] = [
    "pre_delete_script",
    "pre_delete_retry_script",
    "post_delete_retry_script",
    "post_delete_script",
    "pre_wal_delete_script",
    "pre_wal_delete_retry_script",
    "post_wal_delete_retry_script",
    "post_wal_delete_script",
];

#[test]
fn scripts_run_around_a_deletion_and_one_before_it_can_stop_it() {
    let shelf = Shelf::new("");
    let (first, second) = (id(&shelf.add(3, 2)), id(&shelf.add(2, 4)));
    shelf.archive(&[1, 2, 4].map(segment));
    let index = || std::fs::read_to_string(shelf.wals().join("main-xlog.db")).unwrap();
    let before = index();
    // The WAL stays, and its lines, and the deletion can be finished.
    shelf.configure(&scripts(&shelf, &["post_wal_delete_script"], "pre_wal_delete_retry_script = exit 63\n"));
    let run = shelf.run(&["delete", "main", &first]);
    assert!(
        run.code == 1 && run.stderr.contains("Abort 'pre_wal_delete_retry_script' retry hook script"),
        "{run:?}"
    );
    assert_eq!((index(), told(&shelf)), (before.clone(), vec![]));
    assert!(shelf.catalog().layout().wal(segment(1).parse().unwrap()).exists());
    std::fs::remove_file(shelf.server_dir().join(format!("meta/{first}-delete_this"))).unwrap();
    // Nothing at all has happened.
    shelf.configure(&scripts(&shelf, &[], "pre_delete_retry_script = exit 63\n"));
    let run = shelf.run(&["delete", "main", &first]);
    assert!(
        run.code == 1 && run.stderr.contains("Abort 'pre_delete_retry_script' retry hook script"),
        "{run:?}"
    );
    assert!(!shelf.server_dir().join(format!("meta/{first}-delete_this")).exists());
    // 62 goes on, and 63 afterwards means nothing.
    let more = "pre_delete_retry_script = exit 62\npost_delete_retry_script = exit 63\n";
    shelf.configure(&scripts(&shelf, &DELETE, more));
    let Some((ours, theirs)) = shelf.both(&["delete", "main", &first]) else { return };
    assert_eq!(timeless(&ours).0, timeless(&theirs).0);
    let mut told = told(&shelf);
    let half = told.len() / 2;
    let (theirs, ours) = told.split_at_mut(half);
    assert_eq!(ours.len(), 10, "{ours:?}");
    let expected = format!("pre delete_script 0 {first} /{second} DONE");
    assert_eq!(
        (ours[0].as_str(), ours[9].split(' ').take(2).collect::<Vec<_>>()),
        (expected.as_str(), vec!["post", "delete_script"])
    );
    // Barman asks about each file when its turn comes, we about all before the first goes.
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
}

#[test]
fn scripts_run_around_archiving_and_one_before_it_can_stop_it() {
    let shelf = Shelf::new("");
    let names = [
        "pre_archive_script",
        "pre_archive_retry_script",
        "post_archive_retry_script",
        "post_archive_script",
    ];
    let queue = |number: u32| {
        let path = shelf.server_dir().join("streaming").join(segment(number));
        std::fs::write(&path, "sixteen bytes..").unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_795_219_542_250))
            .unwrap();
        path
    };
    let archive = ["archive-wal", "--accept-invalid", "main"];
    shelf.configure(&scripts(&shelf, &names, ""));
    queue(1);
    queue(2);
    let waiting = queue(3);
    shelf.ok(&archive);
    let line = |phase: &str, hook: &str, retry: u32, number: u32, dir: &str, end: &str| {
        let name = segment(number);
        format!("{phase} {hook} {retry} {name} / 15 1795219542.25 {dir}/{name}{end}")
    };
    let around = |number, end: &str| {
        let stored = "wals/0000000100000000";
        [
            line("pre", "archive_script", 0, number, "streaming", ""),
            line("pre", "archive_retry_script", 1, number, "streaming", ""),
            line("post", "archive_retry_script", 1, number, stored, end),
            line("post", "archive_script", 0, number, stored, ""),
        ]
    };
    assert_eq!(told(&shelf), [around(1, ""), around(2, "")].concat());
    // The same again is an error to the retry script alone.
    queue(2);
    shelf.ok(&archive);
    assert_eq!(told(&shelf), around(2, " error"));
    // 63 before: it stays in the queue, and those behind it.
    let last = queue(4);
    shelf.configure(&scripts(&shelf, &names[3..], "pre_archive_retry_script = exit 63\n"));
    let run = shelf.run(&archive);
    assert!(
        run.code == 0 && run.stderr.contains("Abort 'pre_archive_retry_script' retry hook script"),
        "{run:?}"
    );
    assert!(waiting.exists() && last.exists());
    assert_eq!(told(&shelf), [line("post", "archive_script", 0, 3, "wals/0000000100000000", " error")]);
    let index = std::fs::read_to_string(shelf.wals().join("main-xlog.db")).unwrap();
    assert_eq!(index.lines().count(), 2, "{index}");
}

#[test]
fn policies_that_barman_does_not_have_are_enforced_and_explained() {
    let shelf = Shelf::new("retention_policy = REDUNDANCY 1\ntapster_retention_policy = KEEP 2 DAILY\n");
    let ids: Vec<String> = (1..=4).rev().map(|days| id(&shelf.add(days, 10 - days as u32))).collect();
    let mut failed = shelf.add(9, 1);
    failed.status = tapster_catalog::BackupStatus::Failed;
    shelf.save(&failed);
    shelf.archive(&(1..=9).map(segment).collect::<Vec<_>>());
    let explained = shelf.ok(&["list-backups", "--explain", "main"]);
    assert!(
        explained.contains("\tVALID: newest backup of the day ") && explained.contains(" - OBSOLETE\n"),
        "{explained}"
    );
    assert!(explained.ends_with("FAILED\n\t-: not a finished backup\n"), "{explained}");
    // Barman says that it does not know the key, and goes by its own.
    if let Some((_, theirs)) = shelf.both(&["list-backups", "main"]) {
        let warning =
            "WARNING: Invalid configuration option \"tapster_retention_policy\" in [main] section.\n";
        assert_eq!((theirs.stderr.as_str(), theirs.stdout.matches("OBSOLETE").count()), (warning, 3));
    }
    shelf.ok(&["cron"]);
    let left =
        || shelf.ok(&["list-backups", "--minimal", "main"]).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(left(), [ids[3].clone(), ids[2].clone(), id(&failed)]);

    // One that cannot be read deletes nothing; Barman's does not take its place.
    shelf.configure("retention_policy = REDUNDANCY 1\ntapster_retention_policy = KEEP DAILY\n");
    shelf.ok(&["cron"]);
    assert_eq!(left().len(), 3);
    assert!(shelf.run(&["check", "main"]).stdout.contains("retention policy settings: FAILED (see log)"));

    // A backup that failed longer ago than it may.
    let info = shelf.catalog().layout().record(&failed.id);
    let written = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 86400);
    std::fs::File::options().write(true).open(info).unwrap().set_modified(written).unwrap();
    shelf.configure("tapster_failed_backup_retention = 4 days\n");
    shelf.ok(&["cron"]);
    assert_eq!(left().len(), 3);
    shelf.configure("tapster_failed_backup_retention = 2 days\n");
    shelf.ok(&["cron"]);
    assert_eq!(left(), [ids[3].clone(), ids[2].clone()]);

    // Files that are not there may be on a disk that is not there: Barman leaves the record alone, and so do we.
    let away = shelf.server_dir().join("base").join(&ids[2]);
    std::fs::rename(&away, shelf.path("away")).unwrap();
    shelf.configure("retention_policy = REDUNDANCY 1\n");
    let run = shelf.run(&["cron"]);
    assert!(run.stderr.contains(&format!("WARNING: Backup '{}' is an orphan backup, ", ids[2])), "{run:?}");
    assert_eq!(left().len(), 2);
}

#[test]
fn wal_without_backups_goes_by_its_age() {
    let shelf = Shelf::new("tapster_wal_only_retention = 10 days\n");
    let index = shelf.wals().join("main-xlog.db");
    let names = [
        segment(1),
        "00000002.history".to_owned(),
        segment(2),
        format!("{}.partial", segment(3)),
        segment(4),
    ];
    shelf.archive(&names);
    let age = |hours: [u64; 5]| {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let lines = names
            .iter()
            .zip(hours)
            .map(|(name, hours)| format!("{name}\t3\t{}.5\tNone\tNone\n", now - hours * 3600));
        std::fs::write(&index, lines.collect::<String>()).unwrap();
    };
    let listed = || {
        let text = std::fs::read_to_string(&index).unwrap();
        text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // Where there is a backup, or what looks like one, it may need any of it.
    age([999, 999, 999, 999, 999]);
    let backup = shelf.add(20, 4);
    shelf.ok(&["cron"]);
    std::fs::remove_file(shelf.catalog().layout().record(&backup.id)).unwrap();
    shelf.ok(&["cron"]);
    assert_eq!(listed(), names);
    std::fs::remove_dir_all(shelf.catalog().layout().backup_dir(&backup.id)).unwrap();
    // Not for the sake of some minutes.
    age([240, 240, 20, 20, 1]);
    shelf.ok(&["cron"]);
    assert_eq!(listed(), names);
    age([300, 300, 241, 20, 1]);
    let said = shelf.ok(&["cron"]);
    assert!(said.contains("Enforcing WAL retention: removing 2 files of server main\n"), "{said}");
    assert_eq!(listed(), [1, 3, 4].map(|at| names[at].clone()));
    assert!(!shelf.catalog().layout().wal(names[0].parse().unwrap()).exists());
    // The newest tells where receiving goes on.
    age([999, 999, 999, 999, 999]);
    shelf.ok(&["cron"]);
    assert_eq!(listed(), [1, 4].map(|at| names[at].clone()));
}

/// A record of Barman before 3.13.2 lies in `base/`, which may be a disk that is not mounted just now.
#[test]
fn wal_stays_where_anything_says_that_there_were_backups() {
    let shelf = Shelf::new("");
    let label = format!("{}.00000028.backup", segment(2));
    let names = [segment(1), label.clone(), segment(2), segment(3)];
    shelf.archive(&names);
    let index = |listed: &[String]| {
        let lines = listed.iter().map(|name| format!("{name}\t3\t1700000000.5\tNone\tNone\n"));
        std::fs::write(shelf.wals().join("main-xlog.db"), lines.collect::<String>()).unwrap();
    };
    let without_label = [segment(1), segment(2), segment(3)];
    let dir = shelf.server_dir();
    let passive = "primary_ssh_command = /bin/false\n";
    let primary = |backups: &str| {
        format!(
            r#"{{"last_name": "", "last_position": 0, "backups": {{{backups}}}, "wals": [], "config":
            {{"backup_directory": "/b", "basebackups_directory": "/b/base", "wals_directory": "/b/wals"}}}}"#
        )
    };
    let one = r#""20261101T020000": {"status": "DONE"}"#;
    // A file, what it holds, more configuration, and what is said.
    let cases = [
        ("identity.json", "{}".to_owned(), "", "main/identity.json comes from one"),
        ("meta/20261101T020000-keep", "full".to_owned(), "", "main/meta/20261101T020000-keep comes from one"),
        ("meta/20261101T020000-backup_manifest", String::new(), "", "-backup_manifest comes from one"),
        ("meta/.20261101T020000-backup.info.tmp", String::new(), "", "-backup.info.tmp comes from one"),
        ("primary.info", primary(one), passive, "the primary node has some ("),
        ("primary.info", "{".to_owned(), passive, "the primary node has some ("),
    ];
    let retention = "tapster_wal_only_retention = 10 days\n";
    let stays = |why: &str| {
        let before = std::fs::read(shelf.wals().join("main-xlog.db")).unwrap();
        let run = shelf.run(&["cron"]);
        let said = run.stderr.lines().filter(|line| line.contains("old WAL")).collect::<Vec<_>>();
        let [line] = said[..] else { panic!("{run:?}") };
        assert!(
            line.starts_with("ERROR: Cannot remove old WAL of server main: no backup of it is found, but ")
        );
        assert!(line.contains(why) && line.contains("set tapster_wal_only = true"), "{why}: {line}");
        assert_eq!(std::fs::read(shelf.wals().join("main-xlog.db")).unwrap(), before, "{why}");
        assert!(names.iter().all(|name| shelf.catalog().layout().wal(name.parse().unwrap()).exists()));
    };
    index(&without_label);
    for (file, text, more, why) in &cases {
        shelf.configure(&format!("{retention}{more}"));
        std::fs::write(dir.join(file), text).unwrap();
        stays(why);
        std::fs::remove_file(dir.join(file)).unwrap();
    }
    shelf.configure(retention);
    index(&names);
    stays(&format!("the archive has the label of one, {label}: "));
    // Of two disks one may be missing; what is left on the other then looks like a server that has WAL alone.
    index(&without_label);
    if let Ok(other) = tempfile::tempdir_in("/dev/shm") {
        use std::os::unix::fs::MetadataExt as _;
        let device = |path: &std::path::Path| std::fs::metadata(path).unwrap().dev();
        if device(other.path()) != device(&dir) {
            shelf.configure(&format!("{retention}basebackups_directory = {}\n", other.path().display()));
            stays("are on different file systems, so that one may not be mounted");
        }
    }
    // Nothing of that, and what a file system has at its top: as before.
    let gone = |listed: &[String]| {
        index(listed);
        let said = shelf.ok(&["cron"]);
        assert!(said.contains("Enforcing WAL retention: removing "), "{said}");
        let left = std::fs::read_to_string(shelf.wals().join("main-xlog.db")).unwrap();
        assert!(left.starts_with(&segment(3)), "{left}");
    };
    shelf.configure(&format!("{retention}{passive}"));
    std::fs::write(dir.join("primary.info"), primary("")).unwrap();
    std::fs::create_dir(dir.join("base/lost+found")).unwrap();
    index(&without_label);
    // Its primary node does not answer, which is said.
    let run = shelf.run(&["cron"]);
    assert!(run.stdout.contains("Enforcing WAL retention: removing 2 files"), "{run:?}");
    // Whoever knows better says so; but what is there is there.
    shelf.configure(&format!("{retention}tapster_wal_only = true\n"));
    std::fs::write(dir.join("identity.json"), "{}").unwrap();
    gone(&names);
    index(&names);
    shelf.add(20, 2);
    shelf.ok(&["cron"]);
    assert_eq!(std::fs::read_to_string(shelf.wals().join("main-xlog.db")).unwrap().lines().count(), 4);
}

/// While one backup is deleted, which may take hours, an increment is taken on another that is obsolete: it is judged, too, before
/// anything goes with it.
#[test]
fn enforcement_judges_again_before_each_backup() {
    let shelf = Shelf::new("");
    let (oldest, old, newest) = (shelf.add(30, 1), shelf.add(20, 2), shelf.add(3, 3));
    let mut child = shelf.add(1, 4);
    child.parent_backup_id = Some(old.id);
    shelf.save(&child);
    let record = shelf.catalog().layout().record(&child.id);
    std::fs::rename(&record, shelf.path("later")).unwrap();
    shelf.configure(&format!(
        "tapster_retention_policy = KEEP 2 DAILY\npre_delete_script = mv {} {}\n",
        shelf.path("later").display(),
        record.display()
    ));
    shelf.ok(&["cron"]);
    let left = shelf.ok(&["list-backups", "--minimal", "main"]);
    assert_eq!(left, [&child, &newest, &old].map(|record| format!("{}\n", id(record))).concat());
    assert!(!shelf.catalog().layout().record(&oldest.id).exists());
}

/// Deleting an increment may take hours as well: what it built on is judged once more.
#[test]
fn enforcement_judges_again_before_each_step() {
    let shelf = Shelf::new("");
    let (root, mut old) = (shelf.add(30, 1), shelf.add(29, 2));
    shelf.add(3, 3);
    shelf.add(2, 4);
    let mut child = shelf.add(1, 5);
    for record in [&mut old, &mut child] {
        record.parent_backup_id = Some(root.id);
        shelf.save(record);
    }
    let record = shelf.catalog().layout().record(&child.id);
    std::fs::rename(&record, shelf.path("later")).unwrap();
    // The script of the first step.
    let policy = format!(
        "tapster_retention_policy = KEEP 2 DAILY\npost_delete_script = mv {} {}\n",
        shelf.path("later").display(),
        record.display()
    );
    shelf.configure(&policy);
    let run = shelf.run(&["cron"]);
    let left = |record: &BackupRecord| shelf.catalog().layout().record(&record.id).exists();
    assert!(!left(&old) && left(&root) && left(&child), "{run:?}");
}

/// Perhaps just what cannot be read says that more is to be kept.
#[test]
fn nothing_goes_by_what_is_left_of_a_configuration() {
    let shelf = Shelf::new("retention_policy = REDUNDANCY 1\n");
    let (first, second) = (id(&shelf.add(3, 2)), id(&shelf.add(2, 4)));
    let conf = std::fs::read_to_string(shelf.path("conf")).unwrap();
    let dir = shelf.path("conf.d");
    std::fs::create_dir(&dir).unwrap();
    // Not UTF-8 is readable; a file of more than is taken, or one of another user, is not. This one works for root as well.
    std::fs::write(
        shelf.path("conf"),
        conf.replace("[main]", &format!("configuration_files_directory = {}\n[main]", dir.display())),
    )
    .unwrap();
    let mem = dir.join("mem.conf");
    std::os::unix::fs::symlink("/proc/self/mem", &mem).unwrap();
    let run = shelf.run(&["cron"]);
    assert!(run.stderr.contains("nothing is deleted from server main by the retention policy"), "{run:?}");
    assert_eq!(shelf.ok(&["list-backups", "--minimal", "main"]), format!("{second}\n{first}\n"));
    // Nor by hand: perhaps it says how many are to stay.
    let run = shelf.run(&["delete", "main", &first]);
    assert!(run.code == 1 && run.stderr.contains("which may ask for a minimum redundancy"), "{run:?}");
    assert_eq!(shelf.ok(&["list-backups", "--minimal", "main"]), format!("{second}\n{first}\n"));
    std::fs::remove_file(mem).unwrap();
    shelf.ok(&["cron"]);
    assert_eq!(shelf.ok(&["list-backups", "--minimal", "main"]), format!("{second}\n"));
}

/// A backup whose deletion has begun cannot be used as one any more, and only the deletion goes on.
#[test]
fn half_a_deletion_is_no_backup_and_is_not_undone() {
    let shelf = Shelf::new("minimum_redundancy = 1\n");
    let (first, second) = (id(&shelf.add(3, 2)), id(&shelf.add(2, 4)));
    shelf.archive(&[2, 3, 4].map(segment));
    std::fs::write(shelf.server_dir().join(format!("meta/{first}-delete_this")), "delete").unwrap();
    std::fs::remove_file(shelf.server_dir().join("base").join(&first).join("data/PG_VERSION")).unwrap();
    let listed = shelf.ok(&["list-backups", "main"]);
    assert!(listed.ends_with(&format!("main {first} - F - FAILED - its deletion has begun\n")), "{listed}");
    assert_eq!(shelf.run(&["keep", "--target", "full", "main", &first]).code, 1);
    let destination = shelf.path("restored").display().to_string();
    assert_eq!(shelf.run(&["restore", "main", &first, &destination]).code, 1);
    // It is no redundancy, so the other one stays; and itself may go, whatever the minimum.
    let refused = shelf.run(&["delete", "main", &second]);
    assert!(refused.stderr.contains("current redundancy = 1"), "{refused:?}");
    shelf.ok(&["delete", "main", &first]);
    assert_eq!(shelf.ok(&["list-backups", "--minimal", "main"]), format!("{second}\n"));
    assert!(!shelf.server_dir().join(format!("meta/{first}-delete_this")).exists());
}

#[test]
fn l_d7_what_is_no_policy_deletes_nothing() {
    for extra in [
        "retention_policy = REDUNDANCY NaN\n",
        "retention_policy = REDUNDANCY 1.5\n",
        "retention_policy = RECOVERY WINDOW OF 13am DAYS\n",
        "retention_policy = KEEP 1 DAILY\n",
        "tapster_retention_policy = KEEP 1 DAILY 13am WEEKLY\n",
        "tapster_failed_backup_retention = NaN DAYS\n",
        "tapster_failed_backup_retention = -1 DAYS\n",
        "tapster_wal_only_retention = 13am\n",
    ] {
        let shelf = Shelf::new(extra);
        if extra.contains("wal_only") {
            shelf.archive(&[1, 2].map(segment));
        } else {
            let mut failed = shelf.add(9, 1);
            failed.status = tapster_catalog::BackupStatus::Failed;
            shelf.save(&failed);
            shelf.add(8, 2);
            shelf.add(7, 3);
        }
        let index = std::fs::read(shelf.wals().join("main-xlog.db")).unwrap();
        let before = shelf.ok(&["list-backups", "--minimal", "main"]);
        shelf.run(&["cron"]);
        assert_eq!(shelf.ok(&["list-backups", "--minimal", "main"]), before, "{extra}");
        assert_eq!(std::fs::read(shelf.wals().join("main-xlog.db")).unwrap(), index, "{extra}");
    }
}

#[test]
fn l_d10_an_archive_is_empty_only_with_nothing_in_it() {
    let shelf = Shelf::new("");
    shelf.ok(&["check-wal-archive", "main"]);
    shelf.archive(&["00000001.history".to_owned()]);
    assert_eq!(shelf.run(&["check-wal-archive", "main"]).code, 1);
    // What lies there unlisted is found when the index is made anew, also where that was lost.
    let shelf = Shelf::new("");
    shelf.archive(&[segment(1)]);
    std::fs::remove_file(shelf.wals().join("main-xlog.db")).unwrap();
    assert_eq!(shelf.run(&["check-wal-archive", "main"]).code, 1);
}

/// Records and indexes of older versions, foreign ones, and what an editor or a full disk makes of them.
#[test]
fn bad_catalogs_are_read_as_far_as_they_can_be() {
    let shelf = Shelf::new("retention_policy = REDUNDANCY 1\n");
    let (old, mid, new) = (shelf.add(9, 2), shelf.add(8, 4), shelf.add(7, 6));
    let layout = shelf.catalog().layout().clone();
    // backup_version 1, its record in the old place, and an annotation of those times.
    let text = std::fs::read_to_string(layout.record(&old.id)).unwrap();
    std::fs::write(layout.old_record(&old.id), text).unwrap();
    std::fs::remove_file(layout.record(&old.id)).unwrap();
    std::fs::rename(layout.backup_dir(&old.id).join("data"), layout.backup_dir(&old.id).join("pgdata"))
        .unwrap();
    std::fs::create_dir(layout.backup_dir(&old.id).join("annotations")).unwrap();
    std::fs::write(layout.backup_dir(&old.id).join("annotations/keep"), "standalone").unwrap();
    // An index of three, four and five columns.
    let index = [
        "000000010000000000000002\t3\t1795219542.5",
        "000000010000000000000003 3 1795219542.5 None",
        "000000010000000000000004\t3\t1795219542.5\tNone\tNone",
        "000000010000000000000006\t3\t1795219542.5\tNone\tNone\n",
    ];
    std::fs::write(shelf.wals().join("main-xlog.db"), index.join("\n")).unwrap();
    for args in [
        &["list-backups", "main"][..],
        &["show-backup", "main", "oldest"],
        &["list-files", "--target", "full", "main", "oldest"],
        &["keep", "-s", "main", "oldest"],
    ] {
        // Barman copies the old annotation to its new place when it looks at it.
        let Some((ours, theirs)) = shelf.both_said(args) else { break };
        assert_eq!(ours, theirs, "{args:?}");
    }
    // A line that is none, one that is cut, and binary: the others count.
    let mut bytes = index.join("\n").into_bytes();
    bytes.extend(b"\xFF\xFE\x00\nmain-xlog.db\t1\n000000010000000000000007\t3\t17952");
    std::fs::write(shelf.wals().join("main-xlog.db"), &bytes).unwrap();
    let list = shelf.ok(&["list-backups", "main"]);
    assert_eq!(list.matches("WAL Size: 3 B").count(), 1, "{list}");
    // Half a record, a foreign one and an empty one: the others are listed, and no WAL goes.
    let info = layout.record(&mid.id);
    let text = std::fs::read_to_string(&info).unwrap();
    for broken in [
        &text[..text.len() / 2],
        "begin_wal=main\nstatus=DONE\n",
        "status=DONE\nnot a line\n",
        "shiny=1\n",
        "",
    ] {
        std::fs::write(&info, broken).unwrap();
        let run = shelf.run(&["list-backups", "main"]);
        assert!(run.stdout.contains(&id(&new)) && run.stdout.contains(&id(&old)), "{broken}: {run:?}");
        shelf.run(&["cron"]);
        assert_eq!(std::fs::read(shelf.wals().join("main-xlog.db")).unwrap(), bytes, "{broken}");
    }
}

/// What two backups share by hard links is the second one's alone when the first is gone.
#[test]
fn the_next_backup_is_measured_again_as_barman_does() {
    let shelf = Shelf::new("");
    let mut rsync = [shelf.add(3, 2), shelf.add(2, 4)];
    for record in &mut rsync {
        record.mode = Some(tapster_catalog::BackupMode::RsyncConcurrent);
        shelf.save(record);
    }
    let file = |at: usize| shelf.server_dir().join("base").join(id(&rsync[at])).join("data/base/1/1259");
    std::fs::write(file(0), "shared").unwrap();
    std::fs::remove_file(file(1)).unwrap();
    std::fs::hard_link(file(0), file(1)).unwrap();
    shelf.archive(&[2, 3, 4].map(segment));
    if alike_but_for_the_time(&shelf, &["delete", "main", "oldest"]).is_none() {
        return;
    }
    let record = shelf.catalog().load(&rsync[1].id).unwrap();
    assert_eq!((record.size, record.deduplicated_size), (Some(9), Some(9)));
}
