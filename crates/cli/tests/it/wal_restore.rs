//! `barman-wal-restore` against `get-wal` over a real sshd, and against remote commands that go wrong.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use walfile::codec::{Compression, Level, encoder};

use crate::sshd::{Hub, SYSTEM, Sshd, Which, names, segment, small_segment, told};

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

/// Waits until just these segments are in the spool.
fn comes_into(spool: &Path, expected: &[&String]) {
    let visible = || names(spool).into_iter().filter(|name| !name.starts_with('.')).collect::<Vec<_>>();
    for _ in 0..600 {
        if visible().iter().eq(expected.iter().copied()) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("in the spool are {:?}, not {expected:?}", names(spool));
}

/// What PostgreSQL does: one `restore_command` after the other, some of them before the next segments are there.
#[test]
fn segments_come_ahead_over_one_connection() {
    let hub = Hub::new();
    let Some(sshd) = Sshd::start(&hub, Which::Ours) else { return };
    let all: Vec<String> = (0xFC..0x103).map(|n| format!("00000001{:08X}{:08X}", n >> 8, n & 0xFF)).collect();
    for (seed, name) in all.iter().enumerate() {
        hub.archive(name, &gzip(&segment(name, SYSTEM, seed as u64)));
    }
    let dir = pg_wal(&hub);
    let target = dir.join("RECOVERYXLOG");
    let spool = hub.dir.path().join("spool");
    let options = ["-p", "4", "--spool-dir", spool.to_str().unwrap()];
    let fetch = |name: &str| {
        let args = ["main", name, target.to_str().unwrap()];
        told(&sshd.client(Which::Ours, "barman-wal-restore", &options, &args).unwrap().output().unwrap())
    };
    for (seed, name) in all.iter().enumerate() {
        assert_eq!(fetch(name), (0, String::new(), String::new()), "{name}");
        assert!(fs::read(&target).unwrap() == segment(name, SYSTEM, seed as u64), "{name}");
        if seed == 0 {
            comes_into(&spool, &[&all[1], &all[2], &all[3]]);
        }
    }
    let missing = fetch("000000010000000100000003");
    assert_eq!(missing.0, 2, "{missing:?}");
    assert_eq!(sshd.connections(), 1);
    comes_into(&spool, &[]);
    assert_eq!(names(&dir), ["RECOVERYXLOG"]);
}

/// The ssh that holds the connection dies or hangs, or somebody else's directory is in the place of the spool: the file comes all the
/// same, over a connection of its own.
#[test]
fn the_shared_connection_may_die_and_hang() {
    let hub = Hub::new();
    let Some(sshd) = Sshd::start(&hub, Which::Ours) else { return };
    let all: Vec<String> = (0xF0..0xF6).map(|n| format!("0000000100000000000000{n:X}")).collect();
    for (seed, name) in all.iter().enumerate() {
        hub.archive(name, &small_segment(name, seed as u64));
    }
    let target = pg_wal(&hub).join("RECOVERYXLOG");
    let spool = hub.dir.path().join("spool");
    let fetch = |spool: &Path, name: &str| {
        let args = ["main", name, target.to_str().unwrap()];
        let options = ["-p", "1", "--spool-dir", spool.to_str().unwrap(), "--io-timeout", "2"];
        let run = sshd.client(Which::Ours, "barman-wal-restore", &options, &args).unwrap().output();
        let (code, _, stderr) = told(&run.unwrap());
        assert_eq!(code, 0, "{name} {stderr}");
        stderr
    };
    // Whose connection it is, and a signal for that process.
    let signal = |signal: &str| {
        let socket = names(&spool).into_iter().find(|name| name.starts_with(".ssh-")).unwrap();
        let mut ssh = Command::new("ssh");
        ssh.args(["-O", "check", "-S"]).arg(spool.join(socket)).arg("127.0.0.1");
        let said = told(&ssh.output().unwrap()).2;
        let pid = said.split("pid=").nth(1).and_then(|rest| rest.split(')').next()).expect(&said).to_owned();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        pid
    };
    assert_eq!(fetch(&spool, &all[0]), "");
    signal("-KILL");
    assert_eq!(fetch(&spool, &all[1]), "");
    assert_eq!(fetch(&spool, &all[2]), "");
    assert_eq!(sshd.connections(), 2);
    let hanging = signal("-STOP");
    fetch(&spool, &all[3]);
    assert!(Command::new("kill").args(["-KILL", &hanging]).status().unwrap().success());
    fetch(&spool, &all[4]);
    fetch(&spool, &all[5]);
    signal("-TERM");
    if std::os::unix::fs::chown(&spool, Some(12_345), None).is_ok() {
        fs::write(spool.join(&all[1]), small_segment(&all[1], 99)).unwrap();
        let warned = fetch(&spool, &all[1]);
        assert!(warned.contains("belongs to another user"), "{warned}");
        assert!(fs::read(&target).unwrap() == small_segment(&all[1], 1));
    }
}

/// L-A32: told of a failed connection by an exit code up to 125, a server that is no standby would open for writing.
#[test]
fn l_a32_recovery_that_would_end_stops_and_a_standby_tries_again() {
    let hub = Hub::new();
    let Some(sshd) = Sshd::start(&hub, Which::Ours) else { return };
    let target = pg_wal(&hub).join("RECOVERYXLOG");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let spool = hub.dir.path().join("spool");
    let ahead = ["-p", "2", "--spool-dir", spool.to_str().unwrap()];
    let data = hub.dir.path();
    for (signal, unreachable, missing) in
        [(None, 2, [1, 2]), (Some("recovery.signal"), 255, [1, 1]), (Some("standby.signal"), 2, [1, 2])]
    {
        if let Some(signal) = signal {
            fs::write(data.join(signal), "").unwrap();
        }
        let args = ["main", FIRST, target.to_str().unwrap()];
        let run = |options: &[&str]| {
            told(&sshd.client(Which::Ours, "barman-wal-restore", options, &args).unwrap().output().unwrap()).0
        };
        for (options, missing) in [&[][..], &ahead].into_iter().zip(missing) {
            assert_eq!(run(options), missing, "{signal:?} {options:?}");
            assert_eq!(run(&[options, &["--port", &free]].concat()), unreachable, "{signal:?} {options:?}");
        }
        assert!(!target.exists());
    }
    // PostgreSQL 11 and older have one file for both.
    for signal in ["recovery.signal", "standby.signal"] {
        fs::remove_file(data.join(signal)).unwrap();
    }
    for (conf, code) in [("standby_mode = 'on'\n", 2), ("restore_command = 'x'\n", 255)] {
        fs::write(data.join("recovery.conf"), conf).unwrap();
        let args = ["main", FIRST, target.to_str().unwrap()];
        let run = sshd.client(Which::Ours, "barman-wal-restore", &["--port", &free], &args).unwrap().output();
        assert_eq!(told(&run.unwrap()).0, code, "{conf}");
    }
}

#[test]
fn on_the_same_host_no_ssh_is_needed() {
    let hub = Hub::new();
    let (good, broken) = (FIRST, "0000000100000000000000F1");
    hub.archive(good, &gzip(&segment(good, SYSTEM, 1)));
    hub.archive(broken, &gzip(&segment(broken, SYSTEM, 2))[..100_000]);
    let dir = pg_wal(&hub);
    let run = |server: &str, name: &str, target: &Path| {
        let mut command = Which::Ours.command("tapster").unwrap();
        command.arg("-c").arg(hub.config()).args(["wal-restore", server, name]).arg(target);
        told(&command.output().unwrap())
    };
    let target = dir.join("RECOVERYXLOG");
    fs::write(&target, "something old").unwrap();
    for (server, name, code) in
        [("main", "0000000100000000000000F9", 1), ("main", broken, 255), ("nosuch", good, 255)]
    {
        let failed = run(server, name, &target);
        assert!(failed.0 == code && failed.2.starts_with("ERROR: "), "{failed:?}");
        assert_eq!(fs::read(&target).unwrap(), b"something old");
        assert_eq!(names(&dir), ["RECOVERYXLOG"]);
    }
    assert_eq!(run("main", good, &target), (0, String::new(), String::new()));
    assert!(fs::read(&target).unwrap() == segment(good, SYSTEM, 1));
    assert_eq!(run("main", good, Path::new("/nonexistent/RECOVERYXLOG")).0, 255);
}

/// The last segment of a log file depends on the segment size, which only the segments tell where there is no backup.
#[test]
fn peek_crosses_the_end_of_a_log_file_with_every_segment_size() {
    let hub = Hub::new();
    for (timeline, shift) in (20..=30).enumerate() {
        let per_log = 1_u64 << (32 - shift);
        // Numbers in hexadecimal: the last timelines are beyond 9.
        let name = |n: u64| format!("{:08X}{:08X}{:08X}", timeline + 1, n / per_log, n % per_log);
        let numbers = [per_log - 1, per_log, per_log + 1];
        for number in numbers {
            let name = name(number);
            let mut head = segment(&name, SYSTEM, 0)[..40].to_vec();
            head[8..16].copy_from_slice(&(number << shift).to_le_bytes());
            head[32..36].copy_from_slice(&(1_u32 << shift).to_le_bytes());
            hub.archive(&name, &head);
            let path = hub.main("wals").join(&name[..16]).join(&name);
            fs::File::options().write(true).open(path).unwrap().set_len(1 << shift).unwrap();
        }
        let mut command = Which::Ours.command("barman").unwrap();
        command.arg("-c").arg(hub.config()).args(["get-wal", "--peek", "5", "main", &name(numbers[0])]);
        let expected: String = numbers.iter().map(|n| format!("{}\n", name(*n))).collect();
        assert_eq!(told(&command.output().unwrap()), (0, expected, String::new()), "{} bytes", 1 << shift);
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
    comes_into(&spool, &[&all[1], &all[2]]);
    // Without any connection.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let alone = [&options[..], &["--port", &free]].concat();
    assert_eq!(fetch(&sshd, &all[1], &alone).0, 0);
    assert!(fs::read(&target).unwrap() == segment(&all[1], SYSTEM, 1));
    comes_into(&spool, &[&all[2]]);
    // Another timeline: what was fetched ahead on the old one goes, also when the new file is in the spool.
    let other = "0000000200000000000000F2";
    hub.archive(other, &segment(other, SYSTEM, 9));
    assert_eq!(fetch(&sshd, other, &options).0, 0);
    comes_into(&spool, &[]);
    // Another server's reader with the same spool.
    assert_eq!(fetch(&sshd, &all[0], &options).0, 0);
    comes_into(&spool, &[&all[1], &all[2]]);
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
