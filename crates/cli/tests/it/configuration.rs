//! `config-switch` and `config-update` next to the original's, each with a configuration of its own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::user;
use crate::program::{Run, original, run_as};

/// The same configuration for each of the two programs.
struct Twins {
    ours: TempDir,
    theirs: TempDir,
}

const SERVERS: &str = "[main]\ndescription = the first\nconninfo = host=/nowhere user=u password=secret\n\
    backup_method = postgres\narchiver = on\ncluster = c\nparallel_jobs = 2\n\
    retention_policy = REDUNDANCY 2\n\n# the second\n[other]\nconninfo = host=/nowhere\n\
    backup_method = postgres\narchiver = on\n\
    [main:m]\nmodel = on\ncluster = c\ndescription = by the model\nparallel_jobs = 3\nimmediate_checkpoint = on\n\
    last_wal_maximum_age = 2 days\nbackup_options = concurrent_backup\ncompression =\n\
    [other:m]\nmodel = on\ncluster = elsewhere\n";

impl Twins {
    fn new() -> Self {
        let twins = Self { ours: tempfile::tempdir().unwrap(), theirs: tempfile::tempdir().unwrap() };
        for dir in [twins.ours.path(), twins.theirs.path()] {
            std::fs::create_dir_all(dir.join("home/main")).unwrap();
            std::fs::create_dir(dir.join("conf.d")).unwrap();
            let global = format!(
                "[barman]\nbarman_home = {dir}/home\nbarman_user = {}\nlog_file = {dir}/log\n\
                 configuration_files_directory = {dir}/conf.d\n",
                user(),
                dir = dir.display()
            );
            std::fs::write(dir.join("barman.conf"), global).unwrap();
            std::fs::write(dir.join("conf.d/servers.conf"), SERVERS).unwrap();
        }
        twins
    }

    fn ours(&self, args: &[&str]) -> Run {
        let config = self.ours.path().join("barman.conf");
        run_as("barman", &[&["-c", config.to_str().unwrap()], args].concat())
    }

    /// Real Barman, with its own configuration; `None` where it is not installed.
    fn theirs(&self, args: &[&str]) -> Option<Run> {
        Self::barman(self.theirs.path(), args)
    }

    fn barman(dir: &Path, args: &[&str]) -> Option<Run> {
        let config = dir.join("barman.conf");
        original("barman", &[&["-c", config.to_str().unwrap()], args].concat())
    }

    /// Both say the same, in whatever order. Whether Barman is there.
    fn alike(&self, args: &[&str]) -> bool {
        let Some(theirs) = self.theirs(args) else { return false };
        let sorted = |run: Run| {
            let mut lines: Vec<String> = run.stdout.lines().map(str::to_owned).collect();
            lines.sort();
            (lines, run.stderr, run.code)
        };
        assert_eq!(sorted(self.ours(args)), sorted(theirs), "{args:?}");
        true
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.ours.path().join(name)).unwrap_or_default()
    }
}

#[test]
fn a_model_is_switched_to_and_given_up() {
    let twins = Twins::new();
    for args in [
        &["config-switch", "main", "main:m"][..],
        &["config-switch", "main", "main:m"],
        &["list-servers"],
        &["status", "main"],
        &["config-switch", "main"],
        &["config-switch", "main", "nope"],
        &["config-switch", "nope", "main:m"],
        &["config-switch", "main", "other:m"],
        &["config-switch", "--reset", "main"],
        &["list-servers"],
    ] {
        if !twins.alike(args) {
            return;
        }
        let active = |dir: &TempDir| std::fs::read(dir.path().join("home/main/.active-model.auto")).ok();
        assert_eq!(active(&twins.ours), active(&twins.theirs), "{args:?}");
    }
}

#[test]
fn a_model_that_would_disable_the_server_is_refused() {
    let twins = Twins::new();
    let servers = twins.ours.path().join("conf.d/servers.conf");
    let bad = "[bad]\nmodel = on\ncluster = c\nbackup_method = rsync\n";
    std::fs::write(&servers, format!("{SERVERS}{bad}")).unwrap();
    assert_eq!(twins.ours(&["config-switch", "main", "main:m"]).code, 0);
    let run = twins.ours(&["config-switch", "main", "bad"]);
    assert!(run.code == 1 && run.stderr.contains("model 'bad' would disable server 'main': "), "{run:?}");
    assert_eq!(twins.file("home/main/.active-model.auto"), "main:m");
    // What is wrong without the model is put right by it.
    let broken = SERVERS.replace("method = postgres", "method = rsync") + &bad.replace("rsync", "postgres");
    std::fs::write(&servers, broken).unwrap();
    assert_eq!(twins.ours(&["config-switch", "main", "bad"]).code, 0);
}

#[test]
fn a_server_that_was_never_used_can_be_switched() {
    let twins = Twins::new();
    std::fs::remove_dir(twins.ours.path().join("home/main")).unwrap();
    assert_eq!(twins.ours(&["config-switch", "main", "main:m"]).code, 0);
    assert_eq!(twins.file("home/main/.active-model.auto"), "main:m");
    let shown: Value =
        serde_json::from_str(&twins.ours(&["-f", "json", "show-servers", "main"]).stdout).unwrap();
    let shown = &shown["main"];
    assert_eq!((&shown["active_model"], &shown["parallel_jobs"]), (&"main:m".into(), &3.into()));
    assert_eq!(shown["conninfo"], "host=/nowhere user=u password=*REDACTED*");
}

#[test]
fn options_are_changed_where_they_are_set() {
    let twins = Twins::new();
    let update = |json: &str| twins.ours(&["config-update", json]);
    for json in [
        r#"[{"scope":"server","server_name":"main","description":"changed","parallel_jobs":"4"}]"#,
        r#"[{"scope":"server","server_name":"main","nosuch":"x"}]"#,
        r#"[{"scope":"server","server_name":"main","parallel_jobs":"abc"}]"#,
        r#"[{"scope":"server","server_name":"main","backup_options":"x"}]"#,
        r#"[{"scope":"server","server_name":"main","slot_name":"A b"},{"scope":"server","server_name":"main"}]"#,
        r#"[{"server_name":"main","x":[1,null,{"a":true}]}]"#,
        r#"[{"scope":"server"}]"#,
        r#"[{"scope":"server","server_name":"main:m"}]"#,
        r#"[{"scope":"model","model_name":"main"}]"#,
        r#"[{"scope":"model","model_name":"new"}]"#,
        r#"[{"scope":"model","model_name":"new","cluster":"c","backup_directory":"/x"}]"#,
        r#"[{"scope":"model","model_name":"new","cluster":"c","description":"d"}]"#,
        r#"[{"scope":"server","server_name":"third","conninfo":"host=/x","archiver":"on","backup_method":"postgres"}]"#,
        "[]",
    ] {
        if !twins.alike(&["config-update", json]) {
            return;
        }
    }
    assert_eq!(
        twins.file("conf.d/servers.conf"),
        SERVERS.replace("the first", "changed").replace("parallel_jobs = 2", "parallel_jobs = 4")
    );
    let auto = "[new]\ncluster = c\ndescription = d\nmodel = on\n[third]\nconninfo = host=/x\narchiver = on\nbackup_method = \
                postgres\n";
    assert_eq!(twins.file("home/.barman.auto.conf"), auto);
    assert_eq!(twins.file("home/cfg_changes.queue"), "[]");
    for file in ["home/.barman.auto.conf", "home/cfg_changes.queue"] {
        let mode = std::fs::metadata(twins.ours.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "passwords are nobody else's business");
    }
    // New options of two sections of one file, where Barman would break it; a number and a truth value.
    let run = update(
        r#"[{"scope":"model","model_name":"new","parallel_jobs":7},{"scope":"server","server_name":"main","archiver":true},
            {"scope":"server","server_name":"main","check_timeout":5}]"#,
    );
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    let auto =
        auto.replace("model = on\n", "model = on\nparallel_jobs = 7\n") + "[main]\ncheck_timeout = 5\n";
    assert_eq!(twins.file("home/.barman.auto.conf"), auto);
    // Barman reads what was written.
    let theirs = Twins::barman(twins.ours.path(), &["list-servers"]).unwrap();
    assert_eq!(theirs, twins.ours(&["list-servers"]));
    assert_eq!(theirs.stdout, "main - changed\nother\nthird\n");
}

#[test]
fn what_was_not_done_is_done_by_cron() {
    let twins = Twins::new();
    for (json, message) in [
        ("nojson", "the changes are no JSON list of objects"),
        (r#"{"scope":"server"}"#, "the changes are no JSON list of objects"),
        (r#"[{"scope":"server","server_name":"all"}]"#, "'all' is the name of no server"),
        (r#"[{"scope":"server","server_name":"../x"}]"#, "cannot be the name of a server"),
        (r#"[{"scope":"model","model_name":"a\nb","cluster":"c"}]"#, "cannot be the name of a model"),
    ] {
        let run = twins.ours(&["config-update", json]);
        assert!(run.code == 1 && run.stderr.contains(message), "{run:?}");
        assert_eq!(twins.file("home/cfg_changes.queue"), "", "{json}");
    }
    // What Barman leaves when it is killed in between.
    let change = |file: &str, value: &str| {
        format!(
            "[{{\"section\": \"main\", \"changes_set\": [{{\"key\": \"description\", \"value\": \"{value}\", \
             \"config_file\": \"{}\"}}]}}]",
            twins.ours.path().join(file).display()
        )
    };
    let queue = twins.ours.path().join("home/cfg_changes.queue");
    std::fs::write(&queue, change("conf.d/servers.conf", "late")).unwrap();
    let run = twins.ours(&["cron"]);
    assert!(run.stdout.starts_with(
        "Changing value of option 'description' for section 'main' from 'the first' to 'late' "
    ));
    assert!(twins.file("conf.d/servers.conf").contains("description = late\n"));
    assert_eq!(twins.file("home/cfg_changes.queue"), "[]");
    assert!(twins.ours(&["list-servers"]).stdout.starts_with("main - late\n"));

    // What can never be made is not in the way of what can; and nobody has us write where no configuration is.
    let both = |first: &str, second: &str| {
        let inside = |text: &str| text.strip_prefix('[').unwrap().strip_suffix(']').unwrap().to_owned();
        format!("[{}, {}]", inside(first), inside(second))
    };
    let bad = [
        (change("conf.d/servers.conf", "two\\nlines"), "cannot be set to \"two\\nlines\""),
        (change("conf.d/servers.conf", "%(nosuch)s"), "no option 'nosuch' in the section"),
        (change("other.conf", "x"), "other.conf is no file of the configuration"),
        (
            change("home/.barman.auto.conf", "x").replace("\"main\"", "\"barman\""),
            "'barman' is the name of no server",
        ),
        (change("conf.d/servers.conf", "x").replace("description", "nosuch"), "Invalid option 'nosuch'"),
    ];
    let before = twins.file("conf.d/servers.conf");
    for (bad, message) in &bad {
        let queued = both(bad, &change("conf.d/servers.conf", "good"));
        std::fs::write(&queue, queued).unwrap();
        let run = twins.ours(&["cron"]);
        assert!(run.code == 0 && run.stderr.contains(message), "{run:?}");
        assert!(run.stderr.contains("Dropping the queued change of"), "{run:?}");
        assert!(run.stdout.contains("Starting WAL archiving for server main"), "{run:?}");
        assert_eq!(twins.file("home/cfg_changes.queue"), "[]");
        assert_eq!(twins.file("conf.d/servers.conf"), before.replace("late", "good"));
    }
    assert!(!twins.ours.path().join("other.conf").exists());
    // Nor is it queued.
    for value in ["blank ", "two\\nlines", "%(nosuch)s"] {
        let json = format!("[{{\"scope\":\"server\",\"server_name\":\"main\",\"description\":\"{value}\"}}]");
        let run = twins.ours(&["config-update", &json]);
        assert!(run.code == 1 && run.stderr.contains("cannot be set"), "{run:?}");
        assert_eq!(twins.file("home/cfg_changes.queue"), "[]");
    }
    std::fs::write(&queue, "").unwrap();
    assert_eq!(twins.ours(&["cron"]).stderr, "");
    std::fs::write(&queue, "garbage").unwrap();
    let run = twins.ours(&["cron"]);
    assert!(run.stderr.contains("Malformed or empty configuration change queue"), "{run:?}");
}

#[test]
fn an_edit_that_has_no_effect_is_named() {
    let twins = Twins::new();
    let setting =
        r#"[{"scope":"server","server_name":"main","slot_name":"queued","immediate_checkpoint":"on"}]"#;
    assert_eq!(twins.ours(&["config-update", setting]).code, 0);
    let theirs = twins.theirs(&["config-update", setting]).is_some();
    let line = "settings without effect: OK (none)\n";
    assert!(twins.ours(&["check", "--extended", "main"]).stdout.contains(line));
    // Some time later.
    let edited =
        twins.file("conf.d/servers.conf").replacen("cluster = c\n", "cluster = c\nslot_name = edited\n", 1);
    for dir in [&twins.ours, &twins.theirs] {
        std::fs::write(dir.path().join("conf.d/servers.conf"), &edited).unwrap();
    }
    let args = ["-f", "json", "show-servers", "main"];
    let shown = |run: Run| -> Value { serde_json::from_str(&run.stdout).unwrap() };
    let ours = twins.ours(&args);
    assert_eq!(ours.stderr, "");
    assert_eq!(shown(ours)["main"]["slot_name"], "queued");
    if theirs {
        assert_eq!(shown(twins.theirs(&args).unwrap())["main"]["slot_name"], "queued");
    }
    let file = twins.ours.path().join("conf.d/servers.conf");
    let auto = twins.ours.path().join("home/.barman.auto.conf");
    let diagnosis = shown(twins.ours(&["diagnose", "--show-config-source"]));
    let settings = &diagnosis["servers"]["main"]["config"];
    let path = |path: &Path| Value::from(path.to_str().unwrap());
    assert_eq!(settings["slot_name"]["source"], path(&auto));
    assert_eq!(settings["slot_name"]["hides"], path(&file));
    assert_eq!(settings["immediate_checkpoint"]["source"], path(&auto));
    assert_eq!(settings["immediate_checkpoint"]["hides"], Value::Null);
    let checked = twins.ours(&["check", "--extended", "main"]).stdout;
    let line = format!("settings without effect: FAILED (slot_name in {}: ", file.display());
    assert!(checked.contains(&line), "{checked}");
    let warning = format!("WARNING: \"slot_name\" in [main] section of {} has no effect: ", file.display());
    assert!(twins.file("log").contains(&warning), "{}", twins.file("log"));
}
