//! Finding records in a sequence of pages: the state machine under [`Records`](super::Records) and
//! [`RecordDecoder`](super::RecordDecoder).

use crate::page::{LongPageHeader, PageHeader};
use crate::reader::pages::PageCheck;
use crate::reader::{EndOfWal, EndReason, Record};
use crate::record::{RecordHeader, checksum};
use crate::{Lsn, PageError};

/// A buffer that a longer record needed is given back.
const KEPT_CAPACITY: usize = 1 << 20;

/// The state between two pieces of input. Input begins with the first page of a segment and has no gaps.
#[derive(Clone, Debug, Default)]
pub(super) struct Assembler {
    /// `None` before the first page header.
    pub(super) pages: Option<PageCheck>,
    /// Position of the next byte of input.
    pub(super) at: u64,
    /// End of the page in which `at` lies; equal to it where a page header must follow.
    page_end: u64,
    /// Padding to pass over before the next record.
    padding: u64,
    /// Where the segment ends whose rest a switch left empty.
    switched_until: u64,
    /// Bytes of a record that began before the input: its end is passed over.
    foreign: u32,
    /// Start of the unfinished record, when there is one.
    unfinished: Option<u64>,
    /// What is there of it; once it is whole, the record.
    scratch: Vec<u8>,
    /// Its length.
    total: u32,
    /// Start of the record before; `None` where anything before the record will do.
    pub(super) prev: Option<Lsn>,
    /// An unfinished record that a page said was lost.
    lost: Option<Lsn>,
    pub(super) end: Option<EndOfWal>,
}

/// What a step led to.
#[derive(Debug)]
pub(super) enum Step {
    Record(Found),
    NeedMore,
    End,
}

/// A record that was found.
#[derive(Debug)]
pub(super) struct Found {
    /// Its place in the input, or `None` when it was put together from several pages.
    place: Option<(usize, usize)>,
    header: RecordHeader,
    lsn: u64,
    end: u64,
    lost: Option<Lsn>,
}

impl Assembler {
    /// The record that a step found in `input`.
    pub(super) fn record<'a>(&'a self, found: &Found, input: &'a [u8]) -> Option<Record<'a>> {
        let pages = self.pages.as_ref()?;
        let bytes = match found.place {
            Some((start, end)) => input.get(start..end)?,
            None => &self.scratch,
        };
        Some(Record {
            lsn: Lsn::new(found.lsn),
            end: Lsn::new(found.end),
            timeline: pages.timeline,
            magic: pages.first.page.magic,
            header: found.header,
            bytes,
            replaces: found.lost,
        })
    }

    /// Ends because the input does.
    pub(super) fn finish(&mut self, rest: usize) -> &EndOfWal {
        let (at, unfinished) = match self.unfinished {
            Some(start) => (start, self.scratch.len()),
            None => (self.at, rest),
        };
        let unfinished = u32::try_from(unfinished).unwrap_or(u32::MAX);
        self.end.get_or_insert(EndOfWal { at: Lsn::new(at), reason: EndReason::Input { unfinished } })
    }

    /// Bytes that are there of the unfinished record.
    pub(super) const fn gathered(&self) -> usize {
        if self.unfinished.is_some() { self.scratch.len() } else { 0 }
    }

    fn stop(&mut self, reason: EndReason) -> Step {
        let at = Lsn::new(self.unfinished.unwrap_or(self.at));
        self.end.get_or_insert(EndOfWal { at, reason });
        Step::End
    }

    /// Reads from `input`, of which `used` bytes were consumed before, up to the end of the next record.
    pub(super) fn step(&mut self, input: &[u8], used: &mut usize) -> Step {
        if self.end.is_some() {
            return Step::End;
        }
        loop {
            let rest = input.get(*used..).unwrap_or(&[]);
            if self.at < self.switched_until {
                if !self.pass(self.switched_until - self.at, rest.len(), used) {
                    return Step::NeedMore;
                }
                self.page_end = self.at;
                self.padding = 0;
            } else if self.padding > 0 {
                let before = self.at;
                let done = self.pass(self.padding, rest.len(), used);
                self.padding -= self.at - before;
                if !done {
                    return Step::NeedMore;
                }
            } else if self.at == self.page_end {
                match self.enter_page(rest) {
                    Ok(Some(length)) => *used += length,
                    Ok(None) => return Step::NeedMore,
                    Err(reason) => return self.stop(reason),
                }
            } else if rest.is_empty() {
                return Step::NeedMore;
            } else if self.foreign > 0 {
                let length = u64::from(self.foreign).min(self.page_end - self.at);
                let before = self.at;
                self.pass(length, rest.len(), used);
                self.foreign -= u32::try_from(self.at - before).unwrap_or(self.foreign);
                if self.foreign == 0 {
                    self.padding = self.at.next_multiple_of(8) - self.at;
                }
            } else if self.unfinished.is_some() {
                match self.gather(rest, used) {
                    Ok(None) => {}
                    Ok(Some(found)) => return Step::Record(found),
                    Err(reason) => return self.stop(reason),
                }
            } else {
                match self.begin(rest, used) {
                    Ok(None) if self.unfinished.is_some() => {}
                    Ok(None) => return Step::NeedMore,
                    Ok(Some(found)) => return Step::Record(found),
                    Err(reason) => return self.stop(reason),
                }
            }
        }
    }

    /// Passes over up to `length` bytes of the `there` that are left; whether all were there.
    fn pass(&mut self, length: u64, there: usize, used: &mut usize) -> bool {
        let count = usize::try_from(length).unwrap_or(usize::MAX).min(there);
        *used += count;
        self.at += count as u64;
        count as u64 == length
    }

    /// Reads a page header; `None` when it is not all there.
    fn enter_page(&mut self, rest: &[u8]) -> Result<Option<usize>, EndReason> {
        let fresh = self.pages.is_none();
        let length = match &self.pages {
            None => match LongPageHeader::parse(rest) {
                Ok(first) => {
                    self.at = first.page.address.get();
                    self.pages = Some(PageCheck::new(first));
                    LongPageHeader::LEN
                }
                Err(PageError::TooShort { .. }) => return Ok(None),
                Err(error) => return Err(EndReason::Page { page: Lsn::new(self.at), error }),
            },
            Some(pages) => pages.header_len(self.at),
        };
        let (Some(bytes), Some(pages)) = (rest.get(..length), &mut self.pages) else { return Ok(None) };
        let timeline = pages.timeline;
        let header = pages.check(self.at, bytes)?;
        let page_end = self
            .at
            .checked_add(pages.block())
            .ok_or(EndReason::PageAddress { page: Lsn::new(self.at), found: header.address })?;
        if header.timeline != timeline {
            self.prev = None;
        }
        self.join(&header, fresh)?;
        self.page_end = page_end;
        self.at += length as u64;
        Ok(Some(length))
    }

    /// Whether the page goes on with what the page before left.
    fn join(&mut self, header: &PageHeader, fresh: bool) -> Result<(), EndReason> {
        let page = header.address;
        let continued = header.info.has_continued_record();
        if header.info.overwrites_continued_record() && !continued {
            // After a crash in the middle of a record: it is given up, and the log goes on here. The next record
            // links back to the last whole one of the server that wrote it, which need not be the one seen here.
            self.lost = self.unfinished.take().map(Lsn::new);
            self.foreign = 0;
            self.prev = None;
            return Ok(());
        }
        let missing = match self.unfinished {
            Some(_) => self.total.saturating_sub(u32::try_from(self.scratch.len()).unwrap_or(u32::MAX)),
            None => self.foreign,
        };
        match (continued, missing) {
            (true, 0) if fresh => self.foreign = header.remaining,
            (true, 0) => return Err(EndReason::Continued { page }),
            (false, 0) => {}
            (false, _) => return Err(EndReason::NotContinued { page }),
            (true, expected) if expected != header.remaining => {
                return Err(EndReason::Remaining { page, expected, found: header.remaining });
            }
            (true, _) => {}
        }
        Ok(())
    }

    /// At the start of a record. `None`: it is not whole in this page and this input.
    fn begin(&mut self, rest: &[u8], used: &mut usize) -> Result<Option<Found>, EndReason> {
        // A page has room for the length wherever a record may begin.
        let Some(total) = rest.first_chunk().copied().map(u32::from_le_bytes) else { return Ok(None) };
        if total == 0 {
            return Err(EndReason::NothingWritten);
        }
        if !(RecordHeader::MIN_TOTAL_LEN..=RecordHeader::MAX_TOTAL_LEN).contains(&total) {
            return Err(EndReason::Length { found: total });
        }
        if u64::from(total) > self.page_end - self.at {
            self.unfinished = Some(self.at);
            self.total = total;
            self.scratch.clear();
            self.scratch.shrink_to(KEPT_CAPACITY);
            return Ok(None);
        }
        let Some(bytes) = usize::try_from(total).ok().and_then(|total| rest.get(..total)) else {
            return Ok(None);
        };
        let Some(header) = bytes.first_chunk().map(RecordHeader::read) else { return Ok(None) };
        self.check_header(&header, self.at)?;
        let lsn = self.at;
        let place = Some((*used, *used + bytes.len()));
        let found = self.complete(header, lsn, bytes, place, lsn + u64::from(total))?;
        *used += bytes.len();
        Ok(Some(found))
    }

    /// Adds to the unfinished record what this page and this input have of it.
    fn gather(&mut self, rest: &[u8], used: &mut usize) -> Result<Option<Found>, EndReason> {
        let Some(start) = self.unfinished else { return Ok(None) };
        let missing = (self.total as usize).saturating_sub(self.scratch.len());
        let page = usize::try_from(self.page_end - self.at).unwrap_or(usize::MAX);
        let take = missing.min(page).min(rest.len());
        let headless = self.scratch.len() < RecordHeader::LEN;
        self.scratch.extend_from_slice(rest.get(..take).unwrap_or(&[]));
        let Some(header) = self.scratch.first_chunk().map(RecordHeader::read) else {
            (*used, self.at) = (*used + take, self.at + take as u64);
            return Ok(None);
        };
        if headless {
            // Now, not when it is whole: garbage in place of a header may announce a gigabyte.
            self.check_header(&header, start)?;
        }
        *used += take;
        self.at += take as u64;
        if take < missing {
            return Ok(None);
        }
        let scratch = std::mem::take(&mut self.scratch);
        let found = self.complete(header, start, &scratch, None, self.at);
        self.scratch = scratch;
        found.map(Some)
    }

    fn check_header(&self, header: &RecordHeader, lsn: u64) -> Result<(), EndReason> {
        let major = self.pages.as_ref().map_or(0, |pages| pages.first.page.magic.major());
        if !header.rmgr.is_valid(major) {
            return Err(EndReason::ResourceManager { found: header.rmgr.id() });
        }
        let linked = self.prev.map_or(header.prev.get() < lsn, |prev| header.prev == prev);
        if linked { Ok(()) } else { Err(EndReason::BackLink { expected: self.prev, found: header.prev }) }
    }

    /// The record is all there and ends at `end`.
    fn complete(
        &mut self,
        header: RecordHeader,
        lsn: u64,
        bytes: &[u8],
        place: Option<(usize, usize)>,
        end: u64,
    ) -> Result<Found, EndReason> {
        let computed = checksum(bytes);
        if computed != header.crc {
            return Err(EndReason::Crc { computed, found: header.crc });
        }
        if let Some(expected) = self.lost
            && header.is_overwrite()
        {
            // The payload, after the header and the two bytes that say how long it is.
            let found = bytes.get(26..).and_then(|data| data.first_chunk()).copied().map(u64::from_le_bytes);
            let found = Lsn::new(found.unwrap_or(0));
            if found != expected {
                return Err(EndReason::Overwrite { expected, found });
            }
        }
        let aligned = end.next_multiple_of(8);
        self.at = end;
        self.padding = aligned - end;
        self.unfinished = None;
        self.prev = Some(Lsn::new(lsn));
        let mut next = aligned;
        if header.is_switch()
            && let Some(pages) = &self.pages
        {
            let size = pages.first.segment_size.bytes();
            next = aligned.checked_next_multiple_of(size).unwrap_or(u64::MAX);
            self.switched_until = next;
        }
        Ok(Found { place, header, lsn, end: next, lost: self.lost.take() })
    }
}
