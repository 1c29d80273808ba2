//! `barman-wal-archive` against `put-wal`, ours and the originals in every combination, over a real sshd.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::sshd::{Hub, SEGMENT_BYTES, SYSTEM, Sshd, Which, names, segment, told, write_script};

const NAME: &str = "0000000100000000000000F0";
const PAIRS: [(Which, Which); 3] =
    [(Which::Ours, Which::Ours), (Which::Ours, Which::Original), (Which::Original, Which::Ours)];

fn source(hub: &Hub, name: &str, bytes: &[u8]) -> PathBuf {
    let dir = hub.dir.path().join("pg_wal");
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_232_976_195);
    File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    path
}

#[test]
fn every_client_reaches_every_hub() {
    for (client, server) in PAIRS {
        let hub = Hub::new();
        let Some(sshd) = Sshd::start(&hub, server) else { return };
        let path = source(&hub, NAME, &segment(NAME, SYSTEM, 1));
        for options in [&[][..], &["--md5"], &["-z"]] {
            let Some(mut command) =
                sshd.client(client, "barman-wal-archive", options, &["main", path.to_str().unwrap()])
            else {
                return;
            };
            let run = told(&command.output().unwrap());
            assert_eq!(run, (0, String::new(), String::new()), "{client:?} {server:?} {options:?}");
            let arrived = hub.main("incoming").join(NAME);
            assert_eq!(hub.names("incoming"), [NAME]);
            let modified = |path: &PathBuf| path.metadata().unwrap().modified().unwrap();
            let (there, here) = (modified(&arrived), modified(&path));
            let apart = there.duration_since(here).unwrap_or_else(|error| error.duration());
            // Python counts in floating point, and gives a compressed file the time of its compression.
            let compresses_as_of_now = client == Which::Original && options == ["-z"];
            let exact = (client, server) == (Which::Ours, Which::Ours);
            assert!(
                compresses_as_of_now || apart <= Duration::from_nanos(if exact { 0 } else { 1000 }),
                "{client:?} {server:?} {apart:?}"
            );
            let mut content = Vec::new();
            let mut file = File::open(&arrived).unwrap();
            file.read_to_end(&mut content).unwrap();
            if options == ["-z"] {
                assert_eq!(walfile::codec::detect(&content).name(), "gzip");
                let mut plain = Vec::new();
                walfile::codec::decoder(&content[..], walfile::codec::Compression::Gzip)
                    .unwrap()
                    .read_to_end(&mut plain)
                    .unwrap();
                content = plain;
            }
            assert!(content == fs::read(&path).unwrap(), "{client:?} {server:?} {options:?}");
            fs::remove_file(arrived).unwrap();
        }
    }
}

#[test]
fn all_codecs_arrive_whole() {
    let hub = Hub::new();
    let Some(sshd) = Sshd::start(&hub, Which::Ours) else { return };
    let bytes = segment(NAME, SYSTEM, 2);
    let path = source(&hub, NAME, &bytes);
    for (option, name) in
        [("-j", "bzip2"), ("--xz", "xz"), ("--snappy", "snappy"), ("--zstd", "zstd"), ("--lz4", "lz4")]
    {
        let options = [option, "--compression-level", "low"];
        let mut command = sshd
            .client(Which::Ours, "barman-wal-archive", &options, &["main", path.to_str().unwrap()])
            .unwrap();
        assert_eq!(told(&command.output().unwrap()), (0, String::new(), String::new()), "{name}");
        let arrived = fs::read(hub.main("incoming").join(NAME)).unwrap();
        let codec = walfile::codec::detect(&arrived);
        assert_eq!(codec.name(), name);
        let mut plain = Vec::new();
        walfile::codec::decoder(&arrived[..], codec).unwrap().read_to_end(&mut plain).unwrap();
        assert!(plain == bytes, "{name}");
        fs::remove_file(hub.main("incoming").join(NAME)).unwrap();
    }
}

/// PostgreSQL offers a file again after a crash: that has to succeed. Another cluster's must not.
#[test]
fn the_same_again_is_fine_and_other_content_is_an_error() {
    for client in [Which::Ours, Which::Original] {
        let hub = Hub::new();
        let Some(sshd) = Sshd::start(&hub, Which::Ours) else { return };
        let first = segment(NAME, SYSTEM, 3);
        let path = source(&hub, NAME, &first);
        let send = || {
            let mut command =
                sshd.client(client, "barman-wal-archive", &[], &["main", path.to_str().unwrap()])?;
            Some(told(&command.output().unwrap()))
        };
        let Some(run) = send() else { return };
        assert_eq!(run.0, 0);
        assert_eq!(send().unwrap(), (0, String::new(), String::new()));
        source(&hub, NAME, &segment(NAME, SYSTEM, 4));
        for _ in 0..2 {
            let (code, _, stderr) = send().unwrap();
            assert_eq!(code, 1, "{stderr}");
            assert!(stderr.contains("Duplicate Files Detected with Mismatched Checksums"), "{stderr}");
            assert!(stderr.ends_with("ERROR: Remote 'barman put-wal' command has failed!\n"), "{stderr}");
            assert!(fs::read(hub.main("incoming").join(NAME)).unwrap() == first);
            assert_eq!(hub.names("incoming"), [NAME]);
            // One copy, however often PostgreSQL tries.
            let errors = hub.names("errors");
            assert!(errors.len() == 1 && errors[0].ends_with("Z.duplicate"), "{errors:?}");
            assert!(fs::read(hub.main("errors").join(&errors[0])).unwrap() == fs::read(&path).unwrap());
        }
        // Also when the first one is in the archive already, compressed or not.
        fs::remove_file(hub.main("incoming").join(NAME)).unwrap();
        hub.archive(NAME, &first);
        assert_eq!(send().unwrap().0, 1);
        source(&hub, NAME, &first);
        assert_eq!(send().unwrap().0, 0);
        assert!(hub.names("incoming").is_empty(), "it is in the archive");
    }
}

#[test]
fn failures_have_the_codes_and_words_of_the_original() {
    let hub = Hub::new();
    let Some(sshd) = Sshd::start(&hub, Which::Ours) else { return };
    // The original may find the broken pipe before it finds the broken connection, if it has more than a pipe takes.
    let small = source(&hub, "small", b"x");
    let small = small.to_str().unwrap();
    let dir = hub.dir.path().to_str().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let cases: [(&[&str], &[&str]); 7] = [
        (&[], &["main", dir]),
        (&["--port", &free], &["main", small]),
        (&[], &["nosuch", small]),
        (&[], &["old", small]),
        (&["--test"], &["main", "dummy"]),
        (&["--test"], &["nosuch", "dummy"]),
        (&["--port", &free, "--test"], &["main", "dummy"]),
    ];
    for (options, args) in cases {
        let run =
            |which| Some(told(&sshd.client(which, "barman-wal-archive", options, args)?.output().unwrap()));
        let Some(theirs) = run(Which::Original) else { return };
        assert_eq!(run(Which::Ours).unwrap(), theirs, "{options:?} {args:?}");
    }
    let run =
        |args| told(&sshd.client(Which::Ours, "barman-wal-archive", &[], args).unwrap().output().unwrap());
    assert_eq!(run(&["main", "/nonexistent/000000010000000000000001"]).0, 2);
    assert!(hub.names("incoming").is_empty());
}

/// The original's answer to `--test`, and to what it takes for no server.
#[test]
fn both_hubs_answer_a_test_alike() {
    let hub = Hub::new();
    for args in [&["put-wal", "--test", "main"][..], &["put-wal", "-t", "old"], &["put-wal", "-t", "all"]] {
        let run = |which: Which| {
            let mut command = which.command("barman")?;
            Some(told(&command.arg("-c").arg(hub.config()).args(args).output().unwrap()))
        };
        let Some(theirs) = run(Which::Original) else { return };
        assert_eq!(run(Which::Ours).unwrap(), theirs, "{args:?}");
    }
}

/// A hub that hangs: SIGTERM ends the client by that signal, and its ssh with it.
#[test]
fn a_signal_ends_client_and_ssh() {
    let hub = Hub::new();
    let bin = hub.dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let pid = hub.dir.path().join("pid");
    write_script(
        &bin.join("ssh"),
        &format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", pid.display()),
    );
    let path = source(&hub, NAME, &segment(NAME, SYSTEM, 1));
    let mut client = Which::Ours.command("barman-wal-archive").unwrap();
    let client = client
        .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
        .args(["host", "main"])
        .arg(&path)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !pid.exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let ssh = fs::read_to_string(&pid).unwrap();
    signal("-TERM", &client.id().to_string());
    let (code, _, stderr) = told(&client.wait_with_output().unwrap());
    assert_eq!((code, stderr.as_str()), (-15, ""));
    assert!(!PathBuf::from(format!("/proc/{}", ssh.trim())).exists());
}

#[test]
fn a_silent_connection_is_given_up_when_asked_for() {
    let hub = Hub::new();
    let bin = hub.dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    write_script(&bin.join("ssh"), "exec sleep 600");
    let path = source(&hub, NAME, &segment(NAME, SYSTEM, 1));
    let mut client = Which::Ours.command("barman-wal-archive").unwrap();
    client.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
    let output = client.args(["--io-timeout", "1", "host", "main"]).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

/// A remote command that says yes without having read anything.
#[test]
fn success_needs_the_whole_file_to_be_read() {
    let hub = Hub::new();
    let bin = hub.dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    write_script(&bin.join("ssh"), "exit 0");
    let path = source(&hub, NAME, &segment(NAME, SYSTEM, 1));
    let mut client = Which::Ours.command("barman-wal-archive").unwrap();
    client.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
    let output = client.args(["host", "main"]).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn on_the_same_host_only_wal_of_this_server_is_taken() {
    let hub = Hub::new();
    hub.identity(SYSTEM);
    let good = segment(NAME, SYSTEM, 1);
    let send = |name: &str, bytes: &[u8]| {
        let path = source(&hub, name, bytes);
        let mut command = Which::Ours.command("tapster").unwrap();
        told(&command.arg("-c").arg(hub.config()).args(["wal-archive", "main"]).arg(path).output().unwrap())
    };
    for (name, bytes, why) in [
        (NAME, segment(NAME, SYSTEM + 1, 1), "of system"),
        (NAME, good[..SEGMENT_BYTES / 2].to_vec(), "bytes long"),
        (NAME, good[..SEGMENT_BYTES - 1].to_vec(), "bytes long"),
        (NAME, Vec::new(), "empty"),
        (NAME, vec![0; SEGMENT_BYTES], "not a WAL segment"),
        ("0000000100000000000000F1", good.clone(), "holds WAL from"),
        ("notwal", good.clone(), "not the name of a WAL file"),
    ] {
        let (code, stdout, stderr) = send(name, &bytes);
        assert_eq!((code, stdout.as_str()), (1, ""), "{name} {stderr}");
        assert!(stderr.contains(why), "{stderr}");
        assert!(hub.names("incoming").is_empty());
    }
    for _ in 0..2 {
        assert_eq!(send(NAME, &good), (0, String::new(), String::new()));
    }
    assert!(fs::read(hub.main("incoming").join(NAME)).unwrap() == good);
    let (code, _, stderr) = send(NAME, &segment(NAME, SYSTEM, 2));
    assert!(code == 1 && stderr.contains("Duplicate Files Detected"), "{stderr}");
    assert!(fs::read(hub.main("incoming").join(NAME)).unwrap() == good);
    assert_eq!(hub.names("errors").len(), 1);
    assert_eq!(send("00000002.history", b"1\t0/F0000000\tno recovery target specified\n").0, 0);
    assert_eq!(names(&hub.main("incoming")), ["0000000100000000000000F0", "00000002.history"]);
    let mut command = Which::Ours.command("tapster").unwrap();
    let run = command.arg("-c").arg(hub.config()).args(["wal-archive", "old", "/x"]).output().unwrap();
    assert_eq!(told(&run), (1, String::new(), "ERROR: Inactive server: old\n".to_owned()));
}

/// A hub whose volume is not mounted has an empty directory in its place.
#[test]
fn a_hub_that_is_not_mounted_is_neither_empty_nor_filled() {
    let hub = Hub::new();
    let home = hub.dir.path().join("home");
    fs::remove_dir_all(&home).unwrap();
    fs::create_dir(&home).unwrap();
    let wal = hub.dir.path().join(NAME);
    fs::write(&wal, segment(NAME, SYSTEM, 1)).unwrap();
    let to = hub.dir.path().join("RECOVERYXLOG");
    let (wal, to) = (wal.to_str().unwrap(), to.to_str().unwrap());
    for (args, expected) in [
        (&["get-wal", "main", NAME][..], 200),
        (&["get-wal", "--peek", "1", "main", NAME], 200),
        (&["wal-restore", "main", NAME, to], 255),
        (&["wal-archive", "main", wal], 1),
    ] {
        let mut command = Which::Ours.command("tapster").unwrap();
        let (code, stdout, stderr) = told(&command.arg("-c").arg(hub.config()).args(args).output().unwrap());
        assert_eq!((code, stdout.as_str()), (expected, ""), "{args:?} {stderr}");
        assert!(stderr.contains("is not there") && stderr.contains("mounted"), "{args:?} {stderr}");
    }
    assert!(names(&home).is_empty() && !fs::exists(to).unwrap());
}

fn signal(which: &str, pid: &str) {
    assert!(Command::new("kill").args([which, pid]).status().unwrap().success());
}
