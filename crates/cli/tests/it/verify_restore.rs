//! `verify-restore`: a backup is proven by a server that starts on it, and nothing is left of that.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::chaos::{Running, wait_for};
use crate::lab::Lab;
use crate::program::{Run, run_as};

fn ready() -> Option<Lab> {
    let lab =
        Lab::with(|builder| builder.config("max_connections = 37").config("shared_preload_libraries = ''"))?;
    let place = lab.cluster.create_dir("space");
    lab.cluster.sql(&format!("CREATE TABLESPACE space LOCATION '{}'", place.display()));
    lab.cluster.sql("CREATE DATABASE other");
    lab.cluster.sql("CREATE TABLE t (i int PRIMARY KEY, v text)");
    lab.cluster.sql("INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 5000) AS i");
    lab.cluster.sql("CREATE TABLE outside TABLESPACE space AS SELECT generate_series(1, 1000) AS i");
    // What must not come along.
    lab.cluster.sql("ALTER SYSTEM SET archive_command = 'touch /nowhere/%f'");
    lab.cluster.sql("ALTER SYSTEM SET external_pid_file = '/nowhere/pid'");
    Some(lab)
}

fn words<'a>(lab: &'a Lab, scratch: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let _ = lab;
    [&["verify-restore", "--scratch", scratch], more, &["main", "latest"]].concat()
}

fn verify(lab: &Lab, scratch: &Path, more: &[&str]) -> Run {
    let config = lab.path("tapster.conf");
    let words = words(lab, scratch.to_str().unwrap(), more);
    run_as("tapster", &[&["-c", config.to_str().unwrap(), "-f", "json"], &words[..]].concat())
}

fn says(run: &Run, text: &str) -> bool {
    run.stdout.contains(text) || run.stderr.contains(text)
}

fn remembered(lab: &Lab) -> Value {
    let text = fs::read(lab.server_dir().join("meta/restore-tests.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// That there is nothing in the scratch directory, and no server works below it.
fn nothing_left(scratch: &Path) {
    only(scratch, &[]);
}

fn only(scratch: &Path, kept: &[&Path]) {
    let there: Vec<_> = fs::read_dir(scratch).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(there, kept);
    assert!(servers(scratch).is_empty());
}

fn servers(scratch: &Path) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(scratch)))
        .collect()
}

#[test]
fn a_backup_is_proven_by_the_server_that_starts_on_it() {
    let Some(lab) = ready() else { return };
    let scratch = lab.cluster.create_dir("scratch");
    let receiver = lab.receive();
    lab.ok(&["backup", "main", "--wait"]);
    lab.cluster.sql("INSERT INTO t SELECT i, 'later' FROM generate_series(5001, 6000) AS i");
    let after = lab.cluster.value("SELECT pg_current_wal_lsn()");
    lab.cluster.sql("INSERT INTO t VALUES (0, 'last')");
    lab.ok(&["switch-wal", "--archive", "--force", "main"]);
    drop(receiver);

    let script = lab.path("check.sql");
    fs::write(
        &script,
        "DO $$ BEGIN ASSERT (SELECT count(*) FROM t) = 6001; END $$; SELECT sum(i) FROM outside;\n",
    )
    .unwrap();
    let script = script.to_str().unwrap();
    let run = verify(&lab, &scratch, &["--sql", script]);
    assert_eq!(run.code, 0, "{run:?}");
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let report = &report["main"];
    assert_eq!(report["proven"], true, "{report}");
    assert!(report["sql"]["output"].to_string().contains("500500"), "{report}");
    let names: Vec<_> =
        report["databases"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["other", "postgres", "template1"]);
    assert!(report["last_transaction"].is_string(), "{report}");
    let proven = remembered(&lab);
    assert_eq!(proven["last"], proven["last_proven"]);
    assert_eq!(proven["last"]["reached_lsn"], report["reached_lsn"]);
    nothing_left(&scratch);

    // To a target, where what came later is not there: the SQL that wants it fails, and the proof before is not forgotten.
    let run = verify(&lab, &scratch, &["--target-lsn", &after, "--sql", script]);
    assert!(run.code == 1 && says(&run, "the SQL file failed"), "{run:?}");
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(report["main"]["target"].as_str().unwrap().starts_with("recovery stopping after"), "{report}");
    let now = remembered(&lab);
    assert_eq!((&now["last"]["proven"], &now["last_proven"]), (&false.into(), &proven["last_proven"]));
    nothing_left(&scratch);

    // What cannot be reached, and a server that is not there.
    let run = verify(&lab, &scratch, &["--target-lsn", "7/0"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(remembered(&lab)["last"]["failure"].is_string());
    let before = remembered(&lab);
    let run = verify(&lab, &scratch, &["--bindir", "/nowhere"]);
    assert!(run.code == 1 && says(&run, "is not installed here"), "{run:?}");
    assert_eq!(remembered(&lab), before, "that says nothing about the backup");
    nothing_left(&scratch);

    kept(&lab, &scratch);
    damaged(&lab, &scratch);
}

fn kept(lab: &Lab, scratch: &Path) {
    let amcheck = lab.cluster.binaries().program("pg_amcheck").exists();
    let run = verify(lab, scratch, if amcheck { &["--keep", "--amcheck"] } else { &["--keep"] });
    assert_eq!(run.code, 0, "{run:?}");
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let kept = PathBuf::from(report["main"]["kept"].as_str().unwrap());
    assert!(kept.join("data/global/pg_control").exists() && !kept.join("data/postmaster.pid").exists());
    assert!(servers(scratch).is_empty());
    // It is somebody's now, and stays.
    ended_early(lab, scratch, &[&kept]);
    fs::remove_dir_all(kept).unwrap();
    nothing_left(scratch);
}

/// Asked to stop, and killed: the next one finds nothing in its way.
fn ended_early(lab: &Lab, scratch: &Path, kept: &[&Path]) {
    let script = lab.path("sleep.sql");
    fs::write(&script, "SELECT pg_sleep(300);\n").unwrap();
    let script = script.to_str().unwrap();
    let words = words(lab, scratch.to_str().unwrap(), &["--sql", script]);
    let sleeping = || lab_is_asleep(scratch);
    let mut running = Running::start(lab, &words);
    wait_for("the query", || sleeping() || !running.is_running());
    assert!(sleeping(), "{}", running.kill());
    let second = verify(lab, scratch, &[]);
    assert!(second.code == 1 && says(&second, "another test restore is running"), "{second:?}");
    let run = running.stop();
    assert!(run.code == 1 && says(&run, "interrupted by user"), "{run:?}");
    only(scratch, kept);

    let running = Running::start(lab, &words);
    wait_for("the query", sleeping);
    running.kill();
    assert!(!servers(scratch).is_empty());
    let sockets = sockets(scratch);
    assert!(sockets.is_dir(), "{}", sockets.display());
    let run = verify(lab, scratch, &["--sql", script, "--timeout", "1"]);
    assert!(run.code == 1 && says(&run, "which is as long as it may take"), "{run:?}");
    only(scratch, kept);
    assert!(!sockets.exists(), "{}", sockets.display());
}

/// Where the test restore that was killed has its sockets, as its marker says.
fn sockets(scratch: &Path) -> PathBuf {
    let runs = fs::read_dir(scratch).unwrap().map(|entry| entry.unwrap().path());
    let markers: Vec<_> = runs.filter_map(|run| fs::read_to_string(run.join("test-restore")).ok()).collect();
    assert_eq!(markers.len(), 1, "{markers:?}");
    markers[0].trim().strip_prefix("sockets=").unwrap().into()
}

fn lab_is_asleep(scratch: &Path) -> bool {
    servers(scratch).iter().any(|pid| {
        let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&title).contains("SELECT")
    })
}

/// What a manifest would find, and what it would not.
fn damaged(lab: &Lab, scratch: &Path) {
    let base = fs::read_dir(lab.server_dir().join("base")).unwrap().next().unwrap().unwrap().path();
    let table = base.join("data").join(lab.cluster.value("SELECT pg_relation_filepath('t')"));
    if lab.cluster.binaries().program("pg_amcheck").exists() {
        let whole = fs::read(&table).unwrap();
        let mut bytes = whole.clone();
        // In the middle of a page, which its checksum tells.
        bytes[8192 + 4000] ^= 0xff;
        fs::write(&table, bytes).unwrap();
        let run = verify(lab, scratch, &["--amcheck"]);
        assert!(run.code == 1 && says(&run, "pg_amcheck failed"), "{run:?}");
        fs::write(&table, whole).unwrap();
    }
    fs::write(base.join("data/PG_VERSION"), "9.1\n").unwrap();
    let run = verify(lab, scratch, &[]);
    assert!(run.code == 1 && says(&run, "PostgreSQL did not start: "), "{run:?}");
    let test = &remembered(lab)["last"];
    assert!(test["failure"].as_str().unwrap().contains("did not start"), "{test}");
    nothing_left(scratch);
}
