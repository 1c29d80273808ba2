//! The disk is full: one clear line, nothing acknowledged is lost, and after making room it goes on where it was.
//!
//! A real small file system is mounted, which only root may do.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::chaos::{
    Running, Stored, acknowledged, finish_segment, lab, lsn, wait_for, wait_until_received, write_wal,
};
use crate::lab::Lab;
use crate::sshd::{Hub, Sshd, Which, small_segment, told};

/// A file system in memory; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`: this process may not mount anything.
    fn mount(at: &Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={megabytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).stderr(Stdio::null());
        if !mount.status().is_ok_and(|status| status.success()) {
            println!("skipped: mounting a small file system is not permitted");
            return None;
        }
        Some(Self(at.to_owned()))
    }

    fn resize(&self, megabytes: u32) {
        let size = format!("remount,size={megabytes}m");
        assert!(Command::new("mount").args(["-o", &size]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // At once, whoever still has files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// L-A1, L-A35.
#[test]
fn l_a35_a_full_disk_stops_the_receiver_where_it_is() {
    let Some(lab) = lab(|builder| builder) else { return };
    lab.ok(&["receive-wal", "--create-slot", "main"]);
    let start = lsn(&lab.cluster.value("SELECT restart_lsn FROM pg_replication_slots"));
    let Some(disk) = SmallDisk::mount(&lab.path("home"), 8) else { return };
    let receiver = Running::start(&lab, &["receive-wal", "main"]);
    wait_for("the connection", || {
        !lab.cluster.sql("SELECT 1 FROM pg_replication_slots WHERE active").is_empty()
    });
    while finish_segment(&lab.cluster).get() < start.get() + (12 << 20) {
        write_wal(&lab.cluster, 20000);
    }
    let stored = Stored::new(&lab);
    for run in [receiver.end(), lab.run(&["receive-wal", "main"])] {
        assert_eq!(run.code, 1, "{run:?}");
        let [error, details, hint] = run.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{run:?}") };
        assert_eq!(error, "ERROR: WAL streaming from server 'main' failed");
        assert!(
            details.contains("could not store WAL at ") && details.contains("No space left on device"),
            "{details}"
        );
        assert!(hint.starts_with("HINT: everything that was acknowledged is on disk"), "{hint}");
        let safe = acknowledged(&lab.cluster);
        assert!(safe.get() > start.get() + (4 << 20), "{safe}");
        stored.hold_all(start, safe);
    }
    let archive = lab.run(&["archive-wal", "main"]);
    stored.hold_all(start, acknowledged(&lab.cluster));
    if archive.code != 0 {
        assert_eq!(archive.stderr.lines().count(), 1, "{archive:?}");
        assert!(archive.stderr.contains("No space left on device"), "{archive:?}");
    }

    disk.resize(64);
    let receiver = Running::start(&lab, &["receive-wal", "main"]);
    let end = finish_segment(&lab.cluster);
    wait_until_received(&lab.cluster, end);
    assert_eq!(receiver.stop().code, 0);
    lab.ok(&["archive-wal", "main"]);
    stored.hold_all(start, end);
    stored.hold_records(&lab, start, end);
    stored.hold_index();
    stored.hold_no_leftovers();
}

#[test]
fn a_backup_and_a_restore_on_a_full_disk_say_so() {
    let Some(lab) = lab(|builder| builder) else { return };
    let receiver = lab.receive();
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    let stored = Stored::new(&lab);
    let Some(disk) = SmallDisk::mount(&stored.layout.base, 10) else { return };
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    let sshd = Sshd::start_with("exit 1", None, Path::new("/dev/null"));
    let over_ssh = sshd
        .as_ref()
        .map(|sshd| format!("ssh_command = {}\nbackup_options = concurrent_backup\n", sshd.ssh_command()));
    let forms = [
        Some("backup_compression = none\n".to_owned()),
        Some("backup_options = concurrent_backup\n".to_owned()),
        over_ssh,
        Some(String::new()),
    ];
    for form in forms.into_iter().flatten() {
        let config = lab.configure("tapster.conf", &conninfo, &form);
        let method = match form.split_once(' ') {
            Some(("backup_options", _)) => "= local-rsync",
            Some(("ssh_command", _)) => "= rsync",
            _ => "= postgres",
        };
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text.replacen("= postgres", method, 1)).unwrap();
        let run = lab.run(&["backup", "main"]);
        assert_eq!(run.code, 1, "{run:?}");
        let [error, details] = run.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{run:?}") };
        assert_eq!(error, "ERROR: Backup failed copying files.");
        assert!(
            details.contains("No space left on device") && details.ends_with("is recorded as FAILED"),
            "{details}"
        );
        assert_eq!(lab.json(&["list-backups", "main"])["main"][0]["status"], "FAILED");
        lab.ok(&["delete", "main", "last-failed"]);
        assert_eq!(std::fs::read_dir(&stored.layout.base).unwrap().count(), 0);
    }
    disk.resize(200);
    lab.ok(&["backup", "main", "--wait"]);
    assert_eq!(lab.json(&["list-backups", "main"])["main"][0]["status"], "DONE");
    write_wal(&lab.cluster, 40000);
    lab.ok(&["switch-wal", "--archive", "main"]);
    drop(receiver);

    let data = lab.path("restored");
    let Some(small) = SmallDisk::mount(&data, 10) else { return };
    let run = lab.run(&["restore", "main", "latest", data.to_str().unwrap()]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains(" MiB free, the restore needs "), "{run:?}");
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
    a_disk_that_fills_up_meanwhile(&lab, &stored, &data, &small);
}

/// L-A1: what is half restored cannot be started, says so, and is restored by the same command once there is room.
fn a_disk_that_fills_up_meanwhile(lab: &Lab, stored: &Stored, data: &Path, small: &SmallDisk) {
    let [backup] =
        &std::fs::read_dir(&stored.layout.base).unwrap().map(|e| e.unwrap()).collect::<Vec<_>>()[..]
    else {
        panic!("one backup")
    };
    let bytes = |path: &Path| -> u64 {
        let output = Command::new("du").arg("-sk").arg(path).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
    };
    let whole = u32::try_from(bytes(&backup.path().join("data")) >> 20).unwrap();
    // As somebody else would fill the disk after it was looked at: to the plan the backup is small.
    let id = backup.file_name().into_string().unwrap();
    let record = [backup.path().join("backup.info"), stored.layout.meta.join(format!("{id}-backup.info"))]
        .into_iter()
        .find(|path| path.exists())
        .unwrap();
    let truth = std::fs::read_to_string(&record).unwrap();
    let lie =
        |line: &str| if line.starts_with("size=") { "size=1\n".to_owned() } else { format!("{line}\n") };
    std::fs::write(&record, truth.lines().map(lie).collect::<String>()).unwrap();
    let restore_with = |more: &[&str]| {
        let target = ["--target-immediate", "--target-action", "promote"];
        lab.run(&[&["restore"], more, &target[..], &["main", "latest", data.to_str().unwrap()]].concat())
    };
    let restore = || restore_with(&[]);
    // In the middle of the files, and after them, in those that recovery needs.
    for (megabytes, more) in [(whole / 2, &[][..]), (whole + 1, &["--delta-restore"])] {
        small.resize(megabytes);
        let run = restore_with(more);
        assert_eq!(run.code, 1, "{megabytes}: {run:?}");
        assert!(
            run.stderr.starts_with("ERROR: ") && run.stderr.contains("No space left on device"),
            "{run:?}"
        );
        assert!(!data.join("global/pg_control").exists(), "it could be started");
        assert_eq!(lab.json(&["list-backups", "main"])["main"][0]["status"], "DONE");
        let hint = "HINT: the destination has no pg_control and cannot be started; continue with --delta-restore, or empty it and try again\n";
        assert!(run.stderr.ends_with(hint), "{run:?}");
        assert!(restore().stderr.contains(" is not empty: it holds an unfinished restore of backup "));
    }
    std::fs::write(&record, truth).unwrap();
    small.resize(400);
    let run = restore_with(&["--delta-restore"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(lab.ask_restored(data, "SELECT 1"), "1");
    empty(data);
    a_segment_that_cannot_be_copied(lab, data);
}

fn empty(directory: &Path) {
    let emptied = Command::new("find").arg(directory).args(["-mindepth", "1", "-delete"]).status();
    assert!(emptied.unwrap().success());
}

/// To `cp` a full disk is an exit code as any, with which PostgreSQL would open for writing without the rest of the WAL.
fn a_segment_that_cannot_be_copied(lab: &Lab, data: &Path) {
    lab.ok(&["restore", "--target-tli", "current", "main", "latest", data.to_str().unwrap()]);
    let staged = data.join("barman_wal");
    let mut names: Vec<_> = std::fs::read_dir(&staged).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.retain(|name| name.len() == 24);
    names.sort();
    // Where the backup has long been consistent.
    let name = names.pop().unwrap();
    let (segment, aside) = (staged.join(&name), data.join("aside"));
    std::fs::rename(&segment, &aside).unwrap();
    std::fs::create_dir(&segment).unwrap();
    let log = lab.fail_restored(data);
    let told = format!("could not restore file \"{}\" from archive", name.to_str().unwrap());
    assert!(log.contains(&told) && log.contains("exit code 200"), "{log}");
    assert!(!log.contains("archive recovery complete"), "{log}");
    std::fs::remove_dir(&segment).unwrap();
    std::fs::rename(&aside, &segment).unwrap();
    assert_eq!(lab.ask_restored(data, "SELECT count(*) FROM load"), "40000");
}

/// Segments of 1 MiB that do not compress, in the queue.
fn queue(hub: &Hub, count: u64) -> Vec<(String, Vec<u8>)> {
    let segment = |number: u64| {
        let name = format!("00000001{:08X}{:08X}", number >> 12, number & 0xFFF);
        let bytes = small_segment(&name, number);
        std::fs::write(hub.main("incoming").join(&name), &bytes).unwrap();
        (name, bytes)
    };
    (1..=count).map(segment).collect()
}

/// Several files at once would need room that one after the other finds; and who has no room at all loses nothing.
#[test]
fn a_queue_is_archived_one_by_one_where_there_is_no_room_for_more() {
    let hub = Hub::new();
    let home = hub.dir.path().join("home");
    let saved = hub.dir.path().join("saved");
    std::fs::rename(&home, &saved).unwrap();
    let Some(_disk) = SmallDisk::mount(&home, 16) else { return };
    assert!(Command::new("cp").arg("-a").arg(saved.join(".")).arg(&home).status().unwrap().success());
    let config = std::fs::read_to_string(hub.config()).unwrap();
    std::fs::write(hub.config(), config.replace("archiver = on\n", "archiver = on\ncompression = zstd\n"))
        .unwrap();
    let segments = queue(&hub, 12);
    let archive = || {
        let mut command = Which::Ours.command("barman").unwrap();
        told(&command.arg("-c").arg(hub.config()).args(["archive-wal", "main"]).output().unwrap())
    };
    let filler = home.join("filler");
    // No room at all: not even for a line of the index, or for the number of the process in its lock.
    drop(std::fs::write(&filler, vec![1; 16 << 20]));
    let full = archive();
    assert!(full.0 == 1 && full.2.contains("No space left on device"), "{full:?}");
    assert!(!full.2.contains("cannot lock"), "{full:?}");
    assert_eq!(hub.names("incoming").len(), 12);
    std::fs::write(&filler, vec![1; 2700 << 10]).unwrap();
    let one_by_one = archive();
    assert_eq!(one_by_one.0, 0, "{one_by_one:?}");
    assert_eq!(hub.names("incoming"), [""; 0]);
    let stored = hub.names("wals/0000000100000000");
    assert_eq!(stored, segments.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
    let listed = std::fs::read_to_string(hub.main("wals/main-xlog.db")).unwrap();
    assert_eq!(listed.lines().count(), segments.len(), "{listed}");
    for (name, bytes) in &segments {
        let mut command = Which::Ours.command("barman").unwrap();
        let got = command.arg("-c").arg(hub.config()).args(["get-wal", "main", name]).output().unwrap();
        assert!(got.stdout == *bytes, "{name}");
    }
}
