//! Settings that do not go together: what disables a server, and what is put right with a warning.

use tapster_protocol::{ConnInfo, ConnInfoError};

use super::server::{BackupMethod, ReuseBackup, ServerConfig};
use super::value::integer;
use super::warning::ConfigWarning;
use tapster_retention::Policy;

/// Checks one server in the order in which Barman does, and settles what it settles.
pub(super) fn settle(server: &mut ServerConfig) {
    // Of a server that is off or only a copy, Barman asks nothing.
    if server.active && !server.is_passive() {
        connections(server);
        method(server);
        archivers(server);
    }
    limits(server);
    retention(server);
}

fn connections(server: &mut ServerConfig) {
    // What is wrong with the connection to a standby's primary is wrong with that to the standby.
    let problem = connection_problem("conninfo", server.conninfo.as_deref(), server).or_else(|| {
        let primary = server.primary_conninfo.as_deref()?;
        connection_problem("primary_conninfo", Some(primary), server)
    });
    let streams = server.backup_method == BackupMethod::Postgres || server.streaming_archiver;
    let streaming = streams
        .then(|| connection_problem("streaming_conninfo", server.streaming_conninfo.as_deref(), server));
    for (which, problem) in [("PostgreSQL", problem), ("Streaming", streaming.flatten())] {
        if let Some(problem) = problem {
            server.disable(format!("{which} connection: {problem}"));
        }
    }
}

/// Whether a connection string is missing or cannot be read. A keyword that nobody knows is one for the connection to refuse.
fn connection_problem(key: &str, conninfo: Option<&str>, server: &ServerConfig) -> Option<String> {
    let Some(conninfo) = conninfo else {
        return Some(format!("Missing '{key}' parameter for server '{}'", server.name));
    };
    match ConnInfo::parse(conninfo) {
        Ok(_) | Err(ConnInfoError::UnknownKeyword { .. } | ConnInfoError::UnknownParameter { .. }) => None,
        // What is wrong with it, `check` says where it connects.
        Err(_) => {
            Some(format!("Cannot connect to postgres: \"{conninfo}\" is not a valid connection string"))
        }
    }
}

fn method(server: &mut ServerConfig) {
    match server.backup_method {
        BackupMethod::Postgres => {
            if server.backup_options.exclusive {
                server.backup_options.exclusive = false;
                server.warnings.push(ConfigWarning::ExclusiveBackupIgnored);
            }
            server.backup_options.concurrent = true;
            // Barman forbids reuse_backup here too: its files come from pg_basebackup, which writes them all.
            forbid(server, "postgres", &["tablespace_bandwidth_limit", "network_compression"]);
        }
        BackupMethod::Rsync | BackupMethod::LocalRsync | BackupMethod::Snapshot => {
            let local = server.backup_method == BackupMethod::LocalRsync;
            if local && server.ssh_command.is_some() {
                server.disable(format!(
                    "Local copy requires ssh_command in barman configuration to be empty for server {}",
                    server.name
                ));
                return;
            }
            if !local && server.ssh_command.is_none() {
                server.disable(format!(
                    "Missing or invalid ssh_command in barman configuration for server {}",
                    server.name
                ));
                return;
            }
            if !server.backup_options.concurrent && !server.backup_options.exclusive {
                server.backup_options.concurrent = true;
                server.warnings.push(ConfigWarning::NoBackupStrategy { server: server.name.to_string() });
            }
            if server.backup_method == BackupMethod::Snapshot {
                snapshot(server);
            } else {
                forbid(server, "rsync", &["backup_compression"]);
            }
        }
        BackupMethod::LocalToCloud => {}
    }
}

fn snapshot(server: &mut ServerConfig) {
    const FORBIDDEN: [&str; 5] = [
        "backup_compression",
        "bandwidth_limit",
        "network_compression",
        "tablespace_bandwidth_limit",
        "reuse_backup",
    ];
    forbid(server, "snapshot", &FORBIDDEN);
    for key in ["snapshot_disks", "snapshot_instance", "snapshot_provider"] {
        if server.shown(key).is_empty() {
            server.disable(format!("{key} option is required by snapshot backup_method"));
        }
    }
}

fn forbid(server: &mut ServerConfig, method: &str, keys: &[&str]) {
    for &key in keys {
        let set = match key {
            "reuse_backup" => server.reuse_backup.is_some_and(|reuse| reuse != ReuseBackup::Off),
            "network_compression" => server.network_compression,
            _ => !server.shown(key).is_empty(),
        };
        if set {
            server.disable(format!("{key} option is not supported by {method} backup_method"));
        }
    }
}

fn archivers(server: &mut ServerConfig) {
    if !server.archiver && server.streaming_archiver && server.slot_name.is_none() {
        server.disable(
            "Streaming-only archiver requires 'streaming_conninfo' and 'slot_name' options to be properly configured"
                .to_owned(),
        );
    }
    if !server.archiver && !server.streaming_archiver {
        server.warnings.push(ConfigWarning::NoArchiver { server: server.name.to_string() });
        server.warnings.push(ConfigWarning::ArchiverForced);
        server.archiver = true;
    }
}

fn limits(server: &mut ServerConfig) {
    let name = server.name.clone();
    if let Some(text) = server.text("bandwidth_limit").map(str::to_owned) {
        server.bandwidth_limit = integer(&text).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        if integer(&text).is_none() {
            replaced(
                server,
                format!("Invalid bandwidth_limit \"{text}\" for server \"{name}\" (fallback to \"0\")"),
            );
        }
    }
    let text = server.text("minimum_redundancy").unwrap_or("0").to_owned();
    match integer(&text) {
        Some(number) if number < 0 => replaced(
            server,
            format!(
                "Negative value of minimum_redundancy \"{number}\" for server \"{name}\" (fallback to \"0\")"
            ),
        ),
        Some(number) => server.minimum_redundancy = u32::try_from(number).unwrap_or(u32::MAX),
        None => {
            replaced(
                server,
                format!("Invalid minimum_redundancy \"{text}\" for server \"{name}\" (fallback to \"0\")"),
            );
        }
    }
}

fn retention(server: &mut ServerConfig) {
    let name = server.name.clone();
    let mode = server.text("retention_policy_mode").unwrap_or("None").to_owned();
    if mode != "auto" {
        replaced(
            server,
            format!(
                "Unsupported retention_policy_mode \"{mode}\" for server \"{name}\" (fallback to \"auto\")"
            ),
        );
    }
    let Some(text) = server.retention_policy_text.clone() else { return };
    let wal = server.text("wal_retention_policy").unwrap_or("None").to_owned();
    if wal != "main" {
        replaced(
            server,
            format!(
                "Unsupported wal_retention_policy value \"{wal}\" for server \"{name}\" (fallback to \"main\")"
            ),
        );
    }
    // Ours wins. If it cannot be read, Barman's does not take its place: it may delete what ours was to keep.
    let own = server.text("tapster_retention_policy").is_some();
    match text.parse::<Policy>() {
        Ok(policy) if own || policy.is_barmans() => server.retention_policy = Some(policy),
        _ => {
            let key = if own { "tapster_retention_policy" } else { "retention_policy" };
            replaced(server, format!("Invalid {key} setting \"{text}\" for server \"{name}\""));
        }
    }
}

fn replaced(server: &mut ServerConfig, text: String) {
    server.warnings.push(ConfigWarning::Replaced { text });
}
