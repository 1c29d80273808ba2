//! Gathering.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use tapster_catalog::wal_store::RunsCache;
use tapster_catalog::{BackupRecord, BackupStatus};

use super::{LastBackup, MetricsPart, ServerMetrics};
use crate::{Context, Server};

/// Gathers a server's metrics. Keeps what it saw of the archive, so that the next time costs little: use one for each server.
#[derive(Clone, Debug, Default)]
pub struct MetricsCollector {
    archive: RunsCache,
}

impl MetricsCollector {
    /// Gathers now. What cannot be found out is listed in [`ServerMetrics::problems`]; a server that does not answer is
    /// given up after ten seconds.
    pub fn collect(&mut self, server: &Server, context: &Context<'_>) -> ServerMetrics {
        let mut problems = Vec::new();
        let mut note = |part: MetricsPart, error: String| problems.push((part, error));
        let passive = server.config().is_passive();
        let postgres = (!passive)
            .then(|| {
                server.postgres_metrics(context).map_err(|e| note(MetricsPart::Postgres, e.to_string())).ok()
            })
            .flatten();
        let layout = server.layout();
        let mut count = |dir: &Path, is_counted: fn(&str) -> bool| {
            count(dir, is_counted)
                .map_err(|e| note(MetricsPart::Queues, format!("cannot read {}: {e}", dir.display())))
                .ok()
        };
        let streaming_queue = count(&layout.streaming, |_| true);
        let incoming_queue = count(&layout.incoming, |name| !name.ends_with(".tmp"));
        let errors = count(&layout.errors, |_| true);
        let (mut records, unreadable_backups) = match server.catalog().backups() {
            Ok(found) => {
                let all = found.len();
                let records: Vec<BackupRecord> =
                    found.into_iter().filter_map(|(_, record)| record.ok()).collect();
                let unreadable = all - records.len();
                (records, u64::try_from(unreadable).unwrap_or(u64::MAX))
            }
            Err(e) => {
                note(MetricsPart::Backups, e.to_string());
                (Vec::new(), 0)
            }
        };
        // Of one whose deletion has begun some of the files are gone, whatever its record says; it is listed as failed.
        let going = match server.catalog().deletions_in_progress() {
            Ok(going) => going,
            Err(e) => {
                note(MetricsPart::Backups, e.to_string());
                Vec::new()
            }
        };
        let all = records.len();
        records.retain(|record| !going.contains(&record.id));
        let mut backups = by_status(&records);
        *backups.entry(BackupStatus::Failed).or_default() += (all - records.len()) as u64;
        let archive = server
            .archive_metrics(&records, &mut self.archive)
            .map_err(|e| note(MetricsPart::Archive, e.to_string()))
            .unwrap_or_default();
        ServerMetrics {
            server: server.name().to_owned(),
            collected: context.now(),
            passive,
            postgres,
            archive,
            streaming_queue,
            incoming_queue,
            errors,
            backups,
            unreadable_backups,
            last_backup: records.iter().rfind(|record| record.status.is_copied()).map(last_backup),
            problems,
            tasks: Vec::new(),
            check: None,
        }
    }
}

fn by_status(records: &[BackupRecord]) -> BTreeMap<BackupStatus, u64> {
    let shown = [BackupStatus::Done, BackupStatus::WaitingForWals, BackupStatus::Failed];
    let mut counts: BTreeMap<BackupStatus, u64> = shown.into_iter().map(|status| (status, 0)).collect();
    for record in records {
        *counts.entry(record.status).or_default() += 1;
    }
    counts
}

fn last_backup(record: &BackupRecord) -> LastBackup {
    let seconds = record.begin_time.zip(record.end_time).map(|(begin, end)| (end - begin).as_seconds_f64());
    LastBackup { end: record.end_time, seconds, size: record.size }
}

/// Visible names in a directory; one that is not there has none.
fn count(dir: &Path, is_counted: fn(&str) -> bool) -> io::Result<u64> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    let mut count = 0;
    for entry in entries {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with('.') && is_counted(&name) {
            count += 1;
        }
    }
    Ok(count)
}
