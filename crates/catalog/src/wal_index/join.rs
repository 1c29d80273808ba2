//! Records that begin in one segment and end in the next.

use walfile::record::RecordHeader;

use super::summary::{Completeness, SegmentContent, matters};

impl SegmentContent {
    /// Whether it can be read and does not begin with the rest of a record: one that a crash cut off was given up.
    pub(super) fn continues_nothing(&self) -> bool {
        self.completeness != Completeness::Nothing && self.head_length == 0
    }

    /// Completes the record that goes on in `next`, when the pieces of both are there and its checksum is right. With
    /// `is_next`, which says that `next` does follow, a record that says nothing of interest need not be whole. Returns
    /// whether nothing is left to be completed.
    pub(super) fn join(&mut self, next: &Self, is_next: bool) -> bool {
        let Some(lsn) = self.tail_lsn else { return true };
        let record = [self.tail.as_slice(), &next.head].concat();
        let Some((header, body)) = record.split_first_chunk() else { return false };
        let (covered, header) = (header.first_chunk::<20>(), RecordHeader::read(header));
        let length = self.tail.len() as u64 + u64::from(next.head_length);
        if self.tail.is_empty() || u64::from(header.total_len) != length {
            return false;
        }
        if is_next && !matters(&header) {
            self.tail_lsn = None;
            self.tail = Vec::new();
            return true;
        }
        let whole = next.head.len() == next.head_length as usize
            && covered
                .is_some_and(|covered| crc32c::crc32c_append(crc32c::crc32c(body), covered) == header.crc);
        if whole {
            self.tail_lsn = None;
            self.tail = Vec::new();
            self.note(lsn, &header, body, self.major);
        }
        whole
    }
}
