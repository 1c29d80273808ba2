//! `backup`, `restore` and `delete` die half-way: nothing half-done passes for whole, and the same command again leads on.

use std::path::Path;

use tapster_protocol::testing::StopMode;

use crate::chaos::{Running, Stored, lab, name, wait_for};
use crate::lab::{Lab, Receiver};

/// A lab that is ready for backups, with some data in two hundred files.
fn ready(extra: &str) -> Option<(Lab, Receiver)> {
    let lab = lab(|builder| builder)?;
    lab.configure("tapster.conf", &lab.cluster.conninfo().to_conninfo_string(), extra);
    let receiver = lab.receive();
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    Some((lab, receiver))
}

fn files(dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() && !path.is_symlink() { files(&path) } else { 1 })
        .sum()
}

/// Identifier and status of every backup, newest first.
fn backups(lab: &Lab) -> Vec<(String, String)> {
    let list = lab.json(&["list-backups", "main"]);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let list = list["main"].as_array().cloned().unwrap_or_default();
    list.iter().map(|backup| (text(&backup["backup_id"]), text(&backup["status"]))).collect()
}

/// Starts a slow backup and returns when it has copied some files.
fn half_a_backup(lab: &Lab) -> Running {
    let base = Stored::new(lab).layout.base;
    let before = files(&base);
    let mut backup = Running::start(lab, &["backup", "main", "--bwlimit", "2000"]);
    wait_for("some files", || files(&base) > before + 20 || !backup.is_running());
    assert!(backup.is_running(), "{:?}", backup.end());
    backup
}

#[test]
fn a_killed_backup_is_in_nobodys_way() {
    let Some((lab, _receiver)) = ready("") else { return };
    half_a_backup(&lab).kill();
    let [(id, status)] = &backups(&lab)[..] else { panic!() };
    assert_eq!(status, "STARTED");
    let never = lab.destination("never");
    let refused = lab.run(&["restore", "main", id, never.to_str().unwrap()]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("backup status is not DONE"), "{refused:?}");
    assert_eq!(files(&never), 0);
    assert_eq!(lab.run(&["check", "main"]).code, 0);
    let meta = Stored::new(&lab).layout.meta;
    // What a writer leaves that died while it wrote a record; no process has so high a number.
    let leftover = meta.join(format!(".{id}-backup.info.tapster-2147483632-0123456789abcdef-0.tmp"));
    std::fs::write(&leftover, "half a record").unwrap();
    lab.ok(&["backup", "main", "--wait"]);
    assert!(!leftover.exists());
    assert_eq!(
        backups(&lab).iter().map(|(_, status)| status.as_str()).collect::<Vec<_>>(),
        ["DONE", "STARTED"]
    );
    lab.ok(&["delete", "main", id]);
    assert_eq!(backups(&lab).len(), 1);
    assert!(!Stored::new(&lab).layout.base.join(id).exists());
    Stored::new(&lab).hold_index();
}

/// As a crash and in order: the record says FAILED and why, and what is there next is a whole backup.
#[test]
fn a_backup_whose_server_goes_is_recorded_as_failed() {
    let Some((lab, receiver)) = ready("") else { return };
    // It waits for our receiver when it stops in order; that one is of no use here.
    drop(receiver);
    let receiver = Running::start(&lab, &["receive-wal", "main"]);
    for (count, mode) in [(1, StopMode::Immediate), (2, StopMode::Fast)] {
        wait_for("the receiver", || {
            lab.cluster.sql("SELECT 1 FROM pg_replication_slots WHERE active").len() == 1
        });
        let backup = half_a_backup(&lab);
        lab.cluster.stop(mode);
        let run = backup.end();
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stderr.starts_with("ERROR: Backup failed copying files.\nDETAILS: "), "{run:?}");
        assert!(run.stderr.trim_end().ends_with("is recorded as FAILED"), "{run:?}");
        let found = backups(&lab);
        assert!(found.len() == count && found.iter().all(|(_, status)| status == "FAILED"), "{found:?}");
        let shown = lab.ok(&["show-backup", "main", &found[0].0]);
        assert!(shown.contains("failure copying files ("), "{shown}");
        lab.cluster.start();
    }
    wait_for("the receiver", || {
        lab.cluster.sql("SELECT 1 FROM pg_replication_slots WHERE active").len() == 1
    });
    lab.ok(&["backup", "main", "--wait"]);
    assert_eq!(backups(&lab)[0].1, "DONE");
    assert_eq!(receiver.stop().code, 0);
}

/// L-C10: a restore that was interrupted does not look finished.
#[test]
fn l_c10_half_a_restore_cannot_be_started_and_half_a_deletion_not_restored() {
    let Some((lab, _receiver)) = ready("") else { return };
    lab.ok(&["backup", "main", "--wait"]);
    let id = backups(&lab)[0].0.clone();
    let data = lab.destination("half");
    let slowly = ["restore", "--bwlimit", "3000", "main", &id, data.to_str().unwrap()];
    let mut restore = Running::start(&lab, &slowly);
    wait_for("some files", || files(&data) > 50 || !restore.is_running());
    assert!(restore.is_running(), "{:?}", restore.end());
    restore.kill();
    assert!(files(&data) > 50 && !data.join("global/pg_control").exists());
    let again = lab.run(&["restore", "main", &id, data.to_str().unwrap()]);
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("is not empty: it holds an unfinished restore of backup "), "{again:?}");
    std::fs::remove_dir_all(&data).unwrap();
    let data = lab.destination("half");
    lab.ok(&["restore", "main", &id, data.to_str().unwrap()]);
    assert_eq!(lab.ask_restored(&data, "SELECT count(*) FROM pg_database"), "3");

    let layout = Stored::new(&lab).layout;
    let backup = layout.base.join(&id);
    let before = files(&backup);
    let mut delete = Running::start(&lab, &["delete", "main", &id]);
    wait_for("some files to go", || files(&backup) < before - 50 || !delete.is_running());
    delete.kill();
    assert!(files(&backup) < before);
    let never = lab.destination("never");
    let refused = lab.run(&["restore", "main", &id, never.to_str().unwrap()]);
    assert_eq!((refused.code, files(&never)), (1, 0), "{refused:?}");
    // Even with its minimum redundancy: nothing is left to be protected.
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    lab.configure("kept.conf", &conninfo, "minimum_redundancy = 1\n");
    let resumed = lab.run_with("kept.conf", &["delete", "main", &id]);
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert!(!backup.exists() && backups(&lab).is_empty());
    let left: Vec<_> =
        std::fs::read_dir(&layout.meta).unwrap().map(|entry| name(&entry.unwrap().path())).collect();
    assert!(!left.iter().any(|name| name.contains(&id)), "{left:?}");

    // All but the marker was gone.
    std::fs::write(layout.meta.join(format!("{id}-delete_this")), "delete").unwrap();
    lab.ok(&["backup", "main", "--wait"]);
    assert_eq!(backups(&lab).len(), 1);
    assert!(!layout.meta.join(format!("{id}-delete_this")).exists());
}

#[test]
fn a_killed_backup_of_archives_is_in_nobodys_way() {
    let Some((lab, _receiver)) = ready("backup_compression = lz4\n") else { return };
    let base = Stored::new(&lab).layout.base;
    let size = || -> u64 {
        let parts = std::fs::read_dir(&base).into_iter().flatten();
        parts
            .filter_map(|backup| backup.ok()?.path().join("data/base.tar.lz4").metadata().ok())
            .map(|m| m.len())
            .sum()
    };
    let mut backup = Running::start(&lab, &["backup", "main", "--bwlimit", "2000"]);
    wait_for("a part of the archive", || size() > 0 || !backup.is_running());
    backup.kill();
    let [(id, status)] = &backups(&lab)[..] else { panic!() };
    assert_eq!(status, "STARTED");
    assert!(!base.join(id).join("data/backup_manifest").exists());
    let never = lab.destination("never");
    assert_eq!(lab.run(&["restore", "main", id, never.to_str().unwrap()]).code, 1);
    assert_eq!(files(&never), 0);

    // The same for a stop request, and for a server that goes: FAILED, and why.
    let before = size();
    let backup = Running::start(&lab, &["backup", "main", "--bwlimit", "2000"]);
    wait_for("a part of the archive", || size() > before);
    let stopped = backup.stop();
    assert_ne!(stopped.code, 0, "{stopped:?}");
    assert_eq!(backups(&lab)[0].1, "FAILED");
    assert!(lab.ok(&["show-backup", "main", &backups(&lab)[0].0]).contains("failure copying files ("));

    lab.ok(&["backup", "main", "--wait"]);
    let found = backups(&lab);
    assert_eq!(
        found.iter().map(|(_, status)| status.as_str()).collect::<Vec<_>>(),
        ["DONE", "FAILED", "STARTED"]
    );
    for (id, _) in &found[1..] {
        lab.ok(&["delete", "main", id]);
    }
    let data = lab.destination("whole");
    lab.ok(&["restore", "main", "latest", data.to_str().unwrap()]);
    assert_eq!(lab.ask_restored(&data, "SELECT count(*) FROM pg_database"), "3");
}

/// Half a backup that shares files with a whole one takes nothing from it, however it ends and whichever goes first.
#[test]
fn a_killed_backup_that_shares_files_leaves_the_other_whole() {
    let Some((lab, _receiver)) = ready("reuse_backup = link\n") else { return };
    lab.ok(&["backup", "main", "--wait"]);
    let whole = backups(&lab)[0].0.clone();
    half_a_backup(&lab).kill();
    let half = backups(&lab)[0].0.clone();
    lab.ok(&["delete", "main", &half]);
    lab.ok(&["verify-backup", "main", &whole]);
    half_a_backup(&lab).kill();
    lab.ok(&["backup", "main", "--wait"]);
    lab.ok(&["delete", "main", &whole]);
    let (newest, half) = (backups(&lab)[0].clone(), backups(&lab)[1].clone());
    assert_eq!((newest.1.as_str(), half.1.as_str()), ("DONE", "STARTED"));
    lab.ok(&["delete", "main", &half.0]);
    let data = lab.destination("whole");
    lab.ok(&["restore", "main", &newest.0, data.to_str().unwrap()]);
    assert_eq!(lab.ask_restored(&data, "SELECT count(*) FROM pg_database"), "3");
}

/// A copy whose connection is cut is made again from the beginning, as archives and as files that are shared.
#[test]
fn a_cut_connection_is_one_attempt_less() {
    let Some((lab, _receiver)) = ready("") else { return };
    lab.ok(&["backup", "main", "--wait"]);
    for extra in ["backup_compression = zstd\n", "reuse_backup = link\nbasebackup_retry_times = 0\n"] {
        lab.configure("tapster.conf", &lab.cluster.conninfo().to_conninfo_string(), extra);
        let base = Stored::new(&lab).layout.base;
        let before = files(&base);
        let again = ["--retry-times", "1", "--retry-sleep", "0"];
        let mut backup =
            Running::start(&lab, &[&["backup", "main", "--wait", "--bwlimit", "8000"], &again[..]].concat());
        wait_for("some files", || files(&base) > before || !backup.is_running());
        let name = "application_name = 'barman_streaming_backup'";
        lab.cluster.sql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {name}"));
        let run = backup.end();
        assert_eq!(run.code, 0, "{run:?}");
        assert!(
            run.stderr.contains("Failure executing a backup using pg_basebackup (attempt 0): "),
            "{run:?}"
        );
        assert_eq!(backups(&lab)[0].1, "DONE");
        let data = lab.destination(&format!("again-{before}"));
        lab.ok(&["restore", "main", "latest", data.to_str().unwrap()]);
        assert!(data.join("global/pg_control").exists());
    }
}
