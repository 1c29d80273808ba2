//! From what was asked for to positions.

use std::io::Read as _;

use tapster_catalog::WalStore;
use walfile::codec::{self, DETECT_LEN};
use walfile::{
    ArchiveError, ArchiveReader, LongPageHeader, Lsn, SegmentName, SegmentSize, Timeline, WalArchive, WalName,
};

use super::WalInspectError;
use crate::Server;

/// What is to be read.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct WalSpan {
    /// The first segment. Without [`WalSpan::last`] or [`WalSpan::end`] the only one.
    pub first: Option<SegmentName>,
    /// The last segment.
    pub last: Option<SegmentName>,
    /// The timeline; that of the first segment, or 1, when `None`.
    pub timeline: Option<Timeline>,
    /// Read from here on, or from the start of the first segment.
    pub start: Option<Lsn>,
    /// Up to here: a record must end before it.
    pub end: Option<Lsn>,
    /// Read up to the end of the log, not of the first segment.
    pub to_the_end: bool,
}

/// Positions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) start: Lsn,
    pub(super) end: Lsn,
    pub(super) size: SegmentSize,
    timeline: Timeline,
    /// Whether only files of the timeline are read.
    alone: bool,
}

impl WalSpan {
    pub(super) fn resolve(&self, archive: &impl WalArchive) -> Result<Range, WalInspectError> {
        let timeline = self.first.map(SegmentName::timeline).or(self.timeline).unwrap_or(Timeline::FIRST);
        let Some(first) = self.first else {
            let start = self.start.ok_or(WalInspectError::NoStart)?;
            let (name, size) = holder(archive, timeline, start)?;
            let end = match self.last {
                Some(last) => last.end(size)?,
                None => Lsn::MAX,
            };
            let end = self.end.unwrap_or(end);
            let alone = name.timeline() == timeline && history_is_missing(archive, timeline)?;
            return Ok(Range { start, end, size, timeline, alone });
        };
        let header = header(archive, first)?.ok_or(WalInspectError::Locate { name: first })?;
        let size = header.segment_size;
        let last = self.last.unwrap_or(first);
        let (from, to) = (first.start(size)?, last.end(size)?);
        if last.number(size)? < first.number(size)? {
            return Err(WalInspectError::Order { first, last });
        }
        let start = self.start.unwrap_or(from);
        if start < from || start >= first.end(size)? {
            return Err(WalInspectError::Outside { what: "start", position: start, name: first });
        }
        let end = match self.end {
            Some(end) if self.last.is_some() && (end <= last.start(size)? || end > to) => {
                return Err(WalInspectError::Outside { what: "end", position: end, name: last });
            }
            Some(end) => end,
            None if self.to_the_end => Lsn::MAX,
            None => to,
        };
        // Whoever names files wants to see these.
        Ok(Range {
            start,
            end,
            size,
            timeline,
            alone: !self.to_the_end || history_is_missing(archive, timeline)?,
        })
    }
}

impl Range {
    pub(super) fn open<A: WalArchive>(&self, archive: A, at: Lsn) -> Result<ArchiveReader<A>, ArchiveError> {
        if self.alone {
            Ok(ArchiveReader::on_timeline(archive, self.timeline, at))
        } else {
            ArchiveReader::open(archive, self.timeline, at)
        }
    }
}

fn history_is_missing(archive: &impl WalArchive, timeline: Timeline) -> Result<bool, WalInspectError> {
    let name = WalName::History(timeline);
    let found = archive.open(name).map_err(|source| ArchiveError::Read { name, source })?;
    Ok(found.is_none())
}

/// The segment that holds a position, by trying the names it has with each size, and its size.
fn holder(
    archive: &impl WalArchive,
    timeline: Timeline,
    at: Lsn,
) -> Result<(SegmentName, SegmentSize), WalInspectError> {
    let other_sizes = (20..=30).filter_map(|bits| SegmentSize::new(1 << bits).ok());
    let named = |timeline: Timeline, size| SegmentName::containing(timeline, at, size);
    // The timeline may have begun later; its ancestors have lower numbers.
    let timelines = (1..=timeline.get()).rev().take(64).filter_map(Timeline::new);
    for timeline in timelines {
        for size in std::iter::once(SegmentSize::DEFAULT).chain(other_sizes.clone()) {
            let name = named(timeline, size);
            if let Some(header) = header(archive, name)? {
                return Ok((named(timeline, header.segment_size), header.segment_size));
            }
        }
    }
    Err(WalInspectError::Locate { name: named(timeline, SegmentSize::DEFAULT) })
}

/// The header of a segment's first page, when it is there.
fn header(archive: &impl WalArchive, name: SegmentName) -> Result<Option<LongPageHeader>, WalInspectError> {
    let fail = |source| WalInspectError::Read { name, source };
    for file in [WalName::Segment(name), WalName::Partial(name)] {
        let Some(mut stored) = archive.open(file).map_err(fail)? else { continue };
        let mut start = Vec::with_capacity(DETECT_LEN);
        stored.by_ref().take(DETECT_LEN as u64).read_to_end(&mut start).map_err(fail)?;
        let compression = codec::detect(&start);
        let content = codec::decoder(std::io::Cursor::new(start).chain(stored), compression);
        let content = content.map_err(|error| fail(error.into()))?;
        let mut bytes = Vec::with_capacity(LongPageHeader::LEN);
        content.take(LongPageHeader::LEN as u64).read_to_end(&mut bytes).map_err(fail)?;
        let header =
            LongPageHeader::parse(&bytes).map_err(|source| WalInspectError::Header { name, source })?;
        return Ok(Some(header));
    }
    Ok(None)
}

/// The first segment of a timeline, or of the first timeline there is, in the hub.
pub(super) fn first_archived(
    server: &Server,
    store: &WalStore<'_>,
    timeline: Option<Timeline>,
) -> Result<SegmentName, WalInspectError> {
    let recorded = || server.catalog().records().ok()?.last()?.xlog_segment_size;
    let size = recorded().unwrap_or_default();
    let runs = store.segment_runs(size)?;
    let mut runs = runs.iter().filter(|(found, _)| timeline.is_none_or(|timeline| timeline == **found));
    let first = runs.next().and_then(|(timeline, runs)| Some(runs.first()?.first.name(*timeline, size)));
    first.ok_or(WalInspectError::Empty)
}

/// The newest timeline of which there is a segment in the hub.
pub(super) fn newest_timeline(store: &WalStore<'_>) -> Result<Option<Timeline>, WalInspectError> {
    // Any size will do: only the timelines are asked for.
    Ok(store.segment_runs(SegmentSize::MIN)?.into_keys().next_back())
}
