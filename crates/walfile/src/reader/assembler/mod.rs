//! Finding records in a sequence of pages: the state machine under [`Records`](super::Records) and
//! [`RecordDecoder`](super::RecordDecoder).

mod page;
mod pass;
mod record;

use std::sync::Arc;

use crate::page::LongPageHeader;
use crate::reader::pages::PageCheck;
use crate::reader::{EndOfWal, EndReason, Record};
use crate::record::RecordHeader;
use crate::{Lsn, TimelineHistory};
pub(crate) use pass::Pass;
pub use pass::Passed;

/// A buffer that a longer record needed is given back.
const KEPT_CAPACITY: usize = 1 << 20;

/// The state between two pieces of input. Input begins with the first page of a segment and has no gaps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Assembler {
    /// Says of which timeline each page must be.
    history: Option<Arc<TimelineHistory>>,
    /// Whether a page was entered.
    entered: bool,
    /// `None` before the first page header.
    pub(crate) pages: Option<PageCheck>,
    /// Position of the next byte of input.
    pub(super) at: u64,
    /// End of the page in which `at` lies; equal to it where a page header must follow.
    page_end: u64,
    /// Whether a record begins at `at`, in a page that was entered, and nothing else is to be done before.
    at_record: bool,
    /// The major that wrote the log.
    major: u16,
    /// Padding to pass over before the next record.
    padding: u64,
    /// Where the segment ends whose rest a switch left empty.
    switched_until: u64,
    /// Bytes of a record that began before the input: its end is passed over.
    foreign: u32,
    /// Start of the unfinished record, when there is one.
    unfinished: Option<u64>,
    /// What is there of it; once it is whole, the record. Of one that is passed over, the header.
    scratch: Vec<u8>,
    /// The checksum of what follows its header, when that is passed over.
    passed_sum: Option<u32>,
    /// Bytes of it that are still to come.
    missing: u32,
    /// Its length.
    total: u32,
    /// Start of the record before; `None` where anything before the record will do.
    pub(super) prev: Option<Lsn>,
    /// An unfinished record that a page said was lost.
    lost: Option<Lsn>,
    pub(crate) passed: Passed,
    pub(crate) end: Option<EndOfWal>,
}

/// What a step led to.
#[derive(Debug)]
pub(crate) enum Step {
    Record(Found),
    NeedMore,
    End,
}

/// A record that was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its place in the input, or `None` when it was put together from several pages.
    place: Option<(usize, usize)>,
    pub(super) header: RecordHeader,
    pub(crate) lsn: u64,
    end: u64,
    lost: Option<Lsn>,
    /// It was not put together.
    is_passed: bool,
}

impl Assembler {
    /// Holds that every page is of the timeline that held its position.
    pub(crate) fn following(history: Arc<TimelineHistory>) -> Self {
        Self { history: Some(history), ..Self::default() }
    }

    /// Begins with the page at this position in the segment with this header.
    pub(crate) fn start_at(&mut self, first: LongPageHeader, page: u64) {
        self.major = first.page.magic.major();
        self.pages = Some(PageCheck::new(first, self.history.clone()));
        (self.at, self.page_end) = (page, page);
    }

    /// The record that a step found in `input`.
    pub(crate) fn record<'a>(&'a self, found: &Found, input: &'a [u8]) -> Option<Record<'a>> {
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
    pub(crate) fn finish(&mut self, rest: usize) -> &EndOfWal {
        self.at_record = false;
        let (at, unfinished) = match self.unfinished {
            Some(start) => (start, self.total - self.missing),
            None => (self.at, u32::try_from(rest).unwrap_or(u32::MAX)),
        };
        self.end.get_or_insert(EndOfWal { at: Lsn::new(at), reason: EndReason::Input { unfinished } })
    }

    /// The record that goes on behind the input.
    pub(super) fn unfinished(&self) -> Option<(Lsn, &[u8])> {
        self.unfinished.map(|start| (Lsn::new(start), self.scratch.as_slice()))
    }

    /// Whether the log goes on only with the next segment, after a switch.
    pub(super) fn is_switched(&self) -> bool {
        self.prev.is_some_and(|last| last.get() < self.switched_until)
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
    pub(crate) fn step(&mut self, input: &[u8], used: &mut usize, pass: &Pass) -> Step {
        loop {
            match self.find(input, used, pass) {
                Step::Record(found) if found.is_passed || pass.takes(found.lsn, &found.header) => {
                    self.count_passed(&found.header, found.end);
                }
                step => return step,
            }
        }
    }

    fn find(&mut self, input: &[u8], used: &mut usize, pass: &Pass) -> Step {
        if self.at_record {
            self.pass_over(input, used, pass);
            if self.at_record
                && let Some(found) = self.plain(input, used)
            {
                return Step::Record(found);
            }
        }
        self.at_record = false;
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
                match self.gather(rest, used, pass) {
                    Ok(None) => {}
                    Ok(Some(found)) => return Step::Record(found),
                    Err(reason) => return self.stop(reason),
                }
            } else if let Some(found) = self.plain(input, used) {
                return Step::Record(found);
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
}
