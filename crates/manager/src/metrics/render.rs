//! Metrics as Prometheus reads them.

use time::OffsetDateTime;
use walfile::Lsn;

use super::text::Exposition;
use super::{MetricsPart, ServerMetrics};

type Value = fn(&ServerMetrics, OffsetDateTime) -> Option<f64>;

/// Families with one sample for each server: name, help, value.
///
/// The segment archived last is told by its timeline and the position of its end, not by its name: a name in a label would
/// make a new series of every segment.
const GAUGES: &[(&str, &str, Value)] = &[
    ("tapster_collected_timestamp_seconds", "When the figures of the server were gathered.", |m, _| {
        time(m.collected)
    }),
    ("tapster_postgres_up", "Whether PostgreSQL answered.", |m, _| {
        if m.passive { None } else { flag(m.postgres.is_some()) }
    }),
    ("tapster_postgres_in_recovery", "Whether the server WAL comes from is a standby.", |m, _| {
        flag(m.postgres.as_ref()?.in_recovery)
    }),
    ("tapster_postgres_wal_lsn_bytes", "Where the WAL of the server ends.", |m, _| {
        lsn(m.postgres.as_ref()?.lsn)
    }),
    ("tapster_postgres_archive_failures", "Failures of archive_command, by pg_stat_archiver.", |m, _| {
        number(m.postgres.as_ref()?.archive_failures)
    }),
    ("tapster_receiver_connected", "Whether a WAL receiver of ours streams from the server.", |m, _| {
        m.postgres.as_ref().filter(|p| p.streams).and_then(|p| flag(p.sent.is_some()))
    }),
    ("tapster_receiver_received_lsn_bytes", "Up to where the receiver has written WAL.", |m, _| {
        lsn(m.postgres.as_ref()?.written)
    }),
    ("tapster_receiver_flushed_lsn_bytes", "Up to where the receiver's WAL is durable.", |m, _| {
        lsn(m.postgres.as_ref()?.flushed)
    }),
    ("tapster_receiver_lag_bytes", "WAL of the server that is not durable at the receiver.", |m, _| {
        let postgres = m.postgres.as_ref()?;
        bytes(postgres.lsn?.saturating_bytes_since(postgres.flushed?))
    }),
    ("tapster_slot_active", "Whether somebody streams from the replication slot.", |m, _| {
        flag(m.postgres.as_ref()?.slot_active?)
    }),
    ("tapster_slot_lost", "Whether the server removed WAL that the slot was to keep.", |m, _| {
        flag(m.postgres.as_ref()?.slot_lost?)
    }),
    ("tapster_slot_retained_bytes", "WAL that the server keeps for the slot.", |m, _| {
        let postgres = m.postgres.as_ref()?;
        bytes(postgres.lsn?.saturating_bytes_since(postgres.slot_restart?))
    }),
    ("tapster_archive_last_wal_timeline", "Timeline of the newest segment in the archive.", |m, _| {
        Some(f64::from(m.archive.last?.timeline.get()))
    }),
    ("tapster_archive_last_wal_lsn_bytes", "Where the newest segment in the archive ends.", |m, _| {
        lsn(Some(m.archive.last?.end))
    }),
    (
        "tapster_archive_last_wal_timestamp_seconds",
        "When the newest segment in the archive was written.",
        |m, _| time(m.archive.last?.time?),
    ),
    (
        "tapster_archive_last_wal_age_seconds",
        "Time since the newest segment in the archive was written.",
        |m, now| age(m.archive.last?.time?, now),
    ),
    ("tapster_archive_gaps", "Holes in the archived WAL from the oldest complete backup on.", |m, _| {
        number(m.archive.gaps)
    }),
    ("tapster_archive_missing_segments", "Segments missing in these holes.", |m, _| {
        number(m.archive.missing)
    }),
    ("tapster_recoverable_oldest_lsn_bytes", "The oldest position that can be recovered.", |m, _| {
        lsn(Some(m.archive.oldest_recoverable?.lsn))
    }),
    ("tapster_recoverable_oldest_timestamp_seconds", "The oldest time that can be recovered.", |m, _| {
        time(m.archive.oldest_recoverable?.time?)
    }),
    (
        "tapster_recoverable_newest_lsn_bytes",
        "The newest position that can be recovered from the archive.",
        |m, _| lsn(Some(m.archive.newest_recoverable?.lsn)),
    ),
    (
        "tapster_recoverable_newest_timestamp_seconds",
        "The newest time that can be recovered from the archive.",
        |m, _| time(m.archive.newest_recoverable?.time?),
    ),
    ("tapster_errors_files", "Files the archiver refused.", |m, _| number(m.errors)),
    ("tapster_backups_unreadable", "Backups whose record cannot be read.", |m, _| {
        number(Some(m.unreadable_backups))
    }),
    ("tapster_last_backup_timestamp_seconds", "When the last good backup ended.", |m, _| {
        time(m.last_backup.as_ref()?.end?)
    }),
    ("tapster_last_backup_age_seconds", "Time since the last good backup ended.", |m, now| {
        age(m.last_backup.as_ref()?.end?, now)
    }),
    ("tapster_last_backup_duration_seconds", "How long the last good backup took.", |m, _| {
        m.last_backup.as_ref()?.seconds
    }),
    ("tapster_last_backup_size_bytes", "Size of the last good backup's files.", |m, _| {
        number(m.last_backup.as_ref()?.size)
    }),
];

/// The text for Prometheus, with each family once. Ages are those at `now`.
pub fn render(servers: &[ServerMetrics], now: OffsetDateTime) -> String {
    let mut out = Exposition::default();
    out.family("tapster_build_info", "gauge", "The version of the program.");
    out.sample(&[("version", env!("CARGO_PKG_VERSION"))], Some(1.0));
    for (name, help, value) in GAUGES {
        out.family(name, "gauge", help);
        for server in servers {
            out.sample(&[("server", &server.server)], value(server, now));
        }
    }
    out.family("tapster_queue_files", "gauge", "Files that wait to be archived, or are being received.");
    for server in servers {
        for (queue, count) in [("incoming", server.incoming_queue), ("streaming", server.streaming_queue)] {
            out.sample(&[("server", &server.server), ("queue", queue)], number(count));
        }
    }
    out.family("tapster_backups", "gauge", "Backups by status.");
    for server in servers {
        for (status, count) in &server.backups {
            out.sample(&[("server", &server.server), ("status", status.as_str())], number(Some(*count)));
        }
    }
    out.family("tapster_collect_failed", "gauge", "Whether a part of the figures could not be gathered.");
    for server in servers {
        for part in MetricsPart::ALL {
            let failed = server.problems.iter().any(|(failed, _)| *failed == part);
            out.sample(&[("server", &server.server), ("part", part.as_str())], flag(failed));
        }
    }
    tasks(&mut out, servers);
    checks(&mut out, servers);
    out.finish()
}

fn tasks(out: &mut Exposition, servers: &[ServerMetrics]) {
    let all = || servers.iter().flat_map(|m| m.tasks.iter().map(move |task| (m.server.as_str(), task)));
    out.family("tapster_task_ok", "gauge", "Whether a task of the daemon works.");
    for (server, task) in all() {
        out.sample(&[("server", server), ("task", task.task.as_str())], flag(task.ok));
    }
    out.family("tapster_task_failures_total", "counter", "How often a task of the daemon failed.");
    for (server, task) in all() {
        out.sample(&[("server", server), ("task", task.task.as_str())], number(Some(task.failures)));
    }
    out.family(
        "tapster_task_last_failure_timestamp_seconds",
        "gauge",
        "When a task of the daemon failed last.",
    );
    for (server, task) in all() {
        out.sample(&[("server", server), ("task", task.task.as_str())], task.last_failure.and_then(time));
    }
}

fn checks(out: &mut Exposition, servers: &[ServerMetrics]) {
    out.family("tapster_check_ok", "gauge", "Whether a line of check was as it should be.");
    for report in servers.iter().filter_map(|m| m.check.as_ref()) {
        for line in &report.lines {
            out.sample(&[("server", &report.server), ("check", &line.name)], flag(line.ok));
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a value")]
fn flag(value: bool) -> Option<f64> {
    Some(f64::from(u8::from(value)))
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn number(value: Option<u64>) -> Option<f64> {
    value.map(|value| value as f64)
}

fn bytes(value: u64) -> Option<f64> {
    number(Some(value))
}

fn lsn(value: Option<Lsn>) -> Option<f64> {
    number(value.map(Lsn::get))
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
#[expect(clippy::unnecessary_wraps, reason = "the shape of a value")]
fn time(value: OffsetDateTime) -> Option<f64> {
    Some((value.unix_timestamp_nanos() / 1_000_000) as f64 / 1000.0)
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a value")]
fn age(value: OffsetDateTime, now: OffsetDateTime) -> Option<f64> {
    Some((now - value).as_seconds_f64().max(0.0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tapster_catalog::BackupStatus;
    use time::macros::datetime;
    use walfile::Timeline;

    use super::*;
    use crate::metrics::{ArchiveMetrics, ArchivedPoint, LastBackup, PostgresMetrics, RecoverablePoint};

    fn unknown(server: &str) -> ServerMetrics {
        ServerMetrics {
            server: server.to_owned(),
            collected: datetime!(2026-11-21 10:00 UTC),
            passive: false,
            postgres: None,
            archive: ArchiveMetrics::default(),
            streaming_queue: None,
            incoming_queue: None,
            errors: None,
            backups: BTreeMap::new(),
            unreadable_backups: 0,
            last_backup: None,
            problems: vec![(MetricsPart::Postgres, "no connection".to_owned())],
            tasks: Vec::new(),
            check: None,
        }
    }

    /// Names, help and units are what dashboards and alerts are built on.
    #[test]
    fn the_text_is_as_it_was() {
        let time = datetime!(2026-11-21 09:59 UTC);
        let point = |lsn| Some(RecoverablePoint { lsn: Lsn::new(lsn), time: Some(time) });
        let mut main = unknown("main");
        main.problems.clear();
        main.postgres = Some(PostgresMetrics {
            in_recovery: false,
            lsn: Some(Lsn::new(0x300_0000)),
            streams: true,
            sent: Some(Lsn::new(0x2FF_0000)),
            written: Some(Lsn::new(0x2FF_0000)),
            flushed: Some(Lsn::new(0x2F0_0000)),
            slot_exists: Some(true),
            slot_active: Some(true),
            slot_restart: Some(Lsn::new(0x200_0000)),
            slot_lost: Some(false),
            archive_failures: Some(2),
        });
        main.archive = ArchiveMetrics {
            last: Some(ArchivedPoint {
                timeline: Timeline::new(10).unwrap(),
                end: Lsn::new(0x200_0000),
                time: Some(time),
            }),
            gaps: Some(1),
            missing: Some(3),
            oldest_recoverable: point(0x100_0028),
            newest_recoverable: point(0x200_0000),
        };
        main.streaming_queue = Some(1);
        main.incoming_queue = Some(0);
        main.errors = Some(4);
        main.backups = [(BackupStatus::Done, 2), (BackupStatus::Failed, 0)].into();
        main.unreadable_backups = 1;
        main.last_backup = Some(LastBackup { end: Some(time), seconds: Some(12.5), size: Some(4096) });
        let servers = [main, unknown("a \"b\"\\\n")];
        let text = render(&servers, datetime!(2026-11-21 10:00:30 UTC));
        let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
        let text = text.replace(&version, "version=\"X\"");
        assert_eq!(text, include_str!("../../tests/data/metrics.txt"), "{text}");
    }
}
