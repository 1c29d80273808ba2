//! The queue of changes, while a part of the configuration is away.

use std::fs;

use tapster_catalog::durable::RealDisk;
use tapster_manager::config::{Config, UpdateStep};

const TEXT: &str =
    "[barman]\nbarman_home = {}\nconfiguration_files_directory = {}/d\n[t]\nconninfo = host=t\n";

/// What became of each set: its section, and its options when they are not made.
fn work_off(config: &Config) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |step: &UpdateStep| {
        told.push(match step {
            UpdateStep::Applied(change) => format!("{} made {}", change.section, change.to),
            UpdateStep::Dropped(set) => format!("{} dropped: {}", set.section, set.reason),
            UpdateStep::Waiting(set) => format!("{} waits", set.section),
            other => panic!("{other:?}"),
        });
    };
    config.apply_queue(&RealDisk, &mut tell).unwrap();
    told
}

#[test]
fn a_change_waits_for_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let (include, queue) = (dir.path().join("d"), dir.path().join("cfg_changes.queue"));
    let (file, away) = (include.join("s.conf"), dir.path().join("away"));
    fs::create_dir(&include).unwrap();
    let set = |section: &str, key: &str, value: &str, file: &str| {
        format!(
            r#"{{"section": "{section}", "changes_set": [{{"key": "{key}", "value": "{value}", "config_file": "{}"}}]}}"#,
            dir.path().join(file).display()
        )
    };
    let auto = ".barman.auto.conf";
    let changes = [
        set("s", "description", "first", "d/s.conf"),
        set("t", "description", "other", auto),
        set("s", "description", "second", auto),
        set("all", "description", "x", auto),
        set("t", "nosuch", "x", "d/s.conf"),
        set("t", "archiver", "perhaps", "d/s.conf"),
    ];
    let dangling = || std::os::unix::fs::symlink("nowhere", &file).unwrap();
    let none = || {};
    for leave in [&dangling as &dyn Fn(), &none] {
        fs::write(&away, "[s]\nconninfo = host=s\ndescription = none\n").unwrap();
        fs::write(&queue, format!("[{}]", changes.join(", "))).unwrap();
        leave();
        let told = work_off(&super::load(dir.path(), TEXT).unwrap());
        assert_eq!(told[..2], ["s waits", "t made other"]);
        for (told, section) in told[2..].iter().zip(["all", "t", "t"]) {
            assert!(told.starts_with(&format!("{section} dropped: ")), "{told}");
        }
        let left = fs::read_to_string(&queue).unwrap();
        assert!(left.contains("first") && left.contains("second") && !left.contains("nosuch"), "{left}");
        assert!(!fs::read_to_string(dir.path().join(auto)).unwrap().contains("second"));

        // It is there again.
        drop(fs::remove_file(&file));
        fs::rename(&away, &file).unwrap();
        let config = super::load(dir.path(), TEXT).unwrap();
        assert_eq!(work_off(&config), ["s made first", "s made second"]);
        assert_eq!(fs::read_to_string(&queue).unwrap(), "[]");
        assert!(fs::read_to_string(&file).unwrap().contains("description = first\n"));
        let config = super::load(dir.path(), TEXT).unwrap();
        assert_eq!(config.servers["s"].description.as_deref(), Some("second"));
        for name in [&file, &dir.path().join(auto)] {
            fs::remove_file(name).unwrap();
        }
    }
    // What would be none of the configuration's files is not waited for.
    fs::write(&queue, format!("[{}]", set("t", "description", "x", "other.conf"))).unwrap();
    let told = work_off(&super::load(dir.path(), TEXT).unwrap());
    assert!(told.len() == 1 && told[0].starts_with("t dropped: "), "{told:?}");
}
