//! Passing over records that nobody asked for. They are checked as all are, but one after the other in one loop, and what
//! crosses pages is not put together.

use multiversion::multiversion;
use multiversion::target::match_target;

use super::Assembler;
#[cfg(target_arch = "aarch64")]
use crate::record::aarch64;
#[cfg(target_arch = "x86_64")]
use crate::record::x86_64;
use crate::record::{RecordHeader, SHORT, checksum_of};
use crate::rmgr::RmgrSet;
use crate::{Lsn, Timeline};

/// Which records are passed over: those that begin in a range and are not wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    pub(crate) wanted: RmgrSet,
    pub(crate) from: u64,
    pub(crate) until: u64,
}

impl Pass {
    pub(crate) const NOTHING: Self = Self { wanted: RmgrSet::NONE, from: 0, until: 0 };
    pub(crate) const EVERYTHING: Self = Self { wanted: RmgrSet::NONE, from: 0, until: u64::MAX };

    pub(super) const fn takes(&self, lsn: u64, header: &RecordHeader) -> bool {
        self.from <= lsn && lsn < self.until && !self.wanted.contains(header.rmgr)
    }
}

/// The records that were passed over so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Passed {
    /// How many.
    pub records: u64,
    /// Their bytes, without page headers and padding.
    pub record_bytes: u64,
    /// Where the log goes on after the last of them, and the timeline of the page on which that one ends: as
    /// [`Record::end`](crate::Record::end) and [`Record::timeline`](crate::Record::timeline).
    pub last: Option<(Lsn, Timeline)>,
}

/// Where in the log and in the input a record begins.
struct Place {
    at: u64,
    used: usize,
    prev: Lsn,
}

/// How far the records go that may be passed over.
struct Bounds {
    page_end: u64,
    until: u64,
    major: u16,
    wanted: RmgrSet,
}

impl Assembler {
    /// Passes over plain records up to one that is wanted, that is not plain, or the end of the page.
    pub(super) fn pass_over(&mut self, input: &[u8], used: &mut usize, pass: &Pass) {
        let (Some(prev), Some(pages)) = (self.prev, &self.pages) else { return };
        if self.at < pass.from || self.at >= pass.until {
            return;
        }
        let bounds = Bounds {
            page_end: self.page_end,
            until: pass.until.min(self.page_end),
            major: self.major,
            wanted: pass.wanted,
        };
        let mut place = Place { at: self.at, used: *used, prev };
        let before = self.passed;
        pass_plain(&mut place, &mut self.passed, input, &bounds);
        if self.passed.records > before.records {
            (self.at, *used, self.prev) = (place.at, place.used, Some(place.prev));
            self.passed.last = Some((Lsn::new(place.at), pages.timeline));
            self.at_record = self.at < self.page_end;
        }
    }

    /// Counts a record that was found otherwise.
    pub(super) fn count_passed(&mut self, header: &RecordHeader, end: u64) {
        self.passed.records += 1;
        self.passed.record_bytes += u64::from(header.total_len);
        self.passed.last = self.pages.as_ref().map(|pages| (Lsn::new(end), pages.timeline));
    }
}

#[multiversion(targets("x86_64+sse4.2", "aarch64+crc"))]
fn pass_plain(place: &mut Place, passed: &mut Passed, input: &[u8], bounds: &Bounds) {
    match_target! {
        "x86_64+sse4.2" => pass_with(place, passed, input, bounds, |header, rest| {
            if rest.len() < SHORT { x86_64::short(header, rest) } else { checksum_of(header, rest) }
        }),
        "aarch64+crc" => pass_with(place, passed, input, bounds, |header, rest| {
            if rest.len() < SHORT { aarch64::short(header, rest) } else { checksum_of(header, rest) }
        }),
        _ => pass_with(place, passed, input, bounds, checksum_of),
    }
}

/// As [`Assembler::plain`], again and again.
#[inline(always)]
fn pass_with(
    place: &mut Place,
    passed: &mut Passed,
    input: &[u8],
    bounds: &Bounds,
    checksum: impl Fn(&[u8; RecordHeader::LEN], &[u8]) -> u32,
) {
    let Some(mut rest) = input.get(place.used..) else { return };
    let (there, mut prev, mut at) = (rest.len(), place.prev, place.at);
    let (mut records, mut record_bytes) = (0_u64, 0_u64);
    while at < bounds.until
        && let Some(head) = rest.first_chunk()
    {
        let header = RecordHeader::read(head);
        let aligned = u64::from(header.total_len).next_multiple_of(8);
        let Some((whole, after)) =
            usize::try_from(aligned).ok().and_then(|aligned| rest.split_at_checked(aligned))
        else {
            break;
        };
        let passes = header.total_len >= RecordHeader::MIN_TOTAL_LEN
            && aligned <= bounds.page_end - at
            && header.prev == prev
            && header.rmgr.is_valid(bounds.major)
            && !header.is_switch()
            && !bounds.wanted.contains(header.rmgr);
        let Some(body) = whole.get(RecordHeader::LEN..header.total_len as usize).filter(|_| passes) else {
            break;
        };
        if checksum(head, body) != header.crc {
            break;
        }
        records += 1;
        record_bytes += u64::from(header.total_len);
        (prev, at, rest) = (Lsn::new(at), at + aligned, after);
    }
    *place = Place { at, used: place.used + (there - rest.len()), prev };
    passed.records += records;
    passed.record_bytes += record_bytes;
}
