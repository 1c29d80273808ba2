//! Records of an archive, one after the other.

use std::fmt;
use std::io::Read as _;
use std::sync::Arc;

use crate::archive::file::{OpenSegment, open_decoded};
use crate::archive::{ArchiveEnd, ArchiveError, ArchiveStop, WalArchive};
use crate::page::LongPageHeader;
use crate::reader::{Assembler, Pass, Passed, Step};
use crate::rmgr::RmgrSet;
use crate::{EndReason, Lsn, Record, SegmentNo, SegmentSize, SystemId, Timeline, TimelineHistory, WalName};

/// Bytes that are read at once. A record that crosses no page is lent from here, so a page must fit.
const BUFFER: usize = 256 * 1024;

/// Lines of some dozen bytes, and no cluster is promoted that often.
const MAX_HISTORY: u64 = 16 * 1024 * 1024;

/// Walks over the records of an archive from a position on, on the way to a timeline.
///
/// Every page must be of the timeline that held its position by the history file; back links, checksums and the rest are
/// checked as by [`RecordDecoder`](crate::RecordDecoder). A `.partial` is read where the whole segment is missing, and
/// ends the log. Files are decompressed by what they begin with, for the codecs that are built in.
///
/// Memory: one buffer of 256 KiB, the codec, and one unfinished record, which grows only with bytes that came.
/// Nothing is allocated for a record that crosses no page.
///
/// ```no_run
/// # fn show(archive: impl walfile::WalArchive) -> Result<(), Box<dyn std::error::Error>> {
/// use walfile::{ArchiveReader, Timeline};
/// let mut reader = ArchiveReader::open(archive, Timeline::FIRST, "0/5000028".parse()?)?.until("0/7000000".parse()?);
/// while let Some(record) = reader.next_record() {
///     println!("{} {} {}", record.lsn, record.header.rmgr, record.type_name().unwrap_or("UNKNOWN"));
/// }
/// if let Some(end) = reader.end() {
///     println!("{end}");
/// }
/// # Ok(())
/// # }
/// ```
pub struct ArchiveReader<A> {
    pub(super) archive: A,
    pub(super) history: Arc<TimelineHistory>,
    pub(super) start: Lsn,
    until: Lsn,
    pub(super) size: Option<SegmentSize>,
    pub(super) system: Option<SystemId>,
    pub(super) state: Assembler,
    pub(super) buffer: Vec<u8>,
    pub(super) filled: usize,
    used: usize,
    /// Bytes of the first segment that are not looked at.
    pub(super) skip: u64,
    pub(super) file: Option<OpenSegment>,
    /// A file that could not be opened.
    pub(super) failed: Option<WalName>,
    /// The segment in `file`.
    pub(super) number: SegmentNo,
    /// Where the record that was returned last ends.
    last_end: Lsn,
    end: Option<ArchiveEnd>,
}

impl<A: WalArchive> ArchiveReader<A> {
    /// Reads from `start` on the way to `timeline`, whose history file is taken from the archive. The first record is
    /// the first that begins at `start` or after it.
    ///
    /// # Errors
    /// When the history file cannot be read, is damaged, or is missing for a timeline other than the first.
    pub fn open(archive: A, timeline: Timeline, start: Lsn) -> Result<Self, ArchiveError> {
        let history = match read_history(&archive, timeline)? {
            Some(history) => history,
            None if timeline == Timeline::FIRST => TimelineHistory::root(timeline),
            None => return Err(ArchiveError::UnknownTimeline { timeline }),
        };
        Ok(Self::with_history(archive, history, start))
    }

    /// Reads from `start` on the way to the timeline whose history this is. A timeline whose history file is lost can be read
    /// with [`TimelineHistory::root`], on itself alone.
    pub fn with_history(archive: A, history: impl Into<Arc<TimelineHistory>>, start: Lsn) -> Self {
        let history = history.into();
        Self {
            archive,
            state: Assembler::following(Arc::clone(&history)),
            history,
            start,
            until: Lsn::MAX,
            size: None,
            system: None,
            buffer: Vec::new(),
            filled: 0,
            used: 0,
            skip: 0,
            file: None,
            failed: None,
            number: SegmentNo::default(),
            last_end: start,
            end: None,
        }
    }

    /// Reads from `start` in the files of `timeline` alone, as `pg_waldump` does: their pages may be of any timeline that
    /// does not go back, and no history file is looked for.
    pub fn on_timeline(archive: A, timeline: Timeline, start: Lsn) -> Self {
        let reader = Self::with_history(archive, TimelineHistory::root(timeline), start);
        Self { state: Assembler::default(), ..reader }
    }

    /// Reads no record that begins at `end` or after it.
    #[must_use]
    pub fn until(self, end: Lsn) -> Self {
        Self { until: end, ..self }
    }

    /// Says how long the segments are. Otherwise the first file is looked for under the names it has with each size.
    #[must_use]
    pub fn with_segment_size(self, size: SegmentSize) -> Self {
        Self { size: Some(size), ..self }
    }

    /// Says to which cluster the WAL belongs. Otherwise all of it must belong to the cluster of the first file.
    #[must_use]
    pub fn with_system_id(self, system_id: SystemId) -> Self {
        Self { system: Some(system_id), ..self }
    }

    /// The next record, or `None` at the end: see [`ArchiveReader::end`]. Not an `Iterator`, because the record is lent
    /// from a buffer.
    pub fn next_record(&mut self) -> Option<Record<'_>> {
        self.next(Pass::NOTHING)
    }

    /// The next record that is of one of these resource managers or begins at `limit` or after it. Those before it are checked
    /// as all are and counted in [`ArchiveReader::passed`], but not put together, which is faster.
    ///
    /// A record that crosses pages is passed over when it is not wanted while its header is read.
    pub fn next_of(&mut self, wanted: RmgrSet, limit: Lsn) -> Option<Record<'_>> {
        let (from, until) = (self.start.get(), limit.min(self.until).get());
        self.next(Pass { wanted, from, until })
    }

    /// The records that [`ArchiveReader::next_of`] has passed over.
    pub const fn passed(&self) -> Passed {
        self.state.passed
    }

    fn next(&mut self, pass: Pass) -> Option<Record<'_>> {
        let found = loop {
            if self.end.is_some() {
                return None;
            }
            if let Some((end, _)) = self.state.passed.last {
                self.last_end = self.last_end.max(end);
            }
            if self.last_end >= self.until {
                self.stop_at(self.last_end, ArchiveStop::Reached);
                return None;
            }
            let input = self.buffer.get(..self.filled).unwrap_or(&[]);
            match self.state.step(input, &mut self.used, &pass) {
                Step::Record(found) if found.lsn < self.start.get() => {}
                Step::Record(found) if found.lsn >= self.until.get() => {
                    self.stop_at(Lsn::new(found.lsn), ArchiveStop::Reached);
                }
                Step::Record(found) => break found,
                Step::NeedMore => {
                    if let Err(stop) = self.read_on() {
                        self.stop(stop);
                    }
                }
                Step::End => {
                    let end = self.state.end.clone();
                    let (at, reason) =
                        end.map_or((self.start, EndReason::NothingWritten), |e| (e.at, e.reason));
                    self.stop_at(at, ArchiveStop::Log(reason));
                }
            }
        };
        let record = self.state.record(&found, self.buffer.get(..self.filled).unwrap_or(&[]))?;
        self.last_end = record.end;
        Some(record)
    }

    /// Where the valid part ends, once [`ArchiveReader::next_record`] has returned `None`.
    pub const fn end(&self) -> Option<&ArchiveEnd> {
        self.end.as_ref()
    }

    /// As [`ArchiveReader::end`], to keep.
    pub fn into_end(self) -> Option<ArchiveEnd> {
        self.end
    }

    /// The file that is being read: where the record that was returned last ends.
    pub fn file(&self) -> Option<WalName> {
        self.file.as_ref().map(|file| file.name)
    }

    /// The header of the first page that was read, once there is one.
    pub fn first_page(&self) -> Option<&LongPageHeader> {
        self.state.pages.as_ref().map(|pages| &pages.first)
    }

    /// The segment size, once it is known.
    pub const fn segment_size(&self) -> Option<SegmentSize> {
        self.size
    }

    /// The history of the timeline that is read.
    pub fn history(&self) -> &TimelineHistory {
        &self.history
    }

    fn stop(&mut self, stop: ArchiveStop) {
        let rest = self.filled.saturating_sub(self.used);
        let known = self.state.pages.is_some();
        let end = self.state.finish(rest).clone();
        let stop = match (stop, end.reason) {
            (ArchiveStop::Missing { name, .. }, EndReason::Input { unfinished }) if known => {
                ArchiveStop::Missing { name, unfinished }
            }
            (ArchiveStop::Log(EndReason::Input { .. }), reason) => ArchiveStop::Log(reason),
            (stop, _) => stop,
        };
        self.stop_at(if known { end.at } else { self.start }, stop);
    }

    fn stop_at(&mut self, at: Lsn, stop: ArchiveStop) {
        let file = self.failed.or_else(|| self.file());
        let timeline = self.history.timeline_at(at);
        self.end.get_or_insert(ArchiveEnd { at, timeline, file, stop });
    }

    /// Brings more input, from the file that is open or the next one.
    fn read_on(&mut self) -> Result<(), ArchiveStop> {
        self.buffer.resize(BUFFER, 0);
        self.buffer.copy_within(self.used.min(self.filled)..self.filled, 0);
        self.filled -= self.used.min(self.filled);
        self.used = 0;
        loop {
            let Some(file) = &mut self.file else {
                self.open_first()?;
                if self.filled > 0 {
                    return Ok(());
                }
                continue;
            };
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            let got = file.read(room)?;
            if got > 0 {
                self.filled += got;
                if self.pass_over() {
                    return Ok(());
                }
                continue;
            }
            let (left, partial) = (file.is_left(), file.is_partial());
            if left {
                // The file of the newer timeline was not there; what there is of it begins as the one that was left.
                let Some(file) = self.find_newer_partial()? else {
                    let name = self.newest_holder();
                    return Err(ArchiveStop::Missing { name, unfinished: 0 });
                };
                self.file = Some(file);
                continue;
            }
            if partial {
                return Err(ArchiveStop::Log(EndReason::Input { unfinished: 0 }));
            }
            self.open_next()?;
        }
    }

    /// Drops what comes before the page of the start; whether there is anything left.
    pub(super) fn pass_over(&mut self) -> bool {
        let drop = self.filled.min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        self.buffer.copy_within(drop..self.filled, 0);
        self.filled -= drop;
        self.skip -= drop as u64;
        self.filled > 0
    }
}

impl<A> fmt::Debug for ArchiveReader<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveReader")
            .field("timeline", &self.history.timeline())
            .field("start", &self.start)
            .field("file", &self.file)
            .field("last_end", &self.last_end)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// Reads a history file; `None` when there is none.
fn read_history(
    archive: &impl WalArchive,
    timeline: Timeline,
) -> Result<Option<TimelineHistory>, ArchiveError> {
    let name = WalName::History(timeline);
    let fail = |source| ArchiveError::Read { name, source };
    let Some(content) = open_decoded(archive, name).map_err(fail)? else { return Ok(None) };
    let mut bytes = Vec::new();
    content.take(MAX_HISTORY).read_to_end(&mut bytes).map_err(fail)?;
    Ok(Some(TimelineHistory::parse(timeline, &bytes)?))
}
