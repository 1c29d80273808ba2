//! What a verb needs from the program around it: somebody to tell, a flag to stop at, and the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use time::OffsetDateTime;

use crate::event::{Event, Progress};

/// Receives what happens while a verb runs. All methods have empty bodies, so an embedder takes only what it wants.
pub trait Observer: Sync {
    /// Something worth telling a person; the order of events is the order of the work.
    fn event(&self, event: &Event) {
        let _ = event;
    }

    /// How far a long copy is. Called often; must be cheap.
    fn progress(&self, progress: Progress) {
        let _ = progress;
    }
}

/// An observer that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// What a verb needs from the program around it.
///
/// ```
/// use tapster_manager::{Context, Silent};
/// let context = Context::new(&Silent);
/// assert!(!context.stopped());
/// ```
#[derive(Clone)]
pub struct Context<'a> {
    /// Who is told.
    pub observer: &'a dyn Observer,
    /// Set by a signal handler; long work looks at it several times a second and ends cleanly.
    pub stop: Arc<AtomicBool>,
    /// Where the time comes from, in the local time zone (backup ids are local time, as Barman's are).
    pub clock: fn() -> OffsetDateTime,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("stop", &self.stop).finish_non_exhaustive()
    }
}

impl<'a> Context<'a> {
    /// A context with its own stop flag and the system's clock.
    pub fn new(observer: &'a dyn Observer) -> Self {
        Self { observer, stop: Arc::new(AtomicBool::new(false)), clock: local_now }
    }

    /// The same context stopped by `stop`.
    #[must_use]
    pub fn with_stop(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = stop;
        self
    }

    /// Whether somebody asked to stop.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The current time.
    pub fn now(&self) -> OffsetDateTime {
        (self.clock)()
    }

    pub(crate) fn tell(&self, event: Event) {
        self.observer.event(&event);
    }
}

/// The system's clock in the local time zone, UTC where the zone is unknown.
pub fn local_now() -> OffsetDateTime {
    OffsetDateTime::now_local().unwrap_or_else(|_| OffsetDateTime::now_utc())
}
