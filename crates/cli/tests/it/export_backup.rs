//! `export-backup` and `import-backup`, with real Barman on the other side, and files that nobody should import.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tapster_copy::compress::{StreamCodec, StreamEncoder};
use tapster_copy::tar::{MemberKind, NewMember, Writer};
use tapster_protocol::testing::StopMode;

use crate::lab::Lab;
use crate::program::Run;

fn succeeded(run: &Run) -> &str {
    assert_eq!(run.code, 0, "{run:?}");
    &run.stdout
}

/// The file that the program said it has written.
fn exported(stdout: &str) -> PathBuf {
    stdout.lines().find_map(|line| line.strip_prefix("Export completed successfully: ")).unwrap().into()
}

/// A cluster on its second timeline with a tablespace, and one backup of 100 rows.
fn lab() -> Option<Lab> {
    let lab = Lab::new()?;
    lab.cluster.stop(StopMode::Fast);
    lab.cluster.append("standby.signal", "");
    lab.cluster.start();
    lab.cluster.promote();
    let far = lab.cluster.create_dir("far");
    lab.cluster.sql(&format!("CREATE TABLESPACE far LOCATION '{}'", far.display()));
    lab.configure(
        "tapster.conf",
        &lab.cluster.conninfo().to_conninfo_string(),
        "path_prefix = /usr/lib/postgresql/15/bin\n",
    );
    Some(lab)
}

fn delete(lab: &Lab) {
    succeeded(&lab.barman(&["keep", "main", "latest", "--release"]).unwrap());
    lab.ok(&["delete", "main", "latest"]);
}

#[test]
fn both_programs_import_what_the_other_one_exported() {
    let Some(lab) = lab() else { return };
    if lab.barman(&["--version"]).is_none() {
        return;
    }
    let receiver = lab.receive();
    lab.cluster.sql("CREATE TABLE t TABLESPACE far AS SELECT g AS id FROM generate_series(1, 100) g");
    lab.ok(&["backup", "main", "--wait"]);
    let out = lab.path("out");
    fs::create_dir(&out).unwrap();
    let directory = out.to_str().unwrap();
    let theirs =
        lab.barman(&["export-backup", "main", "latest", directory, "--compression", "gzip"]).unwrap();
    let theirs = exported(succeeded(&theirs));
    let plain = lab.ok(&["export-backup", "main", "latest", directory]);
    let said = format!("Exporting backup 'latest' from server 'main' to '{directory}'\n");
    assert!(plain.starts_with(&said), "{plain}");
    let packed = ["gzip", "bzip2", "xz"].map(|codec| {
        exported(&lab.ok(&["export-backup", "main", "latest", directory, "--compression", codec]))
    });
    assert_eq!(fs::read_dir(&out).unwrap().count(), 5, "nothing but the files");
    let record = lab.json(&["show-backup", "main", "latest"]);
    let history = lab.server_dir().join("wals/00000002.history");
    let history_stored = fs::read(&history).unwrap();
    drop(receiver);

    lab.ok(&["delete", "main", "latest"]);
    assert!(exported(&plain).exists());
    for ours in packed.iter().rev() {
        let run = lab.barman(&["import-backup", "main", ours.to_str().unwrap()]).unwrap();
        assert!(succeeded(&run).contains("Successfully imported backup"), "{run:?}");
        let again = lab.run(&["import-backup", "main", ours.to_str().unwrap()]);
        assert!(again.stderr.contains("already exists in the catalog for server 'main'"), "{again:?}");
        if *ours == packed[0] {
            let verified = lab.barman(&["verify-backup", "main", "latest"]).unwrap();
            assert!(succeeded(&verified).contains("backup successfully verified"), "{verified:?}");
            let data = lab.destination("by-barman");
            let far = format!("far:{}", lab.destination("far-by-barman").display());
            let to = data.to_str().unwrap();
            succeeded(&lab.barman(&["restore", "--tablespace", &far, "main", "latest", to]).unwrap());
            own(&lab, "far-by-barman");
            assert_eq!(lab.ask_restored(&data, "SELECT count(*) FROM t"), "100");
        }
        delete(&lab);
    }

    // Imported by Tapster, from Barman's file and from one of its own, into an archive without the timeline's history.
    for file in [&theirs, &packed[1]] {
        fs::remove_file(&history).unwrap();
        lab.ok(&["rebuild-xlogdb", "main"]);
        let said = lab.ok(&["import-backup", "main", file.to_str().unwrap()]);
        assert!(said.ends_with(" into server 'main'\n"), "{said}");
        assert_eq!(history.exists(), file != &theirs, "only ours brings the history");
        if history.exists() {
            assert!(fs::read(&history).unwrap() == history_stored);
        } else {
            fs::write(&history, &history_stored).unwrap();
        }
        let shown = lab.json(&["show-backup", "main", "latest"]);
        for key in ["backup_id", "base_backup_information", "pgdata_directory", "status", "tablespaces"] {
            assert_eq!(shown["main"][key], record["main"][key], "{key}");
        }
        let look = ["show-backup", "main", "latest"];
        assert_eq!(lab.run(&look), lab.barman(&look).unwrap());
        let kept = lab.barman(&["keep", "--status", "main", "latest"]).unwrap();
        assert_eq!(succeeded(&kept), "Server main:\n\tKeep: standalone\n");
        if file == &theirs {
            let verified = lab.barman(&["verify-backup", "main", "latest"]).unwrap();
            assert!(succeeded(&verified).contains("backup successfully verified"), "{verified:?}");
            let data = lab.destination("by-tapster");
            let far = format!("far:{}", lab.destination("far-by-tapster").display());
            lab.ok(&["restore", "--tablespace", &far, "main", "latest", data.to_str().unwrap()]);
            own(&lab, "far-by-tapster");
            assert_eq!(lab.ask_restored(&data, "SELECT count(*) FROM t"), "100");
        }
        delete(&lab);
    }
}

/// The server's user must reach the files of a tablespace.
fn own(lab: &Lab, name: &str) {
    let mut chown = std::process::Command::new("chown");
    chown.arg("-R").arg("--reference").arg(lab.cluster.data_dir()).arg(lab.cluster.directory().join(name));
    assert!(chown.status().unwrap().success());
}

/// A catalog without a server, that knows which cluster it is of.
struct Offline {
    home: tempfile::TempDir,
}

const SYSTEM: &str = "7710408692298386193";
const STEM: &str = "backup-export-main-20261121T000542-20261122T101500";

impl Offline {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let text = format!(
            "[barman]\nbarman_home = {0}/home\nbarman_user = {1}\nlog_file = {0}/log\n[main]\nconninfo = host=none\n\
             streaming_conninfo = host=none\nbackup_method = postgres\nstreaming_archiver = on\nslot_name = x\n",
            home.path().display(),
            crate::lab::user(),
        );
        fs::write(home.path().join("tapster.conf"), text).unwrap();
        let root = home.path().join("home/main");
        fs::create_dir_all(&root).unwrap();
        let identity = format!("{{\"systemid\": \"{SYSTEM}\", \"version\": \"15\"}}");
        fs::write(root.join("identity.json"), identity).unwrap();
        Self { home }
    }

    fn run(&self, args: &[&str]) -> Run {
        let config = self.home.path().join("tapster.conf");
        crate::program::run_as("barman", &[&["-c", config.to_str().unwrap()], args].concat())
    }

    /// Gives the archive its name and tries to import it; nothing may be left.
    fn refuses(&self, archive: &[u8], suffix: &str) -> String {
        let sum: String = Sha256::digest(archive).iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.home.path().join(format!("{STEM}-{}.tar{suffix}", &sum[..8]));
        fs::write(&path, archive).unwrap();
        let run = self.run(&["import-backup", "main", path.to_str().unwrap()]);
        fs::remove_file(&path).unwrap();
        assert_eq!((run.code, run.stderr.lines().count()), (1, 1), "{run:?}");
        let base = self.home.path().join("home/main/base");
        assert!(fs::read_dir(base).map_or(0, Iterator::count) == 0, "{run:?}");
        assert!(!Path::new("/tmp/tapster-was-here").exists());
        run.stderr.trim_end().to_owned()
    }
}

fn record(change: &[(&str, &str)]) -> String {
    let mut record = tapster_catalog::BackupRecord::new("20261121T000542".parse().unwrap());
    record.status = tapster_catalog::BackupStatus::Done;
    record.systemid = Some(SYSTEM.to_owned());
    record.begin_wal = Some("000000010000000000000005".parse().unwrap());
    record.end_wal = record.begin_wal;
    let mut text = record.to_text();
    for (key, value) in change {
        let old = text.lines().find(|line| line.starts_with(&format!("{key}="))).unwrap().to_owned();
        text = text.replace(&old, &format!("{key}={value}"));
    }
    text
}

fn identity(system: &str) -> String {
    format!("{{\"systemid\": \"{system}\", \"version\": \"15\"}}")
}

fn archive(members: &[(&str, MemberKind, &[u8])]) -> Vec<u8> {
    let mut archive = Writer::new(Vec::new());
    for (name, kind, content) in members {
        let mut member = NewMember::file(name.as_ref(), content.len() as u64);
        member.kind = kind.clone();
        archive.start(&member).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap()
}

#[test]
fn hostile_archives_are_refused() {
    use MemberKind::{Directory, File, Symlink};
    let offline = Offline::new();
    let identity_text = identity(SYSTEM);
    let id = ("identity.json", File, identity_text.as_bytes());
    let with =
        |members: &[(&str, MemberKind, &[u8])]| archive(&[std::slice::from_ref(&id), members].concat());
    let link = || Symlink("/tmp".into());
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (with(&[("../../../tmp/tapster-was-here", File, b"x")]), "it contains '..'"),
        (with(&[("/tmp/tapster-was-here", File, b"x")]), "it is absolute"),
        (with(&[("backup/data", link(), b"")]), "it is a symbolic link"),
        (with(&[("backup/data/pg_tblspc/1/x", link(), b"")]), "it is a symbolic link"),
        (with(&[("backup/data/pg_tblspc/x", link(), b"")]), "it is a link of no tablespace"),
        (with(&[("wals", link(), b"")]), "it is a symbolic link"),
        (with(&[("backup/a", File, b"x"), ("backup/a", File, b"y")]), "'a' is there twice"),
        (with(&[("backup/a", File, b"x"), ("backup/a/b", File, b"y")]), "backup/a: File exists"),
        (with(&[("backup", File, b"x")]), "is no path"),
        (with(&[("identity.json", File, b"{}")]), "Failed to read identity.json"),
        (with(std::slice::from_ref(&id)), "it is there twice"),
        (with(&[("wals/passwd", File, b"x")]), "it has no name of a WAL file"),
        (with(&[("wals/000000010000000000000005", File, b"x")]), "it lies in the wrong directory"),
        (with(&[("wals/0000000100000001/000000010000000000000005", File, b"x")]), "wrong directory"),
        (with(&[("wals/x", Directory, b"")]), "does not belong among WAL"),
        (archive(&[("identity.json", File, identity("1").as_bytes())]), "Server identity mismatch"),
        (archive(&[("backup", Directory, b"")]), "does not contain identity.json"),
        (with(&[]), "does not contain a 'backup/' directory"),
        (with(&[("backup", Directory, b"")]), "does not contain a 'backup.info' file"),
        (b"no archive at all".to_vec(), "Failed to extract tarball"),
        (Vec::new(), "does not contain identity.json"),
        (with(&[("backup/a", File, &[7; 5000])])[..2048].to_vec(), "Failed to extract tarball"),
    ];
    for (archive, problem) in cases {
        let error = offline.refuses(&archive, "");
        assert!(error.contains(problem), "{error}");
    }
    // Devices, pipes and hard links, by the kind of the member alone.
    for kind in [b'1', b'3', b'4', b'6', b'S'] {
        let mut bytes = with(&[("backup/x", File, b"")]);
        let header = bytes.chunks_mut(512).find(|block| block.starts_with(b"backup/x")).unwrap();
        header[156] = kind;
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let error = offline.refuses(&bytes, "");
        assert!(error.contains("has the unsupported type"), "{error}");
    }
}

#[test]
fn what_is_wrong_with_the_content_is_said_in_one_line() {
    use MemberKind::{Directory, File};
    let offline = Offline::new();
    let with = |record: &str, index: &str| {
        archive(&[
            ("identity.json", File, identity(SYSTEM).as_bytes()),
            ("backup.info", File, record.as_bytes()),
            ("barman.json", File, b"{}"),
            ("backup", Directory, b""),
            ("backup/data/PG_VERSION", File, b"15\n"),
            ("wals/0000000100000000/000000010000000000000005", File, b"not WAL"),
            ("xlog.db", File, index.as_bytes()),
        ])
    };
    let line = "000000010000000000000005\t7\t1795219542.5\tNone\tNone\n";
    for (archive, problem) in [
        (with(&record(&[("status", "FAILED")]), line), "its status is FAILED"),
        (with(&record(&[("systemid", "1")]), line), "Server identity mismatch"),
        (with(&record(&[("begin_wal", "None")]), line), "which WAL the backup needs"),
        (with("nonsense", line), "Failed to load backup.info"),
        (with(&record(&[]), ""), "not found in tarball's xlog.db: 000000010000000000000005"),
        (with(&record(&[]), "x\n"), "Malformed tarball's xlog.db entry at line 1"),
        (with(&record(&[]), line), "WAL file 000000010000000000000005: 7 bytes long"),
        (with(&record(&[("end_wal", "0000000100000000000000FF")]), line), "not found in tarball's xlog.db"),
    ] {
        let error = offline.refuses(&archive, "");
        assert!(error.starts_with("ERROR: ") && error.contains(problem), "{error}");
    }
    let incremental = with(&record(&[("parent_backup_id", "20261120T000000")]), line);
    let path = offline.home.path().join(format!("{STEM}-00000000.tar"));
    fs::write(&path, &incremental).unwrap();
    let run = offline.run(&["import-backup", "main", path.to_str().unwrap()]);
    assert!(run.stderr.contains("Tarball checksum mismatch: filename contains '00000000'"), "{run:?}");
    for (name, problem) in [
        ("nothing.tar", "does not exist"),
        ("home", "is not a file"),
        ("tapster.conf", "does not match the expected export format"),
    ] {
        let path = offline.home.path().join(name);
        let run = offline.run(&["import-backup", "main", path.to_str().unwrap()]);
        assert!(run.code == 1 && run.stderr.contains(problem), "{run:?}");
    }
    fs::remove_file(offline.home.path().join("home/main/identity.json")).unwrap();
    let run = offline.run(&["import-backup", "main", path.to_str().unwrap()]);
    assert!(run.stderr.contains("No identity file found for server 'main'"), "{run:?}");
}

#[test]
fn a_small_file_that_becomes_huge_does_not_fill_the_disk() {
    let offline = Offline::new();
    let mut archive = archive(&[("identity.json", MemberKind::File, identity(SYSTEM).as_bytes())]);
    archive.truncate(archive.len() - 1024);
    // The header alone; the writer would want the data.
    let mut header = vec![0; 512];
    Writer::new(&mut header[..]).start(&NewMember::file("backup/huge".as_ref(), 1 << 60)).unwrap();
    archive.extend_from_slice(&header);
    archive.resize(archive.len() + 4_000_000, 0);
    let mut packed = StreamEncoder::new(Vec::new(), Some(StreamCodec::Xz), 6, 1).unwrap();
    packed.write_all(&archive).unwrap();
    let packed = packed.finish().unwrap();
    assert!(packed.len() < 10_000);
    let error = offline.refuses(&packed, ".xz");
    assert!(error.contains("Tarball needs more than the"), "{error}");
}

#[test]
fn what_cannot_be_exported() {
    let offline = Offline::new();
    let (meta, base) =
        (offline.home.path().join("home/main/meta"), offline.home.path().join("home/main/base"));
    fs::create_dir_all(&meta).unwrap();
    fs::create_dir_all(base.join("20261121T000542/data")).unwrap();
    let out = offline.home.path().join("out");
    fs::create_dir(&out).unwrap();
    let to = out.to_str().unwrap();
    let set = |change: &[(&str, &str)]| {
        fs::write(meta.join("20261121T000542-backup.info"), record(change)).unwrap();
    };
    let fails = |args: &[&str], problem: &str| {
        let run = offline.run(&[&["export-backup", "main", "20261121T000542"], args].concat());
        assert!(run.code == 1 && run.stderr.contains(problem), "{run:?}");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "{run:?}");
    };
    set(&[("status", "WAITING_FOR_WALS")]);
    fails(&[to], "backup status is 'WAITING_FOR_WALS', expected 'DONE'");
    set(&[("parent_backup_id", "20261120T000000")]);
    fails(&[to], "it is an incremental backup.\nOnly full backups are eligible for exporting.");
    set(&[]);
    fails(&["/nowhere"], "Output directory '/nowhere' does not exist");
    fails(&["/etc/passwd"], "Output directory '/etc/passwd' is not a directory");
    fails(&[to, "--compression-level", "3"], "--compression-level requires --compression to be set");
    fails(
        &[to, "--compression", "bzip2", "--compression-level", "0"],
        "Invalid compression level '0' for algorithm 'bzip2'. Valid levels are: 1, 2, 3",
    );
    fails(&[to], "WAL file required for backup consistency not found in xlog.db");
    let wals = offline.home.path().join("home/main/wals");
    let line = "000000010000000000000005\t7\t1795219542.5\tNone\tNone\n";
    fs::create_dir_all(wals.join("0000000100000000")).unwrap();
    fs::write(wals.join("main-xlog.db"), line).unwrap();
    fails(&[to], "WAL file required for backup consistency not found for backup '20261121T000542'");
    fs::write(wals.join("0000000100000000/000000010000000000000005"), "wal").unwrap();
    std::os::unix::fs::symlink("/etc", base.join("20261121T000542/data/link")).unwrap();
    fails(&[to], "data/link is neither a file nor a directory");
    fs::remove_file(base.join("20261121T000542/data/link")).unwrap();
    let run = offline.run(&["-f", "json", "export-backup", "main", "latest", to]);
    let report: serde_json::Value = serde_json::from_str(succeeded(&run)).unwrap();
    assert_eq!(report["main"]["wal_files"], 1);
    fs::remove_file(offline.home.path().join("home/main/identity.json")).unwrap();
    fs::remove_file(report["main"]["path"].as_str().unwrap()).unwrap();
    fails(&[to], "No identity file found for server 'main'");
}
