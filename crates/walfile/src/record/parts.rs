//! Taking a record apart (`DecodeXLogRecord`).

use thiserror::Error;

use crate::record::block::{BlockRef, Fork, RelFile};
use crate::record::image::{BlockImage, ImageCompression};
use crate::record::{Fields, Xid};

/// The parts of a record: which blocks it changes, and its own data.
///
/// ```text
///  header │ block 0 │ block 1 │ … │ origin │ top xid │ main length │ image 0 │ data 0 │ data 1 │ … │ main data
///  24     │ 4..25 each            │ 3      │ 5       │ 2 or 5      │
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The block headers and what follows them, which [`parts`] found to be right.
    headers: &'a [u8],
    payloads: &'a [u8],
    major: u16,
    page_size: u32,
    /// How many blocks are referred to.
    pub block_count: u8,
    /// Bytes of all the images together.
    pub image_bytes: u32,
    /// The record's own data.
    pub main: &'a [u8],
    /// Where the change came from by logical replication, when it did.
    pub origin: Option<u16>,
    /// The transaction of which the record's is a subtransaction; PostgreSQL 14 and later, where logical decoding needs it.
    pub toplevel_xid: Option<Xid>,
}

/// A record with a right checksum whose inside is not what any server writes.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum PartsError {
    /// The bytes end inside a header.
    #[error("the record ends inside one of its headers")]
    Short,
    /// Not a block number, and none of the other marks.
    #[error("unknown part {id} in the record")]
    UnknownPart {
        /// What stands where a block's number should.
        id: u8,
    },
    /// A block number that is not above the one before.
    #[error("block {id} of the record is out of order")]
    Order {
        /// The block.
        id: u8,
    },
    /// No such fork.
    #[error("block {id} of the record names fork {fork}")]
    Fork {
        /// The block.
        id: u8,
        /// The number of the fork.
        fork: u8,
    },
    /// The first block says it has the relation of the block before.
    #[error("block {id} of the record has no relation to repeat")]
    NoRelation {
        /// The block.
        id: u8,
    },
    /// Flags and lengths that do not fit each other.
    #[error("block {id} of the record has an impossible image or data length")]
    Image {
        /// The block.
        id: u8,
    },
    /// The parts are longer or shorter than the record.
    #[error("the parts of the record have {expected} bytes, {found} are there")]
    Length {
        /// Sum of the lengths in the headers.
        expected: u64,
        /// Bytes after the headers.
        found: u64,
    },
}

const DATA_SHORT: u8 = 255;
const DATA_LONG: u8 = 254;
const ORIGIN: u8 = 253;
const TOPLEVEL_XID: u8 = 252;
const MAX_BLOCK: u8 = 32;

/// Takes apart what follows the header of a record. `page_size` is that of the data files (`block_size`), 8192 unless
/// PostgreSQL was built otherwise.
///
/// # Errors
/// When lengths and flags do not add up.
pub fn parts(body: &[u8], major: u16, page_size: u32) -> Result<Parts<'_>, PartsError> {
    let mut fields = Fields::new(body);
    let (mut expected, mut main_length, mut last, mut relation) = (0u64, 0u64, None, None);
    let (mut block_count, mut image_bytes, mut origin, mut toplevel_xid) = (0, 0u32, None, None);
    // The lengths that were announced are what is left when the headers end.
    while fields.len() as u64 > expected {
        let before = fields;
        let id = fields.u8().ok_or(PartsError::Short)?;
        match id {
            DATA_SHORT => main_length = fields.u8().ok_or(PartsError::Short)?.into(),
            DATA_LONG => main_length = fields.u32().ok_or(PartsError::Short)?.into(),
            ORIGIN => origin = Some(fields.u16().ok_or(PartsError::Short)?),
            TOPLEVEL_XID if major >= 14 => {
                toplevel_xid = Some(Xid::new(fields.u32().ok_or(PartsError::Short)?));
            }
            0..=MAX_BLOCK => {
                // What is not about a block comes after all of them.
                if last.is_some_and(|last| id <= last) || origin.is_some() || toplevel_xid.is_some() {
                    return Err(PartsError::Order { id });
                }
                fields = before;
                let block = BlockHeader::read(&mut fields, major, page_size, relation)?;
                (last, relation) = (Some(id), Some(block.relation));
                block_count += 1;
                image_bytes += u32::from(block.image_length());
                expected += u64::from(block.image_length()) + u64::from(block.data_length);
            }
            _ => return Err(PartsError::UnknownPart { id }),
        }
        if matches!(id, DATA_SHORT | DATA_LONG) {
            // Nothing follows it but the payloads.
            expected += main_length;
            break;
        }
    }
    let found = fields.len() as u64;
    if expected != found {
        return Err(PartsError::Length { expected, found });
    }
    let payloads = fields.rest();
    let main_at = usize::try_from(expected - main_length).unwrap_or(usize::MAX);
    Ok(Parts {
        headers: body,
        payloads,
        major,
        page_size,
        block_count,
        image_bytes,
        main: payloads.get(main_at..).unwrap_or(&[]),
        origin,
        toplevel_xid,
    })
}

impl<'a> Parts<'a> {
    /// The blocks, in the order of their numbers.
    pub const fn blocks(&self) -> Blocks<'a> {
        Blocks {
            headers: Fields::new(self.headers),
            payloads: Fields::new(self.payloads),
            left: self.block_count,
            relation: None,
            major: self.major,
            page_size: self.page_size,
        }
    }
}

/// The blocks of a record; made by [`Parts::blocks`].
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    headers: Fields<'a>,
    payloads: Fields<'a>,
    left: u8,
    relation: Option<RelFile>,
    major: u16,
    page_size: u32,
}

impl<'a> Iterator for Blocks<'a> {
    type Item = BlockRef<'a>;

    fn next(&mut self) -> Option<BlockRef<'a>> {
        self.left = self.left.checked_sub(1)?;
        // Blocks come first; `parts` has read them all before.
        let header = BlockHeader::read(&mut self.headers, self.major, self.page_size, self.relation).ok()?;
        self.relation = Some(header.relation);
        let image = match header.image {
            Some(image) => {
                Some(BlockImage { bytes: self.payloads.bytes(image.length.into())?, ..image.image })
            }
            None => None,
        };
        Some(BlockRef {
            id: header.id,
            relation: header.relation,
            fork: header.fork,
            block: header.block,
            will_init: header.will_init,
            image,
            data: self.payloads.bytes(header.data_length.into())?,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.into(), Some(self.left.into()))
    }
}

impl ExactSizeIterator for Blocks<'_> {}
impl std::iter::FusedIterator for Blocks<'_> {}

struct BlockHeader {
    id: u8,
    relation: RelFile,
    fork: Fork,
    block: u32,
    will_init: bool,
    data_length: u16,
    image: Option<ImageHeader>,
}

struct ImageHeader {
    length: u16,
    image: BlockImage<'static>,
}

impl BlockHeader {
    fn image_length(&self) -> u16 {
        self.image.as_ref().map_or(0, |image| image.length)
    }

    #[inline]
    fn read(
        fields: &mut Fields<'_>,
        major: u16,
        page_size: u32,
        relation: Option<RelFile>,
    ) -> Result<Self, PartsError> {
        let [id, flags, l0, l1] = *fields.array().ok_or(PartsError::Short)?;
        let data_length = u16::from_le_bytes([l0, l1]);
        let number = flags & 0x0F;
        let fork = Fork::from_number(number.into()).ok_or(PartsError::Fork { id, fork: number })?;
        if (flags & 0x20 != 0) != (data_length != 0) {
            return Err(PartsError::Image { id });
        }
        let image = match flags & 0x10 {
            0 => None,
            _ => Some(ImageHeader::read(fields, id, major, page_size)?),
        };
        let relation = if flags & 0x80 == 0 {
            RelFile::read(fields).ok_or(PartsError::Short)?
        } else {
            relation.ok_or(PartsError::NoRelation { id })?
        };
        let block = fields.u32().ok_or(PartsError::Short)?;
        Ok(Self { id, relation, fork, block, will_init: flags & 0x40 != 0, data_length, image })
    }
}

impl ImageHeader {
    fn read(fields: &mut Fields<'_>, id: u8, major: u16, page_size: u32) -> Result<Self, PartsError> {
        let [l0, l1, o0, o1, info] = *fields.array().ok_or(PartsError::Short)?;
        let (length, hole_offset) = (u16::from_le_bytes([l0, l1]), u16::from_le_bytes([o0, o1]));
        let has_hole = info & 0x01 != 0;
        // PostgreSQL 15 gave the second bit another meaning.
        let (apply, compression) = if major >= 15 {
            let compression = match info & 0x1C {
                0 => ImageCompression::None,
                0x04 => ImageCompression::Pglz,
                0x08 => ImageCompression::Lz4,
                0x10 => ImageCompression::Zstd,
                _ => return Err(PartsError::Image { id }),
            };
            (info & 0x02 != 0, compression)
        } else {
            let packed = info & 0x02 != 0;
            (info & 0x04 != 0, if packed { ImageCompression::Pglz } else { ImageCompression::None })
        };
        let packed = compression != ImageCompression::None;
        let hole_length = match (has_hole, packed) {
            (true, true) => fields.u16().ok_or(PartsError::Short)?,
            (true, false) => u16::try_from(page_size.saturating_sub(length.into())).unwrap_or(0),
            (false, _) => 0,
        };
        let hole_fits = u32::from(hole_offset) + u32::from(hole_length) <= page_size;
        let right = match (has_hole, packed) {
            (true, _) => hole_offset > 0 && hole_length > 0 && length > 0 && hole_fits,
            (false, true) => hole_offset == 0 && u32::from(length) < page_size,
            (false, false) => hole_offset == 0 && u32::from(length) == page_size,
        };
        if !right {
            return Err(PartsError::Image { id });
        }
        let image = BlockImage { bytes: &[], hole_offset, hole_length, compression, apply, page_size };
        Ok(Self { length, image })
    }
}
