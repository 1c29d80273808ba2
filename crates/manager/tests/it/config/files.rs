//! Several files, models, and where things lie.

use std::fs;
use std::path::{Path, PathBuf};

use tapster_manager::config::{
    Config, ConfigError, ConfigSources, HookEvent, HookPhase, Source, default_candidates,
};

#[test]
fn files_are_merged_in_order_and_the_last_wins() {
    let dir = tempfile::tempdir().unwrap();
    let include = dir.path().join("d");
    fs::create_dir(&include).unwrap();
    fs::write(include.join("b.conf"), "[s]\ndescription = from b\nslot_name = b\n").unwrap();
    fs::write(
        include.join("a.conf"),
        "[barman]\n[s]\ndescription = from a\nparallel_jobs = 2\n[DEFAULT]\ncluster = c\n",
    )
    .unwrap();
    fs::write(include.join(".hidden.conf"), "garbage").unwrap();
    fs::write(include.join("c.conf.off"), "garbage").unwrap();
    fs::write(dir.path().join(".barman.auto.conf"), "[s]\nslot_name = auto\n").unwrap();
    let text = "[barman]\nbarman_home = {}\nconfiguration_files_directory = {}/d\n[s]\nconninfo = host=x\n";
    let config = super::load(dir.path(), text).unwrap();
    let server = &config.servers["s"];
    assert_eq!(server.description.as_deref(), Some("from b"));
    assert_eq!((server.parallel_jobs, server.slot_name.as_deref(), &*server.cluster), (2, Some("auto"), "c"));
    let source = &server.get("description").unwrap().source;
    assert_eq!(*source, Source::File(include.join("b.conf").into()));
    assert_eq!(server.get("active").unwrap().source, Source::Default);
}

#[test]
fn an_included_file_may_not_set_global_options() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.conf"), "[barman]\nlog_level = DEBUG\n").unwrap();
    let text = "[barman]\nbarman_home = {}\nconfiguration_files_directory = ~/\n";
    fs::write(dir.path().join("main"), text.replace("{}", "/nowhere")).unwrap();
    let mut sources = ConfigSources::file(dir.path().join("main"));
    sources.home = Some(dir.path().to_owned());
    let error = Config::load(&sources).unwrap_err();
    assert!(
        matches!(&error, ConfigError::IncludedBarmanSection { path } if path.ends_with("a.conf")),
        "{error}"
    );
}

#[test]
fn the_first_existing_candidate_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".barman.conf");
    let home = Some(dir.path().to_owned());
    assert_eq!(
        default_candidates(home.as_deref()),
        [
            Path::new("/etc/tapster.conf"),
            &path,
            Path::new("/etc/barman.conf"),
            Path::new("/etc/barman/barman.conf")
        ]
    );
    let mut sources = ConfigSources::usual(home);
    sources.candidates.retain(|c| c.starts_with(dir.path()));
    assert!(matches!(Config::load(&sources), Err(ConfigError::NoneFound { .. })));
    fs::write(&path, "[barman]\nbarman_home = /h\n").unwrap();
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.global.barman_lock_directory, Path::new("/h"));
    assert_eq!(config.global.config_changes_queue, Path::new("/h/cfg_changes.queue"));
    assert_eq!((config.global.log_level.as_str(), config.global.log_file), ("INFO", None));
    let missing = Config::load(&ConfigSources::file("/nonexistent.conf")).unwrap_err();
    assert_eq!(missing.to_string(), "configuration file '/nonexistent.conf' does not exist");
}

const MODELS: &str = "[barman]\nbarman_home = {}\n\
    [m]\nmodel = on\ncluster = c\nslot_name = B\nparallel_jobs = 3\ndescription = None\npath_prefix =\n\
    streaming_conninfo = user=s\nbackup_directory = /no\nfoo = 1\narchiver = maybe\n\
    [a]\nconninfo = host=x\ncluster = c\npath_prefix = /x\nbackup_method = postgres\narchiver = on\ndescription = ha\n";

#[test]
fn the_active_model_overrides() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    let config = super::load(dir.path(), MODELS).unwrap();
    assert_eq!(config.servers["a"].active_model, None);
    assert_eq!(
        super::shown(&config),
        [
            "WARNING: Invalid configuration option \"backup_directory\" in [m] section.",
            "WARNING: Invalid configuration option \"foo\" in [m] section.",
            "WARNING: Ignoring invalid configuration value 'maybe' for key archiver in [m] section: Invalid boolean \
         representation (must be one in: true|t|yes|1|on | false|f|no|0|off)",
        ]
    );
    fs::write(dir.path().join("a/.active-model.auto"), "m").unwrap();
    let config = super::load(dir.path(), MODELS).unwrap();
    let server = &config.servers["a"];
    assert_eq!(server.active_model.as_deref(), Some("m"));
    assert_eq!((server.slot_name.as_deref(), server.parallel_jobs), (Some("b"), 3));
    assert_eq!(server.streaming_conninfo.as_deref(), Some("user=s"));
    assert_eq!((server.description.as_deref(), server.path_prefix.as_deref()), (Some("ha"), Some("/x")));
    assert!(server.archiver && config.errors.is_empty() && !server.disabled);
}

#[test]
fn a_model_that_is_gone_or_of_another_cluster() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::write(dir.path().join("a/.active-model.auto"), "gone").unwrap();
    let config = super::load(dir.path(), MODELS).unwrap();
    assert_eq!(
        config.servers["a"].problems,
        ["Model 'gone' is set as the active model for the server 'a' but the model does not exist."]
    );
    fs::write(dir.path().join("a/.active-model.auto"), "m").unwrap();
    let config =
        super::load(dir.path(), &MODELS.replace("model = on\ncluster = c", "model = on\ncluster = zz"))
            .unwrap();
    assert_eq!(
        config.errors,
        ["Model 'm' has 'cluster=zz', which is not compatible with 'cluster=c' from server 'a'"]
    );
    assert!(!config.servers["a"].disabled);
}

#[test]
fn directories_and_hooks() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[barman]\nbarman_home = /h\nbarman_lock_directory = /run/b\npost_backup_retry_script = date +%s\n\
                [s]\nconninfo = host=x\nwals_directory = /w\nretention_policy = redundancy 2\nminimum_redundancy = 1\n";
    let config = super::load(dir.path(), text).unwrap();
    let server = &config.servers["s"];
    let layout = server.layout();
    let expect = |path: &str| PathBuf::from(path);
    assert_eq!(
        (layout.root, layout.meta, layout.base),
        (expect("/h/s"), expect("/h/s/meta"), expect("/h/s/base"))
    );
    assert_eq!(
        (layout.wals, layout.xlogdb_dir, layout.lock_dir),
        (expect("/w"), expect("/w"), expect("/run/b"))
    );
    assert_eq!((layout.incoming, layout.streaming), (expect("/h/s/incoming"), expect("/h/s/streaming")));
    assert_eq!(layout.errors, expect("/h/s/errors"));
    assert_eq!(server.hook(HookPhase::Post, HookEvent::Backup, true), Some("date +%s"));
    assert_eq!(server.hook(HookPhase::Post, HookEvent::Backup, false), None);
    assert_eq!(server.retention_policy.unwrap().to_string(), "REDUNDANCY 2");
    assert_eq!(server.minimum_redundancy, 1);
}

#[test]
fn what_is_no_file_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let include = dir.path().join("d");
    fs::create_dir_all(include.join("directory.conf")).unwrap();
    fs::create_dir(dir.path().join(".barman.auto.conf")).unwrap();
    // Nobody writes to it: who opens it waits for ever.
    let pipe = std::process::Command::new("mkfifo").arg(include.join("pipe.conf")).status().unwrap();
    assert!(pipe.success());
    fs::write(include.join("z.conf"), "[s]\nconninfo = host=x\n").unwrap();
    let text = "[barman]\nbarman_home = {}\nconfiguration_files_directory = {}/d\n";
    let config = super::load(dir.path(), text).unwrap();
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "Discarding configuration file: directory.conf (not a file)",
            "Discarding configuration file: pipe.conf (not a file)",
            "Discarding configuration file: .barman.auto.conf (not a file)",
        ]
    );
    assert!(config.warnings.iter().all(|warning| !warning.is_shown()) && !config.servers["s"].incomplete);
}

/// Whatever may just not be mounted may say anything.
#[test]
fn what_leads_nowhere_may_hold_settings() {
    let dir = tempfile::tempdir().unwrap();
    let include = dir.path().join("d");
    let text = "[barman]\nbarman_home = {}\nconfiguration_files_directory = {}/d\n[s]\nconninfo = host=x\n";
    let load = || super::load(dir.path(), text).unwrap();
    assert_eq!(
        super::shown(&load()),
        [format!(
            "WARNING: Ignoring the \"configuration_files_directory\" option as \"{}\" is not a directory",
            include.display()
        )]
    );
    assert!(load().servers["s"].incomplete);
    fs::create_dir(&include).unwrap();
    assert!(!load().servers["s"].incomplete && load().warnings.is_empty());
    let links = [
        (include.join("gone.conf"), "nowhere", "No such file or directory"),
        (include.join("loop.conf"), "loop.conf", "Too many levels of symbolic links"),
        (dir.path().join(".barman.auto.conf"), "away/auto.conf", "No such file or directory"),
    ];
    for (link, target, reason) in links {
        std::os::unix::fs::symlink(target, &link).unwrap();
        let config = load();
        let warnings = super::shown(&config);
        let whose =
            format!("Cannot read configuration file {}, whose settings are missing: ", link.display());
        assert!(warnings.len() == 1 && warnings[0].contains(&whose), "{warnings:?}");
        assert!(warnings[0].contains(reason) && config.servers["s"].incomplete, "{warnings:?}");
        fs::remove_file(&link).unwrap();
        assert!(!load().servers["s"].incomplete);
    }
}

#[test]
fn the_main_file_may_lie_among_the_included_ones() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[barman]\nbarman_home = {}\nconfiguration_files_directory = {}\n[s]\nconninfo = host=x\n";
    let config = super::load(dir.path(), text).unwrap();
    assert!(config.servers.contains_key("s"));
    for other in ["barman_home = /other", "log_level = DEBUG"] {
        fs::write(dir.path().join("other.conf"), format!("[barman]\n{other}\n")).unwrap();
        let error = super::load(dir.path(), text).unwrap_err();
        assert!(matches!(error, ConfigError::IncludedBarmanSection { .. }), "{error}");
    }
}

#[test]
fn foreign_huge_and_broken_files_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let include = dir.path().join("d");
    fs::create_dir(&include).unwrap();
    let text = "[barman]\nbarman_home = {}\nconfiguration_files_directory = {}/d\n[s]\nconninfo = host=x\n";
    for (bytes, message) in [
        (b"\x89PNG\r\n\x1a\n\0\0".to_vec(), "is not UTF-8 text"),
        ("[s]\n".encode_utf16().flat_map(u16::to_le_bytes).collect(), r"found '\u{0}'"),
        ("#".repeat(5 << 20).into_bytes(), "is larger than"),
        (b"[s]\nconni".to_vec(), "expected 'key = value', found 'conni'"),
        (b"[s\nconninfo = x\n".to_vec(), "no section header before '[s'"),
        (
            (0..10_002).map(|n| format!("[s{n}]\n")).collect::<String>().into_bytes(),
            "more than 10000 sections",
        ),
    ] {
        fs::write(include.join("a.conf"), bytes).unwrap();
        let error = super::load(dir.path(), text).unwrap_err().to_string();
        assert!(error.contains(message) && error.contains("a.conf"), "{error}");
    }
}
