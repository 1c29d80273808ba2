//! Where the valid part of the log ends, and why.

use std::fmt;

use crate::{Lsn, PageError, SegmentSize, SystemId, Timeline, WalMagic};

/// Where reading stopped. The end of the log is not an error: every log has one, and this is what it looks like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EndOfWal {
    /// Everything before this position is valid: here begins the record, or the page, that is not.
    pub at: Lsn,
    /// What stands there.
    pub reason: EndReason,
}

impl fmt::Display for EndOfWal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "valid up to {}: {}", self.at, self.reason)
    }
}

/// Why no record could be read.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EndReason {
    /// The input ends here; more of it may go on.
    Input {
        /// Bytes of an unfinished record that were read: 0 at the boundary of a record.
        unfinished: u32,
    },
    /// The record's length is zero: nothing was written here yet.
    NothingWritten,
    /// A length no record has.
    Length {
        /// In the record's header.
        found: u32,
    },
    /// No record of this major has this resource manager.
    ResourceManager {
        /// In the record's header.
        found: u8,
    },
    /// The record does not link back to the one before it, as in what a recycled segment held before.
    BackLink {
        /// Where the record before begins; `None` when it is not known, and any position before this record would do.
        expected: Option<Lsn>,
        /// In the record's header.
        found: Lsn,
    },
    /// The record's checksum is wrong.
    Crc {
        /// Of the bytes that are there.
        computed: u32,
        /// In the record's header.
        found: u32,
    },
    /// The record that says what was lost names another record than the unfinished one.
    Overwrite {
        /// Where the unfinished record begins.
        expected: Lsn,
        /// In the record that replaces it.
        found: Lsn,
    },
    /// No page header: bytes of something else, or zeros where nothing was written.
    Page {
        /// Where the page should begin.
        page: Lsn,
        /// What is wrong with its header.
        error: PageError,
    },
    /// The page is that of another place, as in a recycled segment.
    PageAddress {
        /// Where the page begins.
        page: Lsn,
        /// In its header.
        found: Lsn,
    },
    /// The page was written by another major than the first.
    PageMagic {
        /// Of the first page.
        expected: WalMagic,
        /// Of this one.
        found: WalMagic,
    },
    /// The page has a lower timeline than the page before it.
    PageTimeline {
        /// Of the page before.
        before: Timeline,
        /// Of this one.
        found: Timeline,
    },
    /// The page is of a timeline that did not hold its position, by the history file.
    PageHistory {
        /// Where the page begins.
        page: Lsn,
        /// The timeline that held it.
        expected: Timeline,
        /// In its header.
        found: Timeline,
    },
    /// A long header inside a segment, or a short one at its start.
    PageKind {
        /// Where the page begins.
        page: Lsn,
    },
    /// The segment belongs to another cluster than the one before.
    SystemId {
        /// Of the first segment.
        expected: SystemId,
        /// Of this one.
        found: SystemId,
    },
    /// The segment has another size, or pages of another size, than the one before.
    Geometry {
        /// Size of the segments so far.
        expected: SegmentSize,
        /// Of this one.
        found: SegmentSize,
    },
    /// The record is not continued on its next page.
    NotContinued {
        /// The next page.
        page: Lsn,
    },
    /// The page continues a record, and none is unfinished.
    Continued {
        /// The page.
        page: Lsn,
    },
    /// The page continues a record of another length.
    Remaining {
        /// The page.
        page: Lsn,
        /// Bytes that are missing.
        expected: u32,
        /// Bytes that the page announces.
        found: u32,
    },
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input { unfinished: 0 } => write!(f, "the input ends"),
            Self::Input { unfinished } => {
                write!(f, "the input ends after {unfinished} bytes of a record")
            }
            Self::NothingWritten => write!(f, "nothing was written here"),
            Self::Length { found } => write!(f, "no record is {found} bytes long"),
            Self::ResourceManager { found } => write!(f, "no resource manager has the number {found}"),
            Self::BackLink { expected: Some(expected), found } => {
                write!(f, "the record links back to {found}, not to {expected}")
            }
            Self::BackLink { expected: None, found } => {
                write!(f, "the record links back to {found}, which is not before it")
            }
            Self::Crc { computed, found } => {
                write!(f, "the record's checksum is {found:08X}, that of its bytes {computed:08X}")
            }
            Self::Overwrite { expected, found } => {
                write!(f, "the record at {expected} was lost, but the log says that the one at {found} was")
            }
            Self::Page { page, error } => write!(f, "page {page}: {error}"),
            Self::PageAddress { page, found } => write!(f, "page {page}: its header says {found}"),
            Self::PageMagic { expected, found } => {
                write!(f, "a page with magic {found} after pages with {expected}")
            }
            Self::PageTimeline { before, found } => {
                write!(f, "a page of timeline {found} after timeline {before}")
            }
            Self::PageHistory { page, expected, found } => {
                write!(f, "page {page}: its header says timeline {found}, the history timeline {expected}")
            }
            Self::PageKind { page } => write!(f, "page {page}: a header of the wrong kind"),
            Self::SystemId { expected, found } => {
                write!(f, "the segment belongs to system {found}, not to {expected}")
            }
            Self::Geometry { expected, found } => {
                write!(f, "a segment of {found} after segments of {expected}, or other pages")
            }
            Self::NotContinued { page } => write!(f, "the record is not continued on page {page}"),
            Self::Continued { page } => write!(f, "page {page} continues a record that is not there"),
            Self::Remaining { page, expected, found } => {
                write!(f, "page {page} continues a record with {found} bytes, {expected} are missing")
            }
        }
    }
}
