//! Waiting for a socket without losing sight of the stop flag.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use thiserror::Error;

/// The longest time a stop flag goes unseen.
const SLICE: Duration = Duration::from_millis(250);

/// Why waiting ended without the socket being ready.
#[derive(Debug, Error)]
pub(crate) enum WaitError {
    #[error("stopped on request")]
    Stopped,
    #[error("timed out")]
    TimedOut,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How long to wait, and on whose word to give up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience<'a> {
    pub(crate) deadline: Option<Instant>,
    pub(crate) stop: Option<&'a AtomicBool>,
}

impl Patience<'_> {
    pub(crate) fn check(&self) -> Result<(), WaitError> {
        if self.stop.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Err(WaitError::Stopped);
        }
        Ok(())
    }

    pub(crate) fn readable(&self, fd: &impl AsFd) -> Result<(), WaitError> {
        self.ready(fd, PollFlags::IN)
    }

    pub(crate) fn writable(&self, fd: &impl AsFd) -> Result<(), WaitError> {
        self.ready(fd, PollFlags::OUT)
    }

    fn ready(&self, fd: &impl AsFd, flags: PollFlags) -> Result<(), WaitError> {
        loop {
            self.check()?;
            let slice = match self.deadline {
                Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                    Some(left) if !left.is_zero() => left.min(SLICE),
                    _ => return Err(WaitError::TimedOut),
                },
                None => SLICE,
            };
            let timeout = Timespec {
                tv_sec: i64::try_from(slice.as_secs()).unwrap_or(1),
                tv_nsec: slice.subsec_nanos().into(),
            };
            match poll(&mut [PollFd::new(fd, flags)], Some(&timeout)) {
                // Errors and hang-ups count as ready: the next read or write tells what it is.
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(WaitError::Io(error.into())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn stop_and_deadline() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let stop = AtomicBool::new(true);
        let patience = Patience { deadline: None, stop: Some(&stop) };
        assert!(matches!(patience.readable(&near), Err(WaitError::Stopped)));
        let patience = Patience { deadline: Some(Instant::now()), stop: None };
        assert!(matches!(patience.readable(&near), Err(WaitError::TimedOut)));
        far.write_all(b"x").unwrap();
        Patience::default().readable(&near).unwrap();
    }
}
