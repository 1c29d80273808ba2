//! Having the disk work while a file is still being written.

use std::num::NonZeroU64;
use std::os::fd::AsFd;

use rustix::fs::{Advice, fadvise};

/// After so many bytes the kernel is told to begin storing them, so that the last sync has little left to do.
const PIECE: u64 = 8 * 1024 * 1024;
/// The rest of a file that is smaller waits for that sync.
const SMALL: u64 = 256 * 1024;

/// How much of one file was written, and how much of that is on its way to disk.
#[derive(Debug, Default)]
pub(crate) struct WriteBehind {
    written: u64,
    started: u64,
}

impl WriteBehind {
    /// `count` bytes more are written.
    pub(crate) fn wrote(&mut self, file: impl AsFd, count: u64) {
        self.count(count);
        if self.waiting() >= PIECE {
            self.start(file);
        }
    }

    /// The same, of what nobody waits for.
    pub(crate) const fn count(&mut self, count: u64) {
        self.written = self.written.saturating_add(count);
    }

    /// Bytes written.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// The file is complete.
    pub(crate) fn finish(&mut self, file: impl AsFd) {
        if self.written >= SMALL && self.waiting() > 0 {
            self.start(file);
        }
    }

    const fn waiting(&self) -> u64 {
        self.written.saturating_sub(self.started)
    }

    /// `POSIX_FADV_DONTNEED` makes Linux begin storing the range and go on at once; the pages of a backup are of no use in the cache
    /// either. Only advice: its failure means nothing.
    fn start(&mut self, file: impl AsFd) {
        let _ = fadvise(file, self.started, NonZeroU64::new(self.waiting()), Advice::DontNeed);
        self.started = self.written;
    }
}
