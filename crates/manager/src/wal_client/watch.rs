//! Ends a child process when the program is to stop, or when nothing has moved for too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How often the flag is looked at.
const TICK: Duration = Duration::from_millis(50);
/// Ticks between asking a process to end and ending it.
const GRACE: u32 = 20;

/// What is ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whom {
    /// The child alone.
    Process(Pid),
    /// The child and what it has started, which may hold our pipes for longer than the child lives. It must lead its group.
    Group(Pid),
}

impl Whom {
    /// It may be gone already, which is what we want.
    fn signal(self, signal: Signal) {
        let _ = match self {
            Self::Process(pid) => kill_process(pid, signal),
            Self::Group(pid) => kill_process_group(pid, signal),
        };
    }
}

/// Why a child was ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ended {
    /// The stop flag.
    Stopped,
    /// No byte moved for as long as was allowed.
    Stalled,
}

/// The thread beside a child process. The child must not be reaped while this lives: its number would be free for others.
#[derive(Debug)]
pub(crate) struct Watch {
    done: Sender<()>,
    thread: Option<JoinHandle<Option<Ended>>>,
}

impl Watch {
    /// Watches a child. `moved` grows with every byte; `patience` is how long it may stand still.
    pub(crate) fn start(
        whom: Whom,
        stop: Arc<AtomicBool>,
        moved: Arc<AtomicU64>,
        patience: Option<Duration>,
    ) -> std::io::Result<Self> {
        let (done, wait) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            let (mut last, mut idle, mut ended, mut since) = (0, Duration::ZERO, None, 0);
            while wait.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                if ended.is_some() {
                    since += 1;
                    if since == GRACE {
                        whom.signal(Signal::KILL);
                    }
                    continue;
                }
                let now = moved.load(Ordering::Relaxed);
                idle = if now == last { idle + TICK } else { Duration::ZERO };
                last = now;
                if stop.load(Ordering::Relaxed) {
                    ended = Some(Ended::Stopped);
                } else if patience.is_some_and(|patience| idle >= patience) {
                    ended = Some(Ended::Stalled);
                }
                if ended.is_some() {
                    whom.signal(Signal::TERM);
                }
            }
            ended
        })?;
        Ok(Self { done, thread: Some(thread) })
    }

    /// Ends the watch once the child has ended (and is not reaped yet).
    pub(crate) fn finish(mut self) -> Option<Ended> {
        let _ = self.done.send(());
        self.thread.take().and_then(|thread| thread.join().ok()).flatten()
    }
}
