//! `receive-wal` where things are not as usual: WAL from a standby, a slot that lost WAL, WAL that only the archive has, a
//! server that has less than we have. Nothing is skipped without a word.

use std::fs;
use std::path::Path;

use tapster_protocol::testing::{Cluster, StopMode};

use crate::chaos::{Running, Stored, finish_segment, lsn, wait_for, wait_until_received, write_wal};
use crate::lab::Lab;

/// A primary, a standby of it, and a configuration that takes WAL from the standby.
fn with_standby(extra: &str) -> Option<(Lab, Cluster)> {
    let lab = Lab::with(|builder| builder.wal_segment_mb(1).config("wal_keep_size = 1GB"))?;
    lab.cluster.sql("CREATE TABLE load (text text)");
    let standby = Cluster::builder().standby_of(&lab.cluster, None);
    let wal = standby.conninfo().to_conninfo_string();
    let primary = lab.cluster.conninfo().to_conninfo_string();
    let extra = format!("wal_streaming_conninfo = {wal}\nwal_conninfo = {wal}\n{extra}");
    lab.configure("tapster.conf", &primary, &extra);
    Some((lab, standby))
}

/// A server that keeps as little WAL as it can.
fn frugal(config: &[&str]) -> Option<Lab> {
    Lab::with(|builder| {
        let builder = builder.wal_segment_mb(1).config("max_wal_size = 2MB").config("min_wal_size = 2MB");
        config.iter().fold(builder, |builder, line| builder.config(line))
    })
}

/// Writes so much that the server removes the WAL from before.
fn move_on(cluster: &Cluster) {
    for _ in 0..3 {
        write_wal(cluster, 30000);
        cluster.sql("CHECKPOINT");
    }
}

fn slot(cluster: &Cluster, what: &str) -> String {
    cluster.value(&format!("SELECT coalesce({what}::text, '') FROM pg_replication_slots"))
}

/// Receives some segments, and stops.
fn receive_some(lab: &Lab) {
    let receiver = Running::start(lab, &["receive-wal", "main"]);
    write_wal(&lab.cluster, 20000);
    wait_until_received(&lab.cluster, finish_segment(&lab.cluster));
    let run = receiver.stop();
    assert_eq!(run.code, 0, "{run:?}");
}

/// The segment whose beginning lies in `streaming/`.
fn newest_received(stored: &Stored) -> String {
    let names = fs::read_dir(&stored.layout.streaming)
        .unwrap()
        .map(|entry| crate::chaos::name(&entry.unwrap().path()));
    let partial = names.filter_map(|name| name.strip_suffix(".partial").map(str::to_owned)).max();
    partial.unwrap()
}

/// Brings what the `archive_command` has stored so far into `incoming/`.
fn bring(archive: &Path, stored: &Stored) {
    for entry in fs::read_dir(archive).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, stored.layout.incoming.join(path.file_name().unwrap())).unwrap();
    }
}

/// Check lines, the slot and the stream are the standby's; the switch is the primary's; the promotion is followed.
#[test]
fn wal_comes_from_a_standby() {
    let Some((lab, standby)) = with_standby("") else { return };
    let said = lab.ok(&["receive-wal", "--create-slot", "main"]);
    assert!(
        said.starts_with("Configuration overrides applied: 'streaming_conninfo' overridden with '"),
        "{said}"
    );
    assert!(lab.cluster.sql("SELECT 1 FROM pg_replication_slots").is_empty());
    let receiver = Running::start(&lab, &["receive-wal", "main"]);
    wait_for("the connection", || slot(&standby, "active") == "true");
    let check = |run: crate::program::Run| -> Vec<String> {
        let lines = run.stdout.lines().map(str::trim).filter(|line| line.contains("(WAL streaming)"));
        lines.map(str::to_owned).collect()
    };
    let ours = check(lab.run(&["check", "main"]));
    assert_eq!(
        ours,
        [
            "has monitoring privileges (WAL streaming): OK",
            "PostgreSQL streaming (WAL streaming): OK",
            "wal_level (WAL streaming): OK",
            "systemid coherence (WAL streaming): OK (no system Id stored on disk)",
            "replication slot (WAL streaming): OK",
        ]
    );
    if let Some(theirs) = lab.barman(&["check", "main"]) {
        assert_eq!(ours, check(theirs));
    }
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    lab.ok(&["backup", "--wait", "main"]);

    write_wal(&lab.cluster, 20000);
    let before = finish_segment(&lab.cluster);
    wait_until_received(&standby, before);
    standby.promote();
    write_wal(&standby, 20000);
    wait_until_received(&standby, finish_segment(&standby));
    let run = receiver.stop();
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    lab.ok(&["archive-wal", "main"]);
    let check = lab.run(&["check", "main"]);
    assert!(!check.stdout.contains("WAL continuity"), "{check:?}");
    assert_eq!(lab.run_with("tapster.conf", &["list-backups", "main"]).code, 0);

    let missing = lab.run(&["receive-wal", "--drop-slot", "main"]);
    assert_eq!(missing.code, 0, "{missing:?}");
    standby.stop(StopMode::Immediate);
    let down = lab.run(&["check", "main"]);
    for line in ["no access to monitoring functions: FAILED", "PostgreSQL streaming (WAL streaming): FAILED"]
    {
        assert!(down.stdout.contains(line), "{down:?}");
    }
}

/// A standby that has not got what we have from the primary yet is waited for. Another cluster is refused.
#[test]
fn a_standby_behind_us_is_waited_for() {
    let Some((lab, standby)) = with_standby("create_slot = auto\n") else { return };
    let normal = lab.cluster.conninfo().to_conninfo_string();
    lab.configure("primary.conf", &normal, "create_slot = auto\n");
    let other = Cluster::builder().wal_segment_mb(1).start().unwrap();
    let foreign =
        format!("wal_streaming_conninfo = {}\ncreate_slot = auto\n", other.conninfo().to_conninfo_string());
    lab.configure("foreign.conf", &normal, &foreign);
    let refused = lab.run_with("foreign.conf", &["receive-wal", "main"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("HINT: all connection strings of a server must lead to one cluster"),
        "{refused:?}"
    );

    let primary = Running::start_with(&lab, "primary.conf", &["receive-wal", "main"]);
    wait_for("the slot", || !lab.cluster.sql("SELECT 1 FROM pg_replication_slots WHERE active").is_empty());
    let start = lsn(&slot(&lab.cluster, "restart_lsn"));
    // The standby gets nothing more for a while.
    let paused = standby.value("SELECT setting FROM pg_settings WHERE name = 'primary_conninfo'");
    standby.sql("ALTER SYSTEM SET primary_conninfo = ''");
    standby.sql("SELECT pg_reload_conf()");
    wait_for("the standby to leave", || {
        lab.cluster.sql("SELECT 1 FROM pg_stat_replication WHERE application_name = 'walreceiver'").is_empty()
    });
    write_wal(&lab.cluster, 20000);
    wait_until_received(&lab.cluster, finish_segment(&lab.cluster));
    assert_eq!(primary.stop().code, 0);

    let mut receiver = Running::start(&lab, &["receive-wal", "main"]);
    wait_for("the slot", || !standby.sql("SELECT 1 FROM pg_replication_slots").is_empty());
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(receiver.is_running(), "{}", receiver.kill());
    standby.sql(&format!("ALTER SYSTEM SET primary_conninfo = '{}'", paused.replace('\'', "''")));
    standby.sql("SELECT pg_reload_conf()");
    write_wal(&lab.cluster, 20000);
    let end = finish_segment(&lab.cluster);
    wait_until_received(&standby, end);
    let run = receiver.stop();
    assert!(run.code == 0 && run.stderr.contains("the standby is behind what was received"), "{run:?}");
    Stored::new(&lab).hold_all(start, end);
}

/// The slot lost its WAL, but an `archive_command` has it: receiving goes on behind it, with a word, and without a gap.
#[test]
fn a_lost_slot_is_bridged_by_the_archive() {
    let Some(lab) = frugal(&["archive_mode = on", "archive_command = ''"]) else { return };
    lab.ok(&["receive-wal", "--create-slot", "main"]);
    let (stored, start) = (Stored::new(&lab), lsn(&slot(&lab.cluster, "restart_lsn")));
    receive_some(&lab);
    let archive = lab.cluster.create_dir("archive");
    lab.cluster.sql(&format!("ALTER SYSTEM SET archive_command = 'cp %p {}/%f'", archive.display()));
    lab.cluster.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'");
    lab.cluster.sql("SELECT pg_reload_conf()");
    wait_for("the loss of the slot", || {
        move_on(&lab.cluster);
        slot(&lab.cluster, "wal_status") == "lost"
    });
    let last = stored.names(start, finish_segment(&lab.cluster)).pop().unwrap();
    wait_for("the archiver", || archive.join(last.to_string()).exists());
    bring(&archive, &stored);
    assert_eq!(slot(&lab.cluster, "wal_status"), "lost");
    let check = lab.run(&["check", "main"]);
    assert!(
        check.stdout.contains("replication slot: FAILED (slot 'tapster' lost WAL it was to keep"),
        "{check:?}"
    );

    // A segment less, and it is somebody's decision.
    let held = newest_received(&stored);
    let (hidden, place) = (lab.path(&held), stored.layout.incoming.join(&held));
    fs::rename(&place, &hidden).unwrap();
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    lab.configure("tapster.conf", &conninfo, "create_slot = auto\n");
    let refused = lab.run(&["receive-wal", "main"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("is no longer on the server"), "{refused:?}");
    assert!(
        refused.stderr.contains("HINT: run 'barman receive-wal --reset main', then take a new base backup"),
        "{refused:?}"
    );
    fs::rename(&hidden, &place).unwrap();

    let receiver = Running::start(&lab, &["receive-wal", "main"]);
    wait_for("the connection", || slot(&lab.cluster, "active") == "true");
    write_wal(&lab.cluster, 20000);
    let end = finish_segment(&lab.cluster);
    wait_until_received(&lab.cluster, end);
    let run = receiver.stop();
    assert!(
        run.code == 0 && run.stderr.contains("have been archived already: receiving goes on at "),
        "{run:?}"
    );
    lab.configure("tapster.conf", &conninfo, "archiver = on\ncreate_slot = auto\n");
    lab.ok(&["archive-wal", "main"]);
    for name in stored.names(start, end) {
        assert!(stored.layout.wal(name.into()).exists(), "{name}");
    }
    stored.hold_records(&lab, start, end);
}

/// L-A23: WAL was given up, and whatever comes afterwards, the gap stays in sight until a new backup is taken.
#[test]
fn a_gap_stays_in_sight() {
    let Some(lab) = frugal(&[]) else { return };
    let receiver = lab.receive();
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    lab.ok(&["backup", "--wait", "main"]);
    let stored = Stored::new(&lab);
    drop(receiver);
    wait_for("its end", || slot(&lab.cluster, "active") == "false");
    lab.cluster.sql("INSERT INTO pg_description VALUES (1, 1, 1, 'in the partial')");
    let received: Vec<_> =
        fs::read_dir(&stored.layout.streaming).unwrap().map(|e| e.unwrap().path()).collect();
    lab.ok(&["receive-wal", "--drop-slot", "main"]);
    move_on(&lab.cluster);
    lab.ok(&["receive-wal", "--create-slot", "--if-not-exists", "main"]);
    assert_eq!(lab.run(&["receive-wal", "main"]).code, 1);
    let reset = lab.ok(&["receive-wal", "--reset", "main"]);
    assert!(reset.contains("Creating status file "), "{reset}");
    // What was received up to there is not thrown away.
    assert!(received.iter().all(|path| path.exists()), "{received:?}");
    let seen = |when: &str| {
        let check = lab.run(&["check", "main"]);
        assert!(check.stdout.contains("WAL continuity: FAILED ("), "{when}: {check:?}");
        assert!(
            check.stdout.contains("recovery ends there; please execute 'barman backup main'"),
            "{when}: {check:?}"
        );
    };
    seen("before anything has come");
    receive_some(&lab);
    lab.ok(&["archive-wal", "main"]);
    seen("when more has come");
    let verify = crate::program::run_as(
        "tapster",
        &["-c", lab.path("tapster.conf").to_str().unwrap(), "wal", "verify", "main"],
    );
    assert_eq!(verify.code, 1, "{verify:?}");
    let receiver = lab.receive();
    lab.ok(&["backup", "--wait", "main"]);
    let check = lab.run(&["check", "main"]);
    assert!(!check.stdout.contains("WAL continuity"), "{check:?}");
    drop(receiver);
}

/// L-A36: the server comes back with less WAL than it had acknowledged and goes on differently: what we have stays.
#[test]
fn wal_that_the_server_has_lost_is_not_written_over() {
    let Some(lab) = Lab::with(|builder| builder.wal_segment_mb(16)) else { return };
    lab.ok(&["receive-wal", "--create-slot", "main"]);
    lab.cluster.sql("CREATE TABLE t (i integer); CHECKPOINT");
    lab.cluster.stop(StopMode::Fast);
    let (data, copy) = (lab.cluster.data_dir(), lab.cluster.directory().join("snapshot"));
    let cp = |from: &Path, to: &Path| {
        assert!(std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    };
    cp(&data, &copy);
    lab.cluster.start();
    let receiver = Running::start(&lab, &["receive-wal", "main"]);
    lab.cluster.sql("INSERT INTO t SELECT generate_series(1, 1000)");
    wait_until_received(&lab.cluster, lsn(&lab.cluster.value("SELECT pg_current_wal_flush_lsn()")));
    assert_eq!(receiver.stop().code, 0);
    let partial = lab.server_dir().join("streaming/000000010000000000000001.partial");
    let before = fs::read(&partial).unwrap();

    lab.cluster.stop(StopMode::Immediate);
    fs::remove_dir_all(&data).unwrap();
    cp(&copy, &data);
    lab.cluster.start();
    lab.cluster.sql("INSERT INTO t SELECT -generate_series(1, 20000)");
    let run = lab.run(&["receive-wal", "main"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("the server has lost WAL"), "{run:?}");
    assert!(run.stderr.contains("HINT: the server has lost WAL that 'main' has"), "{run:?}");
    assert!(fs::read(&partial).unwrap() == before);
}

/// As a synchronous standby it answers at once, under any way of writing its name; `switch-wal` goes to the primary.
#[test]
fn a_synchronous_receiver_and_a_switch_through_a_standby() {
    let Some((lab, standby)) = with_standby("") else { return };
    let (primary, replica) = (lab.cluster.conninfo(), standby.conninfo());
    let text = replica.to_conninfo_string();
    lab.configure("tapster.conf", &text, "create_slot = auto\n");
    lab.ok(&["receive-wal", "--create-slot", "main"]);
    let receiver = Running::start(&lab, &["receive-wal", "main"]);
    wait_for("the connection", || slot(&standby, "active") == "true");
    let none = lab.ok(&["switch-wal", "main"]);
    assert_eq!(none, "No switch performed because server 'main' is a standby.\n");
    lab.configure("tapster.conf", &text, &format!("primary_conninfo = {}\n", primary.to_conninfo_string()));
    let switched = lab.ok(&["switch-wal", "--force", "--archive", "--archive-timeout", "60", "main"]);
    assert!(
        switched.contains("has been closed on server 'main'") && !switched.contains("not been received"),
        "{switched}"
    );
    assert_eq!(receiver.stop().code, 0);

    let sync = "create_slot = auto\nstreaming_archiver_name = hub\nslot_name = hub\n";
    lab.configure("sync.conf", &primary.to_conninfo_string(), sync);
    lab.cluster.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (\"HUB\")'");
    lab.cluster.sql("SELECT pg_reload_conf()");
    let receiver = Running::start_with(&lab, "sync.conf", &["receive-wal", "main"]);
    wait_for("the receiver as the synchronous standby", || {
        lab.cluster.value("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'") == "1"
    });
    // Without an answer at every commit this would take the ten seconds of a status interval each time.
    std::thread::scope(|scope| {
        let commits = scope.spawn(|| {
            let mut connection = lab.cluster.connect();
            (0..20)
                .for_each(|i| drop(connection.query(&format!("INSERT INTO load VALUES ('{i}')")).unwrap()));
        });
        wait_for("the commits", || commits.is_finished());
    });
    lab.cluster.sql("ALTER SYSTEM RESET synchronous_standby_names");
    lab.cluster.sql("SELECT pg_reload_conf()");
    assert_eq!(receiver.stop().code, 0);
}
