//! Killed while a part of what they write is on its way: nothing of it is listed, and the next run goes on.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tapster_cloud::testing::{Fate, Moto, Proxy};

use crate::cloud_lab::{CloudLab, Place, Whose, installed};
use crate::cloud_wal::Lab;

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The way to a store on which the first request with these words stays half-way, until its client is gone.
struct Way {
    proxy: Proxy,
    held: mpsc::Receiver<()>,
}

impl Way {
    fn new(to: SocketAddr, method: &'static str, words: &'static str) -> Self {
        let (hold, held) = mpsc::channel();
        let mut hold = Some(hold);
        let proxy = Proxy::start(to, move |asked, path| {
            let Some(hold) = hold.take_if(|_| asked == method && path.contains(words)) else {
                return Fate::Pass;
            };
            hold.send(()).unwrap();
            Fate::Hold
        });
        Self { proxy, held }
    }

    fn wait(&self) {
        self.held.recv_timeout(PATIENCE).expect("a request that is held");
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Segments of 32 MiB go out in parts.
#[test]
fn of_a_segment_in_parts_nothing_is_listed_before_it_is_whole() {
    let Some(lab) = Lab::new() else { return };
    let (name, bytes) = lab.ready_of(1, 32 << 20);
    let path = format!("pg_wal/{name}");
    let way = Way::new(lab.moto.address(), "PUT", "partNumber=3");
    let (archive, restore) = ("barman-cloud-wal-archive", "barman-cloud-wal-restore");
    let through = ["--endpoint-url", &way.proxy.endpoint()];
    let archiving = lab.command(archive, &through, &[&path]).stderr(Stdio::null()).spawn().unwrap();
    way.wait();
    kill(archiving);
    let store = lab.moto.store("cli");
    let listed = || {
        let keys = store.list("main/wals").map(|object| object.unwrap().key);
        keys.filter(|key| key.contains(&name)).collect::<Vec<_>>()
    };
    assert!(listed().is_empty(), "{:?}", listed());
    assert_eq!(lab.run(restore, &[], &[&name, "RECOVERYXLOG"]).0, 1);
    assert!(!lab.path("RECOVERYXLOG").exists());

    assert_eq!(lab.run(archive, &[], &[&path]), (0, String::new()));
    assert_eq!(listed(), [format!("main/wals/0000000100000000/{name}")]);
    assert_eq!(lab.run(restore, &[], &[&name, "RECOVERYXLOG"]), (0, String::new()));
    assert!(std::fs::read(lab.path("RECOVERYXLOG")).unwrap() == bytes);
}

/// Who asked a daemon that dies does its work; what the daemon had acknowledged is there, and the next one goes on with the rest.
#[test]
fn a_daemon_that_is_killed_has_acknowledged_nothing_that_is_not_there() {
    let Some(lab) = Lab::new() else { return };
    let segments: Vec<_> = (1..=6).map(|number| lab.ready(number)).collect();
    let way = Way::new(lab.moto.address(), "PUT", "000000010000000000000003");
    let (spool, endpoint) = (lab.path("spool"), way.proxy.endpoint());
    let options = ["--endpoint-url", &endpoint, "-J", "2", "--spool-dir", spool.to_str().unwrap()];
    let daemon = || {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tapster"));
        command.args(["cloud", "wal-daemon"]).args(options);
        command.args(["s3://bucket/cli", "main", lab.path("pg_wal").to_str().unwrap()]);
        command.envs(lab.moto.variables()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
        assert!(line.starts_with("Archiving WAL of"), "{line}");
        child
    };
    let store = lab.moto.store("cli");
    let is_there = |(name, bytes): &(String, Vec<u8>)| {
        let stored = store.read(&format!("main/wals/0000000100000000/{name}"), 2 << 20);
        stored.is_ok_and(|stored| stored == *bytes)
    };
    let archive =
        |name: &str| lab.command("barman-cloud-wal-archive", &options, &[&format!("pg_wal/{name}")]);
    let first = daemon();
    // It acknowledges the first, and goes on with the others by itself.
    assert_eq!(archive(&segments[0].0).status().unwrap().code(), Some(0));
    assert!(is_there(&segments[0]));
    way.wait();
    let waiting = archive(&segments[2].0).stderr(Stdio::piped()).spawn().unwrap();
    kill(first);
    let done = waiting.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(is_there(&segments[2]), "{said}");

    let second = daemon();
    for segment in &segments {
        assert_eq!(archive(&segment.0).status().unwrap().code(), Some(0));
        assert!(is_there(segment), "{}", segment.0);
    }
    kill(second);
    // The bytes of each are compared above: what is listed is one object each, and whose place it is.
    let keys: Vec<String> =
        store.list("main/wals/0000000100000000").map(|object| object.unwrap().key).collect();
    assert_eq!(keys.len(), segments.len(), "{keys:?}");
}

/// L-E2: there is also no directory for temporary files, and none is needed.
#[test]
fn l_e2_a_backup_that_is_killed_is_in_nobodys_way() {
    let Some(moto) = Moto::start() else { return };
    let url = moto.url("killed").to_string();
    let way = Way::new(moto.address(), "PUT", "partNumber=2");
    let place = Place::s3(url, way.proxy.endpoint(), moto.variables());
    let Some(cloud) = CloudLab::new(place) else { return };
    cloud.archive("");
    let conninfo = cloud.lab.cluster.conninfo().to_conninfo_string();
    let options = ["-d", &conninfo, "--immediate-checkpoint"];
    let mut backup = cloud.tool(Whose::Ours, "backup", &options, &[]);
    let backup = backup.env("TMPDIR", "/nonexistent").stderr(Stdio::null()).stdout(Stdio::null());
    let running = backup.spawn().unwrap();
    way.wait();
    kill(running);
    let store = moto.store("killed");
    let of_backups = || store.list("main/base").map(|object| object.unwrap().key).collect::<Vec<_>>();
    let [record] = &of_backups()[..] else { panic!("{:?}", of_backups()) };
    let id = record.strip_prefix("main/base/").and_then(|rest| rest.strip_suffix("/backup.info")).unwrap();
    let never = cloud.lab.path("never");
    let (code, _, said) = cloud.run(Whose::Ours, "restore", &[], &[id, never.to_str().unwrap()]);
    assert!(code != 0 && said.contains("STARTED"), "{code} {said}");
    assert!(!never.exists());

    let second = cloud.tool(Whose::Ours, "backup", &options, &[]).env("TMPDIR", "/nonexistent").status();
    assert_eq!(second.unwrap().code(), Some(0));
    let listed = cloud.ok(Whose::Ours, "backup-list", &[], &[]);
    if installed("barman-cloud-backup-list").exists() {
        assert_eq!(listed, cloud.ok(Whose::Barmans, "backup-list", &[], &[]));
    }
    let (code, said, _) = cloud.run(Whose::Ours, "verify-backup", &[], &["latest"]);
    assert!(code == 0 && said.ends_with(" archives agree with the manifest\n"), "{said}");
    // It is no older backup than the whole one, so nothing but its own name removes it.
    cloud.ok(Whose::Ours, "backup-delete", &["-b", id], &[]);
    assert!(of_backups().iter().all(|key| !key.contains(id)), "{:?}", of_backups());
    let (code, said, _) = cloud.run(Whose::Ours, "verify-backup", &[], &["latest"]);
    assert_eq!(code, 0, "{said}");
}
