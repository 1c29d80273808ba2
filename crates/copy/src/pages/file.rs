//! The pages of one file, as its bytes come.

use walfile::{ControlFile, Lsn};

use super::checksum::{PAGE_SIZE, page_checksum};

/// What is checked, and what not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PageRules {
    /// Pages in one file of a relation (`RELSEG_SIZE`; 131072 unless PostgreSQL was built otherwise).
    pub segment_blocks: u32,
    /// The start of the backup: a page changed since then may be torn, and recovery writes it anew from its image in the WAL.
    pub start: Lsn,
}

impl PageRules {
    /// The rules for a cluster; `None` when its pages carry no checksums, or are not of 8 KiB.
    pub fn of(control: &ControlFile, start: Lsn) -> Option<Self> {
        let usual = usize::try_from(control.block_size).is_ok_and(|size| size == PAGE_SIZE);
        (control.has_data_checksums() && usual)
            .then_some(Self { segment_blocks: control.relation_segment_blocks, start })
    }
}

/// What one page is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PageState {
    /// The checksum is right.
    Valid,
    /// All zeros: a page the relation was extended by and that nothing was written to yet.
    New,
    /// Changed since the backup began; the WAL has it.
    Newer,
    /// The checksum is wrong: torn, misplaced or broken.
    Bad {
        /// In the page.
        stored: u16,
        /// What it should be.
        calculated: u16,
    },
    /// Never initialised (`pd_upper` is zero), and still not all zeros: the server refuses to read it.
    Garbage,
}

/// Looks at one page, block `block` of its fork (over all segments).
pub fn check_page(page: &[u8; PAGE_SIZE], block: u32, start: Lsn) -> PageState {
    let [l0, l1, l2, l3, l4, l5, l6, l7, s0, s1, _, _, _, _, u0, u1, ..] = *page;
    if (u0, u1) == (0, 0) {
        return if page.iter().all(|byte| *byte == 0) { PageState::New } else { PageState::Garbage };
    }
    // Of the LSN in a page the upper half comes first.
    let lsn = u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]).rotate_left(32);
    if Lsn::new(lsn) >= start {
        return PageState::Newer;
    }
    let (stored, calculated) = (u16::from_le_bytes([s0, s1]), page_checksum(page, block));
    if stored == calculated { PageState::Valid } else { PageState::Bad { stored, calculated } }
}

/// A page that is not what it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Suspect {
    /// Its block number in the fork, over all segments.
    pub block: u32,
    /// Where it begins in the file.
    pub offset: u64,
    /// [`PageState::Bad`] or [`PageState::Garbage`].
    pub state: PageState,
}

/// How many pages were seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PageCounts {
    /// Pages whose checksum was right, or that were all zeros.
    pub valid: u64,
    /// Pages left to the WAL.
    pub newer: u64,
    /// Pages that were suspect when they came by.
    pub suspect: u64,
    /// Bytes that make no whole page: the end of a file just being extended or cut.
    pub rest: u64,
}

/// Takes the bytes of one file in order, in pieces of any size, and checks its pages.
#[derive(Clone, Debug)]
pub struct FilePages {
    rules: PageRules,
    first_block: u64,
    /// The begin of a page whose end has not come yet.
    partial: Vec<u8>,
    next: u64,
    counts: PageCounts,
}

impl FilePages {
    /// For a file that is segment `segment` of a fork, as [`relation_segment`](super::relation_segment) tells.
    pub fn new(rules: PageRules, segment: u32) -> Self {
        Self {
            rules,
            first_block: u64::from(segment) * u64::from(rules.segment_blocks),
            partial: Vec::new(),
            next: 0,
            counts: PageCounts::default(),
        }
    }

    /// The number of the block at `offset` in the file. Wraps around as PostgreSQL's block numbers do, where a file that
    /// pretends to be a segment beyond the last possible one is read.
    #[expect(clippy::cast_possible_truncation, reason = "a block number has 32 bits")]
    pub fn block_at(&self, offset: u64) -> u32 {
        (self.first_block + offset / PAGE_SIZE as u64) as u32
    }

    /// Looks at one page again, after reading it once more.
    pub fn check_again(&self, offset: u64, page: &[u8; PAGE_SIZE]) -> PageState {
        check_page(page, self.block_at(offset), self.rules.start)
    }

    /// The file's bytes from `offset` on; tells every suspect page. Pieces that do not follow the one before lose the pages
    /// that are cut by it, and no others.
    pub fn feed(&mut self, offset: u64, bytes: &[u8], mut suspect: impl FnMut(Suspect)) {
        let (mut at, mut bytes) = (offset, bytes);
        if offset != self.next {
            self.counts.rest += self.partial.len() as u64;
            self.partial.clear();
            let into = offset % PAGE_SIZE as u64;
            if into != 0 {
                let cut = usize::try_from(PAGE_SIZE as u64 - into).unwrap_or(PAGE_SIZE).min(bytes.len());
                self.counts.rest += cut as u64;
                at = at.saturating_add(cut as u64);
                bytes = bytes.get(cut..).unwrap_or_default();
            }
        }
        self.next = at.saturating_add(bytes.len() as u64);
        if !self.partial.is_empty() {
            at -= self.partial.len() as u64;
            let missing = PAGE_SIZE.saturating_sub(self.partial.len()).min(bytes.len());
            let (head, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
            self.partial.extend_from_slice(head);
            bytes = rest;
            let Ok(page) = <&[u8; PAGE_SIZE]>::try_from(self.partial.as_slice()) else { return };
            let page = *page;
            self.partial.clear();
            self.one(at, &page, &mut suspect);
            at += PAGE_SIZE as u64;
        }
        let (pages, rest) = bytes.as_chunks();
        for page in pages {
            self.one(at, page, &mut suspect);
            at += PAGE_SIZE as u64;
        }
        self.partial.extend_from_slice(rest);
    }

    fn one(&mut self, offset: u64, page: &[u8; PAGE_SIZE], suspect: &mut impl FnMut(Suspect)) {
        let block = self.block_at(offset);
        match check_page(page, block, self.rules.start) {
            PageState::Valid | PageState::New => self.counts.valid += 1,
            PageState::Newer => self.counts.newer += 1,
            state @ (PageState::Bad { .. } | PageState::Garbage) => {
                self.counts.suspect += 1;
                suspect(Suspect { block, offset, state });
            }
        }
    }

    /// The end of the file.
    pub fn finish(mut self) -> PageCounts {
        self.counts.rest += self.partial.len() as u64;
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(lsn: u64, block: u32, fill: u8) -> [u8; PAGE_SIZE] {
        let mut page = [fill; PAGE_SIZE];
        page[..8].copy_from_slice(&lsn.rotate_left(32).to_le_bytes());
        let sum = page_checksum(&page, block);
        page[8..10].copy_from_slice(&sum.to_le_bytes());
        page
    }

    fn rules() -> PageRules {
        PageRules { segment_blocks: 4, start: Lsn::new(0x1_0000_0100) }
    }

    #[test]
    fn l_b24_the_block_number_counts_over_segments() {
        let mut pages = FilePages::new(rules(), 2);
        let mut bad = Vec::new();
        pages.feed(0, &page(5, 8, 1), |s| bad.push(s.block));
        pages.feed(8192, &page(5, 1, 1), |s| bad.push(s.block));
        assert_eq!(bad, [9], "right for block 8, wrong for the ninth");
        assert_eq!(pages.finish(), PageCounts { valid: 1, suspect: 1, ..PageCounts::default() });
    }

    #[test]
    fn pieces_of_any_size_make_the_same_pages() {
        let mut file = Vec::new();
        file.extend(page(5, 0, 3));
        file.extend([0; PAGE_SIZE]);
        file.extend(page(0x1_0000_0100, 7, 4)); // wrong block, but newer than the backup
        file.extend(page(0x1_0000_00ff, 7, 4)); // just not
        let mut garbage = [0; PAGE_SIZE];
        garbage[4000] = 1;
        file.extend(garbage);
        file.extend([9; 100]);
        for size in [1, 7, 100, 8191, 8192, 8193, 20_000, file.len()] {
            let mut pages = FilePages::new(rules(), 0);
            let mut bad = Vec::new();
            for (index, piece) in file.chunks(size).enumerate() {
                pages.feed((index * size) as u64, piece, |s| bad.push((s.block, s.offset)));
            }
            assert_eq!(bad, [(3, 3 * 8192), (4, 4 * 8192)], "pieces of {size}");
            let expected = PageCounts { valid: 2, newer: 1, suspect: 2, rest: 100 };
            assert_eq!(pages.finish(), expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_gap_costs_the_cut_pages_only() {
        let mut pages = FilePages::new(rules(), 0);
        let mut bad = 0;
        let third = page(5, 3, 6);
        pages.feed(0, &[1; 100], |_| bad += 1);
        let mut piece = vec![2; 192];
        piece.extend(third);
        pages.feed(3 * 8192 - 192, &piece, |_| bad += 1);
        assert_eq!(bad, 0);
        assert_eq!(pages.finish(), PageCounts { valid: 1, rest: 292, ..PageCounts::default() });
    }
}
