//! Signals of the programs that PostgreSQL starts.
//!
//! PostgreSQL tells "the command failed" from "we were told to stop" by how its child ended: a `restore_command` that
//! answers SIGTERM with an exit code says "no such file", and the server opens for writing. So these programs clean up and
//! then end by the signal they got.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::{flag, low_level};

use crate::failure::Failure;

/// Watches for the signals that end a program.
#[derive(Debug)]
pub(super) struct Deadly {
    /// Set by the first one; a second one ends the program at once.
    pub(super) stop: Arc<AtomicBool>,
    which: Arc<AtomicUsize>,
}

impl Deadly {
    /// From here on signals set the flag.
    pub(super) fn watch() -> Result<Self, Failure> {
        let deadly = Self { stop: Arc::default(), which: Arc::default() };
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
            let number = usize::try_from(signal).unwrap_or_default();
            // The order matters: the first signal finds the flag unset.
            flag::register_conditional_default(signal, Arc::clone(&deadly.stop))
                .and_then(|_| flag::register_usize(signal, Arc::clone(&deadly.which), number))
                .and_then(|_| flag::register(signal, Arc::clone(&deadly.stop)))
                .map_err(|error| Failure::unexpected(format!("cannot install signal handlers: {error}")))?;
        }
        Ok(deadly)
    }

    /// Whether one came.
    pub(super) fn came(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Ends by the signal that came.
    pub(super) fn die(&self) -> Failure {
        let signal = i32::try_from(self.which.load(Ordering::Relaxed)).unwrap_or_default();
        // Comes back only when it cannot be done.
        drop(low_level::emulate_default_handler(signal));
        Failure::reported(u8::try_from(128 + signal).unwrap_or(255))
    }
}
