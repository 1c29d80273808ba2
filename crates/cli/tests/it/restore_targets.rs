//! Recovery targets of every kind, across a failover: planned, refused with what would work, carried out and asked by SQL, with no
//! server of the original cluster running.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tapster_protocol::testing::{Builder, Cluster, StopMode};
use tapster_protocol::{ConnectOptions, Connection, Environment, Mode};

use crate::encryption::KeyRing;
use crate::lab::Lab;
use crate::program::Run;
use crate::sshd::Sshd;

/// What can be a target: where it is in the log, by the server.
struct Moment {
    xid: String,
    time: String,
    lsn: String,
}

/// A cluster's life: two backups, a failover, and what the old primary did after it.
struct Story {
    lab: Lab,
    /// The new primary.
    standby: Cluster,
    first: String,
    second: String,
    /// `a` before the second backup, `d` on timeline 2.
    a: Moment,
    d: Moment,
    /// The last that is archived.
    x: Moment,
    subtransaction: String,
    /// Where timeline 1 was left.
    switch: String,
}

fn server(builder: Builder) -> Builder {
    builder.wal_segment_mb(1).config("max_prepared_transactions = 5")
}

fn moment(cluster: &Cluster, row: &str) -> Moment {
    let xid = cluster.value(&format!("INSERT INTO t(v) VALUES ('{row}') RETURNING xmin::text"));
    let lsn = cluster.value("SELECT pg_current_wal_insert_lsn()");
    cluster.sql("SELECT pg_sleep(0.02)");
    let time = cluster.value("SELECT clock_timestamp()");
    cluster.sql("SELECT pg_sleep(0.02)");
    Moment { xid, time, lsn }
}

fn restore_point(cluster: &Cluster, name: &str) {
    cluster.sql(&format!("SELECT pg_create_restore_point('{name}')"));
}

/// Waits until what `sql` asks is true.
fn until(cluster: &Cluster, sql: &str) {
    let patience = Instant::now() + Duration::from_secs(60);
    while cluster.value(sql) != "t" {
        assert!(Instant::now() < patience, "{sql}: {}", cluster.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn id(lab: &Lab, name: &str) -> String {
    lab.json(&["show-backup", "main", name])["main"]["backup_id"].as_str().unwrap().to_owned()
}

impl Story {
    fn tell() -> Option<Self> {
        let lab = Lab::with(server)?;
        let primary = &lab.cluster;
        let receiver = lab.receive();
        lab.ok(&["switch-wal", "--force", "--archive", "main"]);
        primary.sql("CREATE TABLE t(id serial, v text)");
        lab.ok(&["backup", "main", "--wait", "--name", "early"]);
        let a = moment(primary, "a");
        restore_point(primary, "one");
        restore_point(primary, "twice");
        let mut connection = primary.connect();
        for statement in [
            "BEGIN",
            "INSERT INTO t(v) VALUES ('b')",
            "SAVEPOINT s",
            "INSERT INTO t(v) VALUES ('b2')",
            "COMMIT",
        ] {
            connection.query(statement).unwrap();
        }
        let subtransaction = primary.value("SELECT xmin::text FROM t WHERE v = 'b2'");
        lab.ok(&["backup", "main", "--wait", "--name", "later"]);
        moment(primary, "c");
        restore_point(primary, "twice");
        let standby = server(Builder::default()).standby_of(primary, None);
        // So that the timelines change far behind the beginning of a segment.
        primary.sql("CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 100)");
        let reached = primary.value("SELECT pg_current_wal_lsn()");
        until(&standby, &format!("SELECT pg_last_wal_replay_lsn() >= '{reached}'"));
        standby.promote();
        // The old primary does not know it.
        moment(primary, "lost");
        restore_point(primary, "lost");
        lab.ok(&["switch-wal", "--force", "--archive", "main"]);
        primary.sql("CREATE TABLE next()");
        lab.ok(&["switch-wal", "--force", "--archive", "main"]);
        drop(receiver);
        lab.ok(&["archive-wal", "main"]);
        primary.stop(StopMode::Fast);

        let d = moment(&standby, "d");
        restore_point(&standby, "after");
        standby.sql("SELECT pg_switch_wal()");
        let x = moment(&standby, "x");
        standby.sql("SELECT pg_switch_wal()");
        moment(&standby, "e");
        restore_point(&standby, "last");
        // Whose commit is waited for, and with it what is before it.
        standby.sql("CREATE TABLE flushed()");
        let story = Self {
            first: id(&lab, "early"),
            second: id(&lab, "later"),
            a,
            d,
            x,
            subtransaction,
            switch: String::new(),
            standby,
            lab,
        };
        story.archive();
        let history = std::fs::read_to_string(story.standby.wal_dir().join("00000002.history")).unwrap();
        let switch = history.split_whitespace().nth(1).unwrap().to_owned();
        Some(Self { switch, ..story })
    }

    /// What the new primary has completed goes to the archive; the segment it is at, to where a receiver would have it.
    fn archive(&self) {
        let current = self.standby.value("SELECT pg_walfile_name(pg_current_wal_insert_lsn())");
        let mut names: Vec<String> = std::fs::read_dir(self.standby.wal_dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("00000002"))
            .collect();
        names.sort();
        for name in names {
            let from = self.standby.wal_dir().join(&name);
            let place = if name == current {
                self.lab.server_dir().join("streaming").join(format!("{name}.partial"))
            } else if name < current || name.ends_with(".history") {
                self.lab.server_dir().join("incoming").join(&name)
            } else {
                continue;
            };
            std::fs::copy(from, place).unwrap();
        }
        let conninfo = self.standby.conninfo().to_conninfo_string();
        self.lab.configure("tapster.conf", &conninfo, "archiver = on\n");
        self.lab.ok(&["archive-wal", "main"]);
    }

    fn refused(&self, args: &[&str]) -> Run {
        let place = self.lab.path("refused");
        let run = self.lab.run(&[&["restore"], args, &[place.to_str().unwrap()]].concat());
        assert_eq!(run.code, 1, "{args:?}: {run:?}");
        assert!(!place.exists(), "{args:?}");
        run
    }

    fn plan(&self, args: &[&str]) -> Value {
        let place = self.lab.path("planned");
        let all = self.lab.json(&[&["restore", "--dry-run"], args, &[place.to_str().unwrap()]].concat());
        assert!(!place.exists(), "{args:?}");
        all["main"].clone()
    }

    /// The rows in a server that was restored with these options, and its timeline.
    fn rows(&self, name: &str, args: &[&str]) -> String {
        let data = self.lab.destination(name);
        // On another host directories are made by whoever restores.
        let data = if args.contains(&"--remote-ssh-command") { data.join(name) } else { data };
        self.lab.ok(&[&["restore"], args, &[data.to_str().unwrap()]].concat());
        let answer = self.lab.ask_restored(
            &data,
            "SELECT coalesce(string_agg(v, '' ORDER BY id), '-') || ' ' || left(pg_walfile_name(pg_current_wal_lsn()), 8)::int FROM t",
        );
        std::fs::remove_dir_all(&data).unwrap();
        answer
    }
}

#[test]
fn l_c3_l_c4_l_c5_every_target_is_reached_across_a_failover_or_refused_with_what_would_work() {
    let Some(story) = Story::tell() else { return };
    a_standby_is_set_up(&story);
    story.standby.stop(StopMode::Fast);
    plans_say_where_recovery_stops(&story);
    refusals_say_what_would_work(&story);
    wal_that_cannot_be_replayed_is_refused(&story);
    what_is_wrong_with_the_backup_or_the_place_is_said(&story);
    scripts_run_around_a_restore(&story);
    the_report_has_the_keys_of_the_original(&story);
    restored_servers_have_what_was_there(&story);
    restored_servers_of_another_host_have_it_too(&story);
}

fn plans_say_where_recovery_stops(story: &Story) {
    let stop = |args: &[&str]| story.plan(args)["stop"].clone();
    let one = stop(&["--target-name", "one", "main", "auto"]);
    assert_eq!(
        (&one["kind"], &one["timeline"], &one["included"]),
        (&"restore point".into(), &1.into(), &true.into())
    );
    let plan = story.plan(&["--target-name", "one", "main", "auto"]);
    assert_eq!(
        plan["backup_id"].as_str(),
        Some(story.first.as_str()),
        "the only one that ends before it: {plan}"
    );
    let xid = stop(&["--target-xid", &story.a.xid, "main", "auto"]);
    assert_eq!((&xid["kind"], xid["xid"].to_string()), (&"commit".into(), story.a.xid.clone()));
    let time = stop(&["--target-time", &story.a.time, "main", "auto"]);
    assert_eq!((&time["kind"], &time["included"]), (&"commit".into(), &false.into()), "{time}");
    assert!(
        time["lsn"].as_str() > xid["lsn"].as_str()
            || time["lsn"].to_string().len() > xid["lsn"].to_string().len()
    );
    let late = story.plan(&["--target-xid", &story.d.xid, "main", "auto"]);
    assert_eq!(
        (&late["stop"]["timeline"], late["backup_id"].as_str()),
        (&2.into(), Some(story.second.as_str()))
    );
    // No more WAL than that is needed.
    let (few, all) = (&plan["wal_files"], &late["wal_files"]);
    assert!(few.as_u64().unwrap() > 0 && all.as_u64().unwrap() > 0, "{plan} {late}");
    assert!(plan["last_wal"].as_str().unwrap().starts_with("00000001"), "{plan}");
    let twice = story.plan(&["--target-name", "twice", "main", &story.first]);
    assert!(twice["warnings"].to_string().contains("is in the WAL 2 times"), "{twice}");
    assert_eq!(twice["stop"]["time"], stop(&["--target-name", "twice", "main", &story.first])["time"]);
    let newest = story.plan(&["--target-name", "twice", "main", "auto"]);
    assert_eq!(newest["backup_id"].as_str(), Some(story.second.as_str()), "{newest}");

    let run =
        story.lab.run(&["restore", "--dry-run", "--target-name", "after", "main", "auto", "/nowhere/at/all"]);
    let text = "\tRecovery stops just after the restore point at 0/";
    assert!(run.stdout.contains(text) && run.stdout.contains(" on timeline 2, of "), "{run:?}");
}

fn refusals_say_what_would_work(story: &Story) {
    let says = |args: &[&str], words: &[&str]| {
        let said = story.refused(args).stderr;
        for word in words {
            assert!(said.contains(word), "{args:?}: {word}: {said}");
        }
    };
    let from = |backup: &str, options: &str| {
        format!("HINT: the target can be reached from backup {backup}{options}")
    };
    says(
        &["--target-name", "lost", "main", "auto"],
        &[
            "is at 0/",
            " on timeline 1, which is not on the way of a recovery along timeline 2",
            &from(&story.second, " with --target-tli 1,"),
        ],
    );
    says(
        &["--target-name", "ones", "main", "auto"],
        &["restore point 'ones' is not in the archived WAL", "names are 'one' (0/"],
    );
    says(
        &["--target-name", "one", "main", &story.second],
        &["before the end of the backup", &from(&story.first, ",")],
    );
    says(
        &["--target-name", "last", "main", "auto"],
        &["which is not complete yet", &from(&story.second, " with --partial-wal,")],
    );
    says(
        &["--target-xid", &story.subtransaction, "main", "auto"],
        &["it is a subtransaction of ", "choose the transaction it belongs to"],
    );
    let last = format!("the last that is archived is the commit of transaction {} at 0/", story.x.xid);
    says(
        &["--target-xid", "4000000000", "main", "auto"],
        &["transaction 4000000000 is not in the archived WAL", &last],
    );
    says(
        &["--target-time", &story.a.time, "main", &story.second],
        &["is before the backup end time", &from(&story.first, ",")],
    );
    says(
        &["--target-time", &story.d.time, "--target-tli", "1", "main", "auto"],
        &[&from(&story.second, " with --target-tli 2")],
    );
    says(&["--target-lsn", "F/0", "main", "auto"], &["is beyond the archive"]);
    says(
        &["--target-lsn", &story.a.lsn, "main", &story.second],
        &["is before the end of the backup", &from(&story.first, ",")],
    );
    says(&["--target-tli", "7", "main", "auto"], &["00000007.history is missing"]);
}

/// Each in turn: first, middle and last segment, and the history file; missing, damaged, and of another cluster.
fn wal_that_cannot_be_replayed_is_refused(story: &Story) {
    let latest = ["--target-tli", "latest", "main", story.first.as_str()];
    let plan = story.plan(&latest);
    let name = |key: &str| plan[key].as_str().unwrap().to_owned();
    let (first, last) = (name("first_wal"), name("last_wal"));
    let wals = story.lab.server_dir().join("wals");
    let at = |name: &str| wals.join(&name[..16]).join(name);
    let middle = format!("{}{:08X}", &first[..16], u32::from_str_radix(&first[16..], 16).unwrap() + 1);
    let switched = {
        let mut names: Vec<_> = std::fs::read_dir(wals.join("0000000200000000"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names.remove(0)
    };
    let said = |what: &str, word: &str| {
        let run = story.refused(&latest);
        assert!(run.stderr.contains(word), "{what}: {word}: {run:?}");
    };
    for file in [&first, &middle, &switched, &last] {
        let path = at(file);
        let whole = std::fs::read(&path).unwrap();
        let put = |bytes: &[u8]| {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, bytes).unwrap();
        };
        std::fs::rename(&path, path.with_extension("away")).unwrap();
        if file == &last {
            // Nothing follows it, so nothing says that it was there: the archive ends earlier.
            assert_ne!(story.plan(&latest)["last_wal"], plan["last_wal"]);
        } else {
            said(
                file,
                if file == &switched { "is not in the archive" } else { "is missing from the archive" },
            );
        }
        std::fs::rename(path.with_extension("away"), &path).unwrap();
        // One bit alone may mean the same zeros taken from another place.
        let mut damaged = whole.clone();
        let quarter = damaged.len() / 4;
        damaged[quarter..quarter + 16].fill(0x5A);
        put(&damaged);
        said(file, &format!("WAL segment {file} is damaged: it can be read up to 0/"));
        put(b"");
        said(file, &format!("WAL segment {file} is damaged"));
        put(&of_another_cluster(&whole));
        said(file, &format!("WAL segment {file} is of another cluster: its system identifier is "));
        put(&whole);
    }
    let history = wals.join("00000002.history");
    let right = story.lab.ok(&["get-wal", "main", "00000002.history"]);
    std::fs::remove_file(&history).unwrap();
    let two = ["--target-tli", "2", "main", story.first.as_str()];
    assert!(story.refused(&two).stderr.contains("00000002.history is missing"));
    for (content, word) in [
        ("1\tnonsense\n".to_owned(), "00000002.history"),
        // Of another cluster: it left timeline 1 somewhere else, in an earlier segment, a later one, and in the same one.
        (right.replace(&story.switch, &moved(&story.switch, -(1 << 20))), "is not that of the archived WAL"),
        (right.replace(&story.switch, &moved(&story.switch, 1 << 20)), "is not that of the archived WAL"),
        (
            right.replace(&story.switch, &moved(&story.switch, -65536)),
            "where 00000002.history says that the timeline changes",
        ),
    ] {
        std::fs::write(&history, &content).unwrap();
        let run = story.refused(&two);
        assert!(run.stderr.contains(word), "{content}: {word}: {run:?}");
    }
    std::fs::write(&history, right).unwrap();
    assert_eq!(story.plan(&latest)["last_wal"], plan["last_wal"], "all is as before");
}

fn moved(lsn: &str, by: i64) -> String {
    let low = i64::from_str_radix(lsn.split_once('/').unwrap().1, 16).unwrap();
    format!("0/{:X}", low + by)
}

/// The same segment with another system identifier.
fn of_another_cluster(stored: &[u8]) -> Vec<u8> {
    use std::io::{Read as _, Write as _};
    let mut bytes = Vec::new();
    walfile::codec::decoder(stored, walfile::codec::detect(stored)).unwrap().read_to_end(&mut bytes).unwrap();
    bytes[24] ^= 1;
    let mut encoder =
        walfile::codec::encoder(Vec::new(), walfile::codec::Compression::Gzip, walfile::codec::Level::Low)
            .unwrap();
    encoder.write_all(&bytes).unwrap();
    encoder.finish().unwrap()
}

fn restored_servers_have_what_was_there(story: &Story) {
    fn promote<'a>(target: &[&'a str]) -> Vec<&'a str> {
        [&["--target-action", "promote"], target].concat()
    }
    let (a, d) = (&story.a, &story.d);
    let auto: &[&str] = &["main", "auto"];
    let from_first: &[&str] = &["main", &story.first];
    let cases: [(&str, Vec<&str>, &[&str], &str); 11] = [
        ("name", promote(&["--target-name", "one"]), auto, "a 3"),
        ("xid", promote(&["--target-xid", &a.xid]), auto, "a 3"),
        ("before", promote(&["--target-xid", &a.xid, "--exclusive"]), auto, "- 3"),
        ("time", promote(&["--target-time", &d.time]), from_first, "abb2cd 3"),
        ("lsn", promote(&["--target-lsn", &d.lsn]), from_first, "abb2cd 3"),
        ("late", promote(&["--target-xid", &d.xid, "--target-tli", "2"]), from_first, "abb2cd 3"),
        ("lost", promote(&["--target-name", "lost", "--target-tli", "current"]), auto, "abb2clost 3"),
        ("last", promote(&["--target-name", "last", "--partial-wal"]), auto, "abb2cdxe 3"),
        ("immediate", promote(&["--target-immediate"]), &["main", &story.second], "abb2 3"),
        ("end", vec!["--target-tli", "latest"], from_first, "abb2cdx 3"),
        ("own", vec![], &["main", &story.second], "abb2clost 1"),
    ];
    all_have(story, cases.into_iter());
}

/// Every kind of target, reached from a backup before the failover.
fn restored_servers_of_another_host_have_it_too(story: &Story) {
    let Some(sshd) = Sshd::start_with("exit 1", None, &story.lab.path("tapster.conf")) else { return };
    let (ssh, d) = (sshd.ssh_command(), &story.d);
    let cases: [(&str, &[&str], &str); 6] = [
        ("there-immediate", &["--target-immediate"], "- 3"),
        ("there-time", &["--target-time", &d.time], "abb2cd 3"),
        ("there-xid", &["--target-xid", &d.xid], "abb2cd 3"),
        ("there-name", &["--target-name", "after"], "abb2cd 3"),
        ("there-lsn", &["--target-lsn", &d.lsn], "abb2cd 3"),
        ("there-latest", &[], "abb2cdx 3"),
    ];
    let cases = cases.map(|(name, target, expected)| {
        let action = if target.is_empty() { &[][..] } else { &["--target-action", "promote"] };
        let words = [&["--remote-ssh-command", &ssh, "--target-tli", "latest"], target, action].concat();
        (name, words, ["main", story.first.as_str()], expected)
    });
    all_have(
        story,
        cases.iter().map(|(name, words, place, expected)| (*name, words.clone(), &place[..], *expected)),
    );
}

/// Restores with these options, each into a place of this name, and asks for the rows.
fn all_have<'a>(
    story: &Story,
    cases: impl Iterator<Item = (&'a str, Vec<&'a str>, &'a [&'a str], &'a str)> + Send,
) {
    // Most of the time is spent waiting for the disk.
    let queue = std::sync::Mutex::new(cases);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some((name, words, place, expected)) = queue.lock().unwrap().next() else { return };
                    assert_eq!(story.rows(name, &[&words[..], place].concat()), expected, "{name}");
                }
            });
        }
    });
}

fn what_is_wrong_with_the_backup_or_the_place_is_said(story: &Story) {
    let lab = &story.lab;
    let backup = lab.server_dir().join("base").join(&story.second).join("data");
    let conf = backup.join("postgresql.auto.conf");
    let before = std::fs::read_to_string(&conf).unwrap();
    std::fs::write(&conf, format!("{before}max_connections = 7\narchive_library = 'x'\n")).unwrap();
    let newest = ["--target-tli", "latest", "main", story.second.as_str()];
    let plan = story.plan(&newest);
    let warning = "max_connections is 7 in the configuration of the backup, but the server ran with 30: ";
    assert!(plan["warnings"].to_string().contains(warning), "{plan}");
    let data = lab.destination("few");
    let run = lab.run(&[&["restore"], &newest[..], &[data.to_str().unwrap()]].concat());
    assert!(run.code == 0 && run.stderr.contains(warning), "{run:?}");
    // The line is counted from one, in the new file.
    let number = before.lines().count() + 3;
    assert!(
        run.stdout.contains(&format!("postgresql.auto.conf line {number}: archive_library = ''\n")),
        "{run:?}"
    );
    let lines = std::fs::read_to_string(data.join("postgresql.auto.conf")).unwrap();
    assert_eq!(lines.lines().nth(number - 1), Some("archive_library = ''"));
    assert_eq!(
        std::fs::read_to_string(data.join("postgresql.auto.conf.origin")).unwrap().lines().count(),
        number - 1
    );
    assert!(lab.fail_restored(&data).contains("insufficient parameter settings"));
    std::fs::remove_dir_all(data).unwrap();
    std::fs::write(&conf, before).unwrap();

    let control = backup.join("global/pg_control");
    let right = std::fs::read(&control).unwrap();
    let mut wrong = right.clone();
    wrong[40] ^= 1;
    std::fs::write(&control, wrong).unwrap();
    assert!(story.refused(&newest).stderr.contains("cannot be restored: its pg_control: "));
    std::fs::write(&control, right).unwrap();

    let (file, mounted, link) = (lab.path("file"), lab.path("mounted"), lab.path("link"));
    std::fs::write(&file, "x").unwrap();
    std::fs::create_dir_all(mounted.join("lost+found")).unwrap();
    std::os::unix::fs::symlink(lab.path("nowhere"), &link).unwrap();
    for (place, word) in [
        (&file, "is not a directory"),
        (&file.join("below/it"), "is not a directory"),
        (&mounted, "is a mount point and holds 'lost+found'"),
        (&link, "is not a directory"),
    ] {
        let run = lab.run(&["restore", "main", &story.second, place.to_str().unwrap()]);
        assert!(run.code == 1 && run.stderr.contains(word), "{word}: {run:?}");
    }
    for name in ["/etc/x.conf", "../x.conf", ""] {
        let run =
            story.refused(&["--recovery-conf-filename", name, "--target-immediate", "main", &story.second]);
        assert!(run.stderr.contains("is no file of the data directory"), "{run:?}");
    }
}

fn scripts_run_around_a_restore(story: &Story) {
    let lab = &story.lab;
    let log = lab.path("hooks");
    let words = "$BARMAN_PHASE $BARMAN_HOOK $BARMAN_RETRY $BARMAN_BACKUP_ID $BARMAN_STATUS $BARMAN_DESTINATION_DIRECTORY \
                 $BARMAN_TABLESPACES. $BARMAN_REMOTE_COMMAND. $BARMAN_RECOVER_OPTIONS";
    let line = |more: &str| format!("echo \"{words} $BARMAN_ERROR\" >> {}{more}", log.display());
    let conninfo = story.standby.conninfo().to_conninfo_string();
    let configure = |before_retry: &str| {
        let text = format!(
            "archiver = on\npre_recovery_script = {}\npre_recovery_retry_script = {}\npost_recovery_retry_script = {}\n\
             post_recovery_script = {}\n",
            line("; exit 7"),
            line(before_retry),
            line("; exit 63"),
            line("")
        );
        lab.configure("tapster.conf", &conninfo, &text);
    };
    configure("; exit 62");
    let data = lab.path("hooked");
    let to = data.to_str().unwrap();
    let restore = ["restore", "--target-immediate", "main", &story.second, to];
    let run = lab.run(&restore);
    assert_eq!(run.code, 0, "{run:?}");
    for word in [
        "returned 7",
        "(got exit status 62, Barman resumes)",
        "Ignoring stop request after receiving abort (exit code 63)",
    ] {
        assert!(run.stderr.contains(word), "{word}: {run:?}");
    }
    let rest = format!("{} DONE {to} . . {{\"target_immediate\": true}} \n", story.second);
    let said = std::fs::read_to_string(&log).unwrap();
    // Without the quotes, which are the shell's.
    let expected = format!(
        "pre recovery_script 0 {rest}pre recovery_retry_script 1 {rest}post recovery_retry_script 1 {rest}post recovery_script 0 {rest}"
    );
    assert_eq!(said, expected);
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::remove_file(&log).unwrap();

    configure("; exit 63");
    let run = lab.run(&restore);
    assert!(
        run.code == 1 && run.stderr.contains("Abort 'pre_recovery_retry_script' retry hook script ("),
        "{run:?}"
    );
    assert!(!data.exists());
    assert_eq!(
        std::fs::read_to_string(&log).unwrap().lines().count(),
        2,
        "nothing was done, and nothing is told after it"
    );
    lab.configure("tapster.conf", &conninfo, "archiver = on\n");
}

fn the_report_has_the_keys_of_the_original(story: &Story) {
    let lab = &story.lab;
    let (ours, theirs) = (lab.path("ours"), lab.path("theirs"));
    let args = |place: &Path| {
        let words = ["-f", "json", "restore", "--get-wal", "--target-immediate", "main", &story.second];
        words.map(str::to_owned).into_iter().chain([place.to_str().unwrap().to_owned()]).collect::<Vec<_>>()
    };
    let (first, second) = (args(&ours), args(&theirs));
    let report = lab.json(&first.iter().skip(2).map(String::as_str).collect::<Vec<_>>());
    let Some(run) = lab.barman(&second.iter().map(String::as_str).collect::<Vec<_>>()) else { return };
    assert_eq!(run.code, 0, "{run:?}");
    let original: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(crate::lab::keys(&report), crate::lab::keys(&original), "{report} {original}");
    for (key, value) in original.as_object().unwrap() {
        let kind = |value: &Value| std::mem::discriminant(value);
        assert_eq!(kind(&report[key]), kind(value), "{key}: {report} {original}");
    }
    for key in ["changes_count", "warnings_count", "missing_files"] {
        assert_eq!(report[key], original[key], "{key}: {report} {original}");
    }
    let conf = |place: &Path| std::fs::read_to_string(place.join("postgresql.auto.conf")).unwrap();
    let lines = |place: &Path| {
        conf(place)
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with("restore_command"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(lines(&ours), lines(&theirs));
}

/// It streams from the new primary what is in no archive.
fn a_standby_is_set_up(story: &Story) {
    let lab = &story.lab;
    let data = lab.destination("standby");
    let conninfo = format!(
        "host={} port={} user=postgres application_name='the copy'",
        story.standby.socket_dir().display(),
        story.standby.port()
    );
    story.standby.sql("SELECT pg_create_physical_replication_slot('copy')");
    let options = ["--standby-mode", "--primary-conninfo", &conninfo, "--primary-slot-name", "copy"];
    let lone = lab.run(&["restore", "--primary-slot-name", "copy", "main", "auto", data.to_str().unwrap()]);
    assert!(lone.code == 1 && lone.stderr.contains("primary_slot_name is for a standby"), "{lone:?}");
    let wrong = lab.run(&[
        "restore",
        "--standby-mode",
        "--primary-slot-name",
        "No",
        "main",
        "auto",
        data.to_str().unwrap(),
    ]);
    assert!(wrong.code == 1 && wrong.stderr.contains("'No' is no name of a replication slot"), "{wrong:?}");
    lab.ok(&[&["restore"], &options[..], &["main", "auto", data.to_str().unwrap()]].concat());
    // L-C6: what it begins with is still there.
    let segments = std::fs::read_dir(data.join("pg_wal")).unwrap();
    assert!(segments.filter(|entry| entry.as_ref().unwrap().file_name().len() == 24).count() > 0);
    let server = Running::start(lab, &data);
    let patience = Instant::now() + Duration::from_secs(60);
    while server.ask("SELECT string_agg(v, '' ORDER BY id) FROM t") != "abb2cdxe" {
        assert!(Instant::now() < patience, "{}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.ask("SELECT pg_is_in_recovery()"), "t");
    assert_eq!(story.standby.value("SELECT application_name FROM pg_stat_replication"), "the copy");
    assert_eq!(story.standby.value("SELECT active FROM pg_replication_slots WHERE slot_name = 'copy'"), "t");
    drop(server);
    story.standby.sql("SELECT pg_drop_replication_slot('copy') FROM pg_replication_slots WHERE NOT active");
    std::fs::remove_dir_all(&data).unwrap();
}

/// A server on a restored directory.
struct Running<'a> {
    lab: &'a Lab,
    data: PathBuf,
    sockets: PathBuf,
}

impl<'a> Running<'a> {
    fn start(lab: &'a Lab, data: &Path) -> Self {
        let sockets = lab.give(data);
        let running = Self { lab, data: data.to_owned(), sockets };
        let options =
            format!("-c listen_addresses='' -c unix_socket_directories={}", running.sockets.display());
        let log = running.sockets.join("log");
        assert!(
            running.pg_ctl(&["-w", "-t", "60", "-l", log.to_str().unwrap(), "-o", &options, "start"]),
            "{}",
            running.log()
        );
        running
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.sockets.join("log")).unwrap_or_default()
    }

    fn pg_ctl(&self, words: &[&str]) -> bool {
        let mut command: Command = self.lab.cluster.command("pg_ctl");
        command.arg("-D").arg(&self.data).args(words).stdout(Stdio::null()).status().unwrap().success()
    }

    fn ask(&self, sql: &str) -> String {
        let mut conninfo = self.lab.cluster.conninfo();
        conninfo.set("host", self.sockets.to_str().unwrap()).unwrap();
        let options = ConnectOptions::resolve(&conninfo, &Environment::default()).unwrap();
        let mut connection = Connection::connect(&options, Mode::Sql).unwrap();
        connection.query(sql).unwrap().value(0, 0).unwrap_or_default().to_owned()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.pg_ctl(&["-m", "immediate", "stop"]);
    }
}

/// Up to release 11 the settings of a recovery stand in a file of their own; later ones refuse to start where there is one. From a
/// backup in archives, and from 17 on from an incremental one, targets are found as from any other.
#[test]
fn settings_go_where_the_release_looks_for_them_from_every_form_of_backup() {
    for binaries in tapster_protocol::testing::servers() {
        let major = binaries.major;
        let lab = Lab::with(|builder| {
            let builder = builder.binaries(&binaries).wal_segment_mb(1);
            if major >= 17 { builder.config("summarize_wal = on") } else { builder }
        });
        let Some(lab) = lab else { return };
        let conninfo = lab.cluster.conninfo().to_conninfo_string();
        let receiver = lab.receive();
        lab.ok(&["switch-wal", "--force", "--archive", "main"]);
        lab.cluster.sql("CREATE TABLE t(id serial, v text)");
        lab.configure("tapster.conf", &conninfo, "backup_compression = gzip\n");
        lab.ok(&["backup", "main", "--wait", "--name", "packed"]);
        lab.configure("tapster.conf", &conninfo, "");
        lab.ok(&["backup", "main", "--wait", "--name", "plain"]);
        if major >= 17 {
            lab.cluster.sql("CREATE TABLE changed AS SELECT g FROM generate_series(1, 1000) g");
            lab.ok(&["backup", "main", "--wait", "--incremental", "latest"]);
        }
        let a = moment(&lab.cluster, "a");
        restore_point(&lab.cluster, "one");
        moment(&lab.cluster, "b");
        lab.ok(&["switch-wal", "--archive", "main"]);
        lab.cluster.sql("CREATE TABLE next()");
        lab.ok(&["switch-wal", "--archive", "main"]);
        drop(receiver);
        let (file, other) = match major {
            ..12 => ("recovery.conf", "postgresql.auto.conf"),
            _ => ("postgresql.auto.conf", "recovery.conf"),
        };
        for (name, target, backup) in [
            ("name", ["--target-name", "one"], "auto"),
            ("xid", ["--target-xid", &a.xid], "auto"),
            ("time", ["--target-time", &a.time], "auto"),
            ("lsn", ["--target-lsn", &a.lsn], "auto"),
            ("packed", ["--target-name", "one"], "packed"),
        ] {
            let data = lab.destination(name);
            let action = ["--target-action", "promote", "--target-tli", "current"];
            lab.ok(&[&["restore"], &target[..], &action, &["main", backup, data.to_str().unwrap()]].concat());
            let has = |file: &str| {
                std::fs::read_to_string(data.join(file)).unwrap_or_default().contains("recovery_target")
            };
            assert!(has(file) && !has(other), "{major}");
            assert_eq!(data.join("recovery.signal").exists(), major >= 12);
            let rows = lab.ask_restored(&data, "SELECT string_agg(v, '' ORDER BY id) FROM t");
            assert_eq!(rows, "a", "{major} {name}");
        }
        let data = lab.destination("standby");
        let standby = ["restore", "--standby-mode", "--primary-conninfo", "host=x", "main", "auto"];
        lab.ok(&[&standby[..], &[data.to_str().unwrap()]].concat());
        let lines = std::fs::read_to_string(data.join(file)).unwrap();
        assert!(lines.contains("primary_conninfo = 'host=x'\n"), "{lines}");
        assert_eq!(lines.contains("standby_mode = 'on'\n"), major < 12);
        assert_eq!(data.join("standby.signal").exists(), major >= 12);
    }
}

#[test]
fn encrypted_and_copied_backups_are_restored_to_transactions_and_names() {
    let (Some(lab), Some(ring)) = (Lab::with(server), KeyRing::new()) else { return };
    let Some(sshd) = Sshd::start_with("exit 1", None, &lab.path("tapster.conf")) else { return };
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    let receiver = lab.receive();
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    lab.cluster.sql("CREATE TABLE t(id serial, v text)");
    let rsync = format!(
        "backup_method = rsync\nssh_command = {}\nbackup_options = concurrent_backup\n",
        sshd.ssh_command()
    );
    for (backup, settings, way, expected) in [
        ("copied", rsync, ("rsync-concurrent", ""), "a"),
        ("sealed", ring.settings(), ("postgres", "gpg"), "aba"),
    ] {
        let path = lab.configure("tapster.conf", &conninfo, &settings);
        if backup == "copied" {
            let text = std::fs::read_to_string(&path).unwrap().replacen("backup_method = postgres\n", "", 1);
            std::fs::write(&path, text).unwrap();
        }
        lab.ok(&["backup", "main", "--wait", "--name", backup]);
        let record = &lab.json(&["show-backup", "main", backup])["main"]["base_backup_information"];
        let encryption = record["encryption"].as_str().unwrap_or_default();
        assert_eq!((record["backup_method"].as_str().unwrap(), encryption), way, "{record}");
        let a = moment(&lab.cluster, "a");
        restore_point(&lab.cluster, backup);
        moment(&lab.cluster, "b");
        lab.ok(&["switch-wal", "--archive", "main"]);
        std::thread::scope(|scope| {
            for (kind, target) in [("xid", ["--target-xid", &a.xid]), ("name", ["--target-name", backup])] {
                let data = lab.destination(&format!("{backup}-{kind}"));
                let lab = &lab;
                scope.spawn(move || {
                    let action = ["--target-action", "promote", "main", backup, data.to_str().unwrap()];
                    lab.ok(&[&["restore"], &target[..], &action].concat());
                    let rows = lab.ask_restored(&data, "SELECT string_agg(v, '' ORDER BY id) FROM t");
                    assert_eq!(rows, expected, "{backup} {kind}");
                });
            }
        });
    }
    drop(receiver);
}
