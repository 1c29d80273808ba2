//! The pages of an `INCREMENTAL.*` file, as its bytes come.

use super::checksum::PAGE_SIZE;
use super::file::{PageCounts, PageRules, PageState, Suspect, check_page};
use crate::combine::IncrementalHeader;

const BLOCK: u32 = 8192;

/// Takes the bytes of one incremental file in order. Memory: the header, at most some 500 KiB for a segment of 1 GiB.
#[derive(Debug)]
pub(super) struct IncrementalPages {
    rules: PageRules,
    first_block: u32,
    /// What has come of the header or of the next page.
    partial: Vec<u8>,
    /// `None` while it is coming.
    header: Option<Header>,
    /// It is no incremental file after all: whoever reads it will say so.
    is_other: bool,
    counts: PageCounts,
}

#[derive(Debug)]
struct Header {
    blocks: std::vec::IntoIter<u32>,
    /// Where the next page begins in the file.
    offset: u64,
}

impl IncrementalPages {
    pub(super) fn new(rules: PageRules, segment: u32) -> Self {
        Self {
            rules,
            first_block: segment.wrapping_mul(rules.segment_blocks),
            partial: Vec::new(),
            header: None,
            is_other: false,
            counts: PageCounts::default(),
        }
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8], mut suspect: impl FnMut(Suspect)) {
        while !bytes.is_empty() && !self.is_other {
            let wanted = if self.header.is_some() { PAGE_SIZE } else { self.header_length() };
            let missing = wanted.saturating_sub(self.partial.len());
            let (now, later) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
            self.partial.extend_from_slice(now);
            bytes = later;
            if self.partial.len() < wanted {
                return;
            }
            if self.header.is_some() {
                self.page(&mut suspect);
            } else if self.header_length() == wanted {
                self.begin();
            } // Otherwise its first words have told how long it is.
        }
    }

    /// How much of the file is header, as far as that is known.
    fn header_length(&self) -> usize {
        let count = self.partial.get(4..8).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
        let used = |count: u32| 12 + 4 * count.min(self.rules.segment_blocks) as usize;
        match count {
            None => 12,
            Some(0) => used(0),
            Some(count) => used(count).next_multiple_of(PAGE_SIZE),
        }
    }

    fn begin(&mut self) {
        match IncrementalHeader::read(&mut self.partial.as_slice(), BLOCK, self.rules.segment_blocks) {
            Ok(header) => {
                self.header = Some(Header { blocks: header.blocks.into_iter(), offset: header.data_offset });
            }
            Err(_) => self.is_other = true,
        }
        self.partial.clear();
    }

    fn page(&mut self, suspect: &mut impl FnMut(Suspect)) {
        let Some(header) = &mut self.header else { return };
        let page = <&[u8; PAGE_SIZE]>::try_from(self.partial.as_slice());
        if let (Some(block), Ok(page)) = (header.blocks.next(), page) {
            let block = self.first_block.wrapping_add(block);
            match check_page(page, block, self.rules.start) {
                PageState::Valid | PageState::New => self.counts.valid += 1,
                PageState::Newer => self.counts.newer += 1,
                state @ (PageState::Bad { .. } | PageState::Garbage) => {
                    self.counts.suspect += 1;
                    suspect(Suspect { block, offset: header.offset, state });
                }
            }
        }
        header.offset = header.offset.saturating_add(PAGE_SIZE as u64);
        self.partial.clear();
    }

    pub(super) fn finish(self) -> PageCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use walfile::Lsn;

    use super::super::page_checksum;
    use super::*;
    use crate::combine::MAGIC;

    fn page(block: u32) -> [u8; PAGE_SIZE] {
        let mut page = [7; PAGE_SIZE];
        page[..8].copy_from_slice(&5u64.rotate_left(32).to_le_bytes());
        let sum = page_checksum(&page, block);
        page[8..10].copy_from_slice(&sum.to_le_bytes());
        page
    }

    fn file(words: &[u32], pages: &[[u8; PAGE_SIZE]]) -> Vec<u8> {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        if !pages.is_empty() {
            bytes.resize(bytes.len().next_multiple_of(PAGE_SIZE), 0);
        }
        bytes.extend(pages.iter().flatten());
        bytes
    }

    fn look(bytes: &[u8], piece: usize, segment: u32) -> (Vec<(u32, u64)>, PageCounts) {
        let rules = PageRules { segment_blocks: 100, start: Lsn::new(0x1_0000_0000) };
        let mut pages = IncrementalPages::new(rules, segment);
        let mut bad = Vec::new();
        for bytes in bytes.chunks(piece) {
            pages.feed(bytes, |suspect| bad.push((suspect.block, suspect.offset)));
        }
        (bad, pages.finish())
    }

    #[test]
    fn each_page_is_the_one_its_header_says() {
        let bytes = file(&[MAGIC, 3, 40, 2, 9, 30], &[page(202), page(5), page(230)]);
        for piece in [1, 5, 8191, 8192, 8193, 20_000, bytes.len()] {
            let (bad, counts) = look(&bytes, piece, 2);
            assert_eq!(bad, [(209, 2 * 8192)], "pieces of {piece}");
            assert_eq!(counts, PageCounts { valid: 2, suspect: 1, ..PageCounts::default() });
        }
    }

    #[test]
    fn what_is_no_incremental_file_has_no_pages() {
        let rows: [&[u32]; 5] =
            [&[MAGIC, 0, 7], &[MAGIC], &[1, 1, 0, 5], &[MAGIC, u32::MAX, 0], &[MAGIC, 2, 0, 5, 5]];
        for words in rows {
            let mut bytes = file(words, &[]);
            bytes.extend([3; 50_000]);
            for piece in [1, 4096, bytes.len()] {
                assert_eq!(look(&bytes, piece, 0), (Vec::new(), PageCounts::default()), "{words:?}");
            }
        }
    }
}
