//! The live status under the names it has in Barman's `show-servers` and `diagnose`.

use std::collections::BTreeMap;

use tapster_manager::config::{OWN_PREFIX, Resolved, Source};
use tapster_manager::live_status::{ClientProgram, LiveStatus, PostgresStatus, StreamingStatus, WalShipping};
use walfile::Timeline;

use super::fact::Fact;

/// Facts by name.
pub(crate) type Facts = BTreeMap<String, Fact>;

/// PostgreSQL 9.6, the oldest that Barman works with.
const OLDEST: u32 = 90_600;

/// The settings of a server. Those that Barman does not have are left out where nobody has set them.
pub(crate) fn shown_settings<'s>(
    settings: &'s BTreeMap<&'static str, Resolved>,
) -> impl Iterator<Item = (&'static str, &'s Resolved)> {
    let settings = settings.iter().map(|(key, resolved)| (*key, resolved));
    settings.filter(|(key, resolved)| !(key.starts_with(OWN_PREFIX) && resolved.source == Source::Default))
}

/// All that is known. What was not asked has no name here; what got no answer is missing.
pub(crate) fn facts(live: &LiveStatus) -> Facts {
    let mut facts = Facts::new();
    let mut put = |name: &str, fact: Fact| {
        facts.insert(name.to_owned(), fact);
    };
    if let Some(postgres) = &live.postgres {
        of_postgres(postgres, &mut put);
    }
    if let Some(streaming) = &live.streaming {
        of_streaming(streaming, &mut put);
    }
    if let Some(shipping) = &live.shipping {
        of_shipping(shipping, &mut put);
    }
    if let Some(program) = &live.pg_receivewal {
        of_program("pg_receivexlog", program, &mut put);
        put("pg_receivexlog_supports_slots", Fact::flag(program.compatible));
        let synchronous = program.compatible.map(|compatible| compatible && live.synchronous == Some(true));
        put("pg_receivexlog_synchronous", Fact::flag(synchronous.filter(|_| live.synchronous.is_some())));
    }
    if let Some(program) = &live.pg_basebackup {
        of_program("pg_basebackup", program, &mut put);
        // Every version that is still in use can do both.
        let installed = program.path.as_ref().map(|_| true);
        put("pg_basebackup_bwlimit", Fact::flag(installed));
        put("pg_basebackup_tbls_mapping", Fact::flag(installed));
    }
    facts
}

type Put<'p> = &'p mut dyn FnMut(&str, Fact);

fn of_program(name: &str, program: &ClientProgram, put: Put<'_>) {
    put(&format!("{name}_compatible"), Fact::flag(program.compatible));
    put(&format!("{name}_installed"), Fact::Bool(program.path.is_some()));
    put(&format!("{name}_path"), Fact::text(program.path.as_ref().map(|path| path.display())));
    put(&format!("{name}_version"), Fact::text(program.version.as_ref()));
}

fn of_postgres(status: &PostgresStatus, put: Put<'_>) {
    let setting = |name: &str| Fact::text(status.settings.get(name));
    put("data_directory", setting("data_directory"));
    put("server_txt_version", Fact::text(status.version_text.as_ref()));
    put("is_superuser", Fact::flag(status.is_superuser));
    put("is_in_recovery", Fact::flag(status.in_recovery));
    put("current_xlog", Fact::text(status.segment));
    let slot =
        status.slot.as_ref().map(|(name, slot)| Fact::Slot(name.clone(), slot.active, slot.restart_lsn));
    put("replication_slot", slot.unwrap_or(Fact::Missing));
    let names = status.synchronous_standby_names.clone();
    put("synchronous_standby_names", names.map_or(Fact::Missing, Fact::Words));
    put("postgres_systemid", Fact::text(status.system_id.as_ref()));
    let version = status.version.map(|version| version.0);
    put("version_supported", Fact::flag(version.map(|version| version >= OLDEST)));
    put("replication_slot_support", Fact::flag(version.map(|_| true)));
    let Some(version) = version else { return };
    for name in [
        "wal_level",
        "hot_standby",
        "max_wal_senders",
        "data_checksums",
        "max_replication_slots",
        "wal_compression",
    ] {
        put(name, setting(name));
    }
    let keep = if version < 130_000 { "wal_keep_segments" } else { "wal_keep_size" };
    put(keep, setting(keep));
    put("has_backup_privileges", Fact::flag(status.has_backup_privileges));
    put("has_monitoring_privileges", Fact::flag(status.has_monitoring_privileges));
    put("current_lsn", Fact::text(status.position));
    put("current_size", status.size.map_or(Fact::Missing, |size| Fact::Decimal(size.to_string())));
    put("archive_timeout", Fact::number(status.archive_timeout));
    put("checkpoint_timeout", Fact::number(status.checkpoint_timeout));
    put("xlog_segment_size", Fact::number(status.segment_size.map(walfile::SegmentSize::bytes)));
    for name in ["config_file", "hba_file", "ident_file"] {
        if let Some(file) = status.settings.get(name) {
            put(name, Fact::Text(file.clone()));
        }
    }
    if !status.included_files.is_empty() {
        put("included_files", Fact::Words(status.included_files.clone()));
    }
}

fn of_streaming(status: &StreamingStatus, put: Put<'_>) {
    put("connection_error", Fact::text(status.connection_error.as_ref()));
    put("streaming_supported", Fact::flag(status.version.map(|_| true)));
    put("streaming", Fact::flag(status.streaming));
    put("streaming_systemid", Fact::text(status.system_id.as_ref()));
    put("timeline", Fact::number(status.timeline.map(Timeline::get)));
    put("xlogpos", Fact::text(status.position));
    put("version_supported", Fact::flag(status.version.map(|version| version.0 >= OLDEST)));
}

fn of_shipping(shipping: &WalShipping, put: Put<'_>) {
    put("archive_mode", Fact::text(shipping.mode.as_ref()));
    put("archive_command", Fact::text(shipping.command.as_ref()));
    let Some(counters) = &shipping.counters else { return };
    put("archived_count", Fact::number(counters.archived_count));
    put("last_archived_wal", Fact::text(counters.last_archived_wal.as_ref()));
    put("last_archived_time", Fact::time(counters.last_archived_time));
    put("failed_count", Fact::number(counters.failed_count));
    put("last_failed_wal", Fact::text(counters.last_failed_wal.as_ref()));
    put("last_failed_time", Fact::time(counters.last_failed_time));
    put("stats_reset", Fact::time(counters.stats_reset));
    put("is_archiving", Fact::flag(counters.is_archiving));
    let rate = counters.per_second.clone();
    put("current_archived_wals_per_second", rate.map_or(Fact::Missing, Fact::Decimal));
}
