//! What every command gets besides its arguments.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::args::global::GlobalArgs;
use crate::environment::Environment;
use crate::failure::{Failure, Kind};
use crate::invocation::Program;
use crate::output::{Output, Settings};

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Session {
    /// The name we go by.
    pub(crate) program: Program,
    /// Options before the command.
    pub(crate) global: GlobalArgs,
    /// The process's surroundings.
    pub(crate) environment: Environment,
    /// Where everything is printed.
    pub(crate) output: Arc<Output>,
    /// Set by SIGINT and SIGTERM once [`Self::watch_signals`] was called.
    pub(crate) stop: Arc<AtomicBool>,
}

impl Session {
    /// A session that prints to this process's streams.
    pub(crate) fn new(program: Program, global: GlobalArgs) -> Self {
        let environment = Environment::from_process();
        let settings =
            Settings::new(global.format, global.quiet, global.debug, global.color, environment.no_color);
        if environment.detach {
            // Fails only for the leader of a process group, which needs none.
            let _ = rustix::process::setsid();
        }
        let output = Arc::new(Output::new(settings));
        Self { program, global, environment, output, stop: Arc::default() }
    }

    /// From here on SIGINT and SIGTERM ask for a clean stop; a second one ends the process at once with exit code 1.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub(crate) fn watch_signals(&self) -> Result<(), Failure> {
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the first signal finds the flag unset, sets it after this check, and goes on.
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&self.stop))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&self.stop)))
                .map_err(|error| Failure::unexpected(format!("cannot install signal handlers: {error}")))?;
        }
        Ok(())
    }

    /// Whether a signal has asked to stop.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Goes on after a signal that has done what it was sent for.
    pub(crate) fn resume(&self) {
        self.stop.store(false, Ordering::Relaxed);
    }

    /// `failure`, or that the user ended the work, when that is why it failed.
    pub(crate) fn unless_stopped(&self, failure: Failure) -> Failure {
        if !self.stopped() || failure.kind == Kind::Interrupted {
            return failure;
        }
        Failure::interrupted().with_details(failure.details.unwrap_or(failure.message))
    }
}
