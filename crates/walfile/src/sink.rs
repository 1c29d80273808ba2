//! The seam between what produces WAL (a replication stream) and what stores it.

use std::io;

use crate::{Lsn, TimelineHistory};

/// Where received WAL goes. It lives here so that the receiver and the store need not know each other.
///
/// The caller writes one gap-free sequence of bytes per timeline. An implementation splits it into segments.
/// An error from any method is final: the sink must not be used again, because after a failed `fsync` nobody
/// knows what is on disk.
pub trait WalSink {
    /// Takes `bytes`, the WAL from position `at` on. `at` is where the previous write ended, or the start
    /// of a segment after the sink was opened or switched.
    ///
    /// # Errors
    /// When the position does not follow, or the storage fails.
    fn write(&mut self, at: Lsn, bytes: &[u8]) -> io::Result<()>;

    /// Takes note of WAL that was handed over before, and comes again because a stream begins at the start of a segment. An
    /// error says that it is not the same WAL: the server has lost some, and what was acknowledged must not be mixed with
    /// what it wrote instead.
    ///
    /// # Errors
    /// When it differs, or what was written cannot be read.
    fn received_again(&mut self, _at: Lsn, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    /// Makes everything written so far durable, directory entries included, and returns the position up to
    /// which it is. Only this position may be reported to the server as flushed.
    ///
    /// # Errors
    /// When an `fsync` fails.
    fn flush(&mut self) -> io::Result<Lsn>;

    /// The position up to which WAL of the current timeline is known to be durable, without doing any work.
    fn flushed(&self) -> Lsn;

    /// The stream has nothing to hand over for the moment: a good time for work that need not hold it up. Does nothing by
    /// default.
    ///
    /// # Errors
    /// When the storage fails.
    fn idle(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Ends the current timeline and goes on with `history.timeline()`: the open segment stays a `.partial`,
    /// everything written before and the history file (`raw`, as the server sent it) are durable when this returns. The
    /// next write starts at the beginning of the segment that holds the switch point, and until the next flush
    /// [`WalSink::flushed`] is not beyond it: what was durable of the old timeline says nothing about the new one.
    ///
    /// # Errors
    /// When the storage fails.
    fn switch_timeline(&mut self, history: &TimelineHistory, raw: &[u8]) -> io::Result<()>;
}
