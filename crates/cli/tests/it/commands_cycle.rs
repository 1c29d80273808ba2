//! The main job from the command line: receive, back up, have an accident, restore to the moment before it, ask.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::lab::{Lab, keys};

/// What Barman 3.19.1 printed for `-f json backup` and `-f json show-backup` of such a server.
const BACKUP: &str = "_INFO backup_id backup_label begin_offset begin_time begin_wal begin_xlog children_backup_ids \
    cluster_size compression config_file copy_stats copy_stats.copy_time copy_stats.total_time data_checksums \
    deduplicated_size encryption end_offset end_time end_wal end_xlog error hba_file ident_file included_files mode \
    parent_backup_id pgdata server_name size status summarize_wal systemid tablespaces timeline version xlog_segment_size";

#[test]
fn from_the_first_check_to_the_restored_server() {
    let Some(lab) = Lab::new() else { return };
    assert_eq!(lab.ok(&["list-servers"]), "main - the lab\n");
    let receiver = lab.receive();
    let switched = lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    assert!(switched.contains(" has been closed on server 'main'\nWaiting for the WAL file 0"), "{switched}");
    let check = lab.run(&["check", "main"]);
    assert_eq!(check.code, 0, "{check:?}");
    assert!(check.stdout.starts_with("Server main:\n\tPostgreSQL: OK\n"), "{check:?}");
    assert!(
        lab.ok(&["check", "--nagios", "all"])
            .starts_with("BARMAN OK - Ready to serve the Espresso backup for main|")
    );

    lab.cluster.sql("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) g");
    let backup = lab.ok(&["backup", "main", "--wait", "--name", "morning"]);
    for line in [
        "Starting backup using postgres method for server main in ",
        "Backup start at LSN: ",
        "Copy done (time: ",
        "This is the first backup for server main\n",
        "Backup completed (start time: ",
        "Waiting for the WAL file ",
    ] {
        assert!(backup.contains(line), "{line}: {backup}");
    }
    lab.cluster.sql("INSERT INTO t SELECT g FROM generate_series(101, 200) g");
    let before = lab.cluster.value("SELECT now()");
    lab.cluster.sql("SELECT pg_sleep(0.2)");
    lab.cluster.sql("DROP TABLE t");
    lab.ok(&["switch-wal", "--archive", "main"]);
    let second = lab.json(&["backup", "main", "--wait"]);
    assert_eq!(keys(&second), BACKUP.split_whitespace().collect::<Vec<_>>());
    assert_eq!(second["status"], "DONE");

    let list = lab.ok(&["list-backups", "main"]);
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(list.lines().nth(1).unwrap().contains(" 'morning' - F - "), "{list}");
    let ids = lab.ok(&["list-backups", "main", "--minimal"]);
    assert_eq!(ids.lines().next(), second["backup_id"].as_str());
    assert_eq!(lab.json(&["show-backup", "main", "latest"])["main"]["backup_id"], second["backup_id"]);

    let wal = second["end_wal"].as_str().unwrap();
    assert_eq!(lab.ok(&["get-wal", "--peek", "1", "main", wal]), format!("{wal}\n"));
    let out = lab.path("wal-out");
    std::fs::create_dir(&out).unwrap();
    lab.ok(&["get-wal", "-o", out.to_str().unwrap(), "main", wal]);
    assert_eq!(out.join(wal).metadata().unwrap().len(), 16 << 20);
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1, "nothing but the file is left");

    let data = lab.destination("restored");
    let target = ["restore", "--target-time", &before, "--target-action", "promote"];
    let place = ["main", "auto", data.to_str().unwrap()];
    let plan = lab.ok(&[&target[..], &["--dry-run"], &place].concat());
    assert!(plan.starts_with("Would restore backup ") && plan.ends_with("Nothing was written.\n"), "{plan}");
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
    let restored = lab.ok(&[&target[..], &place].concat());
    assert!(restored.contains("Doing PITR. Recovery target time: '"), "{restored}");
    assert!(restored.ends_with("Your PostgreSQL server has been successfully prepared for recovery!\n"));
    assert_eq!(lab.ask_restored(&data, "SELECT count(*) || '|' || max(id) FROM t"), "200|200");

    let latest = lab.destination("latest");
    let report = lab.json(&["restore", "main", "latest", latest.to_str().unwrap()]);
    for key in
        ["changes", "changes_count", "missing_files", "recovery_elapsed_time_seconds", "warnings_count"]
    {
        assert!(report.get(key).is_some(), "{key}: {report}");
    }
    assert_eq!(lab.ask_restored(&latest, "SELECT to_regclass('t') IS NULL"), "t");

    let stop = lab.ok(&["receive-wal", "--stop", "main"]);
    assert!(stop.starts_with("Stopped process receive-wal("), "{stop}");
    drop(receiver);
    assert!(lab.ok(&["delete", "--dry-run", "main", "morning"]).ends_with("Nothing was deleted.\n"));
    let deleted = lab.ok(&["delete", "main", "morning"]);
    assert!(
        deleted.contains("Deleted backup ") && deleted.contains("Delete associated WAL segments:\n\t0"),
        "{deleted}"
    );
    assert_eq!(lab.json(&["list-backups", "main"])["main"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_backup_whose_last_wal_does_not_come_in_time_is_there_and_is_told() {
    let Some(lab) = Lab::new() else { return };
    let receiver = lab.receive();
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    receiver.freeze();
    let run = lab.run(&["-f", "json", "backup", "--wait", "--wait-timeout", "1", "main"]);
    assert_eq!(run.code, 1, "{run:?}");
    let told: Value = serde_json::from_str(&run.stdout).unwrap();
    let mut expected: Vec<_> = BACKUP.split_whitespace().chain(["_ERROR", "_WARNING"]).collect();
    expected.sort_unstable();
    assert_eq!(keys(&told), expected);
    let error =
        format!("The WAL file {} has not been received in 1 seconds", told["end_wal"].as_str().unwrap());
    assert_eq!((&told["_ERROR"], &told["status"]), (&serde_json::json!([error]), &"WAITING_FOR_WALS".into()));
    let ids = lab.ok(&["list-backups", "main", "--minimal"]);
    assert_eq!(Some(ids.trim_end()), told["backup_id"].as_str());
    drop(receiver);
}

/// As in Barman: Ctrl-C ends the waiting, not the backup, and the next server has its turn.
#[test]
fn an_interrupt_while_waiting_for_wal_leaves_the_backup_and_its_record() {
    let Some(lab) = Lab::new() else { return };
    let receiver = lab.receive();
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    receiver.freeze();
    let mut backup = Command::new(assert_cmd::cargo::cargo_bin!("tapster"))
        .args(["-c", lab.path("tapster.conf").to_str().unwrap(), "backup", "main", "--wait"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(backup.stdout.take().unwrap()).lines().map(Result::unwrap);
    let waiting = lines.find(|line| line.starts_with("Waiting for the WAL file ")).unwrap();
    let wal = waiting.split(' ').nth(5).unwrap();
    assert!(Command::new("kill").args(["-INT", &backup.id().to_string()]).status().unwrap().success());
    let expected = format!("Got CTRL-C. Continuing without waiting for '{wal}' to be archived");
    assert!(lines.any(|line| line == expected), "{expected}");
    drop(lines);
    assert_eq!(backup.wait().unwrap().code(), Some(0));
    assert_eq!(lab.json(&["list-backups", "main"])["main"][0]["status"], "WAITING_FOR_WALS");
    drop(receiver);
}

#[test]
fn a_slot_is_made_once_and_dropped_when_free() {
    let Some(lab) = Lab::new() else { return };
    assert_eq!(
        lab.ok(&["receive-wal", "--create-slot", "main"]),
        "Creating physical replication slot 'tapster' on server 'main'\nReplication slot 'tapster' created\n"
    );
    let again = lab.run(&["receive-wal", "--create-slot", "main"]);
    assert_eq!(
        (again.stderr.as_str(), again.code),
        ("ERROR: Replication slot 'tapster' already exists\n", 1)
    );
    let receiver = lab.receive();
    let second = lab.run(&["receive-wal", "main"]);
    assert_eq!(second.code, 1);
    assert_eq!(second.stderr, "ERROR: Another receive-wal process is already running for server main.\n");
    let busy = lab.run(&["receive-wal", "--drop-slot", "main"]);
    assert_eq!(busy.code, 1);
    assert!(busy.stderr.contains("because it is in use."), "{busy:?}");
    drop(receiver);
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !lab.cluster.sql("SELECT 1 FROM pg_replication_slots WHERE active").is_empty() {
        assert!(std::time::Instant::now() < patience);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(
        lab.ok(&["receive-wal", "--drop-slot", "main"]).ends_with("Replication slot 'tapster' dropped\n")
    );
    let none = lab.run(&["-f", "json", "receive-wal", "--stop", "main"]);
    let none: Value = serde_json::from_str(&none.stdout).unwrap();
    assert_eq!(none["_ERROR"][0], "Termination of receive-wal failed: no such process for server main");
}
