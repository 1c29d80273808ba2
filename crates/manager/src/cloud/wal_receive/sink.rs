//! What the receiver and the upload know of one another.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tapster_catalog::SegmentDir;
use thiserror::Error;
use walfile::{Lsn, SegmentName, SegmentSize, Timeline, TimelineHistory, WalSink};

use super::spool::Spool;
use super::{Acknowledge, CloudReceiveOptions};

/// Of both threads.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// The segment in hand, and up to where it was written; zero when that is not known.
    pub(super) current: Option<(SegmentName, Lsn)>,
    /// Up to where the bucket has everything of this timeline.
    pub(super) stored: Option<(Timeline, Lsn)>,
    /// Nothing more will be received.
    pub(super) has_ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No statement below leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> State {
        *self.lock()
    }

    /// The upload is woken when `wakes`.
    pub(super) fn set_current(&self, segment: SegmentName, written: Lsn) {
        let mut state = self.lock();
        let is_new = state.current.is_none_or(|(before, _)| before != segment);
        state.current = Some((segment, written));
        if is_new {
            self.changed.notify_all();
        }
    }

    pub(super) fn set_stored(&self, timeline: Timeline, lsn: Lsn) {
        let mut state = self.lock();
        if state.stored.is_none_or(|before| before < (timeline, lsn)) {
            state.stored = Some((timeline, lsn));
        }
    }

    pub(super) fn end(&self) {
        self.lock().has_ended = true;
        self.changed.notify_all();
    }

    /// Until something changes, at most so long.
    pub(super) fn wait(&self, most: Duration) {
        let state = self.lock();
        if !state.has_ended {
            drop(self.changed.wait_timeout(state, most));
        }
    }
}

/// The spool has no room for a further segment.
#[derive(Clone, Copy, Debug, Error)]
#[error("{bytes} bytes of WAL wait for the store, and no more are to")]
pub(super) struct SpoolFull {
    pub(super) bytes: u64,
    /// Of a segment.
    pub(super) size: u64,
    /// The one that there is no room for.
    pub(super) next: Option<SegmentName>,
}

/// A [`SegmentDir`] that is not filled beyond measure, and acknowledges as it is told to.
pub(super) struct SpoolSink<'s> {
    inner: SegmentDir,
    spool: &'s Spool,
    shared: &'s Shared,
    size: SegmentSize,
    acknowledge: Acknowledge,
    most: Option<u64>,
    /// The segment for which there was room.
    admitted: Option<SegmentName>,
}

impl<'s> SpoolSink<'s> {
    pub(super) fn new(
        inner: SegmentDir,
        spool: &'s Spool,
        shared: &'s Shared,
        size: SegmentSize,
        options: &CloudReceiveOptions,
    ) -> Self {
        let (acknowledge, most) = (options.acknowledge, options.spool_max_size);
        Self { inner, spool, shared, size, acknowledge, most, admitted: None }
    }

    pub(super) fn into_inner(self) -> SegmentDir {
        self.inner
    }

    /// What may be acknowledged when so much is on the disk. Nothing (zero) is no acknowledgement at all.
    fn acknowledged(&self, spooled: Lsn) -> Lsn {
        match (self.acknowledge, self.shared.state().stored) {
            (Acknowledge::Spool, _) => spooled,
            (Acknowledge::Store, Some((timeline, stored))) if Some(timeline) == self.inner.timeline() => {
                spooled.min(stored)
            }
            (Acknowledge::Store, _) => Lsn::INVALID,
        }
    }
}

impl WalSink for SpoolSink<'_> {
    fn write(&mut self, at: Lsn, bytes: &[u8]) -> io::Result<()> {
        let named = self.inner.timeline().map(|timeline| SegmentName::containing(timeline, at, self.size));
        if named != self.admitted {
            let size = self.size.bytes();
            if let Some(bytes) = self.spool.is_full(self.most, named, size).map_err(io::Error::other)? {
                return Err(io::Error::other(SpoolFull { bytes, size, next: named }));
            }
            self.admitted = named;
        }
        self.inner.write(at, bytes)?;
        if let Some(timeline) = self.inner.timeline() {
            let end = at.saturating_add(bytes.len() as u64);
            self.shared.set_current(SegmentName::containing(timeline, end, self.size), end);
        }
        Ok(())
    }

    fn received_again(&mut self, at: Lsn, bytes: &[u8]) -> io::Result<()> {
        self.inner.received_again(at, bytes)
    }

    fn flush(&mut self) -> io::Result<Lsn> {
        let spooled = self.inner.flush()?;
        Ok(self.acknowledged(spooled))
    }

    fn flushed(&self) -> Lsn {
        self.acknowledged(self.inner.flushed())
    }

    fn idle(&mut self) -> io::Result<()> {
        self.inner.idle()
    }

    fn switch_timeline(&mut self, history: &TimelineHistory, raw: &[u8]) -> io::Result<()> {
        self.inner.switch_timeline(history, raw)?;
        let start = history.begin().segment_start(self.size);
        self.shared.set_current(SegmentName::containing(history.timeline(), start, self.size), start);
        Ok(())
    }
}
