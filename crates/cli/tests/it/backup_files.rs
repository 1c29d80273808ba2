//! `backup_method = rsync` and `local-rsync`, as a user has them, over a real ssh, side by side with Barman.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tapster_protocol::testing::{Cluster, StopMode};

use crate::chaos::{Running, wait_for};
use crate::lab::{Lab, Receiver};
use crate::sshd::Sshd;

const LOCAL: &str = "backup_method = local-rsync\nreuse_backup = link\nbackup_options = concurrent_backup\n";

fn configure(lab: &Lab, conninfo: &str, settings: &str) {
    let config = lab.configure("tapster.conf", conninfo, settings);
    let text = std::fs::read_to_string(&config).unwrap().replacen("backup_method = postgres\n", "", 1);
    std::fs::write(&config, text).unwrap();
}

/// A lab that is ready for backups.
fn ready(settings: &str) -> Option<(Lab, Receiver)> {
    let lab = Lab::new()?;
    configure(&lab, &lab.cluster.conninfo().to_conninfo_string(), settings);
    let place = lab.cluster.create_dir("space");
    lab.cluster.sql(&format!("CREATE TABLESPACE space LOCATION '{}'", place.display()));
    lab.cluster.sql("CREATE TABLE t TABLESPACE space AS SELECT generate_series(1, 20000) AS i");
    lab.cluster.sql("CHECKPOINT");
    let receiver = lab.receive();
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    Some((lab, receiver))
}

fn backups(lab: &Lab) -> Vec<(String, String)> {
    let list = lab.json(&["list-backups", "main"]);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let list = list["main"].as_array().cloned().unwrap_or_default();
    list.iter().map(|backup| (text(&backup["backup_id"]), text(&backup["status"]))).collect()
}

fn files(dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() && !path.is_symlink() { files(&path) } else { 1 })
        .sum()
}

/// The table's file in a backup.
fn table(lab: &Lab, id: &str) -> PathBuf {
    let oid = lab.cluster.value("SELECT oid FROM pg_tablespace WHERE spcname = 'space'");
    let file = lab.cluster.value("SELECT pg_relation_filepath('t')");
    let inside = Path::new(&file).strip_prefix(Path::new("pg_tblspc").join(&oid)).unwrap();
    lab.server_dir().join("base").join(id).join(oid).join(inside)
}

fn restore(lab: &Lab, name: &str, original: bool) -> Option<String> {
    let (data, space) = (lab.destination(name), lab.destination(&format!("{name}-space")));
    let space_option = format!("space:{}", space.display());
    let words = ["restore", "--tablespace", &space_option, "main", "latest", data.to_str().unwrap()];
    let run = if original { lab.barman(&words)? } else { lab.run(&words) };
    assert_eq!(run.code, 0, "{run:?}");
    let mut chown = std::process::Command::new("chown");
    chown.arg("-R").arg("--reference").arg(lab.cluster.data_dir()).arg(&space);
    assert!(chown.status().unwrap().success());
    Some(lab.ask_restored(&data, "SELECT count(*) FROM t"))
}

/// Each program goes on where the other has left off, and restores what the other made.
fn side_by_side(lab: &Lab) {
    for words in [&["backup", "main", "--wait"][..], &["backup", "main", "--wait", "--jobs", "2"]] {
        let said = lab.ok(words);
        assert!(said.contains("Asking PostgreSQL server to finalize the backup."), "{said}");
    }
    let mut expected = 2;
    // The original does not look whether the id of this second is taken.
    std::thread::sleep(std::time::Duration::from_secs(1));
    if let Some(run) = lab.barman(&["backup", "main", "--wait"]) {
        assert_eq!(run.code, 0, "{run:?}");
        lab.ok(&["backup", "main", "--wait", "--manifest"]);
        expected = 4;
        let list = lab.barman(&["list-backups", "main"]).unwrap().stdout;
        assert_eq!(list.matches(" - R - ").count(), 4, "{list}");
        let shown = lab.barman(&["show-backup", "main", "latest"]).unwrap();
        assert!(shown.code == 0 && shown.stdout.contains("rsync-concurrent"), "{shown:?}");
        assert_eq!(restore(lab, "by-barman", true).unwrap(), "20000");
        lab.ok(&["verify-backup", "main", "latest"]);
    }
    let found = backups(lab);
    assert!(found.len() == expected && found.iter().all(|(_, status)| status == "DONE"), "{found:?}");
    let inodes: Vec<_> = found.iter().map(|(id, _)| table(lab, id).metadata().unwrap().ino()).collect();
    assert!(inodes.iter().all(|inode| *inode == inodes[0]), "one file, linked by both programs");
    assert_eq!(restore(lab, "by-us", false).unwrap(), "20000");
}

#[test]
fn remote_files_come_over_ssh() {
    let Some(sshd) = Sshd::start_with("exit 1", None, Path::new("/dev/null")) else { return };
    let settings = format!(
        "backup_method = rsync\nssh_command = {}\nreuse_backup = link\nbackup_options = concurrent_backup\n",
        sshd.ssh_command()
    );
    let Some((lab, _receiver)) = ready(&settings) else { return };
    let check = lab.ok(&["check", "main"]);
    assert!(check.contains("\tssh: OK (PostgreSQL server)\n"), "{check}");
    side_by_side(&lab);

    // A tablespace that is not there for the user who copies.
    let place = PathBuf::from(
        lab.cluster.value("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'space'"),
    );
    lab.cluster.sql("CHECKPOINT");
    std::fs::rename(&place, place.with_extension("hidden")).unwrap();
    let run = lab.run(&["backup", "main"]);
    std::fs::rename(place.with_extension("hidden"), &place).unwrap();
    assert!(run.code == 1 && run.stderr.contains("tablespace 'space': "), "{run:?}");
    assert_eq!(backups(&lab)[0].1, "FAILED");

    // A host that cannot be reached keeps the backup from being begun.
    let text = std::fs::read_to_string(lab.path("tapster.conf")).unwrap();
    std::fs::write(lab.path("other.conf"), text.replace("@127.0.0.1", "@127.0.0.1 -p 1")).unwrap();
    let run = lab.run_with("other.conf", &["backup", "main"]);
    assert!(run.code == 1 && run.stderr.contains("ssh"), "{run:?}");
}

#[test]
fn local_files_are_copied_and_shared_with_what_barman_made() {
    let Some((lab, _receiver)) = ready(LOCAL) else { return };
    let check = lab.ok(&["check", "main"]);
    assert!(check.contains("\tlocal PGDATA: OK (Access to local PGDATA)\n"), "{check}");
    side_by_side(&lab);
}

/// Killed, or its server gone: the server is not left in backup mode, and what comes next is a whole backup.
#[test]
fn a_file_copy_that_dies_is_in_nobodys_way() {
    let Some((lab, _receiver)) = ready(LOCAL) else { return };
    dies(&lab, None);
}

#[test]
fn a_file_copy_over_ssh_that_dies_is_in_nobodys_way() {
    let Some(sshd) = Sshd::start_with("exit 1", None, Path::new("/dev/null")) else { return };
    let settings = format!("backup_method = rsync\nssh_command = {}\n", sshd.ssh_command());
    let Some((lab, _receiver)) = ready(&settings) else { return };
    dies(&lab, Some(sshd));
}

fn dies(lab: &Lab, sshd: Option<Sshd>) {
    let base = lab.server_dir().join("base");
    let half = || {
        let before = files(&base);
        let mut backup = Running::start(lab, &["backup", "main", "--bwlimit", "2000"]);
        wait_for("some files", || files(&base) > before + 20 || !backup.is_running());
        assert!(backup.is_running(), "{:?}", backup.end());
        backup
    };
    half().kill();
    if let Some(sshd) = &sshd {
        // rsync would go through its list, into a backup that stays STARTED.
        sshd.cut();
    }
    wait_for("the end of the session", || {
        lab.cluster.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'barman'") == "0"
    });
    let mut expected = vec!["STARTED", "FAILED", "FAILED", "DONE"];
    let stopped = half().stop();
    assert!(stopped.code != 0 && stopped.stderr.contains("FAILED"), "{stopped:?}");
    let backup = half();
    lab.cluster.stop(StopMode::Immediate);
    let run = backup.end();
    assert_eq!(run.code, 1, "{run:?}");
    lab.cluster.start();
    wait_for("the receiver", || {
        lab.cluster.sql("SELECT 1 FROM pg_replication_slots WHERE active").len() == 1
    });
    if let Some(sshd) = &sshd {
        let backup = half();
        sshd.cut();
        let run = backup.end();
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stderr.contains("rsync") && run.stderr.contains("FAILED"), "{run:?}");
        expected.insert(3, "FAILED");
        let session = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'barman'";
        assert_eq!(lab.cluster.value(session), "0");
    }
    lab.ok(&["backup", "main", "--wait"]);
    let found = backups(lab);
    let status: Vec<_> = found.iter().rev().map(|(_, status)| status.as_str()).collect();
    assert_eq!(status, expected);
    for (id, _) in &found[1..] {
        lab.ok(&["delete", "main", id]);
    }
    assert_eq!(std::fs::read_dir(&base).unwrap().count(), 1);
    assert_eq!(restore(lab, "restored", false).unwrap(), "20000");
}

/// Of a standby whose primary has nothing to do.
#[test]
fn a_standbys_files_are_copied() {
    let Some(primary) = Cluster::builder().wal_segment_mb(1).start() else { return };
    primary.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i");
    let standby = Cluster::builder().standby_of(&primary, None);
    let Some(lab) = Lab::with(|builder| builder.wal_segment_mb(1)) else { return };
    let of_primary = format!("primary_conninfo = {}\n", primary.conninfo().to_conninfo_string());
    configure(&lab, &standby.conninfo().to_conninfo_string(), &format!("{LOCAL}{of_primary}"));
    lab.ok(&["receive-wal", "--create-slot", "main"]);
    let receiver = Running::start(&lab, &["receive-wal", "main"]);
    wait_for("the connection", || !standby.sql("SELECT 1 FROM pg_replication_slots WHERE active").is_empty());
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    for _ in 0..2 {
        let run = lab.run(&["backup", "main", "--wait", "--wait-timeout", "60"]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    }
    let (id, status) = &backups(&lab)[0];
    assert_eq!(status, "DONE");
    let label = lab.server_dir().join("base").join(id).join("data/backup_label");
    assert!(std::fs::read_to_string(label).unwrap().contains("BACKUP FROM: standby"));
    let data = lab.destination("restored");
    lab.ok(&["restore", "main", "latest", data.to_str().unwrap()]);
    assert!(!data.join("standby.signal").exists());
    assert_eq!(lab.ask_restored(&data, "SELECT count(*) FROM t"), "1000");
    assert_eq!(receiver.stop().code, 0);
}
