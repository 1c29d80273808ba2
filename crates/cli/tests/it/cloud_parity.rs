//! Barman's cloud tools next to the real ones: command lines, and one bucket that both read and write.

use std::process::Command;
use std::sync::{Arc, OnceLock};

use tapster_catalog::BackupRecord;
use tapster_cloud::testing::{Azurite, Google, Moto};
use tapster_cloud::{Provider, Store, WriteOptions};

use crate::cloud_lab::{Place, Whose};
use crate::program::{Run, original, run_as};

/// The tools, and what theirs do not have; that is not in the usage line.
const TOOLS: [(&str, &[&str]); 9] = [
    ("backup", &["--memory"]),
    ("backup-delete", &[]),
    ("backup-keep", &[]),
    ("backup-list", &[]),
    ("backup-show", &[]),
    ("check-wal-archive", &[]),
    ("restore", &["--dry-run", "--jobs", "--memory", "--sync-method", "-j"]),
    ("wal-archive", &["--parallel", "--spool-dir", "--take-over", "-J"]),
    ("wal-restore", &["--fail-hard"]),
];

/// Where `scripts/setup cloud` installs the originals.
fn barman(tool: &str, args: &[&str]) -> Option<Run> {
    let bin = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/barman/bin/barman-cloud-");
    let run = original(&format!("{bin}{tool}"), args);
    assert!(run.is_some() || std::env::var_os("CI").is_none(), "Barman's cloud tools are not installed");
    run
}

fn ours(tool: &str, args: &[&str]) -> Run {
    run_as(&format!("barman-cloud-{tool}"), args)
}

/// The text up to the first empty line, which is the usage of a help text.
fn usage_of(run: &Run) -> &str {
    run.stdout.split("\n\n").next().unwrap().trim_end()
}

/// All spellings of options, sorted.
fn spellings(run: &Run) -> Vec<String> {
    let lines = run.stdout.lines().filter(|line| line.starts_with("  -"));
    let names = lines.map(|line| line[2..].split("  ").next().unwrap());
    let words = names.flat_map(|names| names.split([' ', ',']).filter(|word| word.starts_with('-')));
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    words.sort_unstable();
    words
}

#[test]
fn usage_lines_options_and_versions_are_the_same() {
    if let Some(theirs) = barman("backup-list", &["-V"]) {
        assert_eq!(ours("backup-list", &["-V"]), theirs);
    }
    for (tool, more) in TOOLS {
        let Some(theirs) = barman(tool, &["--help"]) else { return };
        let help = ours(tool, &["--help"]);
        assert_eq!(usage_of(&help), usage_of(&theirs));
        let mut expected = spellings(&theirs);
        expected.extend(more.iter().map(|&option| option.to_owned()));
        expected.sort_unstable();
        assert_eq!(spellings(&help), expected, "{tool}");
        let sections = |run: &Run| {
            run.stdout
                .lines()
                .filter(|line| line.ends_with(':') && !line.starts_with(' '))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(sections(&help), sections(&theirs), "{tool}");
    }
}

#[test]
fn mistakes_in_the_arguments_are_reported_alike() {
    for (tool, args) in [
        ("backup-list", &[][..]),
        ("backup-list", &["s3://b", "main", "more"]),
        ("backup-list", &["s3://b", "main", "-h"]),
        ("backup-list", &["s3://b", "main", "-v", "-q"]),
        ("backup-list", &["s3://b", "main", "--form"]),
        ("backup-list", &["s3://b", "main", "--addressing", "x"]),
        ("backup-list", &["s3://b", "main", "--read-timeout", "x"]),
        ("backup-list", &["s3://b", "main", "--a", "x"]),
        ("backup-list", &["s3://b", "main", "-P"]),
        ("backup-delete", &["s3://b", "main"]),
        ("backup-delete", &["s3://b", "main", "-b", "x", "-r", "y"]),
        ("backup-delete", &["s3://b", "main", "-b", "x", "-m", "-1"]),
        ("backup-keep", &["s3://b", "main", "latest"]),
        ("backup-keep", &["s3://b", "main"]),
        ("backup-keep", &["s3://b", "main", "latest", "-r", "-s"]),
        ("backup-keep", &["s3://b", "main", "latest", "--status", "--target", "full"]),
    ] {
        let Some(theirs) = barman(tool, args) else { return };
        assert_eq!(ours(tool, args), theirs, "{tool} {args:?}");
    }
}

#[test]
fn the_own_name_has_them_in_a_group() {
    let (own, linked) =
        (run_as("tapster", &["cloud", "backup-list", "--help"]), ours("backup-list", &["--help"]));
    assert_eq!(
        own.stdout
            .split_whitespace()
            .collect::<String>()
            .replace("tapstercloudbackup", "barman-cloud-backup"),
        linked.stdout.split_whitespace().collect::<String>()
    );
    let wrong = run_as("tapster", &["cloud", "backup-list"]);
    assert_eq!((wrong.code, wrong.stdout.as_str()), (3, ""));
    assert!(wrong.stderr.contains("\ntapster cloud backup-list: error: the following"), "{}", wrong.stderr);
    assert_eq!(run_as("barman", &["cloud"]).code, 2);
}

/// A bucket, and the programs that look at it.
struct Bucket {
    place: Place,
    store: Store,
}

/// One store for all tests of this file, which take a prefix each.
static MOTO: OnceLock<Option<Moto>> = OnceLock::new();

impl Bucket {
    fn start(prefix: &str) -> Option<Self> {
        barman("backup-list", &["-V"])?;
        let moto = MOTO.get_or_init(Moto::start).as_ref()?;
        let place = Place::s3(moto.url(prefix).to_string(), moto.endpoint(), moto.variables());
        Some(Self { place, store: moto.store(prefix) })
    }

    /// A container of Azure.
    fn azure(azurite: &Azurite, prefix: &str) -> Option<Self> {
        barman("backup-list", &["-V"])?;
        let place = Place::of("azure-blob-storage", azurite.url(prefix).to_string(), azurite.variables());
        Some(Self { place, store: azurite.store(prefix) })
    }

    fn put(&self, key: &str, content: &str) {
        self.store.put(key, content.to_owned(), &WriteOptions::default()).unwrap();
    }

    /// A backup as Barman's cloud tool writes it, of a tablespace and in two parts.
    fn backup(&self, id: &str, status: &str, begin: u32, name: Option<&str>) {
        let (log, segment) = (begin / 256, begin % 256);
        let wal = format!("00000001{log:08X}{segment:08X}");
        let name = name.map_or_else(String::new, |name| format!("backup_name={name}\n"));
        let times = format!(
            "{}-{}-{} {}:{}:{}",
            &id[..4],
            &id[4..6],
            &id[6..8],
            &id[9..11],
            &id[11..13],
            &id[13..15]
        );
        let end = if status == "DONE" { format!("{times}.662276+02:00") } else { "None".to_owned() };
        let text = format!(
            "backup_label='START WAL LOCATION: 0/4000028 (file {wal})\\nSTART TIMELINE: 1\\n'\n{name}begin_offset=40\n\
             begin_time={times}.338169+02:00\nbegin_wal={wal}\nbegin_xlog={log:X}/{segment:X}000028\n\
             children_backup_ids=None\ncluster_size=23415341\ncompression=None\nconfig_file=/data/it's/é.conf\n\
             copy_stats={{'total_time': 4.152992, 'number_of_workers': 2, 'analysis_time': 0, 'copy_time': 61.5, \
             'copy_time_per_item': {{'16384': 0.047831, 'data': 1e-05}}}}\ndata_checksums=on\n\
             deduplicated_size=None\nencryption=None\nend_offset=256\nend_time={end}\nend_wal={wal}\n\
             end_xlog={log:X}/{segment:X}000100\nerror=None\nhba_file=/data/pg_hba.conf\n\
             ident_file=/data/pg_ident.conf\nincluded_files=None\nmode=None\nparent_backup_id=None\n\
             pgdata=/data\nserver_name=cloud\nsize=None\nstatus={status}\nsummarize_wal=None\n\
             systemid=7710653401964003550\ntablespaces=[('spc', 16384, '/ts'), ('two', 99, '/ts2')]\ntimeline=1\n\
             version=150018\nxlog_segment_size=16777216\n"
        );
        let record = BackupRecord::parse(id.parse().unwrap(), text.as_bytes(), time::UtcOffset::UTC).unwrap();
        assert_eq!(record.to_text(), text, "what Barman wrote is written again");
        self.put(&format!("main/base/{id}/backup.info"), &text);
        for name in ["data.tar", "data_0001.tar", "data_0002.tar", "16384.tar.gz", "99.tar.gz"] {
            self.put(&format!("main/base/{id}/{name}"), "archive");
        }
    }

    fn wal(&self, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            let (log, segment) = (number / 256, number % 256);
            let (dir, name) = (format!("00000001{log:08X}"), format!("00000001{log:08X}{segment:08X}"));
            self.put(&format!("main/wals/{dir}/{name}.gz"), "wal");
        }
    }

    fn finish(&self, whose: Whose, mut command: Command, args: &[&str]) -> Run {
        command
            .args(&self.place.options)
            .args([&self.place.url, "main"])
            .args(args)
            .envs(self.place.variables.iter().map(|(name, value)| (name, value)));
        let output = self.place.output(whose, &mut command);
        Run {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code().unwrap(),
        }
    }

    /// Their run.
    fn theirs(&self, tool: &str, args: &[&str]) -> Run {
        let bin = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/barman/bin/barman-cloud-");
        self.finish(Whose::Barmans, Command::new(format!("{bin}{tool}")), args)
    }

    /// Our run.
    fn ours(&self, tool: &str, args: &[&str]) -> Run {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tapster"));
        command.arg0(format!("barman-cloud-{tool}"));
        self.finish(Whose::Ours, command, args)
    }

    /// Both, which must agree in what they print and return; each says why it failed in its own words.
    fn both(&self, tool: &str, args: &[&str]) -> Run {
        let (ours, theirs) = (self.ours(tool, args), self.theirs(tool, args));
        assert_eq!(
            (&ours.stdout, ours.code),
            (&theirs.stdout, theirs.code),
            "{tool} {args:?} {ours:?} {theirs:?}"
        );
        assert_eq!(ours.stderr.is_empty(), theirs.stderr.is_empty(), "{tool} {args:?} {ours:?} {theirs:?}");
        ours
    }

    /// Every key that is left.
    fn keys(&self) -> Vec<String> {
        self.store.list("main").map(|object| object.unwrap().key).collect()
    }
}

const OLD: &str = "20260101T000000";
const MIDDLE: &str = "20260102T000000";
const NEW: &str = "20260103T000000";
const RUNNING: &str = "20260104T000000";

/// Three complete backups, and one that runs.
fn filled(bucket: Bucket) -> Bucket {
    bucket.backup(OLD, "DONE", 250, Some("first of all"));
    bucket.backup(MIDDLE, "DONE", 520, None);
    bucket.backup(NEW, "DONE", 530, Some("a \"name\""));
    bucket.backup(RUNNING, "STARTED", 535, None);
    bucket.wal([1, 249, 250, 251, 256, 300, 519, 520, 521, 529, 530, 531, 535]);
    bucket.put("main/wals/00000002.history", "1\t0/1\n");
    bucket
}

#[test]
fn both_programs_say_the_same_of_one_bucket_and_delete_the_same_from_it() {
    let (Some(one), Some(other)) = (Bucket::start("ours"), Bucket::start("theirs")) else { return };
    both_say_and_delete_the_same(one, other);
}

#[test]
fn both_programs_say_the_same_of_one_bucket_of_google_and_delete_the_same_from_it() {
    let Some(google) = Google::start().map(Arc::new) else { return };
    let bucket = |prefix: &str| {
        barman("backup-list", &["-V"])?;
        Some(Bucket { place: Place::google(&google, prefix), store: google.store(prefix) })
    };
    let (Some(one), Some(other)) = (bucket("ours"), bucket("theirs")) else { return };
    both_say_and_delete_the_same(one, other);
}

#[test]
fn both_programs_say_the_same_of_one_container_of_azure_and_delete_the_same_from_it() {
    let Some(azurite) = Azurite::start() else { return };
    let place = |prefix: &str| Bucket::azure(&azurite, prefix);
    let (Some(one), Some(other), Some(mut wrong)) = (place("ours"), place("theirs"), place("wrong")) else {
        return;
    };
    both_say_and_delete_the_same(one, other);
    wrong.place.variables = azurite.variables_with("d3Jvbmc=");
    assert_ne!(wrong.both("backup-list", &[]).code, 0);
    wrong.place.variables = azurite.variables();
    wrong.place.url = azurite.url_of("missing", "p").to_string();
    assert_ne!(wrong.both("backup-list", &[]).code, 0);
}

fn both_say_and_delete_the_same(bucket: Bucket, other: Bucket) {
    let bucket = filled(bucket);
    // Once per question: each start of a Python program takes long.
    bucket.both("backup-keep", &[MIDDLE, "--target", "standalone"]);
    assert!(bucket.both("backup-list", &[]).stdout.contains("KEEP:STANDALONE"));
    bucket.both("backup-list", &["--format", "json"]);
    bucket.both("backup-show", &["latest"]);
    bucket.both("backup-show", &[RUNNING, "--format", "json"]);
    assert_eq!(bucket.both("backup-keep", &[MIDDLE, "-s"]).stdout, "Keep: standalone\n");
    assert_eq!(bucket.both("backup-keep", &[RUNNING, "--target", "full"]).code, 1);
    assert_eq!(bucket.both("backup-delete", &["-b", MIDDLE]).code, 1);
    let dry = ["-r", "redundancy 1", "--dry-run"];
    // Of S3, Barman's too names a directory that goes as a whole instead of all that is in it.
    let is_alike = bucket.store.url().provider() == Provider::S3;
    let dry = if is_alike { bucket.both("backup-delete", &dry) } else { bucket.ours("backup-delete", &dry) };
    assert_eq!(dry.stdout.lines().count(), 4, "{dry:?}");
    assert_eq!(bucket.both("backup-delete", &["-b", OLD, "-m", "4"]).code, 1);
    // What the one leaves, the other would.
    assert_eq!(bucket.ours("backup-delete", &["-r", "redundancy 1"]).code, 0);
    let left = bucket.keys();
    let other = filled(other);
    assert_eq!(other.theirs("backup-keep", &[MIDDLE, "--target", "standalone"]).code, 0);
    assert_eq!(other.theirs("backup-delete", &["-r", "redundancy 1"]).code, 0);
    assert_eq!(left, other.keys());
    assert!(
        left.iter().any(|key| key.contains(MIDDLE)) && !left.iter().any(|key| key.contains(OLD)),
        "{left:?}"
    );
    bucket.both("backup-list", &[]);
}

#[test]
fn more_objects_than_one_request_takes_are_deleted() {
    let Some(bucket) = Bucket::start("many") else { return };
    bucket.backup(OLD, "DONE", 1, None);
    bucket.backup(NEW, "DONE", 1200, None);
    bucket.wal([1, 2, 300]);
    // Several at a time, as each request takes its time there.
    std::thread::scope(|scope| {
        for from in 0..4 {
            let bucket = &bucket;
            scope.spawn(move || {
                for part in (from..1004).step_by(4) {
                    bucket.put(&format!("main/base/{OLD}/data_{:04}.tar", part + 3), "archive");
                }
            });
        }
    });
    let run = bucket.ours("backup-delete", &["-b", "oldest"]);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "", ""));
    let left = bucket.keys();
    assert!(left.iter().all(|key| key.contains(NEW)), "{left:?}");
}

#[test]
fn a_backup_of_volume_snapshots_is_left_to_barman() {
    let Some(bucket) = Bucket::start("snapshots") else { return };
    bucket.backup(OLD, "DONE", 1, None);
    bucket.backup(NEW, "DONE", 20, None);
    bucket.wal([1, 20]);
    let record = format!("main/base/{OLD}/backup.info");
    let text = String::from_utf8(bucket.store.read(&record, 1 << 20).unwrap().to_vec()).unwrap();
    bucket.put(
        &record,
        &text.replace("status=", "snapshots_info={'provider': 'gcp', 'snapshots': []}\nstatus="),
    );
    let before = bucket.keys();
    let reason = format!(
        "Backup {OLD} consists of volume snapshots: delete it with Barman's own barman-cloud-backup-delete\n"
    );
    let asked = bucket.ours("backup-delete", &["-b", "oldest"]);
    assert_eq!((asked.code, asked.stderr.lines().count()), (1, 1), "{asked:?}");
    assert!(asked.stderr.ends_with(&format!(" ERROR: {reason}")), "{asked:?}");
    let policy = bucket.ours("backup-delete", &["-r", "redundancy 1"]);
    assert_eq!((policy.code, policy.stderr.lines().count()), (0, 1), "{policy:?}");
    assert!(
        policy.stderr.contains(" WARNING: Not deleted") && policy.stderr.ends_with(&reason),
        "{policy:?}"
    );
    assert_eq!(bucket.keys(), before);
}
