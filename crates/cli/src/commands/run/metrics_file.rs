//! The metrics as a file, for node_exporter's textfile collector.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tapster_catalog::durable::{self, RealDisk};
use tapster_manager::daemon::DaemonMetrics;

use super::text;
use crate::session::Session;

/// The file, written anew now and then.
#[derive(Debug)]
pub(super) struct MetricsFile {
    path: PathBuf,
    metrics: DaemonMetrics,
    interval: Duration,
    next: Instant,
    /// The last attempt failed, of which was told.
    broken: bool,
}

impl MetricsFile {
    /// Begins a moment from now, when the first figures are there.
    pub(super) fn new(path: PathBuf, metrics: DaemonMetrics, interval: Duration) -> Self {
        Self { path, metrics, interval, next: Instant::now() + Duration::from_secs(1), broken: false }
    }

    /// Replaces the file when it is time to; a reader sees the old one or the new one.
    pub(super) fn write_when_due(&mut self, session: &Session) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + self.interval;
        let written = durable::replace(&RealDisk, &self.path, text(&self.metrics).as_bytes());
        if let Err(error) = &written
            && !self.broken
        {
            session.output.error_without_failing(format!("metrics are not written: {error}"));
        }
        self.broken = written.is_err();
    }
}
