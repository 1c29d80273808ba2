//! Records that begin in one segment and end in the next.

use std::collections::BTreeSet;

use walfile::SegmentName;
use walfile::record::RecordHeader;

use super::format::IndexContents;
use super::note::matters;
use super::summary::{Completeness, SegmentContent, SegmentSummary};
use super::{HashDir, IndexedDir, WalIndex, store};

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

impl WalIndex<'_> {
    /// Completes the records that go on in the next segment.
    pub(super) fn join(&self, found: &mut IndexedDir) {
        for at in 1..=found.segments.len() {
            let Some((before, rest)) = found.segments.split_at_mut_checked(at) else { return };
            let Some(segment) = before.last_mut() else { return };
            if segment.content.tail_lsn.is_none() {
                continue;
            }
            let follows = |next: &&SegmentSummary| next.name.segment() == segment.name.segment() + 1;
            if let Some(next) = rest.first().filter(follows) {
                if next.content.continues_nothing() {
                    segment.content.tail_lsn = None;
                } else if segment.content.join(&next.content, true) {
                    continue;
                }
            }
            // At the end of a log file or of a timeline; a checksum tells whether it is the right one.
            for next in self.elsewhere(segment.name) {
                let is_next = next.name.timeline() == segment.name.timeline();
                if segment.content.join(&next.content, is_next) {
                    break;
                }
            }
        }
    }

    /// What the indexes of other directories say of the segment that follows, on this timeline or another.
    fn elsewhere(&self, name: SegmentName) -> Vec<SegmentSummary> {
        let same_log = (name.log(), name.segment().saturating_add(1));
        let wanted = [same_log, (name.log().saturating_add(1), 0)];
        let timelines: BTreeSet<_> =
            self.directories().unwrap_or_default().iter().map(|dir| dir.timeline).collect();
        let mut found = Vec::new();
        for timeline in timelines.into_iter().filter(|timeline| *timeline >= name.timeline()) {
            for (log, number) in wanted {
                if timeline == name.timeline() && log == name.log() {
                    continue; // the caller has looked there
                }
                let dir = HashDir { timeline, log };
                let bytes = store::read(&dir.index_path(self.layout)).ok().flatten();
                let contents = bytes.and_then(|bytes| IndexContents::parse(&bytes, dir)).unwrap_or_default();
                found.extend(contents.segments.into_iter().rfind(|other| other.name.segment() == number));
            }
        }
        found
    }
}
