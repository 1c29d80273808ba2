//! The configurations and outputs captured from Barman 3.19.1.

use tapster_manager::config::{BackupMethod, Config, ConfigError, ConfigWarning};

const BAD_VALUES: &str = include_str!("../../data/config/badvals.conf");

fn shown_for_all(config: &Config) -> Vec<String> {
    let of_servers = config.servers.values().flat_map(|s| &s.warnings);
    config.warnings.iter().chain(of_servers).filter(|w| w.is_shown()).map(ToString::to_string).collect()
}

#[test]
fn bad_values_give_barmans_warnings() {
    let dir = tempfile::tempdir().unwrap();
    let config = super::load(dir.path(), BAD_VALUES).unwrap();
    let expected: Vec<&str> = include_str!("../../data/config/badvals-list.txt").lines().collect();
    assert_eq!(shown_for_all(&config), expected);
    let logged: Vec<String> = config
        .servers
        .values()
        .flat_map(|s| &s.warnings)
        .filter(|w| !w.is_shown())
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        logged,
        [
            "Invalid bandwidth_limit \"xyz\" for server \"one\" (fallback to \"0\")",
            "Negative value of minimum_redundancy \"-2\" for server \"one\" (fallback to \"0\")",
            "Invalid retention_policy setting \"KEEP 3\" for server \"one\"",
        ]
    );
}

#[test]
fn problems_are_those_that_check_lists() {
    let dir = tempfile::tempdir().unwrap();
    let config = super::load(dir.path(), BAD_VALUES).unwrap();
    let problems = |name: &str| config.servers[name].problems.join("|");
    assert_eq!(problems("one"), "Missing or invalid ssh_command in barman configuration for server one");
    assert_eq!(
        problems("three"),
        "Local copy requires ssh_command in barman configuration to be empty for server three"
    );
    assert_eq!(
        problems("seven").replace(dir.path().to_str().unwrap(), "DIR"),
        "Conflicting path: wals_directory=DIR/x conflicts with 'streaming_wals_directory' for server 'seven'"
    );
    assert_eq!(problems("six"), "");
    assert_eq!(
        problems("two").split('|').next().unwrap(),
        "PostgreSQL connection: Cannot connect to postgres: \"not a dsn\" is not a valid connection string"
    );
    let disabled: Vec<&str> =
        config.servers.values().filter(|s| s.disabled).map(|s| s.name.as_str()).collect();
    // Barman also disables four and five, whose connection strings are an address and one with a quoted value.
    assert_eq!(disabled, ["one", "seven", "three", "two"]);
    assert!(config.servers["one"].archiver, "forced on");
    assert_eq!(config.servers["one"].backup_method, BackupMethod::Rsync);
}

#[test]
fn one_directory_for_two_servers() {
    let dir = tempfile::tempdir().unwrap();
    let server = "conninfo = host=x\nbackup_method = postgres\narchiver = on\n";
    let text = format!("[barman]\nbarman_home = {{}}\n[a]\n{server}[b]\n{server}backup_directory = {{}}/a\n");
    let config = super::load(dir.path(), &text).unwrap();
    let conflicts: Vec<String> =
        config.conflicts.iter().map(|c| c.replace(dir.path().to_str().unwrap(), "DIR")).collect();
    let expected = |label: &str, tail: &str| {
        format!(
            "Conflicting path: {label}=DIR/a{tail} for server 'b' conflicts with '{label}' for server 'a'"
        )
    };
    assert_eq!(
        conflicts,
        [
            expected("backup_directory", ""),
            expected("basebackups_directory", "/base"),
            expected("errors_directory", "/errors"),
            expected("incoming_wals_directory", "/incoming"),
            expected("streaming_wals_directory", "/streaming"),
            expected("wals_directory", "/wals"),
        ]
    );
    assert!(config.servers.values().all(|s| !s.disabled));
}

#[test]
fn a_symbolic_link_is_the_directory_it_leads_to() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("s/../s/streaming", dir.path().join("link")).unwrap();
    let text = "[barman]\nbarman_home = {}\n[s]\nconninfo = host=x\narchiver = on\nbackup_method = postgres\n\
                wals_directory = {}/link\n";
    let config = super::load(dir.path(), text).unwrap();
    let problem = config.servers["s"].problems.join("|").replace(dir.path().to_str().unwrap(), "DIR");
    assert_eq!(
        problem,
        "Conflicting path: wals_directory=DIR/link (symlink to: DIR/s/streaming) conflicts with \
         'streaming_wals_directory' for server 's'"
    );
}

#[test]
fn what_leaves_nothing_to_work_with() {
    let dir = tempfile::tempdir().unwrap();
    let fails = |text: &str| super::load(dir.path(), text).unwrap_err();
    assert!(matches!(fails("[one]\nconninfo = x\n"), ConfigError::NoBarmanSection { .. }));
    let error = fails("[barman]\nbarman_user = postgres\n[one]\n");
    assert_eq!(error.to_string(), "parameter \"barman_home\" is required in [barman] section");
    let error = fails("[barman]\nbarman_home = {}\n[all]\nconninfo = x\n");
    assert_eq!(error.to_string(), "the reserved word 'all' is not allowed as server name");
    assert!(matches!(
        fails("[barman]\nbarman_home={}\n[m]\nmodel=maybe\n"),
        ConfigError::InvalidModelFlag { .. }
    ));
    let error = fails("[barman]\nbarman_home={}\n[m]\nmodel=on\n");
    assert_eq!(error.to_string(), "parameter \"cluster\" is required in [m] section");
    assert!(matches!(fails("[barman]\nbarman_home={}\n[../x]\n"), ConfigError::InvalidName { .. }));
    let error = fails("[barman]\nbarman_home={}\nlog_file=%(nothing)s\n");
    assert!(
        error.to_string().ends_with("[barman] log_file: no option 'nothing' in the section for %(nothing)s")
    );
    assert!(matches!(fails("garbage line\n"), ConfigError::Ini(_)));
}

#[test]
fn a_passive_or_inactive_server_needs_no_connection() {
    let dir = tempfile::tempdir().unwrap();
    let text =
        "[barman]\nbarman_home={}\n[p]\nprimary_ssh_command=ssh x\n[i]\nactive=no\nreuse_backup=link\n";
    let config = super::load(dir.path(), text).unwrap();
    for server in config.servers.values() {
        assert!(!server.disabled && server.warnings.is_empty() && !server.archiver, "{server:?}");
    }
    assert!(config.servers["p"].is_passive());
}

#[test]
fn the_postgres_method_refuses_what_only_rsync_can() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[barman]\nbarman_home={}\n[s]\nstreaming_archiver=on\nbackup_method=postgres\nreuse_backup=link\n\
                network_compression=on\ntablespace_bandwidth_limit=a:1\nbackup_options=exclusive_backup\n";
    let config = super::load(dir.path(), text).unwrap();
    let server = &config.servers["s"];
    assert_eq!(
        server.problems,
        [
            "PostgreSQL connection: Missing 'conninfo' parameter for server 's'",
            "Streaming connection: Missing 'streaming_conninfo' parameter for server 's'",
            "tablespace_bandwidth_limit option is not supported by postgres backup_method",
            "network_compression option is not supported by postgres backup_method",
            "Streaming-only archiver requires 'streaming_conninfo' and 'slot_name' options to be properly configured",
        ]
    );
    assert_eq!(server.warnings, [ConfigWarning::ExclusiveBackupIgnored]);
    assert!(server.backup_options.concurrent && !server.backup_options.exclusive);
}
