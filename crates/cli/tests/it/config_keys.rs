//! Every configuration key with valid and invalid values, in the section of a server and in `[barman]`: what the two programs
//! make of one configuration.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;
use tapster_manager::config::{GLOBAL_KEYS, Kind, OWN_PREFIX, SERVER_KEYS, server_key};
use tempfile::TempDir;

use crate::lab::user;
use crate::program::{Run, original, run_as};

/// Each is given to every key that is not looked at alone.
const VALUES: &[&str] = &[
    "",
    "None",
    "\"None\"",
    "'quoted'",
    "'half",
    "bogus",
    "5",
    "-3",
    "1_0",
    "+7",
    "1.5",
    "true",
    "OFF",
    "3 days",
    "2  WEEKS",
    "1 month",
    "10k",
    "10 Mi",
    "1Ti",
    "1K",
    "/abs/path",
    "a, b",
    "AUTO",
    "remote",
    "copy-file-range",
    "AES256",
    "high",
    "get-wal , delta-restore",
    "REDUNDANCY 2",
    "recovery window of 3 weeks",
];

/// Keys that decide about others, with values of their own; each stands in a section that is sound otherwise.
const ALONE: &[(&str, &[&str])] = &[
    ("active", &["OFF", "bogus", "None"]),
    ("archiver", &["on", "2"]),
    ("backup_compression", &["gzip", "bogus", ""]),
    ("backup_compression_format", &["TAR", "plain", "zip"]),
    ("backup_compression_level", &["5", "high", ""]),
    ("backup_compression_location", &["Server", "here"]),
    ("backup_compression_workers", &["3", "many"]),
    ("backup_method", &["POSTGRES", "local-rsync", "bogus", ""]),
    (
        "backup_options",
        &[
            "",
            "concurrent_backup , external_configuration",
            "exclusive_backup,concurrent_backup",
            "x,",
            "EXCLUSIVE_BACKUP",
        ],
    ),
    ("conninfo", &["", "bogus", "host=/x", "'host=/x'"]),
    ("encryption", &["none", "GPG", "rot13"]),
    ("network_compression", &["1", "x"]),
    ("primary_conninfo", &["bogus", "host=/x", "None"]),
    ("primary_ssh_command", &["/bin/false x", "None"]),
    ("reuse_backup", &["LINK", "off", "x", ""]),
    ("slot_name", &["A_1", "a b", "", "None"]),
    ("snapshot_provider", &["aws", "None"]),
    ("ssh_command", &["/bin/false x", ""]),
    ("streaming_archiver", &["yes", "x"]),
    ("streaming_conninfo", &["bogus", "host=/x", ""]),
    ("tablespace_bandwidth_limit", &["a:1 b:2 b:3 c:7", "a:x", "5"]),
    ("wal_conninfo", &["bogus", "host=/x"]),
    ("wal_streaming_conninfo", &["bogus", "host=/x"]),
];

/// A value for `[barman]`.
fn global_value(key: &str, kind: Kind) -> &'static str {
    match (key, kind) {
        ("bandwidth_limit" | "minimum_redundancy", _) | (_, Kind::Int) => "7",
        // The last of its words needs filters that work.
        ("compression", _) => "xz",
        ("retention_policy", _) => "REDUNDANCY 3",
        ("retention_policy_mode", _) => "auto",
        ("wal_retention_policy", _) => "main",
        (_, Kind::Bool) => "true",
        (_, Kind::Interval) => "9 days",
        (_, Kind::Size) => "1k",
        (_, Kind::AbsolutePath) => "/s",
        (_, Kind::CompressionLevel) => "high",
        (_, Kind::RecoveryOptions) => "get-wal",
        (_, kind) => kind.words().last().unwrap_or(&"text"),
    }
}

fn is_alone(key: &str) -> bool {
    ALONE.iter().any(|(name, _)| *name == key)
}

/// The keys of Barman that are no directories.
fn keys() -> impl Iterator<Item = (&'static str, Kind, bool)> {
    let barmans = SERVER_KEYS.iter().filter(|key| !key.name.starts_with(OWN_PREFIX));
    barmans.filter(|key| !key.name.ends_with("_directory")).map(|key| (key.name, key.kind, key.global))
}

/// Two configurations: one with all there is, in which `[barman]` says something of everything, and one that says nothing.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(files.path("conf.d")).unwrap();
        let dir = files.0.path().display();
        let barman =
            format!("[barman]\nbarman_home = {dir}/home\nbarman_user = {}\nlog_file = {dir}/log\n", user());
        std::fs::write(files.path("bare.conf"), format!("{barman}[nothing]\n")).unwrap();
        let mut text = format!(
            "{barman}configuration_files_directory = {dir}/conf.d\nbarman_lock_directory = {dir}/locks\nlog_level = DEBUG\n\
             config_changes_queue = '{dir}/queue'\nlock_directory_cleanup = off\nunknown = 1\n"
        );
        for (key, kind, _) in keys().filter(|(key, ..)| !is_alone(key)) {
            writeln!(text, "{key} = {}", global_value(key, kind)).unwrap();
        }
        std::fs::write(files.path("full.conf"), text).unwrap();
        std::fs::write(files.path("conf.d/servers.conf"), files.servers()).unwrap();
        files
    }

    fn servers(&self) -> String {
        let mut text = "[nothing]\nmystery: 1\n".to_owned();
        for (at, value) in VALUES.iter().enumerate() {
            writeln!(text, "[v{at}]\nconninfo = host=/none\nbackup_method = postgres").unwrap();
            for (key, ..) in keys().filter(|(key, ..)| !is_alone(key)) {
                // Without a number here, Barman gives up.
                if key != "minimum_redundancy" || !["", "None"].contains(&value.trim_matches('"')) {
                    writeln!(text, "{key} = {value}").unwrap();
                }
            }
        }
        for (key, values) in ALONE {
            for (at, value) in values.iter().enumerate() {
                writeln!(text, "[{key}.{at}]\n{key} = {value}").unwrap();
                if *key != "conninfo" {
                    text.push_str("conninfo = host=/none\n");
                }
                let method = match *key {
                    "backup_method" => continue,
                    "backup_options"
                    | "network_compression"
                    | "reuse_backup"
                    | "tablespace_bandwidth_limit" => "local-rsync",
                    "ssh_command" => "rsync",
                    _ => "postgres",
                };
                writeln!(text, "backup_method = {method}").unwrap();
            }
        }
        text.push_str("[places]\nconninfo = host=/none\nbackup_method = postgres\n");
        for key in SERVER_KEYS.iter().filter(|key| key.name.ends_with("_directory")) {
            writeln!(text, "{} = {}/places/{}", key.name, self.0.path().display(), key.name).unwrap();
        }
        text
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// What a program makes of a configuration.
struct Made {
    global: BTreeMap<String, Value>,
    /// By server and key: value and source.
    settings: BTreeMap<(String, String), (Value, String)>,
    /// By server.
    problems: BTreeMap<String, Value>,
    warnings: Vec<String>,
}

impl Made {
    fn of(run: Run) -> Self {
        let json: Value =
            serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.stderr));
        let object = |value: &Value| value.as_object().unwrap().clone();
        let mut made = Self {
            global: object(&json["global"]["config"]).into_iter().collect(),
            settings: BTreeMap::new(),
            problems: BTreeMap::new(),
            // Of two unknown options Barman names either, as its hash seed will have it.
            warnings: run
                .stderr
                .lines()
                .map(|line| match line.split_once(" section: Invalid configuration value ") {
                    Some((steady, _)) => steady.to_owned(),
                    None => line.to_owned(),
                })
                .collect(),
        };
        made.warnings.sort();
        for (server, found) in object(&json["servers"]) {
            made.problems.insert(server.clone(), found["msg_list"].clone());
            for (key, setting) in object(&found["config"]) {
                let source = setting["source"].as_str().unwrap_or_default().to_owned();
                let value = match &setting["value"] {
                    // Sets, in any order.
                    Value::String(words) if key.ends_with("_options") => {
                        let mut words: Vec<&str> = words.split(',').collect();
                        words.sort_unstable();
                        Value::from(words)
                    }
                    value => value.clone(),
                };
                made.settings.insert((server.clone(), key), (value, source));
            }
        }
        made
    }
}

#[test]
fn every_key_means_the_same_to_both_programs() {
    let files = Files::new();
    let servers = files.path("conf.d/servers.conf").display().to_string();
    for (conf, least) in [("bare.conf", 121), ("full.conf", 10_000)] {
        let path = files.path(conf).display().to_string();
        let args = ["-c", &path, "diagnose", "--show-config-source"];
        let Some(theirs) = original("barman", &args) else { return };
        let (theirs, ours) = (Made::of(theirs), Made::of(run_as("barman", &args)));
        assert_eq!(ours.warnings, theirs.warnings);
        assert_eq!(ours.problems, theirs.problems);
        assert_eq!(ours.global, theirs.global);
        assert!(GLOBAL_KEYS.iter().all(|key| conf == "bare.conf" || ours.global.contains_key(*key)));
        let mut wrong = Vec::new();
        for ((server, key), (value, source)) in &theirs.settings {
            let Some((our_value, our_source)) = ours.settings.get(&(server.clone(), key.clone())) else {
                wrong.push(format!("[{server}] {key}: missing"));
                continue;
            };
            // Barman names the file that has the key, also where it does not take the value from there: what is no value, and keys
            // of servers in `[barman]`.
            let is_passed_over = *source == servers && !["nothing", "places"].contains(&server.as_str());
            let is_lost = our_source == "default" && server_key(key).is_some_and(|spec| !spec.global);
            if our_value != value || (our_source != source && !is_passed_over && !is_lost) {
                wrong.push(format!(
                    "[{server}] {key}: {our_value} ({our_source}) instead of {value} ({source})"
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(theirs.settings.len() >= least, "{}", theirs.settings.len());
    }
}
