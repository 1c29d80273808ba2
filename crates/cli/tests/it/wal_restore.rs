//! `barman-wal-restore` against `get-wal` over a real sshd, and against remote commands that go wrong.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use walfile::codec::{Compression, Level, encoder};

use crate::sshd::{Hub, SYSTEM, Sshd, Which, names, segment, told};

const FIRST: &str = "0000000100000000000000F0";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = encoder(Vec::new(), Compression::Gzip, Level::Low).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn pg_wal(hub: &Hub) -> PathBuf {
    let dir = hub.dir.path().join("pg_wal");
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn arrives_whole(client: Which, server: Which) {
    let hub = Hub::new();
    let Some(sshd) = Sshd::start(&hub, server) else { return };
    let (plain, zipped, partial) = (FIRST, "0000000100000000000000F1", "0000000100000000000000F2");
    hub.archive(plain, &segment(plain, SYSTEM, 1));
    hub.archive(zipped, &gzip(&segment(zipped, SYSTEM, 2)));
    fs::write(hub.main("streaming").join(format!("{partial}.partial")), segment(partial, SYSTEM, 3)).unwrap();
    let history = b"1\t0/F0000000\tno recovery target specified\n";
    hub.archive("00000002.history", history);
    let dir = pg_wal(&hub);
    let target = dir.join("RECOVERYXLOG");
    let spool = hub.dir.path().join("spool");
    let ahead = ["-p", "2", "--spool-dir", spool.to_str().unwrap()];
    for (name, options, content) in [
        (plain, &[][..], segment(plain, SYSTEM, 1)),
        (plain, &["-z"], segment(plain, SYSTEM, 1)),
        (plain, &["--bzip2"], segment(plain, SYSTEM, 1)),
        (zipped, &[], segment(zipped, SYSTEM, 2)),
        (zipped, &["--keep-compression"], segment(zipped, SYSTEM, 2)),
        (partial, &["-P"], segment(partial, SYSTEM, 3)),
        (plain, &ahead, segment(plain, SYSTEM, 1)),
        (zipped, &ahead, segment(zipped, SYSTEM, 2)),
        ("00000002.history", &ahead, history.to_vec()),
    ] {
        fs::write(&target, "something old").unwrap();
        let args = ["main", name, target.to_str().unwrap()];
        let Some(mut command) = sshd.client(client, "barman-wal-restore", options, &args) else { return };
        let run = told(&command.output().unwrap());
        assert_eq!((run.0, run.2.as_str()), (0, ""), "{name} {options:?}");
        assert!(fs::read(&target).unwrap() == content, "{name} {options:?}");
        assert_eq!(names(&dir), ["RECOVERYXLOG"]);
        if client == Which::Ours {
            assert_eq!(target.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}

#[test]
fn our_client_gets_whole_plain_files_from_the_original_hub() {
    arrives_whole(Which::Ours, Which::Original);
}

#[test]
fn our_client_gets_whole_plain_files_from_our_hub() {
    arrives_whole(Which::Ours, Which::Ours);
}

#[test]
fn the_original_client_gets_whole_plain_files_from_our_hub() {
    arrives_whole(Which::Original, Which::Ours);
}

#[test]
fn failures_have_the_codes_and_words_of_the_original() {
    let hub = Hub::new();
    let Some(sshd) = Sshd::start(&hub, Which::Original) else { return };
    hub.archive(FIRST, &segment(FIRST, SYSTEM, 1));
    let dir = pg_wal(&hub);
    let target = dir.join("RECOVERYXLOG");
    let (target, dir_text) = (target.to_str().unwrap(), dir.to_str().unwrap());
    let spool = hub.dir.path().join("spool");
    let spool = spool.to_str().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let missing = "0000000100000000000000FF";
    let cases: [(&[&str], &[&str], i32); 10] = [
        (&[], &["main", missing, target], 1),
        (&[], &["nosuch", FIRST, target], 1),
        (&[], &["main", "nowal", target], 3),
        (&["-z"], &["main", missing, target], 1),
        (&["-p", "3", "--spool-dir", spool], &["main", missing, target], 2),
        (&["--port", &free], &["main", FIRST, target], 2),
        (&[], &["main", FIRST, dir_text], 3),
        (&["--test"], &["main", "dummy", "dummy"], 0),
        (&["--test"], &["nosuch", "dummy", "dummy"], 1),
        (&["--port", &free, "--test"], &["main", "dummy", "dummy"], 255),
    ];
    for (options, args, code) in cases {
        let run = |which: Which| {
            let mut command = sshd.client(which, "barman-wal-restore", options, args)?;
            Some(told(&command.output().unwrap()))
        };
        let Some(theirs) = run(Which::Original) else { return };
        drop(fs::remove_file(target));
        let ours = run(Which::Ours).unwrap();
        assert_eq!(ours, theirs, "{options:?} {args:?}");
        assert_eq!(ours.0, code, "{options:?} {args:?} {ours:?}");
        assert!(names(&dir).is_empty(), "the original leaves an empty file");
    }
    let unwritable = "/nonexistent/RECOVERYXLOG";
    let run =
        sshd.client(Which::Ours, "barman-wal-restore", &[], &["main", FIRST, unwritable]).unwrap().output();
    assert_eq!(told(&run.unwrap()).0, 3);
}

/// With `--fail-hard` only what is really missing has a code with which PostgreSQL goes on.
#[test]
fn fail_hard_tells_missing_from_unreachable() {
    let hub = Hub::new();
    let Some(sshd) = Sshd::start(&hub, Which::Original) else { return };
    hub.archive(FIRST, &segment(FIRST, SYSTEM, 1));
    let dir = pg_wal(&hub);
    let target = dir.join("RECOVERYXLOG");
    let target = target.to_str().unwrap();
    let spool = hub.dir.path().join("spool");
    let spool = spool.to_str().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let missing = "0000000100000000000000FF";
    let cases: [(&[&str], &[&str], i32); 6] = [
        (&[], &["main", FIRST, target], 0),
        (&[], &["main", missing, target], 1),
        (&["-p", "2", "--spool-dir", spool], &["main", missing, target], 1),
        (&[], &["nosuch", FIRST, target], 255),
        (&["--port", &free], &["main", FIRST, target], 255),
        (&["-p", "2", "--spool-dir", spool, "--port", &free], &["main", FIRST, target], 255),
    ];
    for (options, args, code) in cases {
        let options = [options, &["--fail-hard"]].concat();
        let run = sshd.client(Which::Ours, "barman-wal-restore", &options, args).unwrap().output().unwrap();
        assert_eq!(told(&run).0, code, "{options:?} {args:?} {run:?}");
    }
}

#[test]
fn the_spool_serves_the_next_files_and_nothing_stale() {
    let hub = Hub::new();
    let Some(sshd) = Sshd::start(&hub, Which::Original) else { return };
    let all: Vec<String> = (0xF0..0xF4).map(|n| format!("0000000100000000000000{n:X}")).collect();
    for (seed, name) in all.iter().enumerate() {
        let bytes = segment(name, SYSTEM, seed as u64);
        hub.archive(name, &if seed % 2 == 0 { bytes } else { gzip(&bytes) });
    }
    let dir = pg_wal(&hub);
    let spool = hub.dir.path().join("spool");
    fs::create_dir(&spool).unwrap();
    // Another program's, and half a one.
    fs::write(spool.join(&all[1]), "short").unwrap();
    let target = dir.join("RECOVERYXLOG");
    let options = ["-p", "3", "--spool-dir", spool.to_str().unwrap()];
    let fetch = |sshd: &Sshd, name: &str, options: &[&str]| {
        drop(fs::remove_file(&target));
        let args = ["main", name, target.to_str().unwrap()];
        told(&sshd.client(Which::Ours, "barman-wal-restore", options, &args).unwrap().output().unwrap())
    };
    assert_eq!(fetch(&sshd, &all[0], &options), (0, String::new(), String::new()));
    assert!(fs::read(&target).unwrap() == segment(&all[0], SYSTEM, 0));
    assert_eq!(names(&spool), [".tapster-spool", &all[1], &all[2]]);
    // Without any connection.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let alone = [&options[..], &["--port", &free]].concat();
    assert_eq!(fetch(&sshd, &all[1], &alone).0, 0);
    assert!(fs::read(&target).unwrap() == segment(&all[1], SYSTEM, 1));
    assert_eq!(names(&spool), [".tapster-spool", &all[2]]);
    // Another timeline: what was fetched ahead on the old one goes, also when the new file is in the spool.
    let other = "0000000200000000000000F2";
    hub.archive(other, &segment(other, SYSTEM, 9));
    assert_eq!(fetch(&sshd, other, &options).0, 0);
    assert_eq!(names(&spool), [".tapster-spool"]);
    // Another server's reader with the same spool.
    assert_eq!(fetch(&sshd, &all[0], &options).0, 0);
    assert_eq!(names(&spool), [".tapster-spool", &all[1], &all[2]]);
    let elsewhere = dir.join("OTHER");
    let args = ["main", &all[1], elsewhere.to_str().unwrap()];
    let run = sshd.client(Which::Ours, "barman-wal-restore", &alone, &args).unwrap().output().unwrap();
    assert_eq!(told(&run).0, 2, "it must not be served from the other's files");
}

/// A remote `barman` that is this shell script.
fn with_script(script: &str, run: impl FnOnce(&Sshd, &Hub, &Path)) {
    let hub = Hub::new();
    let Some(sshd) = Sshd::start_with(script, None, &hub.config()) else { return };
    let dir = pg_wal(&hub);
    run(&sshd, &hub, &dir);
}

#[test]
fn what_is_no_segment_never_gets_the_name() {
    for script in [
        "exit 0",
        "head -c 1000 /dev/zero",
        "head -c 16777215 /dev/zero",
        "head -c 16777217 /dev/zero",
        "head -c 16777216 /dev/zero | gzip | head -c 10000",
        "head -c 16777216 /dev/zero | gzip; echo more",
        "echo Welcome to this host; head -c 16777216 /dev/zero",
        "head -c 2147483648 /dev/zero | gzip -1",
    ] {
        with_script(script, |sshd, _, dir| {
            let target = dir.join("RECOVERYXLOG");
            let args = ["main", FIRST, target.to_str().unwrap()];
            let run = sshd.client(Which::Ours, "barman-wal-restore", &[], &args).unwrap().output().unwrap();
            let (code, _, stderr) = told(&run);
            assert_eq!(code, 255, "{script}: {stderr}");
            assert!(
                stderr.starts_with(&format!("ERROR: Barman sent something that is not {FIRST}: ")),
                "{stderr}"
            );
            assert!(names(dir).is_empty(), "{script}");
        });
    }
}

#[test]
fn a_remote_error_wins_over_what_was_sent() {
    for (script, code) in
        [("head -c 16777216 /dev/zero; exit 1", 1), ("head -c 1000 /dev/zero; exit 7", 7), ("exit 127", 127)]
    {
        with_script(script, |sshd, _, dir| {
            let target = dir.join("RECOVERYXLOG");
            let args = ["main", FIRST, target.to_str().unwrap()];
            let run = sshd.client(Which::Ours, "barman-wal-restore", &[], &args).unwrap().output().unwrap();
            assert_eq!(told(&run).0, code, "{script}");
            assert!(names(dir).is_empty(), "{script}");
        });
    }
}

/// PostgreSQL takes an exit code for "no such file", and a death by SIGTERM for what it is.
#[test]
fn a_signal_half_way_leaves_nothing() {
    for (name, left) in [("-TERM", -15), ("-INT", -2)] {
        with_script("head -c 8388608 /dev/zero; exec sleep 600", |sshd, _, dir| {
            let target = dir.join("RECOVERYXLOG");
            let args = ["main", FIRST, target.to_str().unwrap()];
            let mut command = sshd.client(Which::Ours, "barman-wal-restore", &["-s", "600"], &args).unwrap();
            let client = command.stderr(Stdio::piped()).spawn().unwrap();
            let grown = || {
                let mut lengths =
                    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().map_or(0, |m| m.len()));
                lengths.any(|length| length >= 8_000_000)
            };
            while !grown() {
                std::thread::sleep(Duration::from_millis(10));
            }
            assert!(!target.exists());
            assert!(Command::new("kill").args([name, &client.id().to_string()]).status().unwrap().success());
            assert_eq!(told(&client.wait_with_output().unwrap()).0, left);
            assert!(names(dir).is_empty());
        });
    }
}
