//! Positions and times of a WAL stream, as a pure state machine.

use std::time::Duration;

use thiserror::Error;
use walfile::{Lsn, SegmentSize};

use crate::StandbyStatus;

/// What a [`Progress`] goes by.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The longest time between two status updates.
    pub interval: Duration,
    /// Flush and report when a batch is over.
    pub synchronous: bool,
    /// Report flush positions at all.
    pub reports_flush: bool,
    /// Report them as applied too.
    pub reports_apply: bool,
    /// Take nothing beyond this position.
    pub end: Option<Lsn>,
    /// Give up after this much silence.
    pub silence: Option<Duration>,
    /// The segment size.
    pub segment_size: SegmentSize,
}

impl Settings {
    /// Status every ten seconds, flush positions reported, nothing else.
    pub const fn new(segment_size: SegmentSize) -> Self {
        Self {
            interval: Duration::from_secs(10),
            synchronous: false,
            reports_flush: true,
            reports_apply: false,
            end: None,
            silence: None,
            segment_size,
        }
    }
}

/// WAL that does not follow what was received: `got WAL data offset` of `receivelog.c`.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("server sent WAL from {found}, expected {expected}")]
#[non_exhaustive]
pub struct GapError {
    /// Where we are.
    pub expected: Lsn,
    /// What came.
    pub found: Lsn,
}

/// The part of a message that is new.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Accepted {
    /// Position of the first byte to take.
    pub at: Lsn,
    /// Bytes to leave out at the front: received before.
    pub skip: usize,
    /// Bytes to take.
    pub take: usize,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// A status update, after a flush if `flush` is set; with `ping`, ask for an answer.
    Status {
        /// Flush first.
        flush: bool,
        /// Ask the server to answer.
        ping: bool,
    },
    /// The server is gone.
    Silent,
}

/// In synchronous mode this much is never left unflushed, even if the server sends without a pause.
const BATCH: u64 = 8 * 1024 * 1024;

/// How far a stream is. Times are since any fixed moment.
#[derive(Clone, Debug)]
pub struct Progress {
    settings: Settings,
    written: Lsn,
    flushed: Lsn,
    /// The stream has come to where we were; from now on it must follow byte by byte.
    joined: bool,
    reported: StandbyStatus,
    last_status: Duration,
    asked: bool,
    heard: Duration,
    /// When the server was asked for a sign of life that has not come yet.
    pinged: Option<Duration>,
}

impl Progress {
    /// A stream that is to go on at `position`, of which everything before `flushed` is durable.
    pub fn new(settings: Settings, position: Lsn, flushed: Lsn, now: Duration) -> Self {
        Self {
            settings,
            written: position,
            flushed,
            joined: false,
            reported: StandbyStatus::default(),
            last_status: now,
            // The first status at once: the server then knows us, and a synchronous standby counts.
            asked: true,
            heard: now,
            pinged: None,
        }
    }

    /// The end of what was received.
    pub const fn written(&self) -> Lsn {
        self.written
    }

    /// The end of what is durable.
    pub const fn flushed(&self) -> Lsn {
        self.flushed
    }

    /// Takes note of `length` bytes of WAL from `start`, and says which of them are new.
    ///
    /// # Errors
    /// When they do not follow. Before the stream has reached our position, earlier bytes are fine (the request was
    /// rounded down); after that nothing may repeat.
    pub fn accept(&mut self, start: Lsn, length: usize, now: Duration) -> Result<Accepted, GapError> {
        self.heard(now);
        let gap = GapError { expected: self.written, found: start };
        if start > self.written || (self.joined && start != self.written) {
            return Err(gap);
        }
        let skip = usize::try_from(self.written.saturating_bytes_since(start)).unwrap_or(usize::MAX);
        if skip > length {
            return Ok(Accepted { at: self.written, skip: length, take: 0 });
        }
        self.joined = true;
        let mut take = length - skip;
        if let Some(end) = self.settings.end {
            let left = usize::try_from(end.saturating_bytes_since(self.written)).unwrap_or(usize::MAX);
            take = take.min(left);
        }
        let at = self.written;
        self.written = at.saturating_add(take as u64);
        Ok(Accepted { at, skip, take })
    }

    /// Takes note of a sign of life.
    pub const fn heard(&mut self, now: Duration) {
        self.heard = now;
        self.pinged = None;
    }

    /// Takes note that the server waits for a status update.
    pub const fn asked(&mut self) {
        self.asked = true;
    }

    /// Takes note of what the sink says is durable.
    pub fn set_flushed(&mut self, position: Lsn) {
        // A sink that has finished segments in the background may be ahead of what it was asked for, never of us.
        self.flushed = self.flushed.max(position.min(self.written));
    }

    /// Whether all that was wanted is here.
    pub fn is_complete(&self) -> bool {
        self.settings.end.is_some_and(|end| self.written >= end)
    }

    /// What is to be done; `pause` says that the server has nothing more to send just now.
    pub fn due(&self, now: Duration, pause: bool) -> Due {
        let status = |flush| Due::Status { flush, ping: false };
        if self.asked {
            return status(self.settings.reports_flush);
        }
        let unflushed = self.written.saturating_bytes_since(self.flushed);
        if self.settings.synchronous && unflushed > 0 && (pause || unflushed >= BATCH) {
            return status(true);
        }
        if now.saturating_sub(self.last_status) >= self.settings.interval {
            return status(true);
        }
        // Segments that were finished in the background free the slot's WAL without waiting for the interval.
        let news = self.flushed.saturating_bytes_since(self.reported.flush);
        if self.settings.reports_flush && news >= self.settings.segment_size.bytes() {
            return status(false);
        }
        if let Some(silence) = self.settings.silence {
            // Only a question without an answer counts: after a disk that stood still for a minute, the silence is ours.
            match self.pinged {
                Some(at) if now.saturating_sub(at) >= silence / 2 => return Due::Silent,
                None if now.saturating_sub(self.heard) >= silence / 2 => {
                    return Due::Status { flush: false, ping: true };
                }
                _ => {}
            }
        }
        Due::Nothing
    }

    /// How long nothing is due, if nothing comes.
    pub fn wait(&self, now: Duration) -> Duration {
        if self.settings.synchronous && self.written > self.flushed {
            return Duration::ZERO;
        }
        let mut until = self.last_status.saturating_add(self.settings.interval);
        if let Some(silence) = self.settings.silence {
            until = until.min(self.pinged.unwrap_or(self.heard).saturating_add(silence / 2));
        }
        until.saturating_sub(now)
    }

    /// The status update to send, which is then taken as sent.
    pub fn report(&mut self, ping: bool, now: Duration) -> StandbyStatus {
        let flush = if self.settings.reports_flush { self.flushed } else { Lsn::INVALID };
        self.reported = StandbyStatus {
            write: self.written,
            flush,
            apply: if self.settings.reports_apply { flush } else { Lsn::INVALID },
            reply_requested: ping,
        };
        self.last_status = now;
        self.asked = false;
        if ping {
            self.pinged = Some(now);
        }
        self.reported
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn progress(change: impl FnOnce(&mut Settings)) -> Progress {
        let mut settings = Settings::new(SegmentSize::DEFAULT);
        change(&mut settings);
        let start = Lsn::new(0x100_0000);
        let mut progress = Progress::new(settings, start, start, Duration::ZERO);
        let first = Due::Status { flush: settings.reports_flush, ping: false };
        assert_eq!(progress.due(Duration::ZERO, false), first);
        progress.report(false, Duration::ZERO);
        progress
    }

    #[test]
    fn nothing_twice_and_no_gap() {
        let mut p = progress(|_| {});
        let early = Lsn::new(0xff_f000);
        let accepted = p.accept(early, 0x1800, SECOND).unwrap();
        assert_eq!(accepted, Accepted { at: Lsn::new(0x100_0000), skip: 0x1000, take: 0x800 });
        assert!(p.accept(Lsn::new(0x100_0000), 1, SECOND).is_err(), "received before");
        let error = p.accept(Lsn::new(0x100_0900), 1, SECOND).unwrap_err();
        assert_eq!(error, GapError { expected: Lsn::new(0x100_0800), found: Lsn::new(0x100_0900) });
        assert_eq!(p.accept(Lsn::new(0x100_0800), 0, SECOND).unwrap().take, 0);
        assert_eq!(p.written(), Lsn::new(0x100_0800));
    }

    #[test]
    fn stops_exactly_at_the_end() {
        let mut p = progress(|settings| settings.end = Some(Lsn::new(0x100_0010)));
        assert_eq!(p.accept(Lsn::new(0x100_0000), 100, SECOND).unwrap().take, 0x10);
        assert!(p.is_complete());
    }

    #[test]
    fn flush_is_only_what_the_sink_said() {
        let mut p = progress(|_| {});
        p.accept(Lsn::new(0x100_0000), 100, SECOND).unwrap();
        p.asked();
        assert_eq!(p.due(SECOND, false), Due::Status { flush: true, ping: false });
        let status = p.report(false, SECOND);
        assert_eq!(
            (status.write.get(), status.flush.get(), status.apply),
            (0x100_0064, 0x100_0000, Lsn::INVALID)
        );
        p.set_flushed(Lsn::new(0x900_0000));
        assert_eq!(p.flushed(), Lsn::new(0x100_0064), "never more than was received");

        let mut p = progress(|settings| settings.reports_flush = false);
        p.accept(Lsn::new(0x100_0000), 100, SECOND).unwrap();
        p.set_flushed(Lsn::new(0x100_0064));
        assert_eq!(p.report(false, SECOND).flush, Lsn::INVALID);
    }

    #[test]
    fn times() {
        let mut p = progress(|settings| settings.silence = Some(30 * SECOND));
        assert_eq!(p.due(9 * SECOND, true), Due::Nothing);
        assert_eq!(p.wait(9 * SECOND), SECOND);
        assert_eq!(p.due(10 * SECOND, false), Due::Status { flush: true, ping: false });
        p.report(false, 10 * SECOND);
        assert_eq!(p.wait(10 * SECOND), 5 * SECOND, "half of the silence allowed");
        assert_eq!(p.due(15 * SECOND, false), Due::Status { flush: false, ping: true });
        p.report(true, 15 * SECOND);
        assert_eq!(p.due(24 * SECOND, false), Due::Nothing);
        p.report(false, 25 * SECOND);
        assert_eq!(p.due(30 * SECOND, false), Due::Silent);
        p.heard(30 * SECOND);
        assert_eq!(p.due(31 * SECOND, false), Due::Nothing);
    }

    #[test]
    fn a_slow_disk_is_no_silent_server() {
        let mut p = progress(|settings| settings.silence = Some(30 * SECOND));
        p.accept(Lsn::new(0x100_0000), 100, SECOND).unwrap();
        // The write took five minutes; the server was not asked for anything meanwhile.
        assert_eq!(p.due(300 * SECOND, false), Due::Status { flush: true, ping: false });
        p.report(false, 300 * SECOND);
        assert_eq!(p.due(300 * SECOND, true), Due::Status { flush: false, ping: true });
        p.report(true, 300 * SECOND);
        assert_eq!(p.due(309 * SECOND, true), Due::Nothing);
        p.report(false, 310 * SECOND);
        assert_eq!(p.due(314 * SECOND, true), Due::Nothing);
        assert_eq!(p.due(315 * SECOND, true), Due::Silent);
    }

    #[test]
    fn synchronous_flushes_at_every_pause() {
        let mut p = progress(|settings| settings.synchronous = true);
        assert_eq!(p.due(SECOND, true), Due::Nothing);
        p.accept(Lsn::new(0x100_0000), 100, SECOND).unwrap();
        assert_eq!(p.due(SECOND, false), Due::Nothing);
        assert_eq!(p.wait(SECOND), Duration::ZERO);
        assert_eq!(p.due(SECOND, true), Due::Status { flush: true, ping: false });
        p.accept(Lsn::new(0x100_0064), 8 << 20, SECOND).unwrap();
        assert_eq!(p.due(SECOND, false), Due::Status { flush: true, ping: false });
    }

    #[test]
    fn finished_segments_are_reported_early() {
        let mut p = progress(|_| {});
        p.accept(Lsn::new(0x100_0000), 17 << 20, SECOND).unwrap();
        assert_eq!(p.due(SECOND, false), Due::Nothing);
        p.set_flushed(Lsn::new(0x200_0000));
        assert_eq!(p.due(SECOND, false), Due::Status { flush: false, ping: false });
        assert_eq!(p.report(false, SECOND).flush, Lsn::new(0x200_0000));
        assert_eq!(p.due(SECOND, false), Due::Nothing);
    }
}
