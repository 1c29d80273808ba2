//! `replication-status`: paragraphs, or a line, for each client.

use serde_json::{Map, Value, json};
use tapster_manager::text::pretty_size;
use tapster_manager::{ClientKind, ReplicationStatus, StreamingClient, SyncStage};
use walfile::Lsn;

use super::Output;
use crate::format::timestamp::python_datetime;

const fn words(kind: ClientKind) -> &'static str {
    match kind {
        ClientKind::All => "streaming clients",
        ClientKind::HotStandby => "hot standby servers",
        ClientKind::WalStreamer => "WAL streamers",
    }
}

const fn key(kind: ClientKind) -> &'static str {
    match kind {
        ClientKind::All => "streaming_clients",
        ClientKind::HotStandby => "hot_standby_servers",
        ClientKind::WalStreamer => "wal_streamers",
    }
}

/// As Python's `str.capitalize`: only the first letter stays large.
const fn title(kind: ClientKind) -> &'static str {
    match kind {
        ClientKind::All => "Streaming clients",
        ClientKind::HotStandby => "Hot standby servers",
        ClientKind::WalStreamer => "Wal streamers",
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// `Async standby`, `#1 Sync WAL streamer`; Barman numbers whoever `synchronous_standby_names` names.
fn name(client: &StreamingClient) -> String {
    let state = capitalised(client.sync_state.as_deref().unwrap_or_default());
    let kind = if client.is_standby() { "standby" } else { "WAL streamer" };
    match client.sync_priority {
        0 => format!("{state} {kind}"),
        priority => format!("#{priority} {state} {kind}"),
    }
}

fn stage(client: &StreamingClient, server: Option<Lsn>) -> String {
    let all = if client.is_standby() { 5 } else { 3 };
    match client.sync_stage(server) {
        SyncStage::HotStandby => "5/5 Hot standby (max)".to_owned(),
        SyncStage::TwoSafe => "4/5 2-safe".to_owned(),
        SyncStage::RemoteWrite => format!("3/{all} Remote write"),
        SyncStage::Sent => format!("2/{all} WAL Sent (min)"),
        SyncStage::OneSafe => format!("1/{all} 1-safe"),
    }
}

/// The positions that are known, with Barman's names for them.
fn positions(client: &StreamingClient) -> impl Iterator<Item = (&'static str, Lsn)> {
    [("sent", client.sent), ("write", client.written), ("flush", client.flushed), ("replay", client.replayed)]
        .into_iter()
        .filter_map(|(name, lsn)| Some((name, lsn?)))
}

/// Bytes by which the client is ahead of the server: behind, when negative.
fn lead(client: Lsn, server: Lsn) -> i64 {
    let distance = i128::from(u64::from(client)) - i128::from(u64::from(server));
    i64::try_from(distance).unwrap_or(if distance < 0 { i64::MIN } else { i64::MAX })
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn pretty_lead(bytes: i64) -> String {
    pretty_size(bytes as f64)
}

/// Prints the full form.
pub(crate) fn show(output: &Output, status: &ReplicationStatus, kind: ClientKind) {
    if output.is_json() {
        insert(output, status, kind, status.clients.iter().map(|client| full(client, status.lsn)).collect());
        return;
    }
    output.line(format!("Status of {} for server '{}':", words(kind), status.server));
    if let Some(lsn) = status.lsn {
        output.line(format!("  Current LSN on master: {lsn}"));
    }
    if status.clients.is_empty() {
        output.line(format!("  No {} attached", words(kind)));
        return;
    }
    output.line(format!("  Number of {}: {}", words(kind), status.clients.len()));
    for (number, client) in status.clients.iter().enumerate() {
        output.line("");
        output.line(format!("  {}. {}", number + 1, name(client)));
        paragraph(output, client, status.lsn);
    }
}

fn paragraph(output: &Output, client: &StreamingClient, server: Option<Lsn>) {
    let say = |name: &str, value: String| output.line(format!("     {name:<16}: {value}"));
    say("Application name", client.application_name.clone());
    say("Sync stage", stage(client, server));
    match &client.address {
        Some(address) => {
            say("Communication", "TCP/IP".to_owned());
            let port = client.port.map_or_else(|| "-".to_owned(), |port| port.to_string());
            let host = client.host.as_deref().unwrap_or("-");
            say("IP Address", format!("{address} / Port: {port} / Host: {host}"));
        }
        None => say("Communication", "Unix domain socket".to_owned()),
    }
    say("User name", client.user_name.clone());
    let state = client.state.as_deref().unwrap_or("None");
    say("Current state", format!("{state} ({})", client.sync_state.as_deref().unwrap_or("None")));
    if let Some(slot) = &client.slot {
        say("Replication slot", slot.clone());
    }
    say("WAL sender PID", client.pid.to_string());
    say("Started at", client.started_at.map_or_else(|| "None".to_owned(), python_datetime));
    if let Some(xmin) = &client.xmin {
        say("Standby's xmin", xmin.clone());
    }
    for (name, lsn) in positions(client) {
        let name = format!("{} LSN", capitalised(name));
        let diff =
            server.map_or_else(String::new, |server| format!(" (diff: {})", pretty_lead(lead(lsn, server))));
        output.line(format!("     {name:<10} : {lsn}{diff}"));
    }
}

fn full(client: &StreamingClient, server: Option<Lsn>) -> Value {
    let mut map = Map::new();
    map.insert("name".into(), name(client).into());
    map.insert("application_name".into(), client.application_name.clone().into());
    map.insert("sync_stage".into(), stage(client, server).into());
    if let Some(address) = &client.address {
        map.insert("communication".into(), "TCP/IP".into());
        map.insert("ip_address".into(), address.clone().into());
        map.insert("port".into(), json!(client.port));
        map.insert("host".into(), json!(client.host));
    } else {
        map.insert("communication".into(), "Unix domain socket".into());
    }
    map.insert("user_name".into(), client.user_name.clone().into());
    map.insert("current_state".into(), json!(client.state));
    map.insert("current_sync_state".into(), json!(client.sync_state));
    if let Some(slot) = &client.slot {
        map.insert("replication_slot".into(), slot.clone().into());
    }
    map.insert("wal_sender_pid".into(), client.pid.into());
    map.insert("started_at".into(), json!(client.started_at.map(python_datetime)));
    if let Some(xmin) = &client.xmin {
        // Barman hands on what its driver gives, which is text for the type xid.
        map.insert("standbys_xmin".into(), xmin.clone().into());
    }
    for (name, lsn) in positions(client) {
        map.insert(format!("{name}_lsn"), lsn.to_string().into());
        if let Some(server) = server {
            let lead = lead(lsn, server);
            map.insert(format!("{name}_lsn_diff"), pretty_lead(lead).into());
            map.insert(format!("{name}_lsn_diff_bytes"), lead.into());
        }
    }
    Value::Object(map)
}

fn insert(output: &Output, status: &ReplicationStatus, kind: ClientKind, clients: Vec<Value>) {
    let mut map = Map::new();
    map.insert("server_lsn".into(), json!(status.lsn.map(|lsn| lsn.to_string())));
    if clients.is_empty() {
        map.insert("standby_info".into(), format!("No {} attached", words(kind)).into());
    }
    map.insert(key(kind).into(), clients.into());
    output.json_insert(status.server.clone(), Value::Object(map));
}

/// Prints a line for each client.
pub(crate) fn show_minimal(output: &Output, status: &ReplicationStatus, kind: ClientKind) {
    if output.is_json() {
        insert(output, status, kind, status.clients.iter().map(minimal).collect());
        return;
    }
    match status.lsn {
        Some(lsn) => {
            output.line(format!("{} for master '{}' (LSN @ {lsn}):", title(kind), status.server));
        }
        None => output.line(format!("{} for slave '{}':", title(kind), status.server)),
    }
    if status.clients.is_empty() {
        output.line(format!("  No {} attached", words(kind)));
    }
    for (number, client) in status.clients.iter().enumerate() {
        output.line(format!("  {}. {}", number + 1, minimal_line(client)));
    }
}

/// `W` for one that does not replay, else the first letter of its `sync_state`.
fn letter(client: &StreamingClient) -> String {
    let state = client.sync_state.as_deref().unwrap_or_default();
    state.chars().next().map_or_else(String::new, |letter| letter.to_uppercase().collect())
}

fn minimal_line(client: &StreamingClient) -> String {
    let lsn = |lsn: Option<Lsn>| lsn.map_or_else(|| "None".to_owned(), |lsn| lsn.to_string());
    let (letter, progress) = if client.is_standby() {
        (letter(client), format!("F:{} R:{}", lsn(client.flushed), lsn(client.replayed)))
    } else {
        ("W".to_owned(), format!("W:{}", lsn(client.written)))
    };
    format!(
        "{letter}) {}@{} S:{} {progress} P:{} AN:{}",
        client.user_name,
        client.address.as_deref().unwrap_or("socket"),
        lsn(client.sent),
        client.sync_priority,
        client.application_name
    )
}

fn minimal(client: &StreamingClient) -> Value {
    let lsn = |lsn: Option<Lsn>| json!(lsn.map(|lsn| lsn.to_string()));
    let mut map = Map::new();
    map.insert("user_name".into(), client.user_name.clone().into());
    map.insert("client_addr".into(), client.address.as_deref().unwrap_or("socket").into());
    map.insert("sent_lsn".into(), lsn(client.sent));
    if client.is_standby() {
        map.insert("sync_state".into(), letter(client).into());
        map.insert("flush_lsn".into(), lsn(client.flushed));
        map.insert("replay_lsn".into(), lsn(client.replayed));
    } else {
        map.insert("write_lsn".into(), lsn(client.written));
    }
    map.insert("sync_priority".into(), client.sync_priority.into());
    map.insert("application_name".into(), client.application_name.clone().into());
    Value::Object(map)
}
