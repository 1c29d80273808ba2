//! `encryption = gpg` with the real `gpg` and a key made here, and real Barman on the same catalog.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tapster_protocol::testing::servers;

use crate::lab::Lab;
use crate::program::{Run, original};

const PASSPHRASE: &str = "correct horse battery staple";
const KEY: &str = "backup@example.org";

/// A key ring of its own, found through `path_prefix`: both programs start the `gpg` there.
pub struct KeyRing {
    dir: tempfile::TempDir,
}

impl KeyRing {
    pub fn new() -> Option<Self> {
        original("gpg", &["--version"])?;
        // The agent's socket lies in it, and sockets have short names.
        let dir = tempfile::Builder::new().prefix("gpg").tempdir_in("/tmp").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        let ring = Self { dir };
        ring.script("bin/gpg", &format!("exec /usr/bin/gpg --homedir {} \"$@\"", ring.path("").display()));
        fs::write(ring.path("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
        // RSA: what is encrypted for a key on a curve `file` does not know, and so Barman neither.
        let parameters = format!(
            "Key-Type: RSA\nKey-Length: 2048\nSubkey-Type: RSA\nSubkey-Length: 2048\nName-Email: {KEY}\n\
             Passphrase: {PASSPHRASE}\n%commit\n"
        );
        fs::write(ring.path("key"), parameters).unwrap();
        let made = Command::new(ring.path("bin/gpg"))
            .args(["--batch", "--pinentry-mode", "loopback", "--generate-key"])
            .arg(ring.path("key"))
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        Some(ring)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn script(&self, name: &str, text: &str) {
        // By another process: a file that a thread of this one is just forking with cannot be executed.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\"; chmod 755 \"$2\"";
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", write, "sh", text]).arg(self.path(name));
        assert!(shell.status().unwrap().success());
    }

    pub fn settings(&self) -> String {
        format!(
            "encryption = gpg\nencryption_key_id = {KEY}\nencryption_passphrase_command = cat {0}/passphrase\n\
             path_prefix = {0}/bin:/usr/lib/postgresql/15/bin\nbackup_compression = gzip\n\
             backup_compression_format = tar\n",
            self.dir.path().display()
        )
    }
}

impl Drop for KeyRing {
    fn drop(&mut self) {
        let home = self.dir.path().to_str().unwrap();
        let kill = Command::new("gpgconf").args(["--homedir", home, "--kill", "gpg-agent"]).status();
        assert!(kill.is_ok_and(|status| status.success()));
    }
}

fn succeeded(run: &Run) -> &str {
    assert_eq!(run.code, 0, "{run:?}");
    &run.stdout
}

fn alike(lab: &Lab, args: &[&str]) {
    assert_eq!(lab.run(args), lab.barman(args).unwrap(), "{args:?}");
}

fn is_encrypted(path: &Path) -> bool {
    // A session key for a public key: old packet format, version 3.
    let first = fs::read(path).unwrap();
    first[0] & 0xFC == 0x84 && first[1..4].contains(&3)
}

fn segments(lab: &Lab) -> Vec<String> {
    let index = fs::read_to_string(lab.server_dir().join("wals/main-xlog.db")).unwrap();
    let names = index.lines().map(|line| line.split('\t').next().unwrap().to_owned());
    names.filter(|name| name.len() == 24).collect()
}

fn stored(lab: &Lab, wal: &str) -> PathBuf {
    lab.server_dir().join("wals").join(&wal[..16]).join(wal)
}

/// Whether Barman sees that a file is encrypted. It asks `file`, which knows session keys for RSA by their length; of one in 256 the
/// number is shorter, and Barman hands out what is stored as if that were the segment.
fn barman_sees(path: &Path) -> bool {
    let said = original("file", &["--brief", path.to_str().unwrap()]).unwrap().stdout;
    said.contains("PGP") && said.contains("encrypted")
}

/// Both programs give out the same segment, which is the server's.
fn comes_out_of_both(lab: &Lab, wal: &str) {
    let out = lab.path("out");
    let args = ["get-wal", "-o", out.to_str().unwrap(), "main", wal];
    let get = |barman: bool| {
        let _ = fs::remove_dir_all(&out);
        fs::create_dir(&out).unwrap();
        succeeded(&if barman { lab.barman(&args).unwrap() } else { lab.run(&args) });
        fs::read(out.join(wal)).unwrap()
    };
    let theirs = get(true);
    let ours = get(false);
    assert_eq!(ours.len(), 16 << 20, "{wal}");
    let expected =
        if barman_sees(&stored(lab, wal)) { ours.clone() } else { fs::read(stored(lab, wal)).unwrap() };
    assert!(theirs == expected, "{wal}: {} bytes from Barman", theirs.len());
    let original = lab.cluster.wal_dir().join(wal);
    assert!(!original.exists() || fs::read(original).unwrap() == ours, "{wal}");
}

fn no_passphrase_in(lab: &Lab, run: &Run) {
    let log = fs::read_to_string(lab.path("log")).unwrap_or_default();
    assert!(!log.contains(PASSPHRASE) && !format!("{run:?}").contains(PASSPHRASE));
}

#[test]
fn both_programs_read_what_the_other_one_encrypted() {
    let (Some(ring), Some(lab)) = (KeyRing::new(), Lab::new()) else { return };
    if lab.barman(&["--version"]).is_none() {
        return;
    }
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    lab.configure("tapster.conf", &conninfo, &ring.settings());
    let receiver = lab.receive();
    let far = lab.cluster.create_dir("far");
    lab.cluster.sql(&format!("CREATE TABLESPACE far LOCATION '{}'", far.display()));
    lab.cluster.sql("CREATE TABLE t TABLESPACE far AS SELECT g AS id FROM generate_series(1, 100) g");
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    alike(&lab, &["check", "main"]);

    let said = lab.ok(&["backup", "main", "--wait"]);
    assert!(said.contains("Encrypting backup using gpg encryption\n"), "{said}");
    let record = lab.json(&["show-backup", "main", "latest"]);
    assert_eq!(record["main"]["base_backup_information"]["encryption"], "gpg");
    alike(&lab, &["show-backup", "main", "latest"]);
    let id = record["main"]["backup_id"].as_str().unwrap();
    let data = lab.server_dir().join("base").join(id).join("data");
    let mut names: Vec<String> =
        fs::read_dir(&data).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(names[1..], ["backup_manifest", "base.tar.gz.gpg"]);
    assert!(is_encrypted(&data.join("base.tar.gz.gpg")) && names[0].ends_with(".tar.gz.gpg"));

    // WAL that Tapster archived, and then WAL that Barman did.
    lab.cluster.sql("INSERT INTO t SELECT g FROM generate_series(101, 200) g");
    lab.ok(&["switch-wal", "--archive", "main"]);
    let ours = segments(&lab);
    let index = fs::read_to_string(lab.server_dir().join("wals/main-xlog.db")).unwrap();
    assert!(index.lines().all(|line| line.ends_with("\tgzip\tgpg")), "{index}");
    lab.cluster.sql("INSERT INTO t SELECT g FROM generate_series(201, 300) g");
    succeeded(&lab.barman(&["switch-wal", "--archive", "main"]).unwrap());
    let all = segments(&lab);
    assert!(all.len() > ours.len(), "{all:?}");
    for wal in [ours.last().unwrap(), all.last().unwrap()] {
        assert!(is_encrypted(&stored(&lab, wal)), "{wal}");
        comes_out_of_both(&lab, wal);
    }
    let verified = lab.ok(&["verify-backup", "main", "latest"]);
    assert!(verified.contains("successfully verified"), "{verified}");
    let records = crate::program::run_as(
        "tapster",
        &["-c", lab.path("tapster.conf").to_str().unwrap(), "wal", "verify", "main"],
    );
    succeeded(&records);

    // An index made anew knows what is inside of what is encrypted, as long as there is an old one.
    let index = || {
        let mut lines: Vec<String> = fs::read_to_string(lab.server_dir().join("wals/main-xlog.db"))
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    let before = index();
    lab.ok(&["rebuild-xlogdb", "main"]);
    assert_eq!(index(), before);

    // The same segment again, from an archive_command: it is the same, although it looks like nothing.
    let again = stored(&lab, all.last().unwrap());
    let plain = lab.path("out").join(all.last().unwrap());
    let incoming = lab.server_dir().join("incoming").join(all.last().unwrap());
    fs::copy(&plain, &incoming).unwrap();
    lab.configure("tapster.conf", &conninfo, &format!("archiver = on\n{}", ring.settings()));
    let before = fs::read(&again).unwrap();
    lab.ok(&["archive-wal", "main"]);
    assert!(!incoming.exists() && fs::read(&again).unwrap() == before);
    assert_eq!(fs::read_dir(lab.server_dir().join("errors")).unwrap().count(), 0);
    lab.configure("tapster.conf", &conninfo, &ring.settings());
    drop(receiver);

    for (name, barman) in [("by-tapster", false), ("by-barman", true)] {
        let data = lab.destination(name);
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        let far = lab.destination(&format!("far-{name}"));
        let rule = format!("far:{}", far.display());
        let args = ["restore", "--tablespace", &rule, "main", "latest", data.to_str().unwrap()];
        let run = if barman { lab.barman(&args).unwrap() } else { lab.run(&args) };
        succeeded(&run);
        no_passphrase_in(&lab, &run);
        let mut chown = Command::new("chown");
        chown.arg("-R").arg("--reference").arg(lab.cluster.data_dir()).arg(&far);
        assert!(chown.status().unwrap().success());
        assert_eq!(lab.ask_restored(&data, "SELECT count(*) FROM t"), "300", "{name}");
    }

    // A backup that Barman encrypted.
    lab.ok(&["delete", "main", "latest"]);
    let receiver = lab.receive();
    let theirs = lab.barman(&["backup", "main", "--wait"]).unwrap();
    assert!(succeeded(&theirs).contains("Encrypting backup using gpg encryption"), "{theirs:?}");
    drop(receiver);
    let verified = lab.ok(&["verify-backup", "main", "latest"]);
    assert!(verified.contains("successfully verified"), "{verified}");
}

#[test]
fn an_encrypted_chain_is_verified_and_restored() {
    let able = servers().into_iter().find(|server| server.major >= 17);
    let lab = able.and_then(|server| Lab::with(|b| b.binaries(&server).config("summarize_wal = on")));
    let (Some(ring), Some(lab)) = (KeyRing::new(), lab) else { return };
    lab.configure("tapster.conf", &lab.cluster.conninfo().to_conninfo_string(), &ring.settings());
    let receiver = lab.receive();
    lab.cluster.sql("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 20000) g");
    lab.ok(&["backup", "main", "--wait"]);
    lab.cluster.sql("UPDATE t SET id = -id WHERE id % 5000 = 0");
    let said = lab.ok(&["backup", "main", "--wait", "--incremental", "latest"]);
    assert!(said.contains("Encrypting backup using gpg encryption\n"), "{said}");
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    drop(receiver);
    let verified = lab.ok(&["verify-backup", "main", "latest"]);
    assert!(verified.contains("successfully verified"), "{verified}");
    let data = lab.destination("restored");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    let run = lab.run(&["restore", "main", "latest", data.to_str().unwrap()]);
    succeeded(&run);
    no_passphrase_in(&lab, &run);
    let sum = "SELECT count(*) || ' ' || sum(id) FROM t";
    assert_eq!(lab.ask_restored(&data, sum), lab.cluster.value(sum));
}

#[test]
fn a_gpg_that_fails_loses_nothing() {
    let (Some(ring), Some(lab)) = (KeyRing::new(), Lab::new()) else { return };
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    lab.configure("tapster.conf", &conninfo, &ring.settings());
    let receiver = lab.receive();
    lab.ok(&["switch-wal", "--force", "main"]);
    lab.cluster.sql("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) g");
    lab.ok(&["switch-wal", "--force", "main"]);
    let streaming = lab.server_dir().join("streaming");
    let waiting = || {
        let names = fs::read_dir(&streaming).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.len() == 24).collect();
        names.sort();
        names
    };
    let patience = Instant::now() + Duration::from_secs(30);
    while waiting().len() < 2 {
        assert!(Instant::now() < patience, "{:?}", waiting());
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(receiver);
    let before = waiting();
    for (script, problem) in [
        ("cat > /dev/null; echo 'gpg: no such key' >&2; exit 2", "gpg failed: gpg: no such key"),
        ("head -c 100000 | tr a b; exit 2", "gpg failed: exit status: 2"),
        ("exec /usr/bin/gpg --homedir /nonexistent \"$@\"", "gpg failed: "),
        ("kill -9 $$", "gpg failed: signal: 9"),
    ] {
        ring.script("bin/gpg", script);
        let run = lab.run(&["archive-wal", "main"]);
        assert_eq!((run.code, run.stderr.lines().count()), (1, 1), "{run:?}");
        assert!(run.stderr.starts_with("ERROR: ") && run.stderr.contains(problem), "{run:?}");
        assert_eq!(waiting(), before, "{script}");
        let wals = lab.server_dir().join("wals");
        let stored = |dir: fs::DirEntry| fs::read_dir(dir.path()).map_or(0, Iterator::count);
        assert_eq!(fs::read_dir(&wals).unwrap().map(|dir| stored(dir.unwrap())).sum::<usize>(), 0);
        let check = lab.run(&["check", "main"]);
        assert!(check.stdout.contains("encryption: FAILED (encryption test failed"), "{check:?}");
    }
    ring.script("bin/gpg", &format!("exec /usr/bin/gpg --homedir {} \"$@\"", ring.path("").display()));
    lab.ok(&["archive-wal", "main"]);
    let archived = segments(&lab);
    assert!(!archived.is_empty() && waiting().len() < before.len(), "{archived:?}");
    assert!(archived.iter().all(|wal| is_encrypted(&stored(&lab, wal))));

    // No way to decrypt it: a message for people, and not the end of recovery for PostgreSQL.
    let wal = archived.last().unwrap();
    lab.ok(&["get-wal", "-o", lab.path("").to_str().unwrap(), "main", wal]);
    let plain = lab.path(wal);
    for (passphrase, problem) in [
        ("echo wrong", "gpg failed: "),
        ("exit 3", "encryption_passphrase_command: the command failed"),
        ("true", "encryption_passphrase_command: The command returned an empty passphrase"),
    ] {
        // What the agent remembers would do.
        let home = ring.path("");
        let kill = ["--homedir", home.to_str().unwrap(), "--kill", "gpg-agent"];
        assert!(Command::new("gpgconf").args(kill).status().unwrap().success());
        let settings = ring.settings().replace(
            &format!("cat {}/passphrase", home.display().to_string().trim_end_matches('/')),
            passphrase,
        );
        assert!(settings.contains(passphrase));
        lab.configure("tapster.conf", &conninfo, &settings);
        let run = lab.run(&["get-wal", "main", wal]);
        assert!(run.code != 0 && run.stderr.contains(problem), "{run:?}");
        assert!(!run.stderr.contains("wrong"), "{run:?}");
        no_passphrase_in(&lab, &run);
    }

    // A segment that comes again cannot be compared there. It is kept, and those behind it do not wait.
    lab.configure("tapster.conf", &conninfo, &format!("archiver = on\n{}", ring.settings()));
    let no_key = "case \"$*\" in *--decrypt*) echo 'gpg: decryption failed: No secret key' >&2; exit 2;; esac; exec /usr/bin/gpg \
                  --homedir";
    ring.script("bin/gpg", &format!("{no_key} {} \"$@\"", ring.path("").display()));
    let before = fs::read(stored(&lab, wal)).unwrap();
    let duplicates = || {
        let files = fs::read_dir(lab.server_dir().join("errors")).unwrap().map(|file| file.unwrap().path());
        let files: Vec<PathBuf> = files.collect();
        let content = fs::read(&plain).unwrap();
        let is_it = |file: &PathBuf| {
            let name = file.file_name().unwrap().to_str().unwrap();
            name.starts_with(&format!("{wal}."))
                && name.ends_with(".duplicate")
                && fs::read(file).unwrap() == content
        };
        assert!(files.iter().all(is_it), "{files:?}");
        files.len()
    };
    let config = lab.path("tapster.conf");
    for offer in ["first", "again"] {
        let args = ["-c", config.to_str().unwrap(), "wal-archive", "main", plain.to_str().unwrap()];
        let run = crate::program::run_as("tapster", &args);
        assert_eq!(run.code, 0, "{offer}: {run:?}");
        assert_eq!(run.stderr.contains("No secret key"), offer == "first", "{run:?}");
        assert_eq!(duplicates(), 1, "{offer}");
    }
    let incoming = lab.server_dir().join("incoming").join(wal);
    fs::copy(&plain, &incoming).unwrap();
    lab.ok(&["archive-wal", "main"]);
    assert!(!incoming.exists() && duplicates() == 2);
    assert!(fs::read(stored(&lab, wal)).unwrap() == before);

    // What an archive_command encrypted is taken unseen, in whatever form, if all of it is there.
    let gpg = |options: &str, number: u32| {
        let name = format!("0000000100000000000000{number:02X}");
        let incoming = lab.server_dir().join("incoming").join(&name);
        let line = format!(
            "/usr/bin/gpg --homedir {} --batch --yes --quiet --trust-model always --pinentry-mode loopback --passphrase x {options}",
            ring.path("").display()
        );
        let line = line.replace("IN", plain.to_str().unwrap()).replace("OUT", incoming.to_str().unwrap());
        assert!(Command::new("/bin/sh").args(["-c", &line]).status().unwrap().success(), "{line}");
        (name, incoming)
    };
    for (options, number) in [
        (format!("-r {KEY} --output OUT --encrypt IN"), 0xE0),
        (format!("-r {KEY} --encrypt < IN > OUT"), 0xE1),
        ("--symmetric < IN > OUT".to_owned(), 0xE2),
        (format!("-r {KEY} --compress-level 0 --output OUT --encrypt IN"), 0xE3),
        (format!("-r {KEY} -r {KEY} --symmetric --compress-level 0 --encrypt < IN > OUT"), 0xE4),
        (format!("-r {KEY} --armor --encrypt < IN > OUT"), 0xE5),
    ] {
        let (name, incoming) = gpg(&options, number);
        let content = fs::read(&incoming).unwrap();
        lab.ok(&["archive-wal", "main"]);
        assert!(fs::read(stored(&lab, &name)).is_ok_and(|stored| stored == content), "{options}");
        let cut = lab.server_dir().join("incoming/0000000100000000000000F0");
        fs::write(&cut, &content[..content.len() - 50]).unwrap();
        lab.run(&["archive-wal", "main"]);
        assert!(!stored(&lab, "0000000100000000000000F0").exists(), "{options}");
        let _ = fs::remove_file(cut);
    }
    lab.configure("tapster.conf", &conninfo, &ring.settings());

    let without = ring.settings().replace("encryption_key_id", "description");
    lab.configure("tapster.conf", &conninfo, &without);
    let check = lab.run(&["check", "main"]);
    let line = "encryption: FAILED (Encryption is set as gpg, but encryption_key_id is unset)";
    assert!(check.stdout.contains(line), "{check:?}");
    let run = lab.run(&["archive-wal", "main"]);
    assert!(run.code == 1 && run.stderr.contains("encryption_key_id is unset"), "{run:?}");
}
