//! Ends a child process when the program is to stop, or when nothing has moved for too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How often the flag is looked at.
const TICK: Duration = Duration::from_millis(50);
/// Ticks between asking a process to end and ending it.
const GRACE: u32 = 20;

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
    /// Watches `pid`. `moved` grows with every byte; `patience` is how long it may stand still.
    pub(crate) fn start(
        pid: Pid,
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
                        // It may be gone already, which is what we want.
                        let _ = kill_process(pid, Signal::KILL);
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
                    let _ = kill_process(pid, Signal::TERM);
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
