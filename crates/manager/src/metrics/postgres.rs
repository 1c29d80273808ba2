//! What PostgreSQL tells about our receiver.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tapster_protocol::{Rows, quote};
use walfile::Lsn;

use super::PostgresMetrics;
use crate::replication_status::ReplicationStatusError;
use crate::{Context, Remote, Server};

/// A server that does not answer for so long counts as one that cannot be reached.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often somebody looks whether the time is up.
const LOOK: Duration = Duration::from_millis(100);

impl Server {
    pub(crate) fn postgres_metrics(
        &self,
        context: &Context<'_>,
    ) -> Result<PostgresMetrics, ReplicationStatusError> {
        let stop = Arc::new(AtomicBool::new(false));
        let deadline = Instant::now() + PATIENCE;
        let (done, is_done) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Owned here, so that it ends with this thread. It ends at once when the other end is dropped.
                let is_done = is_done;
                while is_done.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
                    if Instant::now() > deadline || context.stopped() {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
            let metrics = self.ask_postgres(Arc::clone(&stop));
            drop(done);
            metrics
        })
    }

    fn ask_postgres(&self, stop: Arc<AtomicBool>) -> Result<PostgresMetrics, ReplicationStatusError> {
        let mut connection = self.connect_wal_host(stop)?;
        let rows = connection.query(
            "SELECT pg_is_in_recovery() AS r, CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() \
             ELSE pg_current_wal_lsn() END AS l, (SELECT failed_count FROM pg_stat_archiver) AS f",
        )?;
        let mut metrics = PostgresMetrics {
            in_recovery: rows.get(0, "r") == Some("t"),
            lsn: lsn(&rows, "l"),
            streams: self.config.streaming_archiver,
            ..PostgresMetrics::default()
        };
        if self.config.archiver {
            metrics.archive_failures = rows.get(0, "f").and_then(|text| text.parse().ok());
        }
        if self.config.streaming_archiver {
            let rows = connection.query(&format!(
                "SELECT sent_lsn, write_lsn, flush_lsn FROM pg_stat_replication \
                 WHERE application_name = {} AND state IN ('catchup', 'streaming') ORDER BY flush_lsn DESC NULLS LAST LIMIT 1",
                quote::literal(&self.config.streaming_archiver_name)
            ))?;
            metrics.sent = lsn(&rows, "sent_lsn");
            metrics.written = lsn(&rows, "write_lsn");
            metrics.flushed = lsn(&rows, "flush_lsn");
            if let Some(slot) = self.config.slot_name.as_deref() {
                let status = Remote::new(&mut connection).slot(slot)?;
                metrics.slot_exists = Some(status.is_some());
                metrics.slot_active = Some(status.as_ref().is_some_and(|status| status.active));
                metrics.slot_restart = status.as_ref().and_then(|status| status.restart_lsn);
                metrics.slot_lost = status.map(|status| status.wal_status.as_deref() == Some("lost"));
            }
        }
        Ok(metrics)
    }
}

fn lsn(rows: &Rows, column: &str) -> Option<Lsn> {
    rows.get(0, column)?.parse().ok()
}
