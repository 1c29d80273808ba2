//! Bad input: one clear line, the right exit code, and nothing lost or half done.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::lab::Lab;
use crate::program::run_as;

/// The error text and what it must contain; exit 1 unless told.
fn refused(lab: &Lab, args: &[&str], expected: &[&str]) {
    let run = lab.run(args);
    assert_eq!(run.code, 1, "{args:?}: {run:?}");
    assert!(run.stderr.starts_with("ERROR: "), "{args:?}: {run:?}");
    for text in expected {
        assert!(run.stderr.contains(text), "{args:?} lacks {text:?}: {run:?}");
    }
}

#[test]
fn what_does_not_exist_is_named() {
    let Some(lab) = Lab::new() else { return };
    refused(&lab, &["check", "nosuch"], &["Unknown server 'nosuch'\n"]);
    refused(&lab, &["delete", "all", "latest"], &["You cannot use 'all' in a single server context\n"]);
    refused(&lab, &["show-backup", "main", "latest"], &["Unknown backup 'latest' for server 'main'\n"]);
    refused(
        &lab,
        &["restore", "main", "20200101T000000", "/tmp/x"],
        &["Unknown backup '20200101T000000' for server 'main'\n"],
    );
    let wal = "000000010000000000000099";
    let run = lab.run(&["get-wal", "main", wal]);
    assert_eq!(run.code, 200, "{run:?}");
    assert!(run.stderr.contains("main/wals of server 'main' is not there\n"), "{run:?}");
    lab.run(&["check", "main"]);
    refused(&lab, &["get-wal", "main", wal], &[&format!("WAL file '{wal}' not found in server 'main'")]);
    let run = lab.run(&["get-wal", "main", "NOTAWAL"]);
    assert_eq!((run.code, run.stderr.as_str()), (3, "ERROR: 'NOTAWAL' is not a valid wal file name\n"));
    let nagios = lab.run(&["check", "--nagios", "nosuch"]);
    assert_eq!((nagios.code, nagios.stderr.as_str()), (2, ""));
    assert_eq!(nagios.stdout, "BARMAN CRITICAL - Global configuration errors\n");
    refused(
        &lab,
        &["receive-wal", "main"],
        &[
            "Impossible to start WAL streaming",
            "replication slot 'tapster' does not exist",
            "--create-slot main",
        ],
    );
}

/// To PostgreSQL every exit code up to 125 of a `restore_command` means that the archive ends here.
#[test]
fn a_wal_file_that_cannot_be_read_is_not_one_that_is_missing() {
    let Some(lab) = Lab::new() else { return };
    let dir = lab.server_dir().join("wals/0000000100000000");
    std::fs::create_dir_all(&dir).unwrap();
    let (looped, broken) = ("000000010000000000000001", "000000010000000000000002");
    std::os::unix::fs::symlink(looped, dir.join(looped)).unwrap();
    std::fs::write(dir.join(broken), b"\x1f\x8b\x08\0 no gzip").unwrap();
    for name in [looped, broken] {
        let run = lab.run(&["get-wal", "main", name]);
        assert_eq!(run.code, 200, "{run:?}");
        assert!(run.stderr.starts_with("ERROR: ") && run.stderr.contains(name), "{run:?}");
    }
    assert_eq!(lab.run(&["get-wal", "main", "000000010000000000000003"]).code, 1);
}

#[test]
fn configurations_that_cannot_be_used() {
    let Some(lab) = Lab::new() else { return };
    let run = run_as("barman", &["-c", "/nonexistent.conf", "list-servers"]);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (1, "Configuration file '/nonexistent.conf' does not exist\n")
    );
    for (name, text, expected) in [
        ("garbage.conf", "garbage\n", "line 1"),
        (
            "nohome.conf",
            "[barman]\nlog_level = INFO\n",
            "Parameter \"barman_home\" is required in [barman] section.",
        ),
        (
            "user.conf",
            "[barman]\nbarman_home = /x\nbarman_user = nosuch-user\n",
            "the configured user 'nosuch-user' does not exists",
        ),
    ] {
        std::fs::write(lab.path(name), text).unwrap();
        let run = lab.run_with(name, &["list-servers"]);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stderr.contains(expected), "{name}: {run:?}");
    }
    let directory = run_as("barman", &["-c", lab.path("").to_str().unwrap(), "list-servers"]);
    assert_eq!(directory.code, 1);
    assert!(directory.stderr.starts_with("ERROR: "), "{directory:?}");
}

#[test]
fn a_server_that_cannot_be_reached_costs_nothing() {
    let Some(lab) = Lab::new() else { return };
    lab.configure("down.conf", "host=/nonexistent user=x", "");
    let down = |args: &[&str]| lab.run_with("down.conf", args);
    for (args, expected) in [
        (["receive-wal", "main", "-"], "Impossible to start WAL streaming."),
        (["receive-wal", "--create-slot", "main"], "Cannot connect to server 'main'"),
        (["switch-wal", "main", "-"], "Unable to perform pg_switch_wal for server 'main'."),
    ] {
        let args: Vec<&str> = args.into_iter().filter(|word| *word != "-").collect();
        let run = down(&args);
        assert_eq!(run.code, 1);
        assert!(run.stderr.contains(expected) && run.stderr.contains("/nonexistent"), "{run:?}");
    }
    let backup = down(&["backup", "main"]);
    assert_eq!(backup.code, 1);
    assert!(backup.stderr.contains("Impossible to start the backup."), "{backup:?}");
    assert_eq!(down(&["list-backups", "main"]).stdout, "", "no record of a backup that did not begin");
    let check = down(&["check", "main"]);
    assert_eq!(check.code, 1);
    assert!(check.stdout.contains("\tPostgreSQL: FAILED"), "{check:?}");
}

#[test]
fn a_wrong_password_is_said_and_not_shown() {
    let cluster =
        tapster_protocol::testing::Cluster::builder().hba("local replication guarded scram-sha-256");
    let Some(cluster) = cluster.start() else { return };
    cluster.sql("CREATE ROLE guarded LOGIN REPLICATION PASSWORD 'right'");
    let Some(lab) = Lab::new() else { return };
    let mut conninfo = cluster.conninfo();
    conninfo.set("user", "guarded").unwrap();
    conninfo.set("password", "very-wrong").unwrap();
    lab.configure("password.conf", &conninfo.to_conninfo_string(), "");
    let run = lab.run_with("password.conf", &["receive-wal", "--create-slot", "main"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("Cannot connect to server 'main'"), "{run:?}");
    assert!(
        run.stderr.contains("password authentication failed") && run.stderr.contains("HINT: "),
        "{run:?}"
    );
    assert!(!run.stderr.contains("very-wrong"), "{run:?}");
}

#[test]
fn restores_that_cannot_work_write_nothing() {
    let Some(lab) = Lab::new() else { return };
    let receiver = lab.receive();
    lab.ok(&["backup", "main", "--wait"]);
    drop(receiver);
    let empty = lab.destination("empty");
    let to = empty.to_str().unwrap();
    let full = lab.cluster.data_dir();
    for (options, destination, expected) in [
        (
            vec!["--target-time", "2001-01-01 00:00:00+00"],
            to,
            "The requested target time 2001-01-01 00:00:00+00:00 is before the backup end time ",
        ),
        (vec!["--target-time", "2199-01-01 00:00:00+00"], to, "is beyond the archive"),
        (vec!["--target-lsn", "FF/0"], to, "the target FF/0 is beyond the archive"),
        (vec!["--target-time", "garbage"], to, "Unable to parse the target time parameter 'garbage'"),
        (vec!["--target-xid", "5", "--target-name", "x"], to, "You cannot specify multiple targets"),
        (
            vec!["--target-action", "pause"],
            to,
            "Can't enable recovery target action when PITR is not required",
        ),
        (vec!["--tablespace", "nope:/x"], to, "Invalid tablespace name 'nope'"),
        (vec!["--tablespace", "nope"], to, "Invalid tablespace relocation rule 'nope'"),
        (vec!["--remote-ssh-command", "false"], to, "Unable to connect to the target host"),
        (vec![], full.to_str().unwrap(), "is not empty. To prevent accidental data loss"),
        (vec![], "host:/x", "cannot contain the ':' character"),
    ] {
        let args = [&["restore"], &options[..], &["main", "latest", destination]].concat();
        refused(&lab, &args, &[expected]);
        assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0, "{options:?}");
    }
    assert_eq!(lab.json(&["list-backups", "main"])["main"][0]["status"], "DONE");
    // From 17 on the server could do it, but summarizes no WAL.
    let reason = "failed to start backup: ";
    refused(&lab, &["backup", "main", "--incremental", "latest"], &[reason]);

    // A failed backup leaves a record that says so, and nothing else.
    lab.configure("slow.conf", &lab.cluster.conninfo().to_conninfo_string(), "minimum_redundancy = 5\n");
    let kept = lab.run_with("slow.conf", &["delete", "main", "latest"]);
    assert_eq!(kept.code, 1);
    let [warning, error] = kept.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{kept:?}") };
    assert!(warning.ends_with(
        "due to minimum redundancy requirements (minimum redundancy = 5, current redundancy = 1)"
    ));
    assert!(error.starts_with("ERROR: Cannot delete backup (main "), "{error}");
}

/// A backup that is interrupted says so, keeps a record that says so, and is no backup.
#[test]
fn an_interrupted_backup_is_recorded_as_failed() {
    let Some(lab) = Lab::new() else { return };
    let receiver = lab.receive();
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    let mut backup = Command::new(assert_cmd::cargo::cargo_bin!("tapster"))
        .args(["-c", lab.path("tapster.conf").to_str().unwrap(), "backup", "main", "--bwlimit", "500"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(backup.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("Starting backup copy ")));
    let pid = backup.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = backup.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("ERROR: Process interrupted by user\n"), "{text}");
    let list = lab.json(&["list-backups", "main"]);
    assert_eq!(list["main"][0]["status"], "FAILED");
    refused(&lab, &["show-backup", "main", "latest"], &["Unknown backup 'latest'"]);
    refused(&lab, &["restore", "main", "last-failed", "/tmp/x"], &["backup status is not DONE"]);
    lab.ok(&["delete", "main", "last-failed"]);
    assert_eq!(lab.ok(&["list-backups", "main"]), "");
    drop(receiver);
}

/// The catalog of one cluster never gets the files of another.
#[test]
fn another_cluster_at_the_same_address_is_refused() {
    let Some(lab) = Lab::new() else { return };
    let Some(other) = Lab::new() else { return };
    let receiver = lab.receive();
    lab.ok(&["backup", "main", "--wait"]);
    drop(receiver);
    let wals = || {
        let dirs = std::fs::read_dir(lab.server_dir().join("wals")).unwrap();
        dirs.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
    };
    let before = wals();
    lab.configure("other.conf", &other.cluster.conninfo().to_conninfo_string(), "");
    let slot = lab.run_with("other.conf", &["receive-wal", "--create-slot", "main"]);
    assert_eq!(slot.code, 0, "{slot:?}");
    for args in [&["receive-wal", "main"][..], &["backup", "main"]] {
        let run = lab.run_with("other.conf", args);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stderr.contains("ERROR: Impossible to start"), "{run:?}");
    }
    assert_eq!(wals(), before);
    assert_eq!(lab.json(&["list-backups", "main"])["main"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_slot_that_is_in_use_is_left_alone() {
    let Some(lab) = Lab::new() else { return };
    let receiver = lab.receive();
    // The same slot from another catalog, which has no lock in common with the first.
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    let text = std::fs::read_to_string(lab.configure("second.conf", &conninfo, "")).unwrap();
    let text = text.replace("/home\n", "/second-home\n");
    std::fs::write(lab.path("second.conf"), text).unwrap();
    let run = lab.run_with("second.conf", &["receive-wal", "main"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("replication slot 'tapster' is already in use"), "{run:?}");
    assert!(run.stderr.contains("HINT: "), "{run:?}");
    drop(receiver);
}

/// Root may run every command: it becomes the configured user first, and leaves nothing of its own in the catalog.
#[test]
fn root_becomes_the_configured_user() {
    use std::os::unix::fs::MetadataExt as _;
    let Some(lab) = Lab::new() else { return };
    let owner = lab.cluster.data_dir().metadata().unwrap().uid();
    if owner == lab.path("").metadata().unwrap().uid() {
        return;
    }
    let home = lab.cluster.create_dir("hub");
    let name = Command::new("id").args(["-un", &owner.to_string()]).output().unwrap();
    let name = String::from_utf8(name.stdout).unwrap();
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    let text = std::fs::read_to_string(lab.path("tapster.conf")).unwrap();
    let text = text
        .replace("barman_user = root", &format!("barman_user = {}", name.trim()))
        .replace(lab.path("").to_str().unwrap().trim_end_matches('/'), home.to_str().unwrap());
    assert!(text.contains(&conninfo));
    let config = home.join("tapster.conf");
    std::fs::write(&config, text).unwrap();
    let run = run_as("barman", &["-c", config.to_str().unwrap(), "list-backups", "main"]);
    assert_eq!(run.code, 0, "{run:?}");
    let run = run_as("barman", &["-c", config.to_str().unwrap(), "receive-wal", "--reset", "main"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(home.join("log").metadata().unwrap().uid(), owner);
    assert_eq!(home.join("home/main/streaming").metadata().unwrap().uid(), owner);
}
