//! `restore --delta-restore`: over an older state of the cluster, and over what an interrupted restore left. What comes out
//! is what a restore into an empty directory makes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tapster_protocol::testing::servers;

use crate::chaos::{Running, wait_for};
use crate::lab::Lab;

const SUM: &str = "SELECT (SELECT count(*) FROM t) || ' ' || (SELECT sum(i) FROM outside)";

/// With a tablespace.
fn ready(lab: Lab, settings: &str) -> Lab {
    lab.configure("tapster.conf", &lab.cluster.conninfo().to_conninfo_string(), settings);
    let place = lab.cluster.create_dir("space");
    lab.cluster.sql(&format!("CREATE TABLESPACE space LOCATION '{}'", place.display()));
    lab.cluster.sql("CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 20000) AS i");
    lab.cluster.sql("CREATE TABLE outside TABLESPACE space AS SELECT generate_series(1, 20000) AS i");
    lab
}

/// The arguments of a restore of the newest backup into `name`, with its tablespace beside it.
fn words(lab: &Lab, name: &str, more: &[&str]) -> (PathBuf, PathBuf, Vec<String>) {
    let data = lab.cluster.directory().join(name);
    let space = lab.cluster.directory().join(format!("{name}-space"));
    let rule = format!("space:{}", space.display());
    let mut words = ["restore", "--tablespace", &rule].map(str::to_owned).to_vec();
    words.extend(more.iter().map(|word| (*word).to_owned()));
    words.extend(["main", "latest", data.to_str().unwrap()].map(str::to_owned));
    (data, space, words)
}

fn restore(lab: &Lab, name: &str, more: &[&str]) -> (PathBuf, PathBuf) {
    let (data, space, words) = words(lab, name, more);
    lab.ok(&words.iter().map(String::as_str).collect::<Vec<_>>());
    (data, space)
}

fn refused(lab: &Lab, name: &str, more: &[&str], text: &str) {
    let (_, _, words) = words(lab, name, more);
    let run = lab.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains(text), "{run:?}");
}

fn own(lab: &Lab, path: &Path) {
    let mut chown = Command::new("chown");
    chown.arg("-hR").arg("--reference").arg(lab.cluster.data_dir()).arg(path);
    assert!(chown.status().unwrap().success());
}

/// That two restores of one backup made the same, in the data directory and in the tablespace.
fn same(one: &(PathBuf, PathBuf), other: &(PathBuf, PathBuf)) {
    for (one, other) in [(&one.0, &other.0), (&one.1, &other.1)] {
        let mut diff = Command::new("diff");
        diff.args(["-rq", "--no-dereference", "-x", "pg_tblspc", "-x", "not-archived", "-x", "log"]);
        let output = diff.arg(one).arg(other).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    }
    for entry in fs::read_dir(other.0.join("pg_tblspc")).unwrap() {
        assert_eq!(fs::read_link(entry.unwrap().path()).unwrap(), other.1);
    }
}

/// A restored cluster lives on, and has all that it should not.
fn age(lab: &Lab, place: &(PathBuf, PathBuf)) {
    own(lab, &place.1);
    lab.ask_restored(&place.0, "SELECT 1 FROM (SELECT set_config('x.y', pg_switch_wal()::text, false)) AS s");
    let at = |name: &str| place.0.join(name);
    fs::create_dir_all(at("base/99999")).unwrap();
    fs::create_dir_all(at("log")).unwrap();
    for name in ["base/99999/1", "standby.signal", "recovery.signal", "tablespace_map", "log/postgresql.log"]
    {
        fs::write(at(name), "stale").unwrap();
    }
    let relation =
        fs::read_dir(at("base/1")).unwrap().map(|e| e.unwrap().path()).find(|p| p.ends_with("1259")).unwrap();
    let times = fs::metadata(&relation).unwrap().modified().unwrap();
    let mut bytes = fs::read(&relation).unwrap();
    bytes[100] ^= 1;
    fs::write(&relation, bytes).unwrap();
    fs::File::options().write(true).open(&relation).unwrap().set_modified(times).unwrap();
    fs::remove_file(at("pg_hba.conf")).unwrap();
    symlink("/etc/passwd", at("pg_hba.conf")).unwrap();
    fs::remove_dir_all(at("pg_stat")).unwrap();
    fs::write(at("pg_stat"), "x").unwrap();
}

#[test]
fn a_delta_restore_makes_what_a_restore_makes() {
    let Some(lab) = Lab::new() else { return };
    let lab = ready(lab, "");
    let receiver = lab.receive();
    lab.ok(&["backup", "main", "--wait"]);
    drop(receiver);
    let fresh = restore(&lab, "fresh", &[]);
    let aged = restore(&lab, "aged", &[]);
    age(&lab, &aged);
    // WAL that nobody else has: history, the beginning of a segment, and what a newer release wrote.
    let orphans = ["0000000A.history", "0000000900000000000000FE.partial", "0000000900000000000000FF"];
    for name in orphans {
        fs::write(aged.0.join("pg_wal").join(name), "nobody has this").unwrap();
    }
    let zeros = aged.0.join("pg_wal/0000000900000000000001FF");
    fs::write(&zeros, [0; 1000]).unwrap();

    // On a file system of its own.
    fs::create_dir(aged.0.join("pg_wal/lost+found")).unwrap();

    // Another cluster is not gone over.
    let (control, own_control) = (aged.0.join("global/pg_control"), aged.0.join("global/own"));
    fs::rename(&control, &own_control).unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../walfile/tests/data/15/pg_control.production");
    fs::copy(data, &control).unwrap();
    refused(&lab, "aged", &["--delta-restore"], "is another cluster: its system identifier is ");
    assert!(aged.0.join("base/99999").exists());
    fs::rename(&own_control, &control).unwrap();

    refused(&lab, "aged", &[], "is not empty. To prevent accidental data loss");
    let plan = lab.json(
        &words(&lab, "aged", &["--delta-restore", "--dry-run"])
            .2
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    let removed = plan["main"]["delta"]["removed"].as_array().unwrap();
    let is_removed = |name: &str| removed.contains(&aged.0.join(name).to_str().unwrap().into());
    assert!(
        ["base/99999", "standby.signal", "tablespace_map", "pg_stat"].into_iter().all(is_removed),
        "{plan}"
    );
    assert!(!is_removed("pg_wal/lost+found"));
    fs::remove_dir(aged.0.join("pg_wal/lost+found")).unwrap();
    assert!(!is_removed("log") && aged.0.join("base/99999").exists());
    let kept = plan["main"]["delta"]["not_archived"].as_array().unwrap();
    assert!(
        kept.len() > orphans.len() && orphans.iter().all(|name| kept.contains(&(*name).into())),
        "{plan}"
    );
    assert!(is_removed("pg_wal/0000000900000000000001FF"), "{plan}");
    let (_, _, words) = words(&lab, "aged", &["--delta-restore"]);
    let said = lab.ok(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains(" MiB) that were right already.\n"), "{said}");
    same(&fresh, &aged);
    assert_eq!(fs::read_to_string(aged.0.join("log/postgresql.log")).unwrap(), "stale");
    // Transactions that nobody else has.
    for segment in kept {
        assert!(aged.0.join("pg_wal/not-archived").join(segment.as_str().unwrap()).is_file());
    }
    own(&lab, &aged.1);
    assert_eq!(lab.ask_restored(&aged.0, SUM), "20000 200010000");

    // What must not be gone over.
    let other = lab.destination("other");
    fs::write(other.join("thesis.tex"), "x").unwrap();
    refused(&lab, "other", &["--delta-restore"], "it holds 'thesis.tex', which would be removed");
    assert!(other.join("thesis.tex").exists());
    let rule = format!("space:{}", fresh.1.display());
    let foreign =
        ["restore", "--delta-restore", "--tablespace", &rule, "main", "latest", aged.0.to_str().unwrap()];
    let run = lab.run(&foreign);
    assert!(run.stderr.contains("which do not belong to the destination"), "{run:?}");
    let live = lab.cluster.data_dir();
    let run = lab.run(&["restore", "--delta-restore", "main", "latest", live.to_str().unwrap()]);
    assert!(run.code == 1 && run.stderr.contains("is used by a running server"), "{run:?}");
    assert_eq!(lab.cluster.value("SELECT count(*) FROM t"), "20000");

    // A tablespace inside a data directory that is reached through a link.
    let (real, link) = (lab.cluster.directory().join("real"), lab.cluster.directory().join("link"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    let (data, rule) = (link.join("data"), format!("space:{}", real.join("data/space").display()));
    let inside = ["restore", "--tablespace", &rule, "main", "latest", data.to_str().unwrap()];
    lab.ok(&inside);
    let plan = lab.json(&[&inside[..1], &["--delta-restore", "--dry-run"], &inside[1..]].concat());
    let removed = plan["main"]["delta"]["removed"].as_array().unwrap();
    assert!(removed.iter().all(|path| !path.as_str().unwrap().contains("space")), "{plan}");

    // The default of the configuration; an empty destination is as without it.
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    lab.configure("tapster.conf", &conninfo, "recovery_options = delta-restore\n");
    restore(&lab, "aged", &[]);
    same(&fresh, &aged);
    same(&fresh, &restore(&lab, "second", &[]));
}

#[test]
fn archives_go_over_an_older_state() {
    let Some(lab) = Lab::new() else { return };
    let lab = ready(lab, "backup_compression = zstd\n");
    let receiver = lab.receive();
    lab.ok(&["backup", "main", "--wait"]);
    drop(receiver);
    let (fresh, aged) = (restore(&lab, "fresh", &[]), restore(&lab, "aged", &[]));
    age(&lab, &aged);
    restore(&lab, "aged", &["--delta-restore"]);
    same(&fresh, &aged);
    // Without a manifest nothing says what may stay, and everything is written anew.
    for entry in fs::read_dir(lab.server_dir().join("base")).unwrap() {
        fs::remove_file(entry.unwrap().path().join("data/backup_manifest")).unwrap();
    }
    age(&lab, &aged);
    restore(&lab, "aged", &["--delta-restore"]);
    fs::remove_file(
        fs::read_dir(&fresh.0)
            .unwrap()
            .map(|e| e.unwrap().path())
            .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("backup_manifest."))
            .unwrap(),
    )
    .unwrap();
    same(&fresh, &aged);
}

#[test]
fn a_chain_goes_over_an_older_state() {
    let able = servers().into_iter().find(|server| server.major >= 17);
    let lab = able.and_then(|server| Lab::with(|b| b.binaries(&server).config("summarize_wal = on")));
    let Some(lab) = lab else { return };
    let lab = ready(lab, "");
    let receiver = lab.receive();
    lab.ok(&["backup", "main", "--wait"]);
    let aged = restore(&lab, "aged", &[]);
    lab.cluster.sql("UPDATE t SET i = -i WHERE i % 1000 = 0");
    lab.cluster.sql("DELETE FROM outside WHERE i > 10000");
    lab.cluster.sql("VACUUM outside");
    lab.ok(&["backup", "main", "--wait", "--incremental", "latest"]);
    drop(receiver);
    age(&lab, &aged);
    restore(&lab, "aged", &["--delta-restore"]);
    let fresh = restore(&lab, "fresh", &[]);
    // The new manifest lists the files in the order in which they were made.
    for place in [&aged, &fresh] {
        for entry in fs::read_dir(&place.0).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("backup_manifest.") {
                fs::remove_file(path).unwrap();
            }
        }
    }
    same(&fresh, &aged);
    own(&lab, &aged.1);
    assert_eq!(lab.ask_restored(&aged.0, SUM), "20000 50005000");
}

/// L-C10: killed anywhere, it cannot be started; told so, one goes on.
#[test]
fn a_killed_restore_is_continued() {
    for (settings, attempts) in [("", &[1, 300, 900][..]), ("backup_compression = gzip\n", &[300])] {
        let Some(lab) = Lab::new() else { return };
        let lab = ready(lab, settings);
        let receiver = lab.receive();
        lab.ok(&["backup", "main", "--wait"]);
        drop(receiver);
        let fresh = restore(&lab, "fresh", &[]);
        let (data, space, first) = words(&lab, "half", &[]);
        let first: Vec<&str> = first.iter().map(String::as_str).collect();
        let (_, _, again) = words(&lab, "half", &["--delta-restore"]);
        let again: Vec<&str> = again.iter().map(String::as_str).collect();
        for (attempt, files) in attempts.iter().enumerate() {
            let mut restore = Running::start(&lab, if attempt == 0 { &first } else { &again });
            wait_for("some files", || count(&data) >= *files || !restore.is_running());
            if attempt == 1 {
                // Nobody else gets in meanwhile; the first one may have ended by then.
                let run = lab.run(&again);
                assert!(!restore.is_running() || run.stderr.contains("is running: process "), "{run:?}");
            }
            restore.kill();
            if data.join("global/pg_control").exists() {
                // It was quicker than we were.
                continue;
            }
            let id = lab.json(&["list-backups", "main"])["main"][0]["backup_id"].as_str().unwrap().to_owned();
            let text =
                format!("is not empty: it holds an unfinished restore of backup {id} of server 'main'\n");
            refused(&lab, "half", &[], &text);
            refused(&lab, "half", &[], "HINT: continue it with --delta-restore");
        }
        lab.ok(&again);
        same(&fresh, &(data.clone(), space.clone()));
        assert!(!data.join(".tapster-restore").exists() && !space.join(".tapster-restore").exists());
        own(&lab, &space);
        assert_eq!(lab.ask_restored(&data, SUM), "20000 200010000");
    }
}

fn count(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.map(|path| if path.is_dir() && !path.is_symlink() { count(&path) } else { 1 }).sum()
}

/// A file system of its own, as long as it is wanted.
struct Mount(PathBuf);

impl Mount {
    /// `None`, with the reason, where it may not be made.
    fn new(lab: &Lab, name: &str) -> Option<Self> {
        let path = lab.destination(name);
        let output =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=128m", "tmpfs"]).arg(&path).output();
        match output {
            Ok(output) if output.status.success() => Some(Self(path)),
            Ok(output) => {
                eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                eprintln!("skipped: mount: {error}");
                None
            }
        }
    }

    /// As a new file system of a disk is.
    fn empty(&self) {
        for entry in fs::read_dir(&self.0).unwrap() {
            let path = entry.unwrap().path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.unwrap();
        }
        fs::create_dir(self.0.join("lost+found")).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn mount_points_are_destinations() {
    let Some(lab) = Lab::new() else { return };
    let (Some(data), Some(space)) = (Mount::new(&lab, "mounted"), Mount::new(&lab, "mounted-space")) else {
        return;
    };
    let lab = ready(lab, "");
    let receiver = lab.receive();
    lab.ok(&["backup", "main", "--wait"]);
    drop(receiver);
    let place = restore(&lab, "mounted", &[]);
    assert_eq!((&place.0, &place.1), (&data.0, &space.0));
    own(&lab, &place.1);
    assert_eq!(lab.ask_restored(&place.0, SUM), "20000 200010000");
    for dir in [&place.0, &place.1] {
        fs::write(dir.join(if *dir == place.0 { "stray" } else { "PG_99_1" }), "x").unwrap();
    }
    restore(&lab, "mounted", &["--delta-restore"]);
    assert!(!place.0.join("stray").exists() && place.1.join("PG_99_1").exists());
    own(&lab, &place.1);
    assert_eq!(lab.ask_restored(&place.0, SUM), "20000 200010000");
    // A tablespace may lie beside what belongs to the file system, a data directory may not.
    data.empty();
    space.empty();
    for more in [&[][..], &["--delta-restore"]] {
        refused(&lab, "mounted", more, "is a mount point and holds 'lost+found'");
    }
    fs::remove_dir(data.0.join("lost+found")).unwrap();
    restore(&lab, "mounted", &[]);
    own(&lab, &place.1);
    assert_eq!(lab.ask_restored(&place.0, SUM), "20000 200010000");
    restore(&lab, "mounted", &["--delta-restore"]);
    assert!(place.1.join("lost+found").is_dir());
}
