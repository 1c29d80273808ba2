//! `tapster wal inspect` says of real WAL what `pg_waldump` says, line by line.

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tapster_protocol::testing::Cluster;
use tempfile::TempDir;

use crate::program::Run;

const LOAD: &str = include_str!("../data/wal_inspect.sql");

/// WAL of PostgreSQL 15, and the `pg_waldump` to read it with.
struct Wal {
    /// Before the directory, which it owns nothing of.
    cluster: Cluster,
    directory: TempDir,
    first: String,
    last: String,
}

impl Wal {
    /// `None` where there is no server of PostgreSQL 15 with its programs.
    fn new() -> Option<Self> {
        let builder = [
            "wal_level = logical",
            "wal_log_hints = on",
            "track_commit_timestamp = on",
            "max_prepared_transactions = 5",
            "wal_keep_size = 1GB",
            "autovacuum = off",
        ]
        .iter()
        .fold(Cluster::builder().wal_segment_mb(1), |builder, line| builder.config(line));
        let cluster = builder.start()?;
        if cluster.binaries().major != 15 || !cluster.binaries().program("pg_waldump").exists() {
            eprintln!("skipped: no pg_waldump of PostgreSQL 15");
            return None;
        }
        let first = cluster.value("SELECT pg_walfile_name(pg_current_wal_insert_lsn())");
        load(&cluster);
        cluster.sql("SELECT pg_switch_wal()");
        let last = cluster.value("SELECT pg_walfile_name(pg_current_wal_flush_lsn() - 1)");
        Some(Self { cluster, directory: tempfile::tempdir().unwrap(), first, last })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.cluster.wal_dir().join(name)
    }

    /// Stdout, stderr without the program's name, and the exit code of both programs.
    fn both(&self, directory: &Path, args: &[&str]) -> [Run; 2] {
        self.both_in_zone(directory, args, "UTC")
    }

    fn both_in_zone(&self, directory: &Path, args: &[&str], zone: &str) -> [Run; 2] {
        let mut theirs = Command::new(self.cluster.binaries().program("pg_waldump"));
        theirs.args(args).arg("-p").arg(directory);
        let mut ours = Command::new(assert_cmd::cargo::cargo_bin!("tapster"));
        ours.args(["wal", "inspect"]).args(args).arg("-p").arg(directory);
        [run_in_zone(theirs, "pg_waldump: ", zone), run_in_zone(ours, "tapster wal inspect: ", zone)]
    }

    /// Both say the same; of an error the first line, for hints differ.
    fn same(&self, args: &[&str]) -> Run {
        self.same_in(&self.cluster.wal_dir(), args)
    }

    fn same_in(&self, directory: &Path, args: &[&str]) -> Run {
        let [theirs, ours] = self.both(directory, args);
        let mut numbered = theirs.stdout.lines().zip(ours.stdout.lines()).enumerate();
        if let Some((at, (theirs, ours))) = numbered.find(|(_, (theirs, ours))| theirs != ours) {
            panic!("{args:?}, line {at}:\n{theirs}\n{ours}");
        }
        assert_eq!(theirs.stdout.len(), ours.stdout.len(), "{args:?}");
        let line = |run: &Run| (run.stderr.lines().next().unwrap_or_default().to_owned(), run.code);
        assert_eq!(line(&theirs), line(&ours), "{args:?}");
        ours
    }
}

fn load(cluster: &Cluster) {
    let port = cluster.port().to_string();
    let socket = cluster.socket_dir().to_str().unwrap();
    let args = ["-XAtq", "-v", "ON_ERROR_STOP=1", "-h", socket, "-p", &port, "-U", "postgres", "postgres"];
    let mut psql = cluster
        .command("psql")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    psql.stdin.take().unwrap().write_all(LOAD.as_bytes()).unwrap();
    assert!(psql.wait().unwrap().success(), "{}", cluster.log());
}

fn run(command: Command, name: &str) -> Run {
    run_in_zone(command, name, "UTC")
}

fn run_in_zone(mut command: Command, name: &str, zone: &str) -> Run {
    let output = command.env("TZ", zone).env("LC_ALL", "C").stdin(Stdio::null()).output().unwrap();
    Run {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap().replace(name, ""),
        code: output.status.code().unwrap(),
    }
}

fn inspect(args: &[&str]) -> Run {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tapster"));
    command.args(args);
    run(command, "tapster wal inspect: ")
}

#[test]
fn the_lines_and_statistics_of_pg_waldump() {
    let Some(wal) = Wal::new() else { return };
    let (first, last) = (wal.first.as_str(), wal.last.as_str());
    let all = wal.same(&[first, last]).stdout;
    // The load has written what it is there for.
    let rmgrs = [
        "XLOG",
        "Transaction",
        "Storage",
        "Database",
        "Tablespace",
        "MultiXact",
        "RelMap",
        "Standby",
        "Heap2",
        "Heap",
        "Btree",
        "Hash",
        "Gin",
        "Gist",
        "Sequence",
        "SPGist",
        "BRIN",
        "ReplicationOrigin",
        "LogicalMessage",
    ];
    for rmgr in rmgrs {
        assert!(all.contains(&format!("rmgr: {rmgr:<11} ")), "{rmgr}");
    }
    for text in [
        "desc: PREPARE gid gid one: ",
        "; subxacts: ",
        "; inval msgs: ",
        "desc: SWITCH ",
        "desc: ASSIGNMENT xtop ",
        "origin: node 1, lsn 0/1234",
        "desc: VACUUM_REDIRECT ",
        " fork vm blk 0",
        " (add ",
        "prefix \"prefix\"; payload (7 bytes): 63 6F 6E",
        "desc: RESTORE_POINT before it's gone",
    ] {
        assert!(all.contains(text), "{text}");
    }
    let details = wal.same(&["--bkp-details", first, last]).stdout;
    for method in ["pglz", "lz4", "zstd"] {
        assert!(details.contains(&format!("method: {method}")), "{method}");
    }
    wal.same(&["--stats", first, last]);
    wal.same(&["--stats=record", first, last]);
    zones(&wal);
    filters(&wal, &all);
    ends(&wal, &all);
    compressed(&wal, &all);
    json(&wal, &all);
    follows(&wal);
}

/// Times are local, whether the zone is a file's or a rule.
fn zones(wal: &Wal) {
    let args = ["-r", "Transaction", wal.first.as_str(), wal.last.as_str()];
    let rules = ["CET-1CEST,M3.5.0,M10.5.0/3", "AST4ADT,M1.1.0,M12.5.0/3", "<-0330>3:30"];
    let files = ["Europe/Paris", "Asia/Kathmandu", "America/St_Johns"];
    let files = files.into_iter().filter(|name| Path::new("/usr/share/zoneinfo").join(name).exists());
    for zone in rules.into_iter().chain(files) {
        let [theirs, ours] = wal.both_in_zone(&wal.cluster.wal_dir(), &args, zone);
        let line =
            |run: &Run| run.stdout.lines().find(|line| line.contains("desc: COMMIT ")).map(str::to_owned);
        assert_eq!(line(&theirs), line(&ours), "{zone}");
        assert!(theirs.stdout == ours.stdout && !ours.stdout.contains(" UTC"), "{zone}");
    }
}

/// What was found is shown while more is waited for.
fn follows(wal: &Wal) {
    // So that it ends, whatever it does.
    let mut command = Command::new("timeout");
    command.arg("60").arg(assert_cmd::cargo::cargo_bin!("tapster"));
    command.args(["wal", "inspect", "-f", "-s", &wal.cluster.value("SELECT pg_current_wal_lsn()"), "-p"]);
    let mut follower = command.arg(wal.cluster.wal_dir()).stdout(Stdio::piped()).spawn().unwrap();
    wal.cluster.sql("SELECT pg_create_restore_point('shown at once')");
    wal.cluster.sql("SELECT pg_switch_wal()");
    let mut lines = std::io::BufReader::new(follower.stdout.take().unwrap()).lines();
    let found = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("shown at once")));
    // It passes on what it is told to.
    assert!(Command::new("kill").arg(follower.id().to_string()).status().unwrap().success());
    follower.wait().unwrap();
    assert!(found.is_some());
}

fn filters(wal: &Wal, all: &str) {
    let (first, last) = (wal.first.as_str(), wal.last.as_str());
    let committed = all.lines().find(|line| line.contains("desc: COMMIT_PREPARED ")).unwrap();
    let xid = committed.split("desc: COMMIT_PREPARED ").nth(1).unwrap().split(':').next().unwrap();
    let file = wal.cluster.value("SELECT '1663/' || d.oid || '/' || pg_relation_filenode('kept') FROM pg_database d WHERE datname = 'postgres'");
    for args in [
        &["-r", "btree", "-r", "Heap"][..],
        &["-x", xid],
        &["-R", &file],
        &["-R", &file, "-B", "1"],
        &["-F", "vm"],
        &["-w", "-n", "7"],
        &["-q"],
        &["-z", "-r", "Gin", "-n", "3"],
    ] {
        let found = wal.same(&[args, &[first, last]].concat());
        assert_eq!(found.stdout.is_empty(), args == ["-q"], "{args:?}");
    }
    for wrong in
        [&["-F", "xx"][..], &["-R", "1663"], &["-x", "x"], &["-n", "x"], &["-r", "none"], &["-B", "1"]]
    {
        assert_eq!(wal.same(&[wrong, &[first]].concat()).code, 1, "{wrong:?}");
    }
    wal.same(&["-r", "list"]);
    // The time of a commit finds it, and no record that is no end.
    let time = committed.split(&format!("{xid}: ")).nth(1).unwrap().split(" UTC").next().unwrap();
    let time = format!("{time}+00");
    let path = wal.cluster.wal_dir();
    let path = path.to_str().unwrap();
    let found = inspect(&["wal", "inspect", "-p", path, "--from", &time, "--to", &time, first, last]);
    assert_eq!(found.stdout.lines().collect::<Vec<_>>(), [committed]);
}

fn ends(wal: &Wal, all: &str) {
    let (first, last) = (wal.first.as_str(), wal.last.as_str());
    // A segment ends in the middle of a record, without an error.
    assert_eq!(wal.same(&[first]).code, 0);
    let lsns: Vec<&str> =
        all.lines().map(|line| line.split("lsn: ").nth(1).unwrap().split(',').next().unwrap()).collect();
    let (from, to) = (lsns[lsns.len() / 3], lsns[lsns.len() / 2]);
    wal.same(&["-s", from, "-e", to]);
    // Between two records.
    let between = |lsn: &str| format!("{}9", lsn.strip_suffix(['0', '8']).unwrap());
    let (from, to) = (between(from), between(to));
    assert!(wal.same(&["-s", &from, "-e", &to]).stdout.starts_with("first record is after "));
    for args in [&[last, first][..], &["-s", "F/0", first], &["000000010000000F00000001"], &[]] {
        assert_eq!(wal.same(args).code, 1, "{args:?}");
    }
    // What is there of the log ends: an error with the position.
    let begun = wal.directory.path().join("begun");
    std::fs::create_dir(&begun).unwrap();
    wal.cluster.sql("CREATE TABLE begun (n int)");
    let name = wal.cluster.value("SELECT pg_walfile_name(pg_current_wal_flush_lsn() - 1)");
    assert!(name.as_str() > last);
    std::fs::copy(wal.file(&name), begun.join(&name)).unwrap();
    let run = wal.same_in(&begun, &[&name]);
    assert!(run.code == 1 && run.stderr.contains("error in WAL record at 0/"), "{}", run.stderr);
    let run = inspect(&["wal", "inspect", begun.join(last).to_str().unwrap(), "-s", "0/0"]);
    assert_eq!((run.code, run.stderr), (1, format!("error: could not locate WAL file \"{last}\"\n")));
}

/// As in an archive: each segment compressed, in the directory of its log file.
fn compressed(wal: &Wal, all: &str) {
    let archive = wal.directory.path().join("wals/0000000100000000");
    std::fs::create_dir_all(&archive).unwrap();
    for entry in std::fs::read_dir(wal.cluster.wal_dir()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if (wal.first.as_str()..=wal.last.as_str()).contains(&name.as_str()) {
            gzip(&wal.file(&name), &archive.join(&name));
        }
    }
    let (first, last) = (archive.join(&wal.first), archive.join(&wal.last));
    let run = inspect(&["wal", "inspect", first.to_str().unwrap(), last.to_str().unwrap()]);
    assert!(run.stdout == all && run.code == 0, "{}", run.stderr);
}

fn gzip(from: &Path, to: &Path) {
    let out = std::fs::File::create(to).unwrap();
    assert!(Command::new("gzip").arg("-1c").arg(from).stdout(out).status().unwrap().success());
}

fn json(wal: &Wal, all: &str) {
    let (first, last) = (wal.file(&wal.first), wal.file(&wal.last));
    let files = [first.to_str().unwrap(), last.to_str().unwrap()];
    let run = inspect(&[&["-f", "json", "wal", "inspect"], &files[..]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let mut texts = all.lines();
    let mut points = Vec::new();
    for line in run.stdout.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| record[key].as_str().unwrap().to_owned();
        let line = texts.next().unwrap();
        let description = format!("desc: {} {}", text("type"), text("desc"));
        assert!(line.contains(description.trim_end()), "{line}\n{description}");
        let mut blocks = line.split(", blkref #").skip(1);
        for block in record["blocks"].as_array().unwrap() {
            let expected = blocks.next().unwrap();
            assert!(expected.contains(&format!("rel {} ", block["rel"].as_str().unwrap())), "{line}");
            assert!(expected.contains(&format!("blk {}", block["block"])), "{line}");
            assert_eq!(expected.contains(" FPW"), block["fpw"].as_bool().unwrap(), "{line}");
        }
        assert_eq!(blocks.next(), None, "{line}");
        let number = |key: &str| record[key].as_u64().unwrap();
        let (length, total, xid) = (number("record_len"), number("total_len"), number("xid"));
        let lengths = format!("len (rec/tot): {length:6}/{total:6}, tx: {xid:10}, ");
        assert!(line.contains(&lengths), "{line}\n{lengths}");
        assert!(line.starts_with(&format!("rmgr: {:<11} ", text("rmgr"))), "{line}");
        if record["type"] == "RESTORE_POINT" {
            points.push(text("name"));
        }
    }
    assert_eq!(texts.next(), None);
    assert_eq!(points, ["before it's gone"]);
    let stats = inspect(&[&["-f", "json", "wal", "inspect", "--stats=record"], &files[..]].concat());
    let stats: serde_json::Value = serde_json::from_str(&stats.stdout).unwrap();
    assert_eq!(stats["total"]["count"], all.lines().count());
}
