//! WAL of servers whose `wals_directory` is an address: archive and restore command, the archiver, the receiver, `get-wal`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tapster_cloud::testing::Moto;

use crate::chaos::{Running, finish_segment, names, wait_for, wait_until_received};
use crate::cloud_conf::{Shelf, Whose};
use crate::cloud_wal::segment;
use crate::lab::Lab;
use crate::program::Run;
use crate::wal_put::{sum, tar_of};

/// What a program says on the terminal, without the names of programs and times.
fn said(run: &Run) -> (i32, &str, &str) {
    (run.code, &run.stdout, &run.stderr)
}

/// A server on PostgreSQL's host, and a `pg_wal` beside it.
struct Host {
    shelf: Shelf,
    wal: PathBuf,
}

impl Host {
    fn start() -> Option<Self> {
        let shelf = Shelf::start()?;
        let wal = shelf.path("pg_wal");
        std::fs::create_dir_all(wal.join("archive_status")).unwrap();
        let server = format!(
            "conninfo = host=/none user=u\nstreaming_conninfo = host=/none user=u\ncompression = gzip\nwals_directory = {url}\n",
            url = shelf.url()
        );
        let local = format!(
            "{server}basebackups_directory = {}\nbackup_method = local-to-cloud\narchiver = on\n",
            shelf.url()
        );
        shelf.configure("local.conf", &local);
        shelf.configure("plain.conf", &format!("{server}backup_method = postgres\narchiver = on\n"));
        shelf.configure(
            "here.conf",
            "conninfo = host=/none user=u\nbackup_method = local-rsync\narchiver = on\n",
        );
        Some(Self { shelf, wal })
    }

    fn run(&self, whose: Whose, command: &str, args: &[&str]) -> Run {
        self.shelf.run(whose, "local.conf", &[&[command], args].concat())
    }

    /// A segment that is ready to be archived.
    fn ready(&self, number: u64) -> (String, Vec<u8>) {
        let (name, bytes) = segment(number);
        std::fs::write(self.wal.join(&name), &bytes).unwrap();
        std::fs::write(self.wal.join(format!("archive_status/{name}.ready")), "").unwrap();
        (name, bytes)
    }

    fn archive(&self, whose: Whose, name: &str, options: &[&str]) -> Run {
        let path = self.wal.join(name).display().to_string();
        let run = self.run(whose, "cloud-wal-archive", &[&["main", &path], options].concat());
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{whose:?} {name}: {run:?}");
        run
    }

    /// The names in the index, in its order.
    fn listed(&self) -> Vec<String> {
        let index = std::fs::read_to_string(self.shelf.path("home/main/meta/main-xlog.db")).unwrap();
        index.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
    }

    fn stored(&self) -> Vec<String> {
        let objects = self.shelf.moto.store("place").list("main/wals");
        objects.map(|object| object.unwrap().key.rsplit('/').next().unwrap().to_owned()).collect()
    }

    fn meta(&self, name: &str) -> String {
        std::fs::read_to_string(self.shelf.path("home/main/meta").join(name)).unwrap()
    }
}

#[test]
fn archive_and_restore_command_of_a_configured_server_are_barmans() {
    let Some(host) = Host::start() else { return };
    let segments: Vec<(String, Vec<u8>)> = (1..=6).map(|number| host.ready(number)).collect();
    let name = |number: usize| segments[number - 1].0.as_str();
    let path = |name: &str| host.wal.join(name).display().to_string();
    // Mistakes, in the same words.
    std::fs::write(host.wal.join("nonsense"), "x").unwrap();
    let (directory, missing) = (host.wal.display().to_string(), path("0000000100000000000000AA"));
    let dest = host.shelf.path("dest").display().to_string();
    let mistakes = [
        ("local.conf", ["cloud-wal-archive", "main", &directory, "-p2"]),
        ("local.conf", ["cloud-wal-archive", "main", &missing, "-p2"]),
        ("local.conf", ["cloud-wal-archive", "main", &path("nonsense"), "-p2"]),
        ("plain.conf", ["cloud-wal-archive", "main", &path(name(1)), "-p2"]),
        ("here.conf", ["cloud-wal-restore", "main", name(1), &dest]),
        ("local.conf", ["cloud-wal-restore", "main", "nonsense", &dest]),
    ];
    std::thread::scope(|scope| {
        for (file, args) in &mistakes {
            let shelf = &host.shelf;
            scope.spawn(move || {
                let [ours, theirs] = [Whose::Ours, Whose::Barmans].map(|whose| shelf.run(whose, file, args));
                let code = if args[0] == "cloud-wal-restore" { 255 } else { theirs.code };
                assert_eq!((theirs.code, ours.code), (1, code), "{args:?}: {ours:?} {theirs:?}");
                assert_eq!((&ours.stdout, &ours.stderr), (&theirs.stdout, &theirs.stderr), "{args:?}");
            });
        }
    });
    assert_eq!(host.stored(), Vec::<String>::new());

    // One after the other, and each knows what the other has archived ahead.
    let theirs = host.archive(Whose::Barmans, name(1), &[]);
    let ours = host.archive(Whose::Ours, name(2), &["-p", "3"]);
    assert_eq!(said(&ours), said(&theirs));
    let ahead = host.listed();
    assert!(ahead.len() > 2 && ahead.iter().map(String::as_str).eq((1..=ahead.len()).map(name)), "{ahead:?}");
    assert_eq!(host.meta("cloud-wal-last-archived"), *ahead.last().unwrap());
    host.archive(Whose::Barmans, name(3), &[]);
    host.archive(Whose::Ours, name(3), &[]);
    host.archive(Whose::Ours, name(1), &[]);
    host.archive(Whose::Barmans, name(6), &[]);
    for number in 4..=6 {
        host.archive(Whose::Ours, name(number), &["--parallel", "0"]);
    }
    let mut listed = host.listed();
    listed.sort_unstable();
    assert!(listed.iter().map(String::as_str).eq((1..=6).map(name)), "each once: {listed:?}");
    let stored = host.stored();
    assert!(stored.iter().all(|file| file.ends_with(".gz")) && stored.len() == 6, "{stored:?}");
    // The same in each line, but for what another compressor makes of it.
    let fields = |name: &str| -> Vec<String> {
        let index = host.meta("main-xlog.db");
        let line = index.lines().find(|line| line.starts_with(name)).unwrap();
        line.split('\t').map(str::to_owned).collect()
    };
    for (number, key) in [(1, 1), (2, 2), (6, 6)] {
        let fields = fields(name(number));
        assert_eq!((fields[3].as_str(), fields[4].as_str()), ("gzip", "None"), "{fields:?}");
        let key = format!("main/wals/0000000100000000/{}.gz", name(key));
        assert_eq!(fields[1], host.shelf.moto.store("place").head(&key).unwrap().size.to_string());
    }
    // Another content stays out: Barman's would be acknowledged and thrown away.
    std::fs::write(host.wal.join(name(5)), segment(5).1.iter().rev().copied().collect::<Vec<_>>()).unwrap();
    let refused = host.run(Whose::Ours, "cloud-wal-archive", &["main", &path(name(5))]);
    assert_eq!(refused.code, 1, "{refused:?}");

    for whose in [Whose::Ours, Whose::Barmans] {
        for (number, options) in [(1, &[][..]), (2, &["-p", "3", "--spool-dir", "spool"])] {
            let spool = host.shelf.path(&format!("spool-{whose:?}")).display().to_string();
            let options: Vec<&str> = options
                .iter()
                .map(|option| if *option == "spool" { spool.as_str() } else { option })
                .collect();
            let run = host.run(
                whose,
                "cloud-wal-restore",
                &[&["main", name(number), &dest], &options[..]].concat(),
            );
            assert_eq!(said(&run), (0, "", ""), "{whose:?} {number}");
            assert!(std::fs::read(&dest).unwrap() == segments[number - 1].1, "{whose:?} {number}");
        }
        let run = host.run(whose, "cloud-wal-restore", &["main", "0000000100000000000000AA", &dest]);
        assert_eq!(run.code, 1, "{run:?}");
    }
    get_wal(&host, &segments);
}

/// Where Barman refuses: `get-wal` of the server, and without a configuration.
fn get_wal(host: &Host, segments: &[(String, Vec<u8>)]) {
    let (first, bytes) = &segments[0];
    let dir = host.shelf.path("got").display().to_string();
    std::fs::create_dir_all(&dir).unwrap();
    let refused = host.run(Whose::Barmans, "get-wal", &["main", first]);
    assert!(refused.code == 1 && refused.stderr.contains("cloud object storage"), "{refused:?}");
    let run = host.run(Whose::Ours, "get-wal", &["main", first, "-o", &dir]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(std::fs::read(Path::new(&dir).join(first)).unwrap() == *bytes);
    let peeked = host.run(Whose::Ours, "get-wal", &["main", &segments[1].0, "--peek", "3"]);
    let expected: String = segments[1..4].iter().map(|(name, _)| format!("{name}\n")).collect();
    assert_eq!(said(&peeked), (0, expected.as_str(), ""));
    let missing = host.run(Whose::Ours, "get-wal", &["main", "0000000100000000000000AA"]);
    assert_eq!(missing.code, 1, "{missing:?}");

    let (moto, url) = (&host.shelf.moto, host.shelf.url());
    let store = moto.store("place");
    let begun = "000000010000000000000007";
    let mut beginning = segment(7).1;
    beginning[1000..].fill(0);
    let key = format!("main/wals/0000000100000000/{begun}.partial");
    store.put(&key, beginning.clone(), &tapster_cloud::WriteOptions::default()).unwrap();
    let get = |endpoint: &str, args: &[&str]| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tapster"));
        command.args(["cloud", "get-wal", "--read-timeout", "1", "--endpoint-url", endpoint, &url, "main"]);
        let output = command.args(args).envs(moto.variables()).stdin(Stdio::null()).output().unwrap();
        (output.status.code().unwrap(), output.stdout)
    };
    let endpoint = moto.endpoint();
    assert!(get(&endpoint, &[first]) == (0, bytes.clone()));
    assert_eq!(get(&endpoint, &["0000000100000000000000AA"]).0, 1);
    assert_eq!(get(&endpoint, &[begun]).0, 1);
    assert!(get(&endpoint, &[begun, "--partial"]) == (0, beginning));
    assert_eq!(get(&endpoint, &["nonsense"]).0, 3);
    assert_eq!(get("http://127.0.0.1:1", &[first]).0, 200);
    // To PostgreSQL a small code says that the archive ends here.
    let program = assert_cmd::cargo::cargo_bin!("tapster").display().to_string();
    let unusable = |line: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &line.replace("GET", &format!("{program} cloud get-wal"))]);
        let output = command.envs(moto.variables()).stdin(Stdio::null()).output().unwrap();
        output.status.code().unwrap()
    };
    assert_eq!(unusable(&format!("GET nonsense://x main {first}")), 200);
    assert_eq!(unusable(&format!("GET --cloud-provider google-cloud-storage {url} main {first}")), 200);
    assert_eq!(unusable(&format!("GET --endpoint-url {endpoint} {url} main {first} > /dev/full")), 200);
    assert_eq!(unusable(&format!("GET --test nonsense://x main {first}")), 4);
    let all: String = segments.iter().map(|(name, _)| format!("{name}\n")).collect();
    assert_eq!(get(&endpoint, &[first, "--peek", "99"]), (0, all.into_bytes()));
    assert_eq!(get(&endpoint, &[begun, "--peek", "9"]), (0, Vec::new()));
}

#[test]
fn the_archiver_moves_what_waits_into_the_bucket() {
    let Some(host) = Host::start() else { return };
    let archive = |whose| host.shelf.run(whose, "plain.conf", &["archive-wal", "main"]);
    for dir in ["incoming", "errors", "meta", "streaming", "wals", "base"] {
        std::fs::create_dir_all(host.shelf.path("home/main").join(dir)).unwrap();
    }
    let (incoming, errors) = (host.shelf.path("home/main/incoming"), host.shelf.path("home/main/errors"));
    let put = |number: u64| {
        let (name, bytes) = segment(number);
        std::fs::write(incoming.join(&name), bytes).unwrap();
        name
    };
    // The same is said of one file each.
    let [ours, theirs] = [(Whose::Ours, 1), (Whose::Barmans, 2)].map(|(whose, number)| {
        let name = put(number);
        let run = archive(whose);
        (run.code, run.stdout.replace(&name, "NAME"), run.stderr)
    });
    assert_eq!(ours, theirs);
    for number in 3..=9 {
        put(number);
    }
    std::fs::write(incoming.join("00000002.history"), "1\t0/900000\tno recovery target specified\n").unwrap();
    assert_eq!(archive(Whose::Ours).code, 0);
    // Once more: the same, another content, and what is no WAL.
    put(4);
    std::fs::write(incoming.join(&segment(5).0), {
        let mut other = segment(5).1;
        other[5000] ^= 1;
        other
    })
    .unwrap();
    std::fs::write(incoming.join("notes"), "x").unwrap();
    assert_eq!(archive(Whose::Ours).code, 0);
    assert_eq!(names(&incoming), Vec::<String>::new());
    let mut refused = names(&errors);
    refused.sort_unstable();
    assert!(
        refused.len() == 2 && refused[0].starts_with(&segment(5).0) && refused[0].ends_with(".duplicate"),
        "{refused:?}"
    );
    let mut listed = host.listed();
    listed.sort_unstable();
    let mut expected: Vec<String> = (1..=9).map(|number| segment(number).0).collect();
    expected.push("00000002.history".to_owned());
    expected.sort_unstable();
    assert_eq!(listed, expected);
    let store = host.shelf.moto.store("place");
    assert!(store.head("main/wals/00000002.history.gz").is_ok(), "{:?}", host.stored());
    let dest = host.shelf.path("dest").display().to_string();
    for (number, whose) in (1..=9).map(|number| (number, [Whose::Ours, Whose::Barmans][number as usize / 7]))
    {
        let run = host.run(whose, "cloud-wal-restore", &["main", &segment(number).0, &dest]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(std::fs::read(&dest).unwrap() == segment(number).1, "{number}");
    }
    // A bucket that is away keeps them here.
    put(10);
    host.shelf.configure(
        "gone.conf",
        "conninfo = host=/none user=u\nwals_directory = s3://nosuchbucket/x\nbackup_method = postgres\narchiver = on\n",
    );
    let failed = host.shelf.run(Whose::Ours, "gone.conf", &["archive-wal", "main"]);
    assert_ne!(failed.code, 0, "{failed:?}");
    assert_eq!(names(&incoming), [segment(10).0]);

    // What cannot be taken does not hold up what is behind it: nothing of a segment, an encrypted one, one whose object is no archive
    // any more, and what is none.
    let nothing = format!("{}.partial", segment(2).0);
    std::fs::write(incoming.join(&nothing), "").unwrap();
    let encrypted = "-----BEGIN PGP MESSAGE-----\n\nx\n-----END PGP MESSAGE-----\n";
    std::fs::write(incoming.join(segment(11).0), encrypted).unwrap();
    let broken = format!("main/wals/0000000100000000/{}.gz", segment(12).0);
    store.put(&broken, b"\x1f\x8b\x08nonsense".to_vec(), &tapster_cloud::WriteOptions::default()).unwrap();
    put(12);
    std::fs::write(incoming.join(segment(13).0), "sixteen bytes...").unwrap();
    put(14);
    let run = host.shelf.run(Whose::Ours, "plain.conf", &["archive-wal", "--accept-invalid", "main"]);
    assert!(run.code == 1 && run.stderr.contains("it is encrypted"), "{run:?}");
    assert_eq!(names(&incoming), [nothing, segment(11).0, segment(13).0]);
    assert!(
        names(&errors).iter().any(|file| file.starts_with(&segment(12).0) && file.ends_with(".duplicate"))
    );
    for number in [10, 14] {
        let key = format!("main/wals/0000000100000000/{}.gz", segment(number).0);
        assert!(store.head(&key).is_ok(), "{number}: {run:?}");
    }
}

/// Somebody, or a rule of the bucket, has removed what was archived ahead.
#[test]
fn what_was_archived_ahead_and_is_gone_is_archived_again() {
    let Some(host) = Host::start() else { return };
    let ready: Vec<String> = (1..=3).map(|number| host.ready(number).0).collect();
    let path = |name: &str| host.wal.join(name).display().to_string();
    host.archive(Whose::Ours, &ready[0], &["-p", "3"]);
    let store = host.shelf.moto.store("place");
    let key = |name: &str| format!("main/wals/0000000100000000/{name}.gz");
    assert!(store.head(&key(&ready[1])).is_ok());
    store.delete(&[key(&ready[1])]).unwrap();
    std::fs::write(host.shelf.path("home/main/meta/main-xlog.db"), "").unwrap();
    let run = host.run(Whose::Ours, "cloud-wal-archive", &["main", &path(&ready[1]), "-p", "3"]);
    assert!(run.code == 0 && run.stderr.contains("is archived again"), "{run:?}");
    assert!(store.head(&key(&ready[1])).is_ok());
    assert_eq!(host.listed(), ready[1..2]);
    scripts(&host);

    // After pg_upgrade the successor has another system identifier, and says once that the place is its own.
    let successor = |number: u64, path: PathBuf| {
        let (name, mut bytes) = segment(number);
        bytes[24] = 8;
        std::fs::write(path.join(&name), bytes).unwrap();
        name
    };
    let name = successor(8, host.wal.clone());
    let refused = host.run(Whose::Ours, "cloud-wal-archive", &["main", &path(&name)]);
    assert!(refused.code == 1 && refused.stderr.contains("--take-over"), "{refused:?}");
    let incoming = host.shelf.path("home/main/incoming");
    std::fs::create_dir_all(&incoming).unwrap();
    let waiting = successor(9, incoming.clone());
    let archive = || host.shelf.run(Whose::Ours, "plain.conf", &["archive-wal", "main"]);
    let refused = archive();
    assert!(
        refused.code == 1 && refused.stderr.contains("tapster cloud wal-archive --take-over"),
        "{refused:?}"
    );
    assert_eq!(names(&incoming), [waiting]);
    host.archive(Whose::Ours, &name, &["--take-over"]);
    let run = archive();
    assert_eq!((run.code, names(&incoming)), (0, Vec::new()), "{run:?}");
}

/// Those around archiving run for each file that PostgreSQL asks for, and are told what Barman's are told.
fn scripts(host: &Host) {
    let (told, script) = (host.shelf.path("told"), host.shelf.path("script"));
    let text = "echo \"$BARMAN_PHASE $BARMAN_HOOK $BARMAN_RETRY $BARMAN_SEGMENT $BARMAN_FILE \
                $BARMAN_COMPRESSION ${BARMAN_ERROR:+error}\"";
    std::fs::write(&script, format!("{text} >> {}\n", told.display())).unwrap();
    let names = [
        "pre_archive_script",
        "pre_archive_retry_script",
        "post_archive_retry_script",
        "post_archive_script",
    ];
    let local = std::fs::read_to_string(host.shelf.path("local.conf")).unwrap();
    let lines = |names: &[&str]| -> String {
        names.iter().map(|name| format!("{name} = sh {}\n", script.display())).collect()
    };
    std::fs::write(host.shelf.path("scripts.conf"), format!("{local}{}", lines(&names))).unwrap();
    let stopping = format!("{local}{}pre_archive_retry_script = exit 63\n", lines(&names[3..]));
    std::fs::write(host.shelf.path("stopping.conf"), stopping).unwrap();
    let run = |whose, config, name: &str| {
        let path = host.wal.join(name).display().to_string();
        let run = host.shelf.run(whose, config, &["cloud-wal-archive", "main", &path, "-p", "4"]);
        let lines = std::fs::read_to_string(&told).unwrap_or_default();
        drop(std::fs::remove_file(&told));
        (run, lines.replace(name, "NAME"))
    };
    // One that waits, and is not told of.
    host.ready(7);
    let [ours, theirs] = [(Whose::Ours, 5), (Whose::Barmans, 6)].map(|(whose, number)| {
        let (run, lines) = run(whose, "scripts.conf", &host.ready(number).0);
        assert_eq!(run.code, 0, "{run:?}");
        lines
    });
    assert_eq!(ours.lines().count(), 4, "{ours}");
    // Barman has sent the one that waits, too.
    let theirs: Vec<&str> = theirs.lines().filter(|line| line.contains("NAME")).collect();
    assert_eq!(ours.lines().collect::<Vec<_>>(), theirs);
    let name = host.ready(4).0;
    let (run, lines) = run(Whose::Ours, "stopping.conf", &name);
    assert!(run.code == 1 && run.stderr.contains("Abort 'pre_archive_retry_script'"), "{run:?}");
    assert!(lines.lines().count() == 1 && lines.trim_end().ends_with("error"), "{lines}");
    assert!(!host.stored().iter().any(|file| file.starts_with(&name)), "{:?}", host.stored());
}

/// The receiver's segments go there too, and an empty `streaming/` goes on where the bucket ends.
#[test]
fn what_the_receiver_brings_goes_into_the_bucket() {
    let Some(moto) = Moto::start() else { return };
    let url = moto.url("stream").to_string();
    let Some(lab) = Lab::with(|builder| builder.wal_segment_mb(1)) else { return };
    let (cluster, store) = (&lab.cluster, moto.store("stream"));
    let conninfo = cluster.conninfo().to_conninfo_string();
    lab.configure("bucket.conf", &conninfo, &format!("wals_directory = {url}\n"));
    let command = |args: &[&str]| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tapster"));
        command.arg("-c").arg(lab.path("bucket.conf")).args(args).envs(moto.variables());
        command.env("AWS_ENDPOINT_URL", moto.endpoint());
        command
    };
    let ok = |args: &[&str]| {
        let output = command(args).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    ok(&["receive-wal", "--create-slot", "main"]);
    let streaming = lab.path("home/main/streaming");
    let receive = || {
        let receiver = Running::of(command(&["receive-wal", "main"]));
        for _ in 0..3 {
            cluster.sql("CREATE TABLE IF NOT EXISTS t (n int)");
            cluster.sql("INSERT INTO t VALUES (1)");
            finish_segment(cluster);
        }
        cluster.sql("INSERT INTO t VALUES (2)");
        let end = finish_segment(cluster);
        wait_until_received(cluster, end);
        // Something follows the last one.
        cluster.sql("INSERT INTO t VALUES (3)");
        wait_for("the next segment", || names(&streaming).iter().any(|name| name.ends_with(".partial")));
        receiver.kill();
        ok(&["archive-wal", "main"]);
    };
    let keys = || -> Vec<String> {
        store
            .list("main/wals")
            .map(|object| object.unwrap().key.rsplit('/').next().unwrap().to_owned())
            .collect()
    };
    receive();
    let before = keys();
    for name in names(&streaming) {
        std::fs::remove_file(streaming.join(name)).unwrap();
    }
    receive();
    let after = keys();
    assert!(before.len() >= 4 && after.len() >= before.len() + 4, "{before:?} {after:?}");
    let numbers = after.iter().map(|file| u64::from_str_radix(&file[16..24], 16).unwrap());
    let first = u64::from_str_radix(&after[0][16..24], 16).unwrap();
    assert!(numbers.eq(first..first + after.len() as u64), "without a gap: {after:?}");
    let dir = cluster.create_dir("got");
    for file in &after {
        let name = &file[..24];
        ok(&["get-wal", "main", name, "-o", dir.to_str().unwrap()]);
        let server = cluster.wal_dir().join(name);
        if server.exists() {
            assert!(std::fs::read(dir.join(name)).unwrap() == std::fs::read(server).unwrap(), "{name}");
        }
    }

    // What this host has not archived may be what another host's backups need: the first backup leaves it.
    let index = lab.path("home/main/meta/main-xlog.db");
    let listed = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, listed.split_once('\n').unwrap().1).unwrap();
    let receiver = Running::of(command(&["receive-wal", "main"]));
    wait_for("the receiver", || command(&["check", "--nagios", "main"]).output().unwrap().status.success());
    ok(&["backup", "main", "--wait", "--wait-timeout", "120"]);
    let left = keys();
    assert!(left.contains(&after[0]) && !left.contains(&after[1]), "{left:?}");
    // WAL that comes by ssh waits where it is archived from, as for an archive of this host.
    let (name, bytes) = (&after[1][..24], std::fs::read(dir.join(&after[1][..24])).unwrap());
    let stream = tar_of(&[(name, &bytes), ("SHA256SUMS", &sum(name, &bytes))]);
    let mut put = command(&["put-wal", "main"]).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut put.stdin.take().unwrap(), &stream).unwrap();
    assert!(put.wait().unwrap().success());
    assert_eq!(names(&lab.path("home/main/incoming")), [name]);
    receiver.kill();
}
