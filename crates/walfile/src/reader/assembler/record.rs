//! Taking a record out of one page, or putting it together from several.

use super::{Assembler, Found, KEPT_CAPACITY, Pass};
use crate::Lsn;
use crate::reader::EndReason;
use crate::record::{RecordHeader, append, checksum, finish};

impl Assembler {
    /// The record that begins here, when it is whole in this page and this input, with its padding, and nothing is
    /// special about it: nearly all are. Whatever is not as it should be is left to the careful path, which says why.
    #[inline]
    pub(super) fn plain(&mut self, input: &[u8], used: &mut usize) -> Option<Found> {
        let rest = input.get(*used..)?;
        let header = RecordHeader::read(rest.first_chunk()?);
        let aligned = u64::from(header.total_len).next_multiple_of(8);
        let bytes = rest.get(..header.total_len as usize)?;
        let lsn = Lsn::new(self.at);
        let plain = header.total_len >= RecordHeader::MIN_TOTAL_LEN
            && aligned <= self.page_end - self.at
            && aligned <= rest.len() as u64
            && self.prev == Some(header.prev)
            && header.rmgr.is_valid(self.major)
            && !header.is_switch()
            && checksum(bytes) == header.crc;
        if !plain {
            return None;
        }
        let place = Some((*used, *used + bytes.len()));
        let end = self.at + aligned;
        *used += usize::try_from(aligned).ok()?;
        self.at = end;
        self.prev = Some(lsn);
        self.at_record = end < self.page_end;
        Some(Found { place, header, lsn: lsn.get(), end, lost: None, is_passed: false })
    }

    /// At the start of a record. `None`: it is not whole in this page and this input.
    pub(super) fn begin(&mut self, rest: &[u8], used: &mut usize) -> Result<Option<Found>, EndReason> {
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
            (self.total, self.missing) = (total, total);
            self.passed_sum = None;
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
    pub(super) fn gather(
        &mut self,
        rest: &[u8],
        used: &mut usize,
        pass: &Pass,
    ) -> Result<Option<Found>, EndReason> {
        let Some(start) = self.unfinished else { return Ok(None) };
        let headless = self.scratch.len() < RecordHeader::LEN;
        let wanted = if headless { RecordHeader::LEN - self.scratch.len() } else { self.missing as usize };
        let page = usize::try_from(self.page_end - self.at).unwrap_or(usize::MAX);
        let piece = rest.get(..wanted.min(page).min(rest.len())).unwrap_or(&[]);
        match &mut self.passed_sum {
            Some(sum) => *sum = append(*sum, piece),
            None => self.scratch.extend_from_slice(piece),
        }
        *used += piece.len();
        self.at += piece.len() as u64;
        self.missing = self.missing.saturating_sub(u32::try_from(piece.len()).unwrap_or(u32::MAX));
        let Some(header) = self.scratch.first_chunk() else { return Ok(None) };
        let (bytes, header) = (*header, RecordHeader::read(header));
        if headless {
            // Now, not when it is whole: garbage in place of a header may announce a gigabyte.
            self.check_header(&header, start)?;
            // The inside of a record that says what was lost is looked at.
            let is_passed = pass.takes(start, &header) && !header.is_overwrite();
            self.passed_sum = is_passed.then_some(0);
        }
        if self.missing > 0 {
            return Ok(None);
        }
        if let Some(sum) = self.passed_sum.take() {
            let computed = finish(sum, &bytes);
            let found = self.checked(header, computed, start, None, self.at)?;
            return Ok(Some(Found { is_passed: true, ..found }));
        }
        let scratch = std::mem::take(&mut self.scratch);
        let found = self.complete(header, start, &scratch, None, self.at);
        self.scratch = scratch;
        found.map(Some)
    }

    fn check_header(&self, header: &RecordHeader, lsn: u64) -> Result<(), EndReason> {
        if !header.rmgr.is_valid(self.major) {
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
        if let Some(expected) = self.lost
            && header.is_overwrite()
            && computed == header.crc
        {
            // The payload, after the header and the two bytes that say how long it is.
            let found = bytes.get(26..).and_then(|data| data.first_chunk()).copied().map(u64::from_le_bytes);
            let found = Lsn::new(found.unwrap_or(0));
            if found != expected {
                return Err(EndReason::Overwrite { expected, found });
            }
        }
        self.checked(header, computed, lsn, place, end)
    }

    /// The record is all there, ends at `end`, and this is its checksum.
    fn checked(
        &mut self,
        header: RecordHeader,
        computed: u32,
        lsn: u64,
        place: Option<(usize, usize)>,
        end: u64,
    ) -> Result<Found, EndReason> {
        if computed != header.crc {
            return Err(EndReason::Crc { computed, found: header.crc });
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
        Ok(Found { place, header, lsn, end: next, lost: self.lost.take(), is_passed: false })
    }
}
