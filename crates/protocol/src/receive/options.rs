//! How to receive.

use std::time::Duration;

use walfile::Lsn;

use crate::SlotName;

/// Options of a [`super::Receiver`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceiveOptions {
    /// The slot that keeps WAL for us. Without one, and without `synchronous`, no flush position is reported, as with
    /// `pg_receivewal`: an archive that flushes seldom must not become a synchronous standby by accident.
    pub slot: Option<SlotName>,
    /// The longest time between two status updates; each comes after a flush.
    pub status_interval: Duration,
    /// Flush and report as soon as the server has nothing more to send: for `synchronous_standby_names`.
    pub synchronous: bool,
    /// Report what is flushed as applied too, so that `synchronous_commit = remote_apply` does not wait for ever.
    pub report_apply: bool,
    /// Stop exactly here.
    pub end_position: Option<Lsn>,
    /// How to try again after a lost connection; `None` is not at all.
    pub reconnect: Option<Backoff>,
    /// Nothing heard for half this long and the server is asked for a sign of life; no answer for the other half and it
    /// is gone. `None` waits for TCP to notice.
    pub server_timeout: Option<Duration>,
}

impl Default for ReceiveOptions {
    fn default() -> Self {
        Self {
            slot: None,
            status_interval: Duration::from_secs(10),
            synchronous: false,
            report_apply: false,
            end_position: None,
            reconnect: Some(Backoff::default()),
            server_timeout: Some(Duration::from_secs(60)),
        }
    }
}

/// Waiting between attempts: `first`, then twice as long each time, up to `longest`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// At most.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// How long to wait after `failures` failures in a row, counted from 1.
    pub fn delay(&self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures.saturating_sub(1).min(31)).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(5) };
        let delays: Vec<u64> = [1, 2, 3, 4, 100].map(|n| backoff.delay(n).as_secs()).to_vec();
        assert_eq!(delays, [1, 2, 4, 5, 5]);
    }
}
