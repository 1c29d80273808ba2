//! Passive nodes, over real ssh and rsync, with this program and the original at either end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::lab::{Lab, user};
use crate::program::{Run, original, run_as};
use crate::sshd::{Sshd, Which, find};

/// A primary node with a backup and WAL behind it.
fn primary(extra: &str) -> Option<Lab> {
    let lab = Lab::new()?;
    let space = lab.cluster.create_dir("tbs1");
    lab.cluster.sql(&format!("CREATE TABLESPACE tbs1 LOCATION '{}'", space.display()));
    lab.cluster.sql("CREATE TABLE t TABLESPACE tbs1 AS SELECT generate_series(1, 100) AS n");
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    lab.configure("tapster.conf", &conninfo, extra);
    Some(lab)
}

fn sync_info(lab: &Lab, args: &[&str]) -> (Run, Run) {
    let args = [&["sync-info", "main"], args].concat();
    (lab.run(&args), lab.barman(&args).unwrap())
}

#[test]
fn sync_info_is_barmans() {
    let extra = "retention_policy = RECOVERY WINDOW OF 3 WEEKS\nlast_backup_maximum_age = 2 DAYS\nlast_backup_minimum_size = 1k\n\
                 description = the läb\nbandwidth_limit = 4000\nminimum_redundancy = 1\nrecovery_options = get-wal\n\
                 last_wal_maximum_age = 3 HOURS\nbasebackup_retry_times = 3\nparallel_jobs = 2\nmax_incoming_wals_queue = 7\n";
    let Some(lab) = primary(extra) else { return };
    if lab.barman(&["--version"]).is_none() {
        return;
    }
    let _receiver = lab.receive();
    lab.ok(&["backup", "--wait", "--name", "one", "main"]);
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    let (ours, theirs) = sync_info(&lab, &[]);
    assert_eq!((ours.code, ours.stderr.as_str()), (0, ""), "{ours:?}");
    assert_eq!(ours, theirs);
    let answer: serde_json::Value = serde_json::from_str(&ours.stdout).unwrap();
    let wals: Vec<&str> =
        answer["wals"].as_array().unwrap().iter().map(|wal| wal["name"].as_str().unwrap()).collect();
    let last = answer["last_name"].as_str().unwrap();
    let position = answer["last_position"].to_string();
    assert!(wals.len() >= 2 && wals.last() == Some(&last), "{wals:?}");
    // From the end, from a place where another line is, from the middle, and from names that the archive does not have.
    for args in [
        vec![last, &position],
        vec![last, "7"],
        vec![wals[0]],
        vec![wals[0], &position],
        vec!["000000010000000000000000"],
        vec!["0000000A0000000000000000", &position],
        vec!["00000001.history", "1"],
        vec!["x"],
        vec![last, "-1"],
        vec![last, "x"],
    ] {
        let (ours, theirs) = sync_info(&lab, &args);
        assert_eq!(ours, theirs, "{args:?}");
    }
    // Barman's own passive nodes ask for this when the index has one line, and are refused by Barman.
    let (ours, theirs) = sync_info(&lab, &[last, "0"]);
    assert_eq!((ours.code, theirs.code), (0, 2), "{theirs:?}");
}

/// A passive node of a lab's server.
struct Passive<'l> {
    lab: &'l Lab,
    which: Which,
    name: &'static str,
}

impl<'l> Passive<'l> {
    fn new(lab: &'l Lab, name: &'static str, which: Which, sshd: &Sshd, extra: &str) -> Self {
        let text = format!(
            "[barman]\nbarman_home = {home}/{name}\nbarman_user = {user}\nlog_file = {home}/{name}.log\n[main]\n\
             description = a copy\nprimary_ssh_command = {ssh}\ncompression = gzip\n{extra}",
            home = lab.path("").display(),
            user = user(),
            ssh = sshd.ssh_command(),
        );
        fs::create_dir_all(lab.path(name)).unwrap();
        fs::write(lab.path(&format!("{name}.conf")), text).unwrap();
        Self { lab, which, name }
    }

    fn run(&self, args: &[&str]) -> Run {
        self.run_with(self.which, args)
    }

    fn run_with(&self, which: Which, args: &[&str]) -> Run {
        let config = self.lab.path(&format!("{}.conf", self.name));
        let args = [&["-c", config.to_str().unwrap()], args].concat();
        if which == Which::Ours { run_as("barman", &args) } else { original("barman", &args).unwrap() }
    }

    fn ok(&self, args: &[&str]) -> String {
        let run = self.run(args);
        assert_eq!(run.code, 0, "{args:?}: {run:?}");
        run.stdout
    }

    fn path(&self, below: &str) -> PathBuf {
        self.lab.path(self.name).join("main").join(below)
    }

    /// Rounds of cron until there is nothing to be done.
    fn settle(&self, backups: usize) -> String {
        let patience = Instant::now() + Duration::from_secs(60);
        let mut said = String::new();
        loop {
            let run = self.run(&["cron"]);
            said.push_str(&run.stdout);
            said.push_str(&run.stderr);
            let done = self.records().values().filter(|text| text.contains("\nstatus=DONE\n")).count();
            if done == backups && said.ends_with("No WAL synchronisation required for server main\n") {
                return said;
            }
            assert!(
                Instant::now() < patience,
                "{said}\n{}",
                fs::read_to_string(self.lab.path(&format!("{}.log", self.name))).unwrap()
            );
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    fn records(&self) -> BTreeMap<String, String> {
        records(&self.path("meta"))
    }
}

fn records(meta: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(meta) else { return BTreeMap::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.ends_with("-backup.info"))
        .map(|name| (name[..15].to_owned(), fs::read_to_string(meta.join(&name)).unwrap()))
        .collect()
}

/// Every file below a directory, with its content; links as where they lead.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            if kind.is_dir() {
                dirs.push(path);
            } else if kind.is_symlink() {
                // A link to a tablespace leads into its own backup.
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn barman_is_here() -> bool {
    find("barman").is_some() && find("rsync").is_some()
}

#[test]
fn a_catalog_is_copied_between_all_pairs_of_programs() {
    let Some(lab) = primary("") else { return };
    if !barman_is_here() {
        return;
    }
    let Some(ours) =
        Sshd::start_with("", Some(assert_cmd::cargo::cargo_bin!("tapster")), &lab.path("tapster.conf"))
    else {
        return;
    };
    let script = format!(
        "export BARMAN_CONFIG_FILE={}\nexec {} \"$@\"",
        lab.path("tapster.conf").display(),
        find("barman").unwrap().display()
    );
    let theirs = Sshd::start_with(&script, None, &lab.path("tapster.conf")).unwrap();
    let receiver = lab.receive();
    lab.ok(&["backup", "--wait", "main"]);
    lab.cluster.sql("CREATE TABLE late AS SELECT 7 AS n");
    lab.ok(&["backup", "--wait", "--name", "two", "main"]);
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    let reuse = "reuse_backup = link\n";
    let pairs = [
        Passive::new(&lab, "oo", Which::Ours, &ours, reuse),
        Passive::new(&lab, "ob", Which::Ours, &theirs, reuse),
        Passive::new(&lab, "bo", Which::Original, &ours, reuse),
    ];
    let source = records(&lab.server_dir().join("meta"));
    let begin =
        source.values().next().unwrap().lines().find_map(|line| line.strip_prefix("begin_wal=")).unwrap();
    // A file that has not changed since long, which a backup by streaming does not tell.
    for id in source.keys() {
        let path = lab.server_dir().join("base").join(id).join("data/PG_VERSION");
        let old = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        fs::File::open(path).unwrap().set_modified(old).unwrap();
    }
    // What is older than the first backup is of no use to anybody.
    let index = fs::read_to_string(lab.server_dir().join("wals/main-xlog.db")).unwrap();
    let index: String = index.split_inclusive('\n').filter(|line| *line >= begin).collect();
    let listed = |name: &Path| name.file_name().unwrap().to_str().unwrap().to_owned();
    let ids: Vec<&String> = source.keys().collect();
    fs::write(lab.server_dir().join(format!("meta/{}-keep", ids[1])), "full").unwrap();
    let mut texts = Vec::new();
    for node in &pairs {
        node.settle(2);
        let mut copied = fs::read_to_string(node.path("wals/main-xlog.db")).unwrap();
        if node.which == Which::Original {
            // Barman lists twice what two of its runs have copied, one after the other, from one answer.
            let mut seen = BTreeSet::new();
            copied = copied.split_inclusive('\n').filter(|line| seen.insert(*line)).collect();
        }
        assert_eq!(copied, index, "{}", node.name);
        texts.push(node.records());
        for id in &ids {
            let (there, here) = (lab.server_dir().join("base").join(id), node.path("base").join(id));
            assert!(tree(&there) == tree(&here), "{}: {id}", node.name);
        }
        let wals = tree(&node.path("wals"));
        let there = tree(&lab.server_dir().join("wals"));
        let mut needed = there.iter().filter(|(name, _)| index.contains(&listed(name)));
        assert!(needed.all(|(name, content)| wals.get(name) == Some(content)));
        for id in &ids {
            assert_eq!(
                node.ok(&["sync-backup", "main", id]),
                format!("Backup {id} is already synced with main server\n")
            );
        }
    }
    // Whatever is at the other end, what is written down is the same.
    let info = |node: &Passive<'_>, file: &str| fs::read_to_string(node.path(file)).unwrap();
    for node in &pairs {
        assert_eq!(
            info(node, "wals/sync-wals.info"),
            info(&pairs[2], "wals/sync-wals.info"),
            "{}",
            node.name
        );
        assert_eq!(node.run(&["list-servers"]), pairs[2].run(&["list-servers"]));
        assert_eq!(node.run(&["backup", "main"]), pairs[2].run(&["backup", "main"]));
        let lists = |which| node.run_with(which, &["list-backups", "main"]);
        assert_eq!(lists(Which::Ours).stdout.lines().count(), 2);
        assert_eq!(lists(Which::Original).stdout.lines().count(), 2);
    }
    assert_eq!(texts[0], texts[1]);
    // Barman quotes the label once more at each step.
    let plain = |text: &str| {
        text.lines().filter(|line| !line.starts_with("backup_label=")).collect::<Vec<_>>().join("\n")
    };
    for id in &ids {
        assert_eq!(plain(&texts[0][*id]), plain(&texts[2][*id]));
    }
    // Ours have what belongs to backups, too.
    for node in &pairs[..2] {
        assert_eq!(
            info(node, "identity.json"),
            fs::read_to_string(lab.server_dir().join("identity.json")).unwrap()
        );
        assert_eq!(info(node, &format!("meta/{}-keep", ids[1])), "full");
        assert!(!node.path(&format!("meta/{}-keep", ids[0])).exists());
        let version = |id: &str| node.path("base").join(id).join("data/PG_VERSION").metadata().unwrap().ino();
        assert_eq!(version(ids[0]), version(ids[1]), "not linked");
    }
    // With the primary node down, all of it is still of use.
    drop((ours, theirs, receiver));
    let node = &pairs[0];
    for id in &ids {
        let shown = node.ok(&["verify-backup", "main", id]);
        assert!(shown.contains("backup successfully verified"), "{shown}");
    }
    let (data, space) = (lab.destination("restored"), lab.destination("restored-tbs1"));
    let tablespace = format!("tbs1:{}", space.display());
    node.ok(&["restore", "--tablespace", &tablespace, "main", ids[0], data.to_str().unwrap()]);
    let chown = std::process::Command::new("chown")
        .arg("-R")
        .arg("--reference")
        .arg(lab.cluster.data_dir())
        .arg(&space)
        .status();
    assert!(chown.unwrap().success());
    assert_eq!(lab.ask_restored(&data, "SELECT (SELECT count(*) FROM t) + (SELECT n FROM late)"), "107");
    let run = node.run(&["cron"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.starts_with("ERROR: Failed to retrieve the primary node status: sync-info execution on remote primary server main failed: "), "{run:?}");
}
