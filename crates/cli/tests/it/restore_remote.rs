//! `restore --remote-ssh-command` through a real sshd, compared with Barman's.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sha2::Digest as _;
use tapster_protocol::testing::servers;

use crate::chaos::{Running, wait_for};
use crate::encryption::KeyRing;
use crate::lab::{Lab, Receiver};
use crate::program::Run;
use crate::sshd::{Sshd, find, small_segment};

const QUESTION: &str = "SELECT (SELECT count(*) FROM inside) || ',' || (SELECT sum(i) FROM outside)";

/// A server with a table in a tablespace.
fn ready() -> Option<(Lab, Receiver)> {
    Lab::with(|builder| builder.wal_segment_mb(1)).map(fill)
}

fn fill(lab: Lab) -> (Lab, Receiver) {
    let place = lab.cluster.create_dir("space");
    lab.cluster.sql(&format!("CREATE TABLESPACE space LOCATION '{}'", place.display()));
    lab.cluster.sql("CREATE TABLE inside AS SELECT i, md5(i::text) FROM generate_series(1, 5000) AS i");
    lab.cluster.sql("CREATE TABLE outside TABLESPACE space AS SELECT generate_series(1, 1000) AS i");
    let receiver = lab.receive();
    (lab, receiver)
}

fn configure(lab: &Lab, extra: &str) {
    lab.configure("tapster.conf", &lab.cluster.conninfo().to_conninfo_string(), extra);
}

/// The other host.
fn host(lab: &Lab) -> Option<Sshd> {
    Sshd::start_with("exit 1", None, &lab.path("tapster.conf"))
}

/// Where a restore goes, with blanks and quotes.
struct Place {
    data: PathBuf,
    space: PathBuf,
}

impl Place {
    fn new(lab: &Lab, name: &str) -> Self {
        let dir = lab.destination(name);
        Self { data: dir.join("it's a place").join(name), space: dir.join("sp'a ce") }
    }

    /// Without anything to quote, which not everybody can.
    fn named(lab: &Lab, name: &str, last: &str) -> Self {
        let dir = lab.destination(name);
        Self { data: dir.join(last), space: dir.join("space") }
    }

    fn words(&self, ssh: &str, backup: &str, more: &[&str]) -> Vec<String> {
        let tablespace = format!("space:{}", self.space.display());
        let first = ["restore", "--remote-ssh-command", ssh, "--tablespace", &tablespace];
        let last = ["main", backup, self.data.to_str().unwrap()];
        first.iter().chain(more).chain(&last).map(|word| (*word).to_owned()).collect()
    }

    fn restore(&self, lab: &Lab, ssh: &str, backup: &str, more: &[&str]) -> Run {
        let words = self.words(ssh, backup, more);
        lab.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Its answer once it runs.
    fn ask(&self, lab: &Lab) -> String {
        let mut chown = Command::new("chown");
        chown.arg("-R").arg("--reference").arg(lab.cluster.data_dir()).arg(self.space.parent().unwrap());
        assert!(chown.status().unwrap().success());
        lab.ask_restored(&self.data, QUESTION)
    }
}

#[test]
fn every_form_goes_to_another_host_over_one_connection() {
    let Some((lab, _receiver)) = ready() else { return };
    let Some(sshd) = host(&lab) else { return };
    let ssh = sshd.ssh_command();
    let ring = KeyRing::new();
    let rsync = format!("backup_method = rsync\nssh_command = {ssh}\nbackup_options = concurrent_backup\n");
    let mut forms = vec![
        ("plain", String::new(), &["--target-immediate", "--target-action", "promote"][..], 1..=1),
        (
            "gzip",
            "backup_compression = gzip\n".to_owned(),
            &["--network-compression", "--bwlimit", "200000"],
            1..=1,
        ),
        ("rsync", rsync, &["--jobs", "2", "--network-compression"], 2..=5),
    ];
    if let Some(ring) = &ring {
        forms.push((
            "gpg",
            ring.settings(),
            &["--target-tli", "latest", "--target-action", "promote"],
            1..=1,
        ));
    }
    for (name, settings, more, connections) in forms {
        configure(&lab, &settings);
        if name == "rsync" {
            let path = lab.path("tapster.conf");
            let text = fs::read_to_string(&path).unwrap().replacen("backup_method = postgres\n", "", 1);
            fs::write(&path, text).unwrap();
        }
        lab.ok(&["backup", "main", "--wait"]);
        let place = Place::new(&lab, name);
        let before = sshd.connections();
        let run = place.restore(&lab, &ssh, "latest", more);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.stdout.contains(&format!("Remote command: {ssh}\n")), "{run:?}");
        let found = sshd.connections() - before;
        assert!(connections.contains(&found), "{name}: {found}");
        assert!(
            !place.data.join(".tapster-restore").exists() && !place.space.join(".tapster-restore").exists()
        );
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&place.data), mode(&place.space)), (0o700, 0o700));
        assert_eq!(place.ask(&lab), "5000,500500", "{name}");
    }
}

#[test]
fn a_chain_is_put_together_here_and_goes_to_another_host() {
    let able = servers().into_iter().find(|server| server.major >= 17);
    let Some(server) = able else { return };
    let lab = Lab::with(|builder| builder.binaries(&server).config("summarize_wal = on").wal_segment_mb(1));
    let Some((lab, _receiver)) = lab.map(fill) else { return };
    let Some(sshd) = host(&lab) else { return };
    let staging = lab.destination("staging");
    for settings in ["", "backup_compression = gzip\n"] {
        configure(&lab, settings);
        lab.ok(&["backup", "main", "--wait"]);
        lab.cluster.sql("UPDATE outside SET i = i + 1");
        lab.cluster.sql("INSERT INTO inside VALUES (0, 'x')");
        lab.ok(&["backup", "main", "--wait", "--incremental", "latest"]);
        let place = Place::new(&lab, if settings.is_empty() { "plain" } else { "gzip" });
        let staging_path = staging.to_str().unwrap();
        let run = place.restore(&lab, &sshd.ssh_command(), "latest", &["--staging-path", staging_path]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.stdout.contains(&format!(" on {staging_path}/tapster-combine-")), "{run:?}");
        assert_eq!(fs::read_dir(&staging).unwrap().count(), 0);
        let sum = if settings.is_empty() { "5001,501500" } else { "5002,502500" };
        assert_eq!(place.ask(&lab), sum);
    }
}

#[test]
fn what_goes_wrong_there_is_said_and_nothing_can_be_started() {
    let Some((lab, _receiver)) = ready() else { return };
    let Some(sshd) = host(&lab) else { return };
    let ssh = sshd.ssh_command();
    lab.ok(&["backup", "main", "--wait", "--name", "plain"]);
    configure(&lab, "backup_compression = gzip\n");
    lab.ok(&["backup", "main", "--wait", "--name", "packed"]);
    let place = Place::new(&lab, "place");
    let fails = |ssh: &str, backup: &str, more: &[&str]| {
        let run = place.restore(&lab, ssh, backup, &[&["--no-retry"], more].concat());
        assert_eq!(run.code, 1, "{run:?}");
        assert!(!place.data.join("global/pg_control").exists(), "{run:?}");
        run.stderr
    };
    let says = |said: &str, expected: &str| assert!(said.contains(expected), "{expected} is not in: {said}");

    // Nothing is written where it is known before.
    let nobody = format!("{ssh}x -p 1");
    says(
        &fails(&nobody, "plain", &[]),
        &format!("ERROR: Unable to connect to the target host using the command '{nobody}'"),
    );
    says(&fails("/no/ssh host", "plain", &[]), "cannot run /no/ssh");
    says(&fails("", "plain", &[]), "'' is not a command");
    let forced = |script: &str, backup: &str| {
        sshd.force(script);
        let said = fails(&ssh, backup, &[]);
        sshd.force_usual();
        said
    };
    let noisy = "echo Welcome; exec sh -c \"$SSH_ORIGINAL_COMMAND\"";
    says(&forced(noisy, "plain"), "the shell of the target host prints \"Welcome\"");
    says(&forced("echo tapster-is-connected; cat /dev/zero", "plain"), "more than 65536 bytes");
    says(&forced("echo tapster-is-connected; echo nonsense", "plain"), "an answer that is none: \"");
    let bare = lab.cluster.create_dir("bare");
    for name in ["sh", "cat", "ls", "head", "tail", "dirname", "df", "sleep"] {
        std::os::unix::fs::symlink(find(name).unwrap(), bare.join(name)).unwrap();
    }
    let without = format!("PATH={}\nexec sh -c \"$SSH_ORIGINAL_COMMAND\"", bare.display());
    says(&forced(&without, "packed"), "'tar' is not installed on the target host");
    std::os::unix::fs::symlink(find("tar").unwrap(), bare.join("tar")).unwrap();
    says(&forced(&without, "plain"), "'rsync' is not installed on the target host");
    fs::create_dir_all(&place.data).unwrap();
    fs::write(place.data.join("precious"), "").unwrap();
    says(&fails(&ssh, "plain", &[]), "is not empty");
    says(&fails(&ssh, "plain", &["--delta-restore"]), "it is not empty, and no PostgreSQL cluster");
    fs::remove_file(place.data.join("precious")).unwrap();
    assert_eq!((fs::read_dir(&place.data).unwrap().count(), place.space.exists()), (0, false));

    // The connection, with all that uses it, ends in the middle.
    let parent = "p=$$; until grep -q ^sshd /proc/$p/comm; do p=$(cut -d' ' -f4 /proc/$p/stat); [ \"$p\" -gt 1 ] || exit 1; done; kill -9 $p; exit 1";
    sshd.remote_program("tar", &format!("head -c 300000 > /dev/null; {parent}"));
    let said = fails(&ssh, "packed", &[]);
    says(&said, "the connection to the target host broke");
    says(&said, "HINT: the destination has no pg_control");
    let id = |name: &str| {
        lab.json(&["show-backup", "main", name])["main"]["backup_id"].as_str().unwrap().to_owned()
    };
    let unfinished = format!("it holds an unfinished restore of backup {} of server 'main'", id("packed"));
    // What has lost its connection takes a moment to end.
    let patience = Instant::now() + Duration::from_secs(60);
    let said = loop {
        let said = fails(&ssh, "packed", &[]);
        if !said.contains("is running on the target host") || Instant::now() > patience {
            break said;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    says(&said, &unfinished);
    sshd.no_remote_program("tar");
    let run = place.restore(&lab, &ssh, "packed", &["--delta-restore"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(place.data.join("global/pg_control").exists());
    fs::write(place.data.join("global/pg_control"), "stale").unwrap();
    sshd.remote_program("rsync", &format!("head -c 4 > /dev/null; {parent}"));
    says(&fails(&ssh, "plain", &["--delta-restore"]), "rsync failed while");

    // Tried again, it goes on, over connections of its own.
    let once = place.space.parent().unwrap().join("once");
    let rsync = find("rsync").unwrap();
    let script = format!(
        "if mkdir {} 2>/dev/null; then head -c 4 > /dev/null; {parent}; fi\nexec {} \"$@\"",
        once.display(),
        rsync.display()
    );
    sshd.remote_program("rsync", &script);
    let run =
        place.restore(&lab, &ssh, "plain", &["--delta-restore", "--retry-times", "1", "--retry-sleep", "0"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(once.exists() && place.data.join("global/pg_control").exists());

    // A full disk, as tar says it, and one that is never said to be synced.
    sshd.no_remote_program("rsync");
    sshd.remote_program(
        "tar",
        "cat > /dev/null; echo 'tar: x: Cannot write: No space left on device' >&2; exit 2",
    );
    let said = fails(&ssh, "packed", &["--delta-restore"]);
    says(&said, "failed on the target host (exit status: 2): tar: x: Cannot write: No space left on device");
    sshd.no_remote_program("tar");
    let lying = "case $* in --help) echo -f;; '-f .') ;; *) echo 'sync: error syncing: Input/output error' >&2; exit 1;; esac";
    sshd.remote_program("sync", lying);
    says(
        &fails(&ssh, "plain", &["--delta-restore"]),
        "bringing everything to disk failed on the target host",
    );
    sshd.no_remote_program("sync");

    // What is right by now is not sent again, and what does not belong there goes.
    let last = "000000010000000000000FFF";
    fs::write(place.data.join("pg_wal").join(last), small_segment(last, 1)).unwrap();
    fs::write(place.data.join("stray"), "").unwrap();
    let delta = |backup: &str| {
        let words = place.words(&ssh, backup, &["--delta-restore", "--dry-run"]);
        let plan = lab.json(&words.iter().map(String::as_str).collect::<Vec<_>>());
        plan["main"]["delta"].clone()
    };
    let plan = delta("plain");
    assert_eq!(
        (&plan["not_archived"], &plan["emptied"]),
        (&serde_json::json!([last]), &false.into()),
        "{plan}"
    );
    let removed = plan["removed"].as_array().unwrap();
    let is_removed = |path: PathBuf| removed.contains(&path.to_str().unwrap().into());
    assert!(
        is_removed(place.data.join("stray")) && is_removed(place.data.join("pg_wal").join(last)),
        "{plan}"
    );
    assert!(removed.len() < 40 && !is_removed(place.data.join("base")), "{plan}");
    assert!(plan["present_bytes"].as_u64().unwrap() > 20 << 20, "{plan}");
    let plan = delta("packed");
    let removed = plan["removed"].as_array().unwrap();
    assert!(
        plan["emptied"] == true && removed.contains(&place.data.join("base").to_str().unwrap().into()),
        "{plan}"
    );
    assert!(place.data.join("stray").exists() && place.data.join("base/1").exists());
    let run = place.restore(
        &lab,
        &ssh,
        "plain",
        &["--delta-restore", "--target-immediate", "--target-action", "promote"],
    );
    assert_eq!(run.code, 0, "{run:?}");
    assert!(!place.data.join("stray").exists());
    assert!(run.stderr.contains("holds 1 WAL files that are not in the archive"), "{run:?}");
    assert!(place.data.join("pg_wal/not-archived").join(last).exists());
    assert_eq!(place.ask(&lab), "5000,500500");

    // The data directory by one name, a tablespace in it by another.
    let (real, link) = (lab.destination("real"), lab.path("link"));
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let place = Place { data: link.join("data"), space: real.join("data/sp[a]ce*") };
    let other = place.space.join("PG_14_202107181/1/1");
    for backup in ["plain", "plain", "packed"] {
        let run = place.restore(&lab, &ssh, backup, &["--delta-restore"]);
        assert_eq!(run.code, 0, "{run:?}");
        let found = fs::read_dir(&place.space).unwrap().count();
        assert_eq!(found, if other.exists() { 2 } else { 1 }, "{backup}");
        fs::create_dir_all(&other).unwrap();
        fs::write(place.data.join("stray"), "").unwrap();
    }
    assert!(other.is_dir());
}

#[test]
fn what_is_there_is_another_cluster_or_another_restore_is_at_it() {
    let Some((lab, _receiver)) = ready() else { return };
    let Some(sshd) = host(&lab) else { return };
    let ssh = sshd.ssh_command();
    configure(&lab, "backup_compression = gzip\n");
    lab.ok(&["backup", "main", "--wait"]);
    let place = Place::new(&lab, "place");
    let refused = |more: &[&str], text: &str| {
        let run = place.restore(&lab, &ssh, "latest", more);
        assert!(run.code == 1 && run.stderr.contains(text), "{text}: {run:?}");
        run.stderr
    };
    fs::create_dir_all(place.data.join("base")).unwrap();
    fs::create_dir_all(place.data.join("global")).unwrap();
    fs::write(place.data.join("PG_VERSION"), "15\n").unwrap();
    let control =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../walfile/tests/data/15/pg_control.production");
    fs::copy(control, place.data.join("global/pg_control")).unwrap();
    refused(&["--delta-restore"], "is another cluster: its system identifier is ");
    assert!(place.data.join("global/pg_control").exists());
    fs::remove_dir_all(&place.data).unwrap();

    // The first one is at its archive, and cannot go on.
    let (begun, go) = (lab.path("begun"), lab.path("go"));
    let held = |program: &str, when: &str| {
        let (begun, go, program) = (begun.display(), go.display(), find(program).unwrap());
        format!(
            "case \"$*\" in {when}) touch {begun}; until [ -e {go} ]; do sleep 0.05; done;; esac\nexec {} \"$@\"",
            program.display()
        )
    };
    sshd.remote_program("tar", &held("tar", "*"));
    let start = |more: &[&str]| {
        let words = place.words(&ssh, "latest", more);
        let running = Running::start(&lab, &words.iter().map(String::as_str).collect::<Vec<_>>());
        wait_for("the first restore", || begun.exists());
        running
    };
    let first = start(&["--target-immediate", "--target-action", "promote"]);
    let text =
        format!("another restore into '{}' is running on the target host: process ", place.data.display());
    let said = refused(&["--delta-restore", "--dry-run"], &text);
    assert!(said.contains(&format!("end it: {ssh} kill ")), "{said}");
    refused(&[], &text);
    fs::write(&go, "").unwrap();
    let first = first.end();
    assert_eq!(first.code, 0, "nobody has disturbed it: {first:?}");
    sshd.no_remote_program("tar");
    assert_eq!(place.ask(&lab), "5000,500500");

    // One that was killed, and goes on removing there.
    fs::remove_file(&go).unwrap();
    fs::remove_file(&begun).unwrap();
    sshd.remote_program("rm", &held("rm", "*./base*"));
    start(&["--delta-restore"]).kill();
    refused(&["--delta-restore"], &text);
    fs::write(&go, "").unwrap();
    wait_for("the rest of it", || place.restore(&lab, &ssh, "latest", &["--delta-restore"]).code == 0);
    let names: Vec<_> = fs::read_dir(&place.data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains("tapster")), "{names:?}");
    assert_eq!(place.ask(&lab), "5000,500500");
}

/// All files and links below a directory, by name: what they hold, and their modes.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let mode = metadata.permissions().mode() & 0o777;
            let what = if metadata.is_dir() {
                pending.push(path);
                format!("directory {mode:o}")
            } else if metadata.is_symlink() {
                format!("link to {}", fs::read_link(&path).unwrap().display())
            } else {
                let sum = sha2::Sha256::digest(fs::read(&path).unwrap());
                format!("file {mode:o} {:02x}{:02x}{:02x}{:02x}", sum[0], sum[1], sum[2], sum[3])
            };
            found.insert(name, what);
        }
    }
    found
}

/// What Barman's result has otherwise.
fn differences(ours: &Place, theirs: &Place) -> Vec<String> {
    let (first, second) = (tree(&ours.data), tree(&theirs.data));
    let names: std::collections::BTreeSet<_> = first.keys().chain(second.keys()).collect();
    let none = "nothing".to_owned();
    names
        .into_iter()
        .filter(|name| first.get(*name) != second.get(*name))
        .map(|name| {
            format!("{name}: {} / {}", first.get(name).unwrap_or(&none), second.get(name).unwrap_or(&none))
        })
        .collect()
}

#[test]
fn barman_leaves_the_same_there() {
    let Some((lab, _receiver)) = ready() else { return };
    let Some(sshd) = host(&lab) else { return };
    let ssh = sshd.ssh_command();
    lab.ok(&["backup", "main", "--wait"]);
    let (ours, theirs) = (Place::named(&lab, "ours", "place"), Place::named(&lab, "theirs", "place"));
    let words = theirs.words(&ssh, "latest", &["--get-wal", "--recovery-option-port", "22"]);
    let Some(run) = lab.barman(&words.iter().map(String::as_str).collect::<Vec<_>>()) else { return };
    assert_eq!(run.code, 0, "{run:?}");
    let said = ours.restore(&lab, &ssh, "latest", &["--get-wal", "--recovery-option-port", "22"]);
    let but_times = |run: &Run| {
        let text = run.stdout.replace("/ours/", "/theirs/");
        let lines = text.lines().filter(|line| !line.contains("unix_socket") && !line.contains("elapsed"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(but_times(&said), but_times(&run));
    let differing: Vec<_> = differences(&ours, &theirs);
    let names: Vec<_> = differing.iter().map(|line| line.split(':').next().unwrap()).collect();
    let link =
        format!("pg_tblspc/{}", lab.cluster.value("SELECT oid FROM pg_tablespace WHERE spcname = 'space'"));
    // PostgreSQL makes the second by itself; the settings name this host; and nobody else needs to read the signal.
    let known = [link.as_str(), "pg_wal/archive_status", "postgresql.auto.conf", "recovery.signal"];
    assert_eq!(names, known, "{differing:#?}");
    let command = |place: &Place| {
        let text = fs::read_to_string(place.data.join("postgresql.auto.conf")).unwrap();
        let line = text.lines().find(|line| line.starts_with("restore_command")).unwrap();
        line.split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    let (ours, theirs) = (command(&ours), command(&theirs));
    assert_eq!((&ours[..8], &ours[9..]), (&theirs[..8], &theirs[9..]), "{ours:?} {theirs:?}");
    lines_are_those_an_editor_shows(&lab);
}

/// Here. The original counts from zero, and the lines of changes in the file as it was.
fn lines_are_those_an_editor_shows(lab: &Lab) {
    let backup =
        lab.json(&["show-backup", "main", "latest"])["main"]["backup_id"].as_str().unwrap().to_owned();
    let conf = lab.server_dir().join("base").join(backup).join("data/postgresql.conf");
    let mut text = fs::read_to_string(&conf).unwrap();
    text.push_str("archive_command = 'cp %p /x'\nrecovery_target_name = 'old'\nhba_file = '/etc/hba'\n");
    fs::write(&conf, &text).unwrap();
    let first = text.lines().position(|line| line.starts_with("archive_command = 'cp")).unwrap() + 1;
    let restore = |place: &Place| {
        let tablespace = format!("space:{}", place.space.display());
        let words = ["restore", "--recovery-conf-filename", "extra.conf", "--tablespace", &tablespace];
        let words = [&words[..], &["main", "latest", place.data.to_str().unwrap()]].concat();
        if place.data.ends_with("theirs") { lab.barman(&words) } else { Some(lab.run(&words)) }
    };
    let (ours, theirs) = (Place::named(lab, "numbered", "ours"), Place::named(lab, "counted", "theirs"));
    let Some(run) = restore(&theirs) else { return };
    let said = restore(&ours).unwrap();
    assert_eq!((said.code, run.code), (0, 0), "{said:?} {run:?}");
    let lines = |run: &Run, at: [usize; 3]| {
        let text = ["archive_command = false", "recovery_target_name = None", "hba_file = '/etc/hba'"];
        for (line, text) in at.into_iter().zip(text) {
            let line = format!("postgresql.conf line {line}: {text}\n");
            assert!(run.stdout.contains(&line), "{line}: {run:?}");
        }
    };
    lines(&run, [first - 1, first, first + 2]);
    lines(&said, [first + 1, first + 2, first + 3]);
    let restored = fs::read_to_string(ours.data.join("postgresql.conf")).unwrap();
    let restored: Vec<_> = restored.lines().collect();
    let expected =
        ["archive_command = false", "#BARMAN#recovery_target_name = 'old'", "hba_file = '/etc/hba'"];
    assert_eq!(restored[first..first + 3], expected);
    // Another file may include it.
    for place in [&ours, &theirs] {
        assert_eq!(fs::read_to_string(place.data.join("extra.conf")).unwrap(), "");
    }
}
