//! `cron`, `check-backup` and `lock-directory-cleanup`.

use std::time::{Duration, Instant};

use crate::lab::Lab;

/// Ends the receiver that `cron` started, also when the test fails.
struct Ends<'l>(&'l Lab);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.run(&["terminate-process", "main", "receive-wal"]);
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < patience, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn backups(lab: &Lab) -> Vec<String> {
    lab.ok(&["list-backups", "--minimal", "main"]).lines().map(str::to_owned).collect()
}

#[test]
fn a_round_starts_what_does_not_run_and_enforces_the_policy() {
    let Some(lab) = Lab::new() else { return };
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    lab.configure("tapster.conf", &conninfo, "retention_policy = REDUNDANCY 1\ncreate_slot = auto\n");
    let ends = Ends(&lab);
    assert_eq!(
        lab.ok(&["cron"]),
        "Starting WAL archiving for server main\nStarting streaming archiver for server main\n"
    );
    let running = || lab.ok(&["list-processes", "main"]).ends_with(" receive-wal\n");
    eventually("the receiver runs", running);
    assert_eq!(lab.ok(&["cron"]), "Starting WAL archiving for server main\n");
    if let Some(theirs) = lab.barman(&["cron"]) {
        assert_eq!(theirs.stdout, "Starting WAL archiving for server main\n", "{theirs:?}");
    }
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    lab.ok(&["backup", "--wait", "main"]);
    let [kept] = backups(&lab).try_into().unwrap();
    std::fs::write(lab.server_dir().join(format!("meta/{kept}-keep")), "standalone").unwrap();
    lab.ok(&["backup", "--wait", "main"]);
    lab.ok(&["backup", "main"]);
    let ids = backups(&lab);
    assert_eq!(ids.len(), 3);

    // The newer one may have to wait for its WAL; once it is complete the older one is obsolete.
    lab.cluster.sql("SELECT pg_switch_wal()");
    eventually("the policy is enforced", || {
        lab.ok(&["cron"]);
        backups(&lab).len() == 2
    });
    assert_eq!(backups(&lab), [ids[0].clone(), ids[2].clone()]);
    // WAL goes with it although an older backup is kept, which needs its own alone.
    let wal = |id: &str, key: &str| {
        let shown = lab.json(&["show-backup", "main", id]);
        shown["main"]["base_backup_information"][key].as_str().unwrap_or_default().to_owned()
    };
    let (begin, end, newest) =
        (wal(&ids[2], "begin_wal"), wal(&ids[2], "end_wal"), wal(&ids[0], "begin_wal"));
    assert!(begin.len() == 24 && begin <= end && end < newest, "{begin} {end} {newest}");
    let index = std::fs::read_to_string(lab.server_dir().join("wals/main-xlog.db")).unwrap();
    let listed: Vec<&str> = index.lines().filter_map(|line| line.split('\t').next()).collect();
    let needed = |name: &&str| **name >= *newest || (**name >= *begin && **name <= *end);
    assert!(listed.contains(&&*end) && listed.iter().all(needed), "{begin} {end} {newest}: {listed:?}");
    assert!(!lab.ok(&["list-backups", "main"]).contains("WAITING_FOR_WALS"));
    assert!(lab.ok(&["-d", "check-backup", "main", "latest"]).is_empty());

    // Held locks stay, the others go.
    lab.ok(&["lock-directory-cleanup"]);
    let held = |name: &str| lab.path("home").join(name).exists();
    assert!(held(".main-receive-wal.lock"));
    eventually("unused locks go", || {
        lab.ok(&["lock-directory-cleanup"]);
        !held(".main-xlogdb.lock") && !held(".main-cron.lock")
    });

    lab.configure("tapster.conf", &conninfo, "archiver = on\nstreaming_archiver = off\n");
    lab.ok(&["cron"]);
    assert!(!running());
    drop(ends);
}

#[test]
fn a_deletion_that_was_interrupted_is_finished() {
    let Some(lab) = Lab::new() else { return };
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    lab.configure("tapster.conf", &conninfo, "retention_policy = REDUNDANCY 3\n");
    let receiver = lab.receive();
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    lab.ok(&["backup", "main"]);
    let [id] = backups(&lab).try_into().unwrap();
    std::fs::write(lab.server_dir().join(format!("meta/{id}-delete_this")), "delete").unwrap();
    // What is left of it is no backup, whatever its record says.
    let listed = lab.ok(&["list-backups", "main"]);
    assert_eq!(listed, format!("main {id} - F - FAILED - its deletion has begun\n"));
    assert_eq!(lab.json(&["list-backups", "main"])["main"][0]["status"], "FAILED");
    let shown = lab.run(&["show-backup", "main", &id]);
    assert!(shown.code == 0 && shown.stderr.starts_with("WARNING: the deletion of backup "), "{shown:?}");
    // A check of the backup, which the round began as well, may hold it: then it goes in a later round.
    let enforced = format!("Enforcing retention policy: removing backup {id} for server main\n");
    eventually("a round that removes the backup", || {
        assert!(lab.ok(&["cron"]).contains(&enforced));
        backups(&lab).is_empty()
    });
    drop(receiver);
}

#[test]
fn a_failed_backup_is_not_checked() {
    let Some(lab) = Lab::new() else { return };
    lab.cluster.stop(tapster_protocol::testing::StopMode::Fast);
    lab.run(&["backup", "main"]);
    let theirs = lab.barman(&["check-backup", "main", "nope"]);
    let run = lab.run(&["check-backup", "main", "nope"]);
    assert_eq!(run.code, 1);
    if let Some(theirs) = theirs {
        assert_eq!(run, theirs);
    }
}
