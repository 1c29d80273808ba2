//! A bound on the bytes per second, shared by threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets so many bytes pass per second, over all threads that use it.
#[derive(Debug)]
pub struct Limiter {
    per_second: u64,
    /// When all bytes let through so far are paid for.
    paid: Mutex<Instant>,
}

impl Limiter {
    /// `per_second` bytes; zero lets one byte through.
    pub fn new(per_second: u64) -> Self {
        Self { per_second: per_second.max(1), paid: Mutex::new(Instant::now()) }
    }

    /// Waits until `bytes` more may pass, or `stop` is raised.
    pub fn take(&self, bytes: u64, stop: &AtomicBool) {
        let cost = Duration::from_secs_f64(bytes as f64 / self.per_second as f64);
        let until = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = (*paid).max(Instant::now());
            *paid = begin + cost;
            begin
        };
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}
