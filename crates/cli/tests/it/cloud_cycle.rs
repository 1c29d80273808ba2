//! A cluster through a bucket and back, to a point in time: both programs write, and each reads what the other wrote.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tapster_cloud::testing::Moto;
use tapster_cloud::{Layout, WriteOptions};
use walfile::WalName;

use crate::lab::Lab;

/// Whose program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Whose {
    Ours,
    Barmans,
}

/// Runs a tool and demands success. Returns what it printed.
fn tool(whose: Whose, name: &str, moto: &Moto, args: &[&str]) -> String {
    let name = format!("barman-cloud-{name}");
    let mut command = match whose {
        Whose::Ours => {
            let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tapster"));
            command.arg0(&name);
            command
        }
        Whose::Barmans => Command::new(installed(&name)),
    };
    command.args(["--endpoint-url", &moto.endpoint()]).args(args);
    let output = command.envs(moto.variables()).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{whose:?} {name} {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Asks a command of the group `cloud` for what it prints, logs and returns.
fn ask(moto: &Moto, args: &[&str]) -> (String, String, i32) {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tapster"));
    let (verb, rest) = args.split_first().unwrap();
    command.args(["cloud", verb, "--endpoint-url", &moto.endpoint()]).args(rest);
    let output = command.envs(moto.variables()).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

/// The first segment of a list of URLs.
fn wal_of(listed: &str) -> String {
    let found = listed.lines().find(|line| line.contains("/wals/"));
    found.and_then(|line| line.rsplit('/').next()).unwrap_or_default().to_owned()
}

fn installed(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/barman/bin")).join(name)
}

/// What the server archives, in a directory beside its data.
fn archive(lab: &Lab) -> PathBuf {
    lab.cluster.directory().join("archive")
}

fn wait_until_archived(lab: &Lab) {
    let last = lab.cluster.value("SELECT pg_walfile_name(pg_switch_wal())");
    let patience = Instant::now() + Duration::from_secs(60);
    while !archive(lab).join(&last).exists() {
        assert!(Instant::now() < patience, "{last} is not archived: {}", lab.cluster.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn both_programs_bring_back_what_either_has_stored() {
    let archiving = |builder: tapster_protocol::testing::Builder| {
        let command = "archive_command = 'mkdir -p ../archive && cp %p ../archive/new && mv ../archive/new ../archive/%f'";
        builder.config("archive_mode = on").config(command)
    };
    let (Some(lab), Some(moto)) = (Lab::with(archiving), Moto::start()) else { return };
    if !installed("barman-cloud-backup").exists() {
        assert!(std::env::var_os("CI").is_none(), "Barman's cloud tools are not installed");
        return;
    }
    let url = format!("s3://{}/cycle", moto.bucket());
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    lab.cluster.sql("CREATE TABLE t AS SELECT 'before' AS v");
    let backup = |whose, compression, name| {
        let args = ["-d", &conninfo, "--immediate-checkpoint", compression, "-n", name, &url, "main"];
        tool(whose, "backup", &moto, &args);
    };
    backup(Whose::Ours, "-z", "ours");
    backup(Whose::Barmans, "--lz4", "barmans");
    lab.cluster.sql("INSERT INTO t VALUES ('wanted')");
    lab.cluster.sql("SELECT pg_create_restore_point('here')");
    lab.cluster.sql("INSERT INTO t VALUES ('unwanted')");
    wait_until_archived(&lab);

    // WAL goes through the bucket, too.
    let (store, layout) = (moto.store("cycle"), Layout::new("main"));
    for entry in std::fs::read_dir(archive(&lab)).unwrap() {
        let path = entry.unwrap().path();
        let Ok(name) = path.file_name().unwrap().to_str().unwrap().parse::<WalName>() else { continue };
        store.put(&layout.wal(name), std::fs::read(&path).unwrap(), &WriteOptions::default()).unwrap();
    }
    let fetched = lab.destination("fetched");
    for object in store.list(&layout.wals()) {
        let key = object.unwrap().key;
        let name = key.rsplit('/').next().unwrap();
        std::fs::write(fetched.join(name), store.read(&key, 64 << 20).unwrap()).unwrap();
    }

    // What is there, and whether it is whole. Barman's own tool stores no manifest that would say so.
    let listed = ask(&moto, &["list-files", &url, "main", "ours"]);
    let first = wal_of(&listed.0);
    assert!(
        listed.0.starts_with(&format!("{url}/main/base/2")) && first.starts_with("00000001"),
        "{listed:?}"
    );
    let (said, _, code) = ask(&moto, &["verify-backup", &url, "main", "ours"]);
    assert!(said.contains(" files, ") && said.ends_with(" archives agree with the manifest\n"), "{said}");
    assert_eq!(code, 0);
    let (said, log, code) = ask(&moto, &["verify-backup", &url, "main", "barmans"]);
    assert!(log.contains("no backup_manifest") && said.is_empty(), "{said} {log}");
    assert_eq!((log.lines().count(), code), (1, 1), "{log}");
    store.delete(&[layout.wal(first.parse().unwrap())]).unwrap();
    let (_, log, code) = ask(&moto, &["verify-backup", &url, "main", "ours"]);
    assert!(log.contains(&format!("WAL that it needs is not in the store: {first}\n")), "{log}");
    assert_eq!(code, 1);
    assert_eq!(ask(&moto, &["verify-backup", "--no-wal", &url, "main", "ours"]).2, 0);
    store
        .put(
            &layout.wal(first.parse().unwrap()),
            std::fs::read(fetched.join(&first)).unwrap(),
            &WriteOptions::default(),
        )
        .unwrap();
    for verb in ["list-files", "verify-backup"] {
        let (said, log, code) = ask(&moto, &[verb, &url, "main", "20200101T000000"]);
        assert_eq!((said.as_str(), log.lines().count(), code), ("", 1, 1), "{log}");
    }

    let never = lab.cluster.directory().join("never");
    let plan =
        tool(Whose::Ours, "restore", &moto, &["--dry-run", &url, "main", "auto", never.to_str().unwrap()]);
    assert!(plan.contains("segments without a gap, from 00000001"), "{plan}");
    assert!(!never.exists());
    for (stored, restorer) in [("ours", Whose::Barmans), ("barmans", Whose::Ours), ("ours", Whose::Ours)] {
        let data = lab.destination(&format!("{stored}-by-{restorer:?}"));
        tool(restorer, "restore", &moto, &[&url, "main", stored, data.to_str().unwrap()]);
        let settings = format!(
            "archive_mode = off\nrestore_command = 'cp {}/%f %p'\nrecovery_target_name = here\n\
             recovery_target_action = promote\n",
            fetched.display()
        );
        let auto = data.join("postgresql.auto.conf");
        std::fs::write(&auto, std::fs::read_to_string(&auto).unwrap() + &settings).unwrap();
        std::fs::write(data.join("recovery.signal"), "").unwrap();
        let answer = lab.ask_restored(&data, "SELECT string_agg(v, ' ' ORDER BY v) FROM t");
        assert_eq!(answer, "before wanted", "{stored} by {restorer:?}");
    }
}
