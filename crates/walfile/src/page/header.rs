//! The two page headers.

use thiserror::Error;

use crate::page::WalMagic;
use crate::{Lsn, SegmentSize, SegmentSizeError, SystemId, Timeline};

/// Flags of a page header (`xlp_info`).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct PageInfo(u16);

impl PageInfo {
    const CONTRECORD: u16 = 0x1;
    const LONG: u16 = 0x2;
    const REMOVABLE: u16 = 0x4;
    const OVERWRITE: u16 = 0x8;
    const ALL: u16 = 0xF;

    /// The flags as they stand in the page.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The page begins with the rest of a record of the page before.
    pub const fn has_continued_record(self) -> bool {
        self.0 & Self::CONTRECORD != 0
    }

    /// The header is a [`LongPageHeader`]: the page is the first of its segment.
    pub const fn has_long_header(self) -> bool {
        self.0 & Self::LONG != 0
    }

    /// Full-page images that begin on this page could be left out (nothing in PostgreSQL uses it any more).
    pub const fn has_removable_images(self) -> bool {
        self.0 & Self::REMOVABLE != 0
    }

    /// The record that the page before left unfinished was lost in a crash and is replaced by what follows.
    pub const fn overwrites_continued_record(self) -> bool {
        self.0 & Self::OVERWRITE != 0
    }
}

/// The header of every WAL page (`XLogPageHeaderData`).
///
/// The first page of a segment has the long header, the others end after byte 24:
///
/// ```text
///  byte 0      2      4           8                       16          20      24
///      ┌──────┬──────┬───────────┬───────────────────────┬───────────┬───────┐
///      │magic │flags │ timeline  │ address of this page  │ remaining │ zero  │  every page
///      └──────┴──────┴───────────┴───────────────────────┴───────────┴───────┘
///      ┌─────────────────────────┬───────────┬───────────┐
///      │ system identifier       │ segment   │ page size │  and the first of a segment
///      └─────────────────────────┴───────────┴───────────┘
///      24                        32          36          40
/// ```
///
/// `remaining` counts all that is missing of the record, also what is on later pages. The flags are 1: the page begins with
/// the rest of a record; 2: long header; 4: page images may be left out; 8: the record before was lost in a crash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PageHeader {
    /// Who wrote the page.
    pub magic: WalMagic,
    /// Flags.
    pub info: PageInfo,
    /// The timeline on which the page was begun. In the segment in which a timeline begins, the pages before the
    /// switch are copies that carry the timeline of the parent.
    pub timeline: Timeline,
    /// The position of the page's first byte.
    pub address: Lsn,
    /// Bytes of the continued record that are still to come, those on later pages included; 0 without one.
    pub remaining: u32,
}

/// The header of the first page of a segment (`XLogLongPageHeaderData`).
///
/// The beginning of a segment of PostgreSQL 16, as a server wrote it:
///
/// ```
/// let bytes = [
///     0x13, 0xD1, // magic of PostgreSQL 16
///     0x07, 0x00, // flags: a continued record, a long header, images may be left out
///     0x01, 0x00, 0x00, 0x00, // timeline 1
///     0x00, 0x00, 0x70, 0x00, 0x00, 0x00, 0x00, 0x00, // this page is at 0/700000
///     0x79, 0x16, 0x00, 0x00, // 5753 bytes of the record are still to come
///     0x00, 0x00, 0x00, 0x00, // nothing
///     0xC1, 0xCD, 0x22, 0x98, 0xAE, 0x1C, 0x01, 0x6B, // the cluster
///     0x00, 0x00, 0x10, 0x00, // segments of 1 MiB
///     0x00, 0x20, 0x00, 0x00, // pages of 8192 bytes
/// ];
/// let header = walfile::LongPageHeader::parse(&bytes)?;
/// assert_eq!((header.page.magic.major(), header.page.remaining), (16, 5753));
/// assert_eq!(header.page.address, "0/700000".parse()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```no_run
/// # let segment: Vec<u8> = Vec::new();
/// let header = walfile::LongPageHeader::parse(&segment)?;
/// println!("PostgreSQL {}, cluster {}", header.page.magic.major(), header.system_id);
/// # Ok::<(), walfile::PageError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LongPageHeader {
    /// What every page has.
    pub page: PageHeader,
    /// The cluster that wrote it.
    pub system_id: SystemId,
    /// Size of the segments of this cluster.
    pub segment_size: SegmentSize,
    /// Bytes in a WAL page: 8192 unless PostgreSQL was built otherwise.
    pub block_size: u32,
}

/// Bytes that are not the header of a WAL page.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum PageError {
    /// The file ends before the header does.
    #[error("{found} bytes are too few for a WAL page header of {expected} bytes")]
    TooShort {
        /// Bytes there are.
        found: usize,
        /// Bytes in the header.
        expected: usize,
    },
    /// The header is all zero: a page that was allocated and never written.
    #[error("the WAL page header is all zero: nothing was written here")]
    Zero,
    /// A known magic in the other byte order.
    #[error(
        "the WAL was written by a big-endian machine (magic {magic}); only little-endian WAL can be read"
    )]
    BigEndian {
        /// The magic, bytes swapped.
        magic: WalMagic,
    },
    /// No release of PostgreSQL that this crate knows writes this.
    #[error("unknown WAL page magic {found:#06X}: not WAL, or not that of PostgreSQL 10 to 18")]
    UnknownMagic {
        /// The first two bytes.
        found: u16,
    },
    /// Flags that no release uses.
    #[error("unknown flags in the WAL page header: {found:#06X}")]
    UnknownFlags {
        /// All the flags.
        found: u16,
    },
    /// Timeline zero.
    #[error("the WAL page header names timeline 0")]
    NoTimeline,
    /// A short header where a segment should begin.
    #[error("the page at {address} is not the first of a segment")]
    NotLong {
        /// The address in the header.
        address: Lsn,
    },
    /// A segment size PostgreSQL does not have.
    #[error("in the WAL page header: {0}")]
    SegmentSize(#[from] SegmentSizeError),
    /// A page size PostgreSQL cannot be built with.
    #[error("in the WAL page header: {found} bytes is not a WAL page size")]
    BlockSize {
        /// Bytes.
        found: u32,
    },
    /// The page cannot start there.
    #[error("in the WAL page header: {address} is not the start of a page")]
    Address {
        /// The address in the header.
        address: Lsn,
    },
}

impl PageHeader {
    /// Length in a file, padding included.
    pub const LEN: usize = 24;

    /// Reads the header at the start of `bytes`.
    ///
    /// # Errors
    /// When there are fewer than 24 bytes, or they are no page header of PostgreSQL 10-18.
    pub fn parse(bytes: &[u8]) -> Result<Self, PageError> {
        let header: &[u8; Self::LEN] =
            bytes.first_chunk().ok_or(PageError::TooShort { found: bytes.len(), expected: Self::LEN })?;
        // One array pattern instead of slices: every bound is known to the compiler.
        let [m0, m1, i0, i1, t0, t1, t2, t3, address @ .., r0, r1, r2, r3, _, _, _, _] = *header;
        let value = u16::from_le_bytes([m0, m1]);
        let Some(magic) = WalMagic::from_value(value) else {
            return Err(if header.iter().all(|byte| *byte == 0) {
                PageError::Zero
            } else if let Some(magic) = WalMagic::from_value(value.swap_bytes()) {
                PageError::BigEndian { magic }
            } else {
                PageError::UnknownMagic { found: value }
            });
        };
        let info = PageInfo(u16::from_le_bytes([i0, i1]));
        if info.0 & !PageInfo::ALL != 0 {
            return Err(PageError::UnknownFlags { found: info.0 });
        }
        Ok(Self {
            magic,
            info,
            timeline: Timeline::new(u32::from_le_bytes([t0, t1, t2, t3])).ok_or(PageError::NoTimeline)?,
            address: Lsn::new(u64::from_le_bytes(address)),
            remaining: u32::from_le_bytes([r0, r1, r2, r3]),
        })
    }

    /// Bytes of this header: [`PageHeader::LEN`] or [`LongPageHeader::LEN`].
    #[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
    pub const fn len(&self) -> usize {
        if self.info.has_long_header() { LongPageHeader::LEN } else { Self::LEN }
    }
}

impl LongPageHeader {
    /// Length in a file.
    pub const LEN: usize = 40;

    /// Reads the header at the start of `bytes`, the beginning of a segment.
    ///
    /// # Errors
    /// As [`PageHeader::parse`], and when the header is a short one or names impossible sizes.
    pub fn parse(bytes: &[u8]) -> Result<Self, PageError> {
        let page = PageHeader::parse(bytes)?;
        if !page.info.has_long_header() {
            return Err(PageError::NotLong { address: page.address });
        }
        let header: &[u8; Self::LEN] =
            bytes.first_chunk().ok_or(PageError::TooShort { found: bytes.len(), expected: Self::LEN })?;
        let [system_id @ .., s0, s1, s2, s3, b0, b1, b2, b3] = *header.last_chunk::<16>().unwrap_or(&[0; 16]);
        let segment_size = SegmentSize::new(u32::from_le_bytes([s0, s1, s2, s3]).into())?;
        let block_size = u32::from_le_bytes([b0, b1, b2, b3]);
        // configure --with-wal-blocksize takes 1 to 64 kilobytes.
        if !block_size.is_power_of_two() || !(1024..=65536).contains(&block_size) {
            return Err(PageError::BlockSize { found: block_size });
        }
        if !page.address.is_segment_start(segment_size) {
            return Err(PageError::Address { address: page.address });
        }
        Ok(Self { page, system_id: SystemId::new(u64::from_le_bytes(system_id)), segment_size, block_size })
    }
}
