//! What PostgreSQL calls: only what became of the file decides the exit code.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use sha2::Digest as _;

use crate::sshd::{Hub, SYSTEM, Which, segment};

const NAME: &str = "0000000100000000000000F0";

/// A catalog with one file in `main`'s archive, one beside it, and a mistake in the configuration of another server.
struct Mistaken {
    hub: Hub,
    offered: PathBuf,
}

impl Mistaken {
    fn new() -> Self {
        let hub = Hub::new();
        let mut config = fs::read_to_string(hub.config()).unwrap();
        config.push_str("[wrong]\ncluster = mine\ndescription = x\nconninfo = host=/nonexistent\n");
        config.push_str("[switched]\nmodel = true\ncluster = another\n");
        fs::write(hub.config(), config).unwrap();
        let wrong = hub.dir.path().join("home/wrong");
        fs::create_dir_all(&wrong).unwrap();
        fs::write(wrong.join(".active-model.auto"), "switched").unwrap();
        hub.archive(NAME, &segment(NAME, SYSTEM, 1));
        let name = "0000000100000000000000F1";
        let offered = hub.dir.path().join(name);
        fs::write(&offered, segment(name, SYSTEM, 1)).unwrap();
        Self { hub, offered }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Which::Ours.command("tapster").unwrap();
        command.arg("-c").arg(self.hub.config()).args(args);
        command
    }
}

/// As `barman-wal-archive` sends it.
fn transfer(name: &str) -> Vec<u8> {
    let content = segment(name, SYSTEM, 1);
    let sum = sha2::Sha256::digest(&content);
    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in [(name, content), ("SHA256SUMS", format!("{sum} *{name}\n").into_bytes())] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        tar.append_data(&mut header, name, &*content).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn another_servers_mistake_and_a_full_log_disk_stop_no_wal() {
    let mistaken = Mistaken::new();
    let target = mistaken.hub.dir.path().join("RECOVERYXLOG");
    let (offered, target) = (mistaken.offered.to_str().unwrap(), target.to_str().unwrap());
    let sent = transfer("0000000100000000000000F2");
    for full in [false, true] {
        for args in [
            &["put-wal", "main"][..],
            &["get-wal", "main", NAME],
            &["wal-archive", "main", offered],
            &["wal-restore", "main", NAME, target],
        ] {
            let mut command = mistaken.command(args);
            command.stdin(Stdio::piped()).stdout(Stdio::null());
            command.stderr(if full { File::create("/dev/full").unwrap().into() } else { Stdio::piped() });
            let mut child = command.spawn().unwrap();
            drop(child.stdin.take().unwrap().write_all(if args[0] == "put-wal" { &sent } else { b"" }));
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{args:?} {output:?}");
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(full || told.contains("Model 'switched' has 'cluster=another'"), "{args:?} {told}");
        }
    }
    assert_eq!(mistaken.hub.names("incoming"), ["0000000100000000000000F1", "0000000100000000000000F2"]);
    // What is no WAL goes on to tell of it by its exit code, as Barman does.
    assert_eq!(mistaken.command(&["list-servers"]).output().unwrap().status.code(), Some(1));
}

/// Nor would its 1 for a server or a configuration that is not there.
#[test]
fn what_get_wal_cannot_begin_with_does_not_end_recovery() {
    let hub = Hub::new();
    let directory = tempfile::tempdir().unwrap();
    let none = directory.path().join("none.conf");
    let code = |config: &std::path::Path, server: &str| {
        let mut command = Which::Ours.command("barman").unwrap();
        command.arg("-c").arg(config).args(["get-wal", server, NAME]).current_dir(directory.path());
        command.output().unwrap().status.code().unwrap()
    };
    let calls = || [code(&hub.config(), "nosuch"), code(&none, "main"), code(&hub.config(), "main")];
    assert_eq!(calls(), [1; 3]);
    fs::write(directory.path().join("recovery.signal"), "").unwrap();
    assert_eq!(calls(), [200, 200, 1]);
}

/// Barman's 2 for wrong arguments would end recovery, where they are those of a `restore_command`.
#[test]
fn wrong_arguments_do_not_end_recovery() {
    let directory = tempfile::tempdir().unwrap();
    let code = |program: &str, args: &[&str]| {
        let mut command = Which::Ours.command(program).unwrap();
        command.args(args).current_dir(directory.path()).output().unwrap().status.code().unwrap()
    };
    let calls = || {
        [
            code("barman-wal-restore", &["--nonsense"]),
            code("tapster", &["wal-restore", "main"]),
            code("barman", &["get-wal", "--nonsense", "main", NAME]),
            code("barman", &["--nonsense", "get-wal", "main", NAME]),
        ]
    };
    assert_eq!(calls(), [2; 4]);
    assert_eq!(code("barman-wal-restore", &["--fail-hard"]), 255);
    fs::write(directory.path().join("recovery.signal"), "").unwrap();
    assert_eq!(calls(), [255, 255, 200, 200]);
    assert_eq!(code("barman-wal-archive", &["--nonsense"]), 2);
    fs::write(directory.path().join("standby.signal"), "").unwrap();
    assert_eq!(calls(), [2; 4]);
}
