//! Passive nodes, over real ssh and rsync, with this program and the original at either end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::encryption::KeyRing;
use crate::lab::{Lab, user};
use crate::program::{Run, original, run_as};
use crate::sshd::{SYSTEM, Sshd, Which, find, segment};

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
        self.settle_as(&["DONE"], backups)
    }

    /// The same with other states than `DONE`, for backups whose WAL is not there.
    fn settle_as(&self, states: &[&str], backups: usize) -> String {
        let patience = Instant::now() + Duration::from_secs(60);
        let mut said = String::new();
        loop {
            let run = self.run(&["cron"]);
            said.push_str(&run.stdout);
            said.push_str(&run.stderr);
            let is = |text: &str, state: &str| text.contains(&format!("\nstatus={state}\n"));
            let records = self.records();
            let done = records.values().filter(|text| states.iter().any(|state| is(text, state))).count();
            // One that still waits for WAL is looked at in every round.
            let at_rest = run.stdout.lines().all(|line| {
                line == "No WAL synchronisation required for server main"
                    || line.starts_with("Starting check-backup")
            });
            if done == backups && at_rest && run.stdout.contains("No WAL synchronisation required") {
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

/// How many files there are below a directory that somebody works in; none where there is none.
fn files(root: &Path) -> usize {
    let Ok(entries) = fs::read_dir(root) else { return 0 };
    let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.flatten().map(|entry| if is_dir(&entry) { files(&entry.path()) } else { 1 }).sum()
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
    let reuse = "reuse_backup = link\nparallel_jobs = 2\n";
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
    let name = index.lines().next().unwrap().split('\t').next().unwrap();
    assert_eq!(node.ok(&["get-wal", "--peek", "1", "main", name]), format!("{name}\n"));
    // The retention policy works on, and an annotation that came with its backup holds.
    let config = lab.path("oo.conf");
    fs::write(&config, fs::read_to_string(&config).unwrap() + "retention_policy = REDUNDANCY 1\n").unwrap();
    let run = node.run(&["cron"]);
    assert_eq!(node.records().keys().collect::<Vec<_>>(), [ids[1]], "{run:?}");
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.starts_with("ERROR: Failed to retrieve the primary node status: sync-info execution on remote primary server main failed: "), "{run:?}");
}

/// Two backups with WAL behind them, nothing running any more.
fn finished_primary() -> Option<(Lab, Sshd, Vec<String>)> {
    find("rsync")?;
    let lab = primary("")?;
    let sshd =
        Sshd::start_with("", Some(assert_cmd::cargo::cargo_bin!("tapster")), &lab.path("tapster.conf"))?;
    let _receiver = lab.receive();
    for _ in 0..2 {
        lab.ok(&["backup", "--wait", "main"]);
        lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    }
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    let ids = records(&lab.server_dir().join("meta")).into_keys().collect();
    Some((lab, sshd, ids))
}

/// The processes that descend from this one and are called `name`.
fn descendants(of: u32, name: &str) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<(u32, String)>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let Some(pid) = entry.unwrap().file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else { continue };
        let parent = stat[close + 1..].split_whitespace().nth(1).unwrap().parse().unwrap();
        children.entry(parent).or_default().push((pid, stat[open + 1..close].to_owned()));
    }
    let (mut found, mut next) = (Vec::new(), vec![of]);
    while let Some(pid) = next.pop() {
        for (child, called) in children.get(&pid).into_iter().flatten() {
            next.push(*child);
            if called == name {
                found.push(*child);
            }
        }
    }
    found
}

fn kill(signal: &str, pid: u32) {
    assert!(std::process::Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_copy_that_breaks_off_goes_on_where_it_was() {
    let Some((lab, sshd, ids)) = finished_primary() else { return };
    // Slow enough to be cut.
    let node = Passive::new(&lab, "cut", Which::Ours, &sshd, "bandwidth_limit = 2000\n");
    node.ok(&["sync-info", "--primary", "main"]);
    let config = lab.path("cut.conf");
    let start = || {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("tapster"));
        command.arg("-c").arg(&config).args(["sync-backup", "main", &ids[0]]);
        let child =
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let copied = || files(&node.path("base").join(&ids[0]));
        let before = copied();
        let patience = Instant::now() + Duration::from_secs(30);
        while copied() < before + 100 {
            assert!(Instant::now() < patience, "nothing is copied");
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    };
    let status =
        || node.records()[&ids[0]].lines().find(|line| line.starts_with("status=")).unwrap().to_owned();
    // ssh dies: a failure with a name, and what was copied is on disk.
    let child = start();
    descendants(child.id(), "ssh").into_iter().for_each(|pid| kill("-KILL", pid));
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let failure =
        format!("failure syncing server main backup {}: rsync failed while copying basebackup", ids[0]);
    assert!(said.starts_with(&format!("ERROR: {failure}")), "{said}");
    assert_eq!(status(), "status=FAILED");
    assert!(node.records()[&ids[0]].contains(&format!("\nerror={failure}")));
    assert!(node.path(&format!("meta/{}-sync-resume", ids[0])).exists());
    // Killed: the record says that it is not whole, and no list counts it.
    let mut child = start();
    let running = descendants(child.id(), "rsync");
    kill("-KILL", child.id());
    child.wait().unwrap();
    running
        .into_iter()
        .for_each(|pid| drop(std::process::Command::new("kill").arg(pid.to_string()).output()));
    assert_eq!(status(), "status=SYNCING");
    assert!(!node.path(&format!("meta/{}-sync-resume", ids[0])).exists());
    // What a crash of the host may have made of a file that looks finished.
    let spoilt = node.path("base").join(&ids[0]).join("data/PG_VERSION");
    let modified = lab
        .server_dir()
        .join("base")
        .join(&ids[0])
        .join("data/PG_VERSION")
        .metadata()
        .unwrap()
        .modified()
        .unwrap();
    fs::create_dir_all(spoilt.parent().unwrap()).unwrap();
    fs::write(&spoilt, "\0\0\0").unwrap();
    fs::File::open(&spoilt).unwrap().set_modified(modified).unwrap();
    fs::create_dir(node.path("base").join(&ids[0]).join(".rsync-x")).unwrap();
    // A signal: nothing is wrong.
    let mut child = start();
    kill("-TERM", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(status(), "status=SYNCING");
    // Two at once: one copies, the other says so; and in the end all is there.
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("bandwidth_limit = 2000", "bandwidth_limit = 8000")).unwrap();
    let first = std::thread::scope(|scope| {
        let runs = [0, 1].map(|_| scope.spawn(|| node.run(&["sync-backup", "main", &ids[0]])));
        runs.map(|run| run.join().unwrap())
    });
    let busy = format!(
        "ERROR: Another synchronisation process for backup {} of server main is already running.\n",
        ids[0]
    );
    assert!(first.iter().any(|run| run.code == 0) && first.iter().any(|run| run.stderr == busy), "{first:?}");
    assert_eq!(status(), "status=WAITING_FOR_WALS");
    assert!(!node.path(&format!("meta/{}-sync-resume", ids[0])).exists());
    assert!(tree(&node.path("base").join(&ids[0])) == tree(&lab.server_dir().join("base").join(&ids[0])));
    assert_eq!(node.records()[&ids[0]].matches("error=None").count(), 1);
}

#[test]
fn what_changes_on_the_primary_node_meanwhile_is_noticed() {
    let Some((lab, sshd, ids)) = finished_primary() else { return };
    let meta = lab.server_dir().join("meta");
    let node = Passive::new(&lab, "node", Which::Ours, &sshd, "");
    node.ok(&["sync-info", "--primary", "main"]);
    // A deletion has begun there: what is left is no backup.
    let marker = meta.join(format!("{}-delete_this", ids[0]));
    fs::write(&marker, "delete").unwrap();
    let run = node.run(&["sync-backup", "main", &ids[0]]);
    let absent = format!(
        "ERROR: failure syncing server main backup {id}: Backup {id} is absent on main server\n",
        id = ids[0]
    );
    assert_eq!((run.code, run.stderr), (1, absent));
    assert!(node.records()[&ids[0]].contains("\nstatus=FAILED\n"));
    // It goes on: the half copy goes as well, by itself.
    lab.ok(&["delete", "main", &ids[0]]);
    let said = node.settle(1);
    assert!(!node.records().contains_key(&ids[0]) && !node.path("base").join(&ids[0]).exists(), "{said}");
    assert_eq!(
        node.run(&["sync-backup", "main", &ids[0]]).stderr,
        format!("ERROR: Backup {} is absent on main server\n", ids[0])
    );

    // WAL that is listed and gone, that comes late, that was cut off here, and that differs.
    let index = fs::read_to_string(node.path("wals/main-xlog.db")).unwrap();
    let names: Vec<&str> = index.lines().map(|line| line.split('\t').next().unwrap()).collect();
    let segment = |name: &str| name.len() == 24;
    let [.., lost, differs, _] = names.iter().copied().filter(|name| segment(name)).collect::<Vec<_>>()[..]
    else {
        panic!("{names:?}")
    };
    let place = |root: PathBuf, name: &str| root.join("wals").join(&name[..16]).join(name);
    let again = Passive::new(&lab, "again", Which::Ours, &sshd, "");
    fs::create_dir_all(place(again.path(""), differs).parent().unwrap()).unwrap();
    fs::write(place(again.path(""), differs), "not the same").unwrap();
    fs::write(again.path("wals/main-xlog.db"), "").unwrap();
    let aside = lab.path("aside");
    fs::rename(place(lab.server_dir(), lost), &aside).unwrap();
    let incomplete = ["DONE", "WAITING_FOR_WALS", "FAILED"];
    again.settle_as(&incomplete, 1);
    let listed = |node: &Passive<'_>| fs::read_to_string(node.path("wals/main-xlog.db")).unwrap();
    assert!(!listed(&again).contains(lost) && listed(&again).lines().count() == names.len() - 2);
    assert_eq!(fs::read(place(again.path(""), differs)).unwrap(), b"not the same", "nothing is replaced");
    let errors: Vec<_> = fs::read_dir(again.path("errors")).unwrap().collect();
    assert_eq!(errors.len(), 1);
    // It comes back, behind the others; Barman's question never finds it.
    fs::rename(&aside, place(lab.server_dir(), lost)).unwrap();
    fs::remove_file(place(again.path(""), differs)).unwrap();
    again.settle_as(&incomplete, 1);
    assert!(!listed(&again).contains(lost));
    fs::remove_file(again.path("meta/sync-wals-full")).unwrap();
    again.ok(&["cron"]);
    let patience = Instant::now() + Duration::from_secs(30);
    while !(listed(&again).contains(lost) && again.path("meta/sync-wals-full").exists()) {
        assert!(Instant::now() < patience, "{}", listed(&again));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(listed(&again).lines().count(), names.len());
    assert_eq!(
        fs::read(place(again.path(""), lost)).unwrap(),
        fs::read(place(lab.server_dir(), lost)).unwrap()
    );
    // Barman never gets over a file that was cut off here.
    fs::write(again.path("wals/sync-wals.info"), &lost[..20]).unwrap();
    again.settle(1);
    assert_eq!(listed(&again).lines().count(), names.len());
    // An archive that ends before ours: all is asked for.
    let last = names.last().unwrap();
    fs::write(again.path("wals/sync-wals.info"), format!("0000000F{}\t100", &last[8..24])).unwrap();
    let run = again.run(&["cron"]);
    let notice = "WARNING: sync-info is out of sync. Self-recovery procedure started: requesting full synchronisation from primary server main\n";
    assert!(run.stderr.ends_with(notice) && run.code == 0, "{run:?}");

    // A chain: the child enters its parent's record when it comes; without the parent it does not come.
    let shown = |id: &str| fs::read_to_string(meta.join(format!("{id}-backup.info"))).unwrap();
    let child = "20990101T000000";
    let parent = ids[1].as_str();
    let entered = format!("children_backup_ids={child}");
    fs::write(
        meta.join(format!("{parent}-backup.info")),
        shown(parent).replace("children_backup_ids=None", &entered),
    )
    .unwrap();
    let record = shown(parent)
        .replace("parent_backup_id=None", &format!("parent_backup_id={parent}"))
        .replace(&entered, "children_backup_ids=None");
    fs::write(meta.join(format!("{child}-backup.info")), record).unwrap();
    let base = lab.server_dir().join("base");
    assert!(
        std::process::Command::new("cp")
            .arg("-a")
            .arg(base.join(parent))
            .arg(base.join(child))
            .status()
            .unwrap()
            .success()
    );
    let chain = Passive::new(&lab, "chain", Which::Ours, &sshd, "retention_policy = REDUNDANCY 1\n");
    chain.ok(&["sync-info", "--primary", "main"]);
    let run = chain.run(&["sync-backup", "main", child]);
    assert_eq!(
        run.stderr,
        format!("ERROR: Backup {child} builds on backup {parent}, which server main does not have yet\n")
    );
    chain.ok(&["sync-backup", "main", parent]);
    assert!(chain.records()[parent].contains("\nchildren_backup_ids=None\n"));
    chain.ok(&["sync-backup", "main", child]);
    assert!(chain.records()[parent].contains(&format!("\n{entered}\n")));
    assert!(chain.records()[child].contains(&format!("\nparent_backup_id={parent}\n")));

    // A passive node that keeps less than its primary node has what its newest backup needs. Barman copies no WAL here.
    lab.ok(&["delete", "main", child]);
    let _receiver = lab.receive();
    lab.ok(&["backup", "--wait", "main"]);
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    let newest = records(&meta).into_keys().next_back().unwrap();
    let short = Passive::new(&lab, "short", Which::Ours, &sshd, "retention_policy = REDUNDANCY 1\n");
    short.ok(&["sync-info", "--primary", "main"]);
    short.ok(&["sync-backup", "main", &newest]);
    // Without its WAL it is none for the sake of which another one is done with.
    assert!(short.records()[&newest].contains("\nstatus=WAITING_FOR_WALS\n"));
    short.ok(&["sync-wals", "main"]);
    assert!(short.records()[&newest].contains("\nstatus=DONE\n"));
    assert_eq!(
        short.ok(&["sync-backup", "main", parent]),
        format!("Remote backup main/{parent} is obsolete for local retention policies.\n")
    );
    let begin = short.records()[&newest]
        .lines()
        .find_map(|line| line.strip_prefix("begin_wal=").map(str::to_owned))
        .unwrap();
    assert!(
        listed(&short).lines().count() >= 2 && listed(&short).lines().all(|line| *line >= *begin),
        "{}",
        listed(&short)
    );
    let data = lab.destination("short");
    let space = format!("tbs1:{}", lab.destination("short-tbs1").display());
    short.ok(&["restore", "--tablespace", &space, "main", "latest", data.to_str().unwrap()]);
}

#[test]
fn what_is_encrypted_is_copied_as_it_is_and_annotations_follow() {
    let (Some(ring), Some(_)) = (KeyRing::new(), find("rsync")) else { return };
    let Some(lab) = primary(&ring.settings()) else { return };
    let Some(sshd) =
        Sshd::start_with("", Some(assert_cmd::cargo::cargo_bin!("tapster")), &lab.path("tapster.conf"))
    else {
        return;
    };
    let receiver = lab.receive();
    lab.ok(&["backup", "--wait", "main"]);
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    let id = records(&lab.server_dir().join("meta")).into_keys().next().unwrap();
    lab.ok(&["keep", "--target", "full", "main", &id]);
    let base = lab.server_dir().join("base").join(&id);
    assert!(tree(&base).keys().any(|path| path.extension().is_some_and(|end| end == "gpg")));
    // A passive node needs no key for copying; only for what it restores.
    let plain = "parallel_jobs = 3\nreuse_backup = copy\n";
    let node = Passive::new(&lab, "node", Which::Ours, &sshd, plain);
    let theirs = find("barman").map(|_| Passive::new(&lab, "theirs", Which::Original, &sshd, plain));
    let nodes: Vec<&Passive<'_>> = std::iter::once(&node).chain(&theirs).collect();
    for node in &nodes {
        node.settle(1);
        assert!(tree(&base) == tree(&node.path("base").join(&id)), "{}", node.name);
        assert!(node.records()[&id].contains("\nencryption=gpg\n"), "{}", node.name);
    }
    let index = |dir: PathBuf| fs::read_to_string(dir.join("wals/main-xlog.db")).unwrap();
    let begin =
        node.records()[&id].lines().find_map(|line| line.strip_prefix("begin_wal=").map(str::to_owned));
    let needed: String = index(lab.server_dir())
        .split_inclusive('\n')
        .filter(|line| *line >= begin.as_deref().unwrap())
        .collect();
    assert_eq!(index(node.path("")), needed);
    assert!(needed.lines().all(|line| line.ends_with("\tgpg")), "{needed}");

    // What is kept there is kept here, and released with it; Barman's own node has nothing of it.
    let keep = |node: &Passive<'_>| fs::read_to_string(node.path(&format!("meta/{id}-keep"))).ok();
    assert_eq!(keep(&node).as_deref(), Some("full"));
    assert_eq!(theirs.as_ref().and_then(keep), None);
    lab.ok(&["keep", "--target", "standalone", "main", &id]);
    node.ok(&["cron"]);
    assert_eq!(keep(&node).as_deref(), Some("standalone"));
    lab.ok(&["keep", "--release", "main", &id]);
    node.ok(&["cron"]);
    assert_eq!(keep(&node), None);
    // What was asked for here is nobody else's.
    node.ok(&["keep", "--target", "full", "main", &id]);
    node.ok(&["cron"]);
    assert_eq!(keep(&node).as_deref(), Some("full"));
    // As a backup that is kept there and was released here.
    node.ok(&["keep", "--release", "main", &id]);
    lab.ok(&["keep", "--target", "full", "main", &id]);
    node.ok(&["cron"]);
    assert_eq!(keep(&node).as_deref(), Some("full"));
    node.ok(&["keep", "--release", "main", &id]);
    node.ok(&["cron"]);
    assert_eq!(keep(&node), None);

    // Another cluster under the same names: its backup would look whole by the names of WAL that is none of its own.
    let begin = begin.unwrap();
    let other = Passive::new(&lab, "other", Which::Ours, &sshd, plain);
    let place = other.path("wals").join(&begin[..16]).join(&begin);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(&place, segment(&begin, SYSTEM, 1)).unwrap();
    other.ok(&["sync-info", "--primary", "main"]);
    let run = other.run(&["sync-backup", "main", &id]);
    let reason = format!("but the archive here has a {begin} of system {SYSTEM}\n");
    assert!(run.code == 1 && run.stderr.ends_with(&reason), "{run:?}");
    assert!(other.records().is_empty() && !other.path("base").join(&id).exists());

    // With the key, and without the primary node.
    drop((sshd, receiver));
    let config = lab.path("node.conf");
    fs::write(&config, fs::read_to_string(&config).unwrap() + &ring.settings()).unwrap();
    let (data, space) = (lab.destination("restored"), lab.destination("restored-tbs1"));
    let tablespace = format!("tbs1:{}", space.display());
    node.ok(&["restore", "--tablespace", &tablespace, "main", &id, data.to_str().unwrap()]);
    lab.give(&space);
    assert_eq!(lab.ask_restored(&data, "SELECT count(*) FROM t"), "100");
}

#[test]
fn the_daemon_looks_after_a_passive_node() {
    let Some((lab, sshd, ids)) = finished_primary() else { return };
    let node = Passive::new(&lab, "daemon", Which::Ours, &sshd, "");
    let said = lab.path("said");
    let out = fs::File::create(&said).unwrap();
    let mut daemon = std::process::Command::new(assert_cmd::cargo::cargo_bin!("tapster"))
        .arg("-c")
        .arg(lab.path("daemon.conf"))
        .arg("run")
        .stdin(std::process::Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    let index = lab.server_dir().join("wals/main-xlog.db");
    let last = |path: &Path| fs::read_to_string(path).unwrap_or_default().lines().last().map(str::to_owned);
    let whole =
        || node.records().values().filter(|text| text.contains("\nstatus=DONE\n")).count() == ids.len();
    while !(whole() && last(&node.path("wals/main-xlog.db")) == last(&index)) {
        assert!(Instant::now() < patience, "{}", fs::read_to_string(&said).unwrap());
        std::thread::sleep(Duration::from_millis(100));
    }
    kill("-TERM", daemon.id());
    assert!(daemon.wait().unwrap().success());
    let said = fs::read_to_string(&said).unwrap();
    assert_eq!(said.matches("WARNING").count() + said.matches("ERROR").count(), 0, "{said}");
    drop(sshd);
}

#[test]
fn answers_that_are_none_change_nothing() {
    let Some(lab) = Lab::new() else { return };
    let answer = lab.path("answer");
    // The other program may be behind a forced command that compares words.
    let asked = lab.path("asked");
    let script = format!("echo \"$# $*\" >> {}; cat {}", asked.display(), answer.display());
    let Some(sshd) = Sshd::start_with(&script, None, &lab.path("tapster.conf")) else { return };
    let node = Passive::new(&lab, "node", Which::Ours, &sshd, "");
    let config =
        r#"{"backup_directory": "/b", "basebackups_directory": "/b/base", "wals_directory": "/b/wals"}"#;
    let whole = |backups: &str, wals: &str| {
        format!(
            r#"{{"last_position": 0, "last_name": "", "backups": {backups}, "wals": {wals}, "config": {config}}}"#
        )
    };
    fs::write(&answer, whole("{}", "[]")).unwrap();
    assert_eq!(node.ok(&["sync-info", "--primary", "main"]), format!("{}\n", whole("{}", "[]")));
    let kept = fs::read(node.path("primary.info")).unwrap();
    let wal = |name: &str, rest: &str| whole("{}", &format!(r#"[{{"name": "{name}", {rest}}}]"#));
    let good = r#""size": 1, "time": 1.0, "compression": null, "encryption": null"#;
    let name = "000000010000000000000001";
    for text in [
        String::new(),
        "Welcome!\n{}".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        whole("{}", "[]").replace("/b/wals", "wals"),
        whole("{}", "[]").replace("/b/base", "/b/base\\n"),
        whole("{}", "[]").replace("\"last_name\": \"\"", "\"last_name\": \"../x\""),
        whole("{}", "[]").replace("\"last_position\": 0", "\"last_position\": 99999999999999999999999999"),
        whole("{}", "[]").replace("\"last_position\": 0", "\"last_position\": -1"),
        whole("{}", "[]") + "{}",
        whole("{\"../../etc\": {}}", "[]"),
        whole("{\"20260101T000000\": []}", "[]"),
        whole(
            &format!("{{\"20260101T000000\": {{\"x\": {}1{}}}}}", "[".repeat(1000), "]".repeat(1000)),
            "[]",
        ),
        wal("../../../../etc/passwd", good),
        wal("000000010000000000000001/../x", good),
        wal(name, r#""size": -1, "time": 1.0"#),
        wal(name, r#""size": 1e30, "time": 1.0"#),
        wal(name, r#""size": 99999999999999, "time": 1.0"#),
        wal(name, r#""size": 1, "time": 1e300"#),
        wal(name, r#""size": 1, "time": "now""#),
        wal(name, r#""size": 1, "time": 1.0, "compression": "gzip\tNone\n""#),
    ] {
        fs::write(&answer, &text).unwrap();
        let run = node.run(&["sync-info", "--primary", "main"]);
        assert_eq!(run.code, 1, "{text:.200}: {run:?}");
        assert!(
            run.stderr.starts_with("ERROR: sync-info execution on remote primary server main failed: "),
            "{run:?}"
        );
        assert_eq!(fs::read(node.path("primary.info")).unwrap(), kept);
    }
    // A backup that cannot be understood hides no other, and makes no file.
    let text = whole(
        r#"{"20260101T000000": {"status": "DONE", "begin_wal": "../x"}, "20260102T000000": {"status": "DONE", "error": "x\nstatus=DONE"}}"#,
        "[]",
    );
    fs::write(&answer, text).unwrap();
    node.ok(&["sync-info", "--primary", "main"]);
    let run = node.run(&["sync-backup", "main", "20260101T000000"]);
    assert!(run.stderr.contains("20260101T000000 of server main cannot be copied: begin_wal"), "{run:?}");
    let run = node.run(&["sync-backup", "main", "../../etc"]);
    assert_eq!(run.stderr, "ERROR: Backup ../../etc is absent on main server\n");
    let run = node.run(&["sync-backup", "main", "20260102T000000"]);
    assert!(
        run.code == 1 && run.stderr.contains("'/b/base/20260102T000000' is not on the server"),
        "{run:?}"
    );
    assert_eq!(node.records().len(), 1);
    assert!(node.records()["20260102T000000"].contains("\nstatus=FAILED\n"));
    // In Barman's words.
    if find("barman").is_some() {
        let far = Passive::new(&lab, "far", Which::Ours, &sshd, "forward_config_path = on\n");
        fs::write(&answer, whole("{}", "[]")).unwrap();
        fs::remove_file(&asked).unwrap();
        for (node, args) in [(&node, &[name, "5"][..]), (&node, &[name]), (&node, &[]), (&far, &[name, "7"])]
        {
            for which in [Which::Ours, Which::Original] {
                let run = node.run_with(which, &[&["sync-info", "--primary", "main"], args].concat());
                assert_eq!(run.code, 0, "{run:?}");
            }
        }
        let asked = fs::read_to_string(&asked).unwrap();
        let asked: Vec<&str> = asked.lines().collect();
        assert!(asked.len() == 8 && asked.chunks(2).all(|pair| pair[0] == pair[1]), "{asked:?}");
    }
    // A server that is none.
    for command in [
        ["sync-wals", "main"].as_slice(),
        &["sync-backup", "main", "20260101T000000"],
        &["sync-info", "--primary", "main"],
    ] {
        assert_eq!(lab.run(command).stderr, "ERROR: server main is not passive\n");
    }
}
