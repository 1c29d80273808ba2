//! The lines of `check`, compared with Barman's, and those that Barman does not have.

use std::fs;

use crate::chaos::wait_for;
use crate::lab::Lab;
use crate::program::Run;

/// Servers in many states, all on one cluster.
fn configure(lab: &Lab) {
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    let text = fs::read_to_string(lab.path("tapster.conf")).unwrap();
    let (barman, main) = text.split_once("[main]\n").unwrap();
    let bin = lab
        .cluster
        .command("pg_basebackup")
        .get_program()
        .to_str()
        .unwrap()
        .trim_end_matches("/pg_basebackup")
        .to_owned();
    let plain = format!("conninfo = {conninfo}\nstreaming_conninfo = {conninfo}\nbackup_method = postgres\n");
    let sections = [
        ("main", main.to_owned()),
        (
            "limits",
            format!(
                "{plain}streaming_archiver = on\nslot_name = tapster\nlast_backup_maximum_age = 1 DAYS\nlast_backup_minimum_size = 1Gi\n\
             last_wal_maximum_age = 1 HOURS\nminimum_redundancy = 2\nmax_incoming_wals_queue = 1\nretention_policy = NONSENSE 3\n"
            ),
        ),
        ("files", format!("{plain}archiver = on\nslot_name = tapster\n")),
        (
            "rsync",
            format!(
                "conninfo = {conninfo}\nbackup_method = local-rsync\narchiver = on\nbackup_options = concurrent_backup\n"
            ),
        ),
        (
            "standby",
            format!("{plain}streaming_archiver = on\nslot_name = nothing\nprimary_conninfo = {conninfo}\n"),
        ),
        ("inactive", format!("{plain}active = off\narchiver = on\n")),
        ("disabled", "backup_method = postgres\narchiver = on\n".to_owned()),
        (
            "down",
            "conninfo = host=/nonexistent user=x dbname=x\nstreaming_conninfo = host=/nonexistent user=x\nbackup_method = postgres\nstreaming_archiver = on\nslot_name = a\n".to_owned(),
        ),
        ("passive", "primary_ssh_command = /bin/false nobody@nowhere\n".to_owned()),
    ];
    let servers: String = sections
        .iter()
        .map(|(name, text)| format!("[{name}]\npath_prefix = {bin}\ncheck_timeout = 3\n{text}\n"))
        .collect();
    fs::write(lab.path("tapster.conf"), format!("{barman}{servers}")).unwrap();
}

#[test]
fn lines_are_barmans() {
    let Some(lab) = Lab::new() else { return };
    if lab.barman(&["--version"]).is_none() {
        return;
    }
    configure(&lab);
    let receiver = lab.receive();
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    lab.ok(&["backup", "--wait", "main"]);
    for name in ["limits", "files"] {
        lab.run(&["check", name]);
    }
    let home = |below: &str| lab.path("home").join(below);
    fs::write(home("files/streaming/000000010000000000000001"), "").unwrap();
    fs::write(home("files/streaming/000000010000000000000002"), "").unwrap();
    fs::write(home("limits/errors/x.unknown"), "").unwrap();
    for name in ["main", "limits", "files", "rsync", "standby", "inactive", "disabled", "down", "passive"] {
        let (ours, theirs) = (lab.run(&["check", name]), lab.barman(&["check", name]).unwrap());
        assert_eq!((ours.code, ours.stderr.as_str()), (theirs.code, ""), "{name}");
        assert_eq!(lines(&ours, &theirs), lines(&theirs, &theirs), "{name}: {ours:?}");
    }
    // One summary line and the exit code.
    for names in [&["main", "files", "inactive"][..], &["main"], &["inactive"], &["nosuch"]] {
        let args = [&["check", "--nagios"], names].concat();
        let (ours, theirs) = (lab.run(&args), lab.barman(&args).unwrap());
        assert_eq!(ours, theirs, "{names:?}");
    }
    let json = |run: Run| -> serde_json::Value { serde_json::from_str(&run.stdout).unwrap() };
    let args = ["-f", "json", "check", "main", "files"];
    assert_eq!(json(lab.run(&args)), json(lab.barman(&args).unwrap()));
    let args = ["check", "--check-timeout", "1", "down"];
    assert_eq!(lab.run(&args).code, 1);
    drop(receiver);
}

/// The lines as far as they are to be the same: Barman needs PostgreSQL's programs, and says nothing of why a server does not
/// answer.
fn lines(run: &Run, theirs: &Run) -> Vec<String> {
    let is_down = theirs.stdout.contains("\tPostgreSQL: FAILED\n");
    let plain = |line: &str| match line.trim_start().split_once(": ") {
        Some((name @ ("pg_basebackup compatible" | "pg_receivexlog compatible"), _)) if is_down => {
            name.to_owned()
        }
        Some(("PostgreSQL" | "replication slot", rest)) if is_down => {
            rest.split(' ').next().unwrap().to_owned()
        }
        Some(("ssh", rest)) => rest.split(": ssh failed").next().unwrap().trim_end_matches(')').to_owned(),
        _ => line.to_owned(),
    };
    run.stdout.lines().map(plain).collect()
}

#[test]
fn what_barman_does_not_look_at() {
    let Some(lab) = Lab::new() else { return };
    lab.cluster.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '64MB'");
    lab.cluster.reload();
    // A server that has just been set up, without a segment yet, is not called wrong for that.
    lab.ok(&["receive-wal", "--create-slot", "main"]);
    let young = lab.run(&["check", "--check-timeout", "3", "main"]);
    assert!(young.stdout.contains("\tWAL archive: FAILED ("), "nothing receives: {young:?}");
    let receiver = lab.receive();
    receiver.freeze();
    let young = lab.run(&["check", "--check-timeout", "3", "main"]);
    assert!(!young.stdout.contains("WAL archive"), "{young:?}");
    drop(receiver);
    wait_for("the end of its session", || {
        lab.cluster.sql("SELECT 1 FROM pg_replication_slots WHERE active").is_empty()
    });
    let receiver = lab.receive();
    lab.ok(&["backup", "--wait", "main"]);
    lab.ok(&["backup", "--wait", "main"]);
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    let extended = |lab: &Lab| lab.run(&["check", "--extended", "main"]);
    let line = |run: &Run, name: &str| {
        let found = run.stdout.lines().find(|line| line.starts_with(&format!("\t{name}: ")));
        found.unwrap_or_else(|| panic!("{run:?}")).trim().to_owned()
    };
    let run = extended(&lab);
    assert_eq!(line(&run, "WAL of backups"), "WAL of backups: OK (nothing is missing for 2 backups)");
    assert!(line(&run, "free space").starts_with("free space: OK ("), "{run:?}");
    assert!(line(&run, "slot lag").contains(" behind, reserved, in danger after "), "{run:?}");
    let none = "last verified restore: FAILED (none; 'tapster verify-restore main latest' makes one)";
    assert_eq!((line(&run, "last verified restore").as_str(), run.code), (none, 1));
    // What goes to the end of Barman's lines is all there is more.
    let plain = lab.run(&["check", "main"]);
    assert!(plain.code == 0 && run.stdout.starts_with(&plain.stdout), "{plain:?} {run:?}");
    let nagios = lab.run(&["check", "--nagios", "--extended", "main"]).stdout;
    assert!(nagios.contains(" main_free=") && nagios.contains("B main_slot_lag="), "{nagios}");
    // Proven, and proven long ago.
    let test = |days: u64, proven: bool| {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
            - days * 86_400;
        format!(
            r#"{{"backup_id": "20260101T000000", "time": {time}, "proven": {proven}, "reached_lsn": null, "timeline": 1,
            "last_transaction": null, "elapsed_seconds": 1, "amcheck": false, "sql": false, "failure": "it did not start"}}"#
        )
    };
    let memory = lab.server_dir().join("meta/restore-tests.json");
    for (days, proven, ok, said) in [
        (2, true, "OK", "backup 20260101T000000, 2 days"),
        (40, true, "FAILED", "backup 20260101T000000, 40 days"),
        (2, false, "FAILED", ": it did not start)"),
    ] {
        let (last, good) = (test(days, proven), test(days, true));
        fs::write(&memory, format!("{{\"last\": {last}, \"last_proven\": {good}}}")).unwrap();
        let line = line(&extended(&lab), "last verified restore");
        assert!(line.starts_with(&format!("last verified restore: {ok} (")) && line.contains(said), "{line}");
    }
    // WAL that only the older backup needs is missing: Barman's lines, and ours for the latest backup, say nothing of it.
    let ids: Vec<String> =
        lab.ok(&["list-backups", "--minimal", "main"]).lines().map(str::to_owned).collect();
    let begin = |id: &str| {
        let record = fs::read_to_string(lab.server_dir().join(format!("meta/{id}-backup.info"))).unwrap();
        record.lines().find_map(|line| line.strip_prefix("begin_wal=").map(str::to_owned)).unwrap()
    };
    let (older, newer) = (begin(&ids[1]), begin(&ids[0]));
    assert!(older < newer);
    fs::remove_file(lab.server_dir().join("wals").join(&older[..16]).join(&older)).unwrap();
    let run = extended(&lab);
    assert_eq!(
        line(&run, "WAL of backups"),
        format!("WAL of backups: FAILED (missing: {older} for backup {})", ids[1])
    );
    assert!(!run.stdout.contains("WAL continuity"), "{run:?}");
    // A slot that nobody reads: first in danger, then lost.
    receiver.freeze();
    lab.cluster.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active");
    for _ in 0..8 {
        lab.cluster.sql("SELECT pg_logical_emit_message(false, 'x', 'y'), pg_switch_wal()");
    }
    lab.cluster.sql("CHECKPOINT");
    let run = extended(&lab);
    assert!(line(&run, "slot lag").starts_with("slot lag: FAILED ("), "{run:?}");
}
