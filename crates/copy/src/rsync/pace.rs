//! How fast connections are opened: an sshd refuses those that come too many at once (`MaxStartups`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// At most so many starts in any period.
#[derive(Debug)]
pub(super) struct Pace {
    starts: usize,
    period: Duration,
    last: Mutex<VecDeque<Instant>>,
}

impl Pace {
    pub(super) fn new(starts: u32, period: Duration) -> Self {
        let starts = usize::try_from(starts).unwrap_or(usize::MAX).max(1);
        Self { starts, period, last: Mutex::default() }
    }

    /// Waits until one more may start, or `stop` is raised.
    pub(super) fn wait(&self, stop: &AtomicBool) {
        loop {
            {
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                while last.front().is_some_and(|first| first.elapsed() >= self.period) {
                    last.pop_front();
                }
                if last.len() < self.starts || stop.load(Ordering::Relaxed) {
                    last.push_back(Instant::now());
                    return;
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
