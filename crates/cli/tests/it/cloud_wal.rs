//! WAL into an object store and back, as PostgreSQL calls for it: exit codes, and what a kill at any moment leaves.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tapster_cloud::testing::Moto;

const SEGMENT: usize = 1 << 20;

/// A segment of PostgreSQL 15, with its name.
pub fn segment(number: u64) -> (String, Vec<u8>) {
    segment_of(number, SEGMENT)
}

/// The same of so many bytes.
fn segment_of(number: u64, size: usize) -> (String, Vec<u8>) {
    let name = format!("0000000100000000{number:08X}");
    let mut bytes = Vec::with_capacity(size);
    bytes.extend(0xD110_u16.to_le_bytes());
    bytes.extend(2_u16.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend((number * size as u64).to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(7_u64.to_le_bytes());
    bytes.extend((size as u32).to_le_bytes());
    bytes.extend(8192_u32.to_le_bytes());
    while bytes.len() < size {
        bytes.extend((bytes.len() as u64 * (number + 7)).to_le_bytes());
    }
    (name, bytes)
}

pub struct Lab {
    pub moto: Moto,
    pub dir: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Option<Self> {
        let moto = Moto::start()?;
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("pg_wal/archive_status")).unwrap();
        Some(Self { moto, dir })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A segment of PostgreSQL 15, ready to be archived.
    pub fn ready(&self, number: u64) -> (String, Vec<u8>) {
        self.ready_of(number, SEGMENT)
    }

    /// The same of so many bytes.
    pub fn ready_of(&self, number: u64, size: usize) -> (String, Vec<u8>) {
        let (name, bytes) = segment_of(number, size);
        std::fs::write(self.path("pg_wal").join(&name), &bytes).unwrap();
        std::fs::write(self.path("pg_wal/archive_status").join(format!("{name}.ready")), "").unwrap();
        (name, bytes)
    }

    pub fn command(&self, program: &str, options: &[&str], arguments: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tapster"));
        command.arg0(program).current_dir(self.dir.path()).envs(self.moto.variables());
        if !options.contains(&"--endpoint-url") {
            command.args(["--endpoint-url", &self.moto.endpoint()]);
        }
        command.args(options);
        command.args(["s3://bucket/cli", "main"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, program: &str, options: &[&str], arguments: &[&str]) -> (i32, String) {
        let output = self.command(program, options, arguments).output().unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Kills the program after longer and longer, until it is quicker. Returns how often it was killed.
    fn kill_until_done(
        &self,
        program: &str,
        options: &[&str],
        arguments: &[&str],
        mut look: impl FnMut(),
    ) -> u32 {
        let mut kills = 0;
        for patience in (2..).step_by(12) {
            let mut child = self.command(program, options, arguments).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(patience));
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            look();
        }
        kills
    }
}

#[test]
fn exit_codes_say_what_postgresql_must_know() {
    let Some(lab) = Lab::new() else { return };
    let (name, bytes) = lab.ready(1);
    let path = format!("pg_wal/{name}");
    let (archive, restore) = ("barman-cloud-wal-archive", "barman-cloud-wal-restore");
    let target = lab.path("RECOVERYXLOG");
    let (code, log) = lab.run(restore, &[], &[&name, "RECOVERYXLOG"]);
    assert!(
        code == 1 && log.contains(&format!("ERROR: WAL file {name} for server main does not exist")),
        "{code} {log}"
    );
    assert!(!target.exists());
    assert_eq!(lab.run("barman-cloud-check-wal-archive", &[], &[]), (0, String::new()));
    assert_eq!(lab.run(archive, &["--zstd"], &[&path]), (0, String::new()));
    assert_eq!(lab.run(restore, &[], &[&name, "RECOVERYXLOG"]), (0, String::new()));
    assert_eq!(std::fs::read(&target).unwrap(), bytes);
    let (code, log) = lab.run("barman-cloud-check-wal-archive", &[], &[]);
    assert!(
        code == 1 && log.contains("ERROR: WAL archive check failed for server main: Expected empty archive"),
        "{log}"
    );
    for (program, arguments, expected) in [
        (archive, &["pg_wal/nonsense"][..], 3),
        (archive, &[], 3),
        (archive, &["pg_wal/0000000100000000000000FF"], 4),
        (restore, &["nonsense", "x"], 3),
    ] {
        let (code, log) = lab.run(program, &[], arguments);
        assert_eq!(code, expected, "{program} {arguments:?}: {log}");
    }
    // Nobody listens there: 4, and where recovery would end, a code at which PostgreSQL stops.
    let down = ["--endpoint-url", "http://127.0.0.1:1", "--read-timeout", "1"];
    let restore_when = |file: Option<&str>| {
        if let Some(file) = file {
            std::fs::write(lab.path(file), "").unwrap();
        }
        std::fs::create_dir_all(lab.path("pg_wal")).unwrap();
        lab.run(restore, &down, &[&name, "pg_wal/RECOVERYXLOG"]).0
    };
    assert_eq!(restore_when(None), 4);
    assert_eq!(restore_when(Some("recovery.signal")), 255);
    assert_eq!(lab.run(restore, &[], &["0000000100000000000000EE", "pg_wal/RECOVERYXLOG"]).0, 1);
    assert_eq!(restore_when(Some("standby.signal")), 4);
}

/// L-A2 and L-A18 in a bucket: what was acknowledged is there, byte for byte, however often the program was killed.
#[test]
fn killed_at_any_moment_it_acknowledges_nothing_that_is_not_there() {
    let Some(lab) = Lab::new() else { return };
    let segments: Vec<_> = (1..=6).map(|number| lab.ready(number)).collect();
    let spool = lab.path("spool");
    let options = ["-J", "3", "--spool-dir", spool.to_str().unwrap()];
    let store = lab.moto.store("cli");
    let mut kills = 0;
    for (name, bytes) in &segments {
        kills +=
            lab.kill_until_done("barman-cloud-wal-archive", &options, &[&format!("pg_wal/{name}")], || ());
        let stored = store.read(&format!("main/wals/0000000100000000/{name}"), 2 << 20).unwrap();
        assert!(stored == *bytes, "{name}");
        std::fs::remove_file(lab.path("pg_wal/archive_status").join(format!("{name}.ready"))).unwrap();
    }
    assert!(kills > 0);
    let whole = |path: &Path, bytes: &[u8]| !path.exists() || std::fs::read(path).unwrap() == bytes;
    let target = lab.path("RECOVERYXLOG");
    for (name, bytes) in segments.iter().take(2) {
        drop(std::fs::remove_file(&target));
        lab.kill_until_done("barman-cloud-wal-restore", &[], &[name, "RECOVERYXLOG"], || {
            assert!(whole(&target, bytes), "{name}");
        });
        assert_eq!(std::fs::read(&target).unwrap(), *bytes);
    }
    let leftovers: Vec<_> =
        std::fs::read_dir(lab.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(leftovers.len(), 3, "{leftovers:?}");
}

/// What keeps the process that archives for others from a file is no reason for the command to fail.
#[test]
fn what_the_daemon_cannot_archive_the_command_does() {
    let Some(lab) = Lab::new() else { return };
    let (name, bytes) = lab.ready(1);
    let spool = lab.path("spool");
    let options = ["-J", "2", "--spool-dir", spool.to_str().unwrap()];
    let link = lab.path("link");
    std::os::unix::fs::symlink(lab.path("pg_wal"), &link).unwrap();
    let mut daemon = Command::new(assert_cmd::cargo::cargo_bin!("tapster"));
    daemon.args(["cloud", "wal-daemon", "--endpoint-url", &lab.moto.endpoint()]).args(options);
    daemon.args(["s3://bucket/cli", "main", link.to_str().unwrap()]).envs(lab.moto.variables());
    let mut daemon = daemon.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("Archiving WAL of"), "{line}");
    // It loses sight of them.
    std::fs::remove_file(&link).unwrap();
    let (code, log) = lab.run("barman-cloud-wal-archive", &options, &[&format!("pg_wal/{name}")]);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(code == 0 && log.contains("could not, which is done here"), "{code} {log}");
    let stored = lab.moto.store("cli").read(&format!("main/wals/0000000100000000/{name}"), 2 << 20).unwrap();
    assert!(stored == bytes);
}
