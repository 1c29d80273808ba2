//! Whether a server is fit for backup and recovery: the lines of Barman's `check`, in its order.

mod local;
mod remote_lines;
mod report;

pub use report::{CheckLine, CheckReport};

use std::time::{Duration, Instant};

use crate::{Context, Server};

/// Options of [`Server::check`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CheckOptions {
    /// How long the check may take; the configuration's `check_timeout` without it, no limit when zero.
    pub timeout: Option<Duration>,
}

impl Server {
    /// Looks at everything a backup and a recovery depend on. What goes wrong on the way is a failed line, never an error.
    ///
    /// As Barman's, it creates missing directories, and when nothing was ever archived it archives what is queued and
    /// asks the server to switch to a new segment once.
    pub fn check(&self, options: &CheckOptions, context: &Context<'_>) -> CheckReport {
        let timeout = options.timeout.unwrap_or(Duration::from_secs(self.config.check_timeout.into()));
        let deadline = (!timeout.is_zero()).then(|| Instant::now() + timeout);
        let mut report = CheckReport::new(self.name(), self.config.active);
        let steps: [fn(&Self, &mut CheckReport, &Context<'_>, Duration); 8] = [
            |server, report, context, timeout| server.check_archive(report, context, timeout),
            |server, report, _, _| server.check_queues(report),
            |server, report, context, _| server.check_postgres(report, context),
            |server, report, _, _| server.check_directories(report),
            |server, report, context, _| server.check_backups(report, context),
            |server, report, _, _| server.check_method(report),
            |server, report, context, _| server.check_identity(report, context),
            |server, report, context, _| server.check_archivers(report, context),
        ];
        for step in steps {
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                report.failed("check timeout", "barman check command timed out");
                break;
            }
            step(self, &mut report, context, timeout);
        }
        report
    }
}
