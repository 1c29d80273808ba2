//! The directory `streaming/`: WAL as it arrives from a replication connection.
//!
//! A segment is born as `<segment>.partial`, of full size and filled with zeros, and gets its name only when all its
//! bytes are on disk. At any moment at most one `.partial` of the timeline is visible, so that Barman's `archive-wal`
//! and `pg_receivewal` understand the directory as well.
//!
//! The invariant: a position that [`SegmentDir::flush`] or [`SegmentDir::flushed`] ever returned can be read back
//! after a power cut, and one name never stands for two contents.
//!
//! Finishing a segment (`fsync`, rename, `fsync` of the directory) happens on a thread of its own, so that
//! receiving goes on meanwhile; the queue is bounded.

mod again;
mod current;
mod error;
mod finisher;
mod options;
mod scan;

pub use again::partial_agrees;
pub use error::SegmentDirError;
pub use options::{SegmentCompression, SegmentDirOptions};
pub use scan::Resume;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walfile::{Lsn, Timeline, TimelineHistory, WalName, WalSink};

use crate::durable::{self, Disk, DurableError, RealDisk, Step};
use again::Received;
use current::Current;
use finisher::{Finisher, Job};

/// Stores received WAL as segments; the stock [`WalSink`].
///
/// ```
/// use tapster_catalog::{SegmentDir, SegmentDirOptions};
/// use walfile::{Lsn, Timeline, WalSink};
/// let dir = tempfile::tempdir()?;
/// let (mut sink, resume) = SegmentDir::open(dir.path(), SegmentDirOptions::default())?;
/// assert_eq!(resume.from, None);
/// sink.begin(Timeline::FIRST);
/// sink.write(Lsn::new(0x100_0000), b"the first bytes")?;
/// assert_eq!(sink.flush()?, Lsn::new(0x100_000F));
/// assert!(dir.path().join("000000010000000000000001.partial").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SegmentDir {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    options: SegmentDirOptions,
    timeline: Option<Timeline>,
    current: Option<Current>,
    /// Where the next write must begin.
    position: Option<Lsn>,
    flushed: Lsn,
    poisoned: bool,
    finisher: Finisher,
}

impl SegmentDir {
    /// Opens a directory that exists, on the real file system.
    ///
    /// # Errors
    /// When it cannot be read or made durable.
    pub fn open(dir: &Path, options: SegmentDirOptions) -> Result<(Self, Resume), SegmentDirError> {
        Self::open_on(Arc::new(RealDisk), dir, options)
    }

    /// As [`SegmentDir::open`], on a disk of the caller's.
    ///
    /// # Errors
    /// As [`SegmentDir::open`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: SegmentDirOptions,
    ) -> Result<(Self, Resume), SegmentDirError> {
        let resume = scan::scan(disk.as_ref(), dir, &options)?;
        let finisher = Finisher::start(Arc::clone(&disk), dir.to_owned(), &options)?;
        let sink = Self {
            dir: dir.to_owned(),
            disk,
            options,
            timeline: resume.from.map(|(timeline, _)| timeline),
            current: None,
            position: resume.from.map(|(_, lsn)| lsn),
            flushed: resume.from.map_or(Lsn::INVALID, |(_, lsn)| lsn),
            poisoned: false,
            finisher,
        };
        Ok((sink, resume))
    }

    /// Starts on `timeline`, at the start of whatever segment the first write names: for an empty directory, or when the
    /// caller decides against the position in [`Resume`] (after `receive-wal --reset`). Call it before the first write.
    pub fn begin(&mut self, timeline: Timeline) {
        self.timeline = Some(timeline);
        self.position = None;
        self.flushed = Lsn::INVALID;
    }

    /// The timeline being received.
    pub const fn timeline(&self) -> Option<Timeline> {
        self.timeline
    }

    /// Where the next write must begin; `None` when any segment start will do.
    pub const fn position(&self) -> Option<Lsn> {
        self.position
    }

    /// Whether the history file of `timeline` is in the directory.
    pub fn has_history(&self, timeline: Timeline) -> bool {
        self.history_path(timeline).exists()
    }

    /// Stores a history file, durably. The same file again is fine; one with other content is refused (two
    /// clusters can have a timeline of the same number).
    ///
    /// # Errors
    /// [`SegmentDirError::Conflict`], or when the storage fails.
    pub fn store_history(&mut self, timeline: Timeline, raw: &[u8]) -> Result<(), SegmentDirError> {
        let path = self.history_path(timeline);
        match durable::write_new(self.disk.as_ref(), &path, raw, Some(self.options.file_mode)) {
            Ok(()) => Ok(()),
            Err(DurableError::Exists { path }) => {
                let stored = std::fs::read(&path).map_err(|e| SegmentDirError::io(Step::Read, &path, e))?;
                if stored != raw {
                    return Err(SegmentDirError::Conflict { path });
                }
                // Whoever wrote it may not have come to the sync.
                self.disk.sync_file(&path).map_err(|e| SegmentDirError::io(Step::Sync, &path, e))?;
                Ok(durable::sync_dir(self.disk.as_ref(), &self.dir)?)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Makes everything durable and ends the background thread. Dropping does the second without the first.
    ///
    /// # Errors
    /// As [`WalSink::flush`].
    pub fn close(mut self) -> Result<Lsn, SegmentDirError> {
        self.flush_all()
    }

    fn history_path(&self, timeline: Timeline) -> PathBuf {
        self.dir.join(WalName::History(timeline).to_string())
    }

    /// Runs one operation; after a failure nothing more is done.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, SegmentDirError>,
    ) -> Result<T, SegmentDirError> {
        if self.poisoned {
            return Err(SegmentDirError::Poisoned { dir: self.dir.clone() });
        }
        let done = work(self);
        self.poisoned = done.is_err();
        done
    }

    fn write_all(&mut self, at: Lsn, bytes: &[u8]) -> Result<(), SegmentDirError> {
        let mut at = self.check_position(at)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            self.make_current(at)?;
            let Some(current) = self.current.as_mut() else { break };
            let offset = u64::from(at.offset_in_segment(self.options.segment_size));
            let room = usize::try_from(self.options.segment_size.bytes() - offset).unwrap_or(usize::MAX);
            let (part, after) = rest.split_at(room.min(rest.len()));
            if offset == 0 {
                options::check_system(self.options.system_id, at, part)?;
            }
            current.write_new(offset, part)?;
            at = at.saturating_add(part.len() as u64);
            self.position = Some(at);
            rest = after;
            if at.is_segment_start(self.options.segment_size) {
                self.finish_current(at)?;
            }
        }
        if self.current.as_ref().is_some_and(Current::is_waiting) && self.finisher.is_idle()? {
            self.name_current()?;
        }
        Ok(())
    }

    /// Compares what comes once more with what was written.
    fn compare(&mut self, at: Lsn, bytes: &[u8]) -> Result<(), SegmentDirError> {
        let Some(current) = self.current.as_ref() else { return Ok(()) };
        let written = self.position.map_or(0, |position| position.saturating_bytes_since(current.start));
        let Some(offset) = at.get().checked_sub(current.start.get()) else { return Ok(()) };
        let fail = |e| SegmentDirError::io(Step::Read, &current.path, e);
        let found = Received::open(&current.path, written)
            .and_then(|mut old| old.contradiction(offset, bytes))
            .map_err(fail)?;
        current.refuse(found)
    }

    fn check_position(&mut self, at: Lsn) -> Result<Lsn, SegmentDirError> {
        match self.position {
            Some(expected) if expected == at => Ok(at),
            // A receiver that reconnects asks for the segment from its start; the same bytes come again.
            Some(_) if self.current.as_ref().is_some_and(|current| current.start == at) => Ok(at),
            Some(expected) => Err(SegmentDirError::NotContiguous { expected, found: at }),
            None if at.is_segment_start(self.options.segment_size) => Ok(at),
            None => Err(SegmentDirError::NotAtSegmentStart { found: at }),
        }
    }

    fn make_current(&mut self, at: Lsn) -> Result<(), SegmentDirError> {
        if self.current.is_some() {
            return Ok(());
        }
        let size = self.options.segment_size;
        if !at.is_segment_start(size) {
            return Err(SegmentDirError::NotAtSegmentStart { found: at });
        }
        let timeline = self.timeline.ok_or(SegmentDirError::NoTimeline { at })?;
        let name = at.segment(size).name(timeline, size);
        let waiting = !self.finisher.is_idle()?;
        self.current = Some(Current::open(self.disk.as_ref(), &self.dir, name, at, waiting, &self.options)?);
        Ok(())
    }

    fn name_current(&mut self) -> Result<(), SegmentDirError> {
        match self.current.as_mut() {
            Some(current) => current.stop_waiting(self.disk.as_ref(), &self.dir),
            None => Ok(()),
        }
    }

    fn finish_current(&mut self, end: Lsn) -> Result<(), SegmentDirError> {
        match self.current.take() {
            Some(Current { file, name, path, .. }) => self.finisher.submit(Job { file, path, name, end }),
            None => Ok(()),
        }
    }

    fn flush_all(&mut self) -> Result<Lsn, SegmentDirError> {
        self.guarded(|sink| {
            sink.finisher.drain()?;
            sink.name_current()?;
            if let Some(current) = sink.current.as_mut().filter(|_| sink.options.sync) {
                current.sync(sink.disk.as_ref(), &sink.dir)?;
            }
            if let Some(position) = sink.position {
                sink.flushed = sink.flushed.max(position);
            }
            Ok(sink.flushed)
        })
    }

    fn begin_next(&mut self) -> Result<(), SegmentDirError> {
        let Some(position) = self.position.filter(|_| self.options.begin_next && self.timeline.is_some())
        else {
            return Ok(());
        };
        self.guarded(|sink| {
            sink.finisher.drain()?;
            if position.is_segment_start(sink.options.segment_size) {
                sink.make_current(position)?;
            }
            sink.name_current()
        })
    }

    fn switch(&mut self, history: &TimelineHistory, raw: &[u8]) -> Result<(), SegmentDirError> {
        if let Some(current) = self.timeline.filter(|timeline| history.switch_from(*timeline).is_none()) {
            return Err(SegmentDirError::NoDescent { current, next: history.timeline() });
        }
        self.flush_all()?;
        self.guarded(|sink| {
            sink.store_history(history.timeline(), raw)?;
            // The tail of the old timeline stays a `.partial`: nobody will complete it.
            sink.current = None;
            sink.timeline = Some(history.timeline());
            let start = history.begin().segment_start(sink.options.segment_size);
            sink.position = Some(start);
            sink.flushed = start;
            sink.finisher.forget_position();
            Ok(())
        })
    }
}

impl WalSink for SegmentDir {
    fn write(&mut self, at: Lsn, bytes: &[u8]) -> io::Result<()> {
        Ok(self.guarded(|sink| sink.write_all(at, bytes))?)
    }

    fn flush(&mut self) -> io::Result<Lsn> {
        Ok(self.flush_all()?)
    }

    fn idle(&mut self) -> io::Result<()> {
        Ok(self.begin_next()?)
    }

    fn received_again(&mut self, at: Lsn, bytes: &[u8]) -> io::Result<()> {
        Ok(self.guarded(|sink| sink.compare(at, bytes))?)
    }

    fn flushed(&self) -> Lsn {
        self.finisher.durable().map_or(self.flushed, |durable| durable.max(self.flushed))
    }

    fn switch_timeline(&mut self, history: &TimelineHistory, raw: &[u8]) -> io::Result<()> {
        Ok(self.switch(history, raw)?)
    }
}
