//! `show-servers`, `status` and `diagnose` next to the original's.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::lab::Lab;

/// What changes between two looks at a running server.
const MOVING: [&str; 8] = [
    "current_archived_wals_per_second",
    "current_lsn",
    "current_size",
    // How old the last backup is, is compared without its seconds.
    "last_backup_maximum_age",
    "server_archived_wals_per_hour",
    "xlogpos",
    // As `status` describes them.
    "Current data size",
    "Server WAL archiving rate",
];
/// What each program has of its own.
const OWN: [&str; 5] = ["connection_error", "python_executable", "python_ver", "tapster_ver", "ssh_ver"];

/// `\tname: value` lines below the heading.
fn facts(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix('\t')?.split_once(": "));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn steady<V>(mut facts: BTreeMap<String, V>) -> BTreeMap<String, V> {
    facts.retain(|name, _| !MOVING.contains(&name.as_str()) && name != "connection_error");
    facts
}

/// The JSON without what moves, in one line per leaf.
fn leaves(value: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let skip =
                    MOVING.contains(&key.as_str()) || OWN.contains(&key.as_str()) || key == "timestamp";
                if !skip {
                    leaves(value, &format!("{path}/{key}"), found);
                }
            }
        }
        other => {
            found.insert(path.to_owned(), other.clone());
        }
    }
}

fn flat(value: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    leaves(value, "", &mut found);
    found
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn assert_same<V: PartialEq + std::fmt::Debug>(ours: &BTreeMap<String, V>, theirs: &BTreeMap<String, V>) {
    let mut wrong = Vec::new();
    for (name, value) in ours {
        if theirs.get(name) != Some(value) {
            wrong.push(format!("{name}: {value:?} instead of {:?}", theirs.get(name)));
        }
    }
    wrong.extend(
        theirs.iter().filter(|(name, _)| !ours.contains_key(*name)).map(|(n, v)| format!("no {n}: {v:?}")),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ours.len() > 8);
}

#[test]
fn settings_state_and_diagnosis_are_the_originals() {
    // Fails once.
    let command = "archive_command = 'test %f != 000000010000000000000002 || ! mkdir tried'";
    let Some(lab) = Lab::with(|server| server.config("archive_mode = on").config(command)) else { return };
    if lab.barman(&["--version"]).is_none() {
        return;
    }
    let config = lab.configure(
        "tapster.conf",
        // Where it stands last, Barman's mask takes the end of the line along.
        &format!("password=secret {}", lab.cluster.conninfo().to_conninfo_string()),
        "path_prefix = /usr/lib/postgresql/15/bin\narchiver = on\nretention_policy = redundancy 3\n\
         last_backup_maximum_age = 2 weeks\nlast_wal_maximum_age = 25 hours\nminimum_redundancy = 1\n\
         tablespace_bandwidth_limit =\nbandwidth_limit = 100000\nstaging_path = /tmp/x\n\
         [idle]\nactive = no\ndescription = not in use\nconninfo = host=/nowhere\nlast_backup_maximum_age = 1 day\n\
         [copy]\nprimary_ssh_command = ssh nowhere\nbackup_options = external_configuration\n\
         [wrong]\nconninfo = no dsn\narchiver = on\nbackup_method = postgres\n\
         [m]\nmodel = on\ncluster = main\nparallel_jobs = 3\nlast_wal_maximum_age = 3 days\n",
    );
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("[main]", "compression_level = high\nparallel_jobs = '2'\n[main]");
    std::fs::write(&config, text).unwrap();
    let receiver = lab.receive();
    lab.ok(&["backup", "main", "--wait", "--name", "ours"]);
    let settled = "SELECT 1 FROM pg_stat_archiver WHERE failed_count = 1 AND last_archived_wal >= '000000010000000000000003'";
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while lab.cluster.sql(settled).is_empty() {
        assert!(
            std::time::Instant::now() < patience,
            "{:?}",
            lab.cluster.sql("SELECT * FROM pg_stat_archiver")
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let state = |args: &[&str]| {
        let (ours, theirs) = (lab.run(args), lab.barman(args).unwrap());
        assert_eq!((ours.code, &ours.stderr), (theirs.code, &theirs.stderr), "{args:?}");
        (ours.stdout, theirs.stdout)
    };
    let order = |text: &str| {
        text.lines().filter_map(|l| l.split_once(':')).map(|l| l.0.to_owned()).collect::<Vec<_>>()
    };
    for server in ["main", "idle", "copy", "wrong"] {
        let (ours, theirs) = state(&["show-servers", server]);
        assert_same(&steady(facts(&ours)), &steady(facts(&theirs)));
        assert_eq!(ours.lines().next(), theirs.lines().next());
        assert_eq!(order(&ours), order(&theirs));
        let age = |text: &str| facts(text)["last_backup_maximum_age"].split(": ").next().unwrap().to_owned();
        assert_eq!(age(&ours), age(&theirs));
        assert!(!ours.contains("secret"));
        if server == "wrong" {
            // Where Barman gives up.
            assert!(lab.ok(&["status", server]).contains("\tNo. of available backups: 0\n"));
            continue;
        }
        let (ours, theirs) = state(&["status", server]);
        assert_eq!(order(&ours), order(&theirs));
        assert_same(&steady(facts(&ours)), &steady(facts(&theirs)));
    }
    for command in ["show-server", "status"] {
        let (ours, theirs) = state(&["-f", "json", command, "main"]);
        // Barman's JSON tells the password.
        let theirs = theirs.replace("password=secret", "password=*REDACTED*");
        assert_same(&flat(&json(&ours)), &flat(&json(&theirs)));
    }
    let (ours, theirs) = state(&["diagnose", "--show-config-source"]);
    assert_same(&flat(&json(&ours)), &flat(&json(&theirs)));
    let plain = lab.ok(&["diagnose"]);
    assert!(!plain.contains("secret") && plain.contains("\n            \"errors_list\": []"));
    assert_eq!(json(&plain)["servers"]["main"]["config"]["last_wal_maximum_age"], "1 day, 1 hour");
    drop(receiver);
}
