//! What a page must agree with when records are read across it.

use std::sync::Arc;

use crate::page::{LongPageHeader, PageHeader};
use crate::reader::EndReason;
use crate::{Lsn, Timeline, TimelineHistory};

/// The pages seen so far.
#[derive(Clone, Debug)]
pub(crate) struct PageCheck {
    /// The first page's header: what all pages share.
    pub(crate) first: LongPageHeader,
    /// The timeline of the latest page.
    pub(super) timeline: Timeline,
    lineage: Option<Lineage>,
}

/// Which timeline each page must be of.
#[derive(Clone, Debug)]
struct Lineage {
    history: Arc<TimelineHistory>,
    /// Holds the pages before `until`; they come in order.
    timeline: Timeline,
    until: u64,
}

impl Lineage {
    fn timeline_at(&mut self, page: u64) -> Timeline {
        if page >= self.until {
            let entry = self.history.entries().iter().find(|entry| page < entry.switch.get());
            self.timeline = entry.map_or(self.history.timeline(), |entry| entry.timeline);
            self.until = entry.map_or(u64::MAX, |entry| entry.switch.get());
        }
        self.timeline
    }
}

impl PageCheck {
    pub(super) fn new(first: LongPageHeader, history: Option<Arc<TimelineHistory>>) -> Self {
        let timeline = first.page.timeline;
        let lineage = history.map(|history| Lineage { history, timeline, until: 0 });
        Self { first, timeline, lineage }
    }

    pub(super) fn block(&self) -> u64 {
        self.first.block_size.into()
    }

    /// Bytes of the header a page at this position has.
    pub(super) fn header_len(&self, page: u64) -> usize {
        if Lsn::new(page).is_segment_start(self.first.segment_size) {
            LongPageHeader::LEN
        } else {
            PageHeader::LEN
        }
    }

    /// Reads the header of the page at this position, which must be all there.
    pub(super) fn check(&mut self, page: u64, bytes: &[u8]) -> Result<PageHeader, EndReason> {
        let at = Lsn::new(page);
        let header = PageHeader::parse(bytes).map_err(|error| EndReason::Page { page: at, error })?;
        if header.magic != self.first.page.magic {
            return Err(EndReason::PageMagic { expected: self.first.page.magic, found: header.magic });
        }
        if header.address != at {
            return Err(EndReason::PageAddress { page: at, found: header.address });
        }
        if header.timeline < self.timeline {
            return Err(EndReason::PageTimeline { before: self.timeline, found: header.timeline });
        }
        if let Some(lineage) = &mut self.lineage {
            let expected = lineage.timeline_at(page);
            if header.timeline != expected {
                return Err(EndReason::PageHistory { page: at, expected, found: header.timeline });
            }
        }
        let long = at.is_segment_start(self.first.segment_size);
        if header.info.has_long_header() != long {
            return Err(EndReason::PageKind { page: at });
        }
        if long {
            self.check_long(at, bytes)?;
        }
        self.timeline = header.timeline;
        Ok(header)
    }

    fn check_long(&self, page: Lsn, bytes: &[u8]) -> Result<(), EndReason> {
        let header = LongPageHeader::parse(bytes).map_err(|error| EndReason::Page { page, error })?;
        if header.system_id != self.first.system_id {
            return Err(EndReason::SystemId { expected: self.first.system_id, found: header.system_id });
        }
        if header.segment_size != self.first.segment_size || header.block_size != self.first.block_size {
            return Err(EndReason::Geometry {
                expected: self.first.segment_size,
                found: header.segment_size,
            });
        }
        Ok(())
    }
}
