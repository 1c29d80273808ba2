//! A walk over the pages of a segment, by their headers alone.

use thiserror::Error;

use crate::page::{LongPageHeader, PageError, PageHeader, WalMagic};
use crate::{Lsn, Timeline};

/// Walks over the pages of `segment`: a whole segment or its beginning (a `.partial`).
///
/// Every page must have the magic of the first, the address that follows from its place, and a timeline not
/// below that of the page before. Pages that are all zero end the walk, and then everything after them must be
/// zero too: that is how `XLOG_SWITCH` leaves the rest of a segment (PostgreSQL 11 and later write no headers
/// there) and how a `.partial` is preallocated. Records are not looked at.
///
/// ```no_run
/// # let segment: Vec<u8> = Vec::new();
/// let mut pages = walfile::pages(&segment)?;
/// for page in &mut pages {
///     println!("{}", page?.header.address);
/// }
/// println!("zero from byte {:?} on", pages.zero_from());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When the first page has no valid long header.
pub fn pages(segment: &[u8]) -> Result<Pages<'_>, PageError> {
    let first = LongPageHeader::parse(segment)?;
    // At most 65536, which `parse` has checked.
    let block = usize::try_from(first.block_size).unwrap_or(usize::MAX);
    Ok(Pages {
        rest: segment,
        offset: 0,
        block,
        address: first.page.address,
        magic: first.page.magic,
        timeline: first.page.timeline,
        first,
        zero_from: None,
    })
}

/// One page of a segment.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Bytes from the start of the segment.
    pub offset: usize,
    /// Its header; the first page's long header is [`Pages::first`].
    pub header: PageHeader,
    /// The page, header included; shorter than a page at the end of an incomplete file.
    pub bytes: &'a [u8],
}

impl<'a> Page<'a> {
    /// What follows the header.
    pub fn content(&self) -> &'a [u8] {
        self.bytes.get(self.header.len()..).unwrap_or(&[])
    }
}

/// The pages of a segment; made by [`pages`]. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Pages<'a> {
    rest: &'a [u8],
    offset: usize,
    block: usize,
    address: Lsn,
    magic: WalMagic,
    timeline: Timeline,
    first: LongPageHeader,
    zero_from: Option<usize>,
}

/// A page that does not belong where it stands.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("WAL page at {address} (byte {offset} of the segment): {problem}")]
#[non_exhaustive]
pub struct PageWalkError {
    /// Bytes from the start of the segment.
    pub offset: usize,
    /// The position that stands there.
    pub address: Lsn,
    /// What is wrong.
    pub problem: PageWalkProblem,
}

/// What can be wrong with a page among others.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum PageWalkProblem {
    /// No page header.
    #[error(transparent)]
    Header(#[from] PageError),
    /// Another release of PostgreSQL wrote this page.
    #[error("magic {found} differs from the first page's {expected}")]
    Magic {
        /// Of the first page.
        expected: WalMagic,
        /// Of this one.
        found: WalMagic,
    },
    /// A page of another place, as recycled segments hold after their last valid page.
    #[error("its header says {found}")]
    Address {
        /// In the header.
        found: Lsn,
    },
    /// A lower timeline than the page before.
    #[error("timeline {found} after timeline {before}")]
    Timeline {
        /// Of the page before.
        before: Timeline,
        /// Of this one.
        found: Timeline,
    },
    /// A long header inside a segment.
    #[error("the header of a segment's first page")]
    LongHeader,
    /// Data after zero pages.
    #[error("data after the zero pages that begin at byte {zero_from}")]
    DataAfterZero {
        /// Bytes from the start of the segment.
        zero_from: usize,
    },
    /// The beginning of a page is zero, its end is not.
    #[error("a zero header before data")]
    ZeroHeader,
}

impl<'a> Pages<'a> {
    /// The header of the first page.
    pub const fn first(&self) -> &LongPageHeader {
        &self.first
    }

    /// After the walk: the offset of the first zero page, when zero pages ended it.
    pub const fn zero_from(&self) -> Option<usize> {
        self.zero_from
    }

    /// After the walk: how many bytes of the segment hold pages.
    pub const fn used(&self) -> usize {
        self.offset
    }

    fn check(&mut self, bytes: &[u8]) -> Result<PageHeader, PageWalkProblem> {
        let header = PageHeader::parse(bytes)?;
        if header.magic != self.magic {
            return Err(PageWalkProblem::Magic { expected: self.magic, found: header.magic });
        }
        if header.address != self.address {
            return Err(PageWalkProblem::Address { found: header.address });
        }
        if header.timeline < self.timeline {
            return Err(PageWalkProblem::Timeline { before: self.timeline, found: header.timeline });
        }
        if header.info.has_long_header() != (self.offset == 0) {
            return Err(PageWalkProblem::LongHeader);
        }
        self.timeline = header.timeline;
        Ok(header)
    }

    /// All that is left begins with a zero header: zero it must be to the end.
    fn zero_tail(&mut self, page: &[u8], rest: &[u8]) -> Option<Result<Page<'a>, PageWalkError>> {
        let (offset, address) = (self.offset, self.address);
        let data_at = if !is_zero(page) {
            (offset, PageWalkProblem::ZeroHeader)
        } else {
            self.zero_from = Some(offset);
            let at = rest.chunks(self.block).position(|chunk| !is_zero(chunk))?;
            (offset + (at + 1) * self.block, PageWalkProblem::DataAfterZero { zero_from: offset })
        };
        let (at, problem) = data_at;
        let past = u64::try_from(at - offset).unwrap_or(u64::MAX);
        Some(Err(PageWalkError { offset: at, address: address.saturating_add(past), problem }))
    }
}

impl<'a> Iterator for Pages<'a> {
    type Item = Result<Page<'a>, PageWalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (bytes, rest) = self.rest.split_at_checked(self.block).unwrap_or((self.rest, &[]));
        self.rest = &[];
        match self.check(bytes) {
            Ok(header) => {
                let page = Page { offset: self.offset, header, bytes };
                self.offset += bytes.len();
                self.address = self.address.saturating_add(self.first.block_size.into());
                self.rest = rest;
                Some(Ok(page))
            }
            Err(PageWalkProblem::Header(PageError::Zero)) => self.zero_tail(bytes, rest),
            // What is left of a preallocated file may end inside a header.
            Err(PageWalkProblem::Header(PageError::TooShort { .. })) if is_zero(bytes) => {
                self.zero_from = Some(self.offset);
                None
            }
            Err(problem) => Some(Err(PageWalkError { offset: self.offset, address: self.address, problem })),
        }
    }
}

impl std::iter::FusedIterator for Pages<'_> {}

fn is_zero(bytes: &[u8]) -> bool {
    let (words, tail) = bytes.as_chunks::<64>();
    words.iter().all(|word| *word == [0; 64]) && tail.iter().all(|byte| *byte == 0)
}
