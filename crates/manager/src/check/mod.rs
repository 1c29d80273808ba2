//! Whether a server is fit for backup and recovery: the lines of Barman's `check`, in its order, and `WAL continuity`, which is
//! there only when it fails.

mod cloud;
mod continuity;
mod extended;
mod files;
mod local;
mod method;
mod remote_lines;
mod report;
mod streaming;

pub use report::{CheckLine, CheckReport};

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use self::streaming::Streaming;
use crate::{Context, Server};

/// How often somebody looks whether the time is up.
const WATCH_PAUSE: Duration = Duration::from_millis(50);

/// Options of [`Server::check`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CheckOptions {
    /// How long the check may take; the configuration's `check_timeout` without it, no limit when zero.
    pub timeout: Option<Duration>,
    /// Also look at what Barman's check does not: WAL missing behind any backup, free space for the next backup, how far the slot
    /// has fallen behind, when a restore was verified last, and settings without effect.
    pub extended: bool,
}

impl Server {
    /// Looks at everything a backup and a recovery depend on. What goes wrong on the way is a failed line, never an error.
    ///
    /// As Barman's, it creates missing directories, and when nothing was ever archived it archives what is queued and
    /// asks the server to switch to a new segment once. When the time is up, what is being waited for (a server that does not
    /// answer, a lock) is given up.
    pub fn check(&self, options: &CheckOptions, context: &Context<'_>) -> CheckReport {
        let timeout = options.timeout.unwrap_or(Duration::from_secs(self.config.check_timeout.into()));
        if timeout.is_zero() {
            return self.check_until(None, timeout, options.extended, context);
        }
        let deadline = Instant::now() + timeout;
        let stop = Arc::new(AtomicBool::new(false));
        let limited = context.clone().with_stop(Arc::clone(&stop));
        let (done, is_done) = mpsc::channel::<()>();
        let outer = Arc::clone(&context.stop);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // Ends at once when the other end is dropped.
                while is_done.recv_timeout(WATCH_PAUSE) == Err(mpsc::RecvTimeoutError::Timeout) {
                    if Instant::now() > deadline || outer.load(Ordering::Relaxed) {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
            let report = self.check_until(Some(deadline), timeout, options.extended, &limited);
            drop(done);
            report
        })
    }

    fn check_until(
        &self,
        deadline: Option<Instant>,
        timeout: Duration,
        extended: bool,
        context: &Context<'_>,
    ) -> CheckReport {
        let mut report = CheckReport::new(self.name(), self.config.active);
        let streaming = Streaming::default();
        type Step = fn(&Server, &mut CheckReport, &Context<'_>, &Streaming, Duration);
        let steps: [Step; 10] = [
            |server, report, context, _, timeout| server.check_archive(report, context, timeout),
            |server, report, _, _, _| server.check_queues(report),
            |server, report, context, streaming, _| server.check_postgres(report, context, streaming),
            |server, report, _, _, _| server.check_directories(report),
            |server, report, context, _, timeout| server.check_backups(report, context, timeout),
            |server, report, _, _, _| server.check_continuity(report),
            |server, report, context, streaming, _| server.check_method(report, context, streaming),
            |server, report, context, streaming, _| server.check_identity(report, context, streaming),
            |server, report, context, streaming, _| server.check_archivers(report, context, streaming),
            |server, report, context, _, _| server.check_extended(report, context),
        ];
        for step in steps.iter().take(if extended { 10 } else { 9 }) {
            step(self, &mut report, context, &streaming, timeout);
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                report.failed("check timeout", "barman check command timed out");
                break;
            }
        }
        report
    }
}
