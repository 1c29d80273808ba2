//! Full-page images.

use thiserror::Error;

use crate::record::pglz;

/// How the bytes of an image are compressed (`wal_compression`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ImageCompression {
    /// Not at all.
    None,
    /// PostgreSQL's own format.
    Pglz,
    /// LZ4 block format; PostgreSQL 15 and later.
    Lz4,
    /// Zstandard; PostgreSQL 15 and later.
    Zstd,
}

impl ImageCompression {
    /// The name in `wal_compression`, and in `pg_waldump`'s output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pglz => "pglz",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// A page as it stands in a record: without the unused bytes in its middle (the hole), perhaps compressed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BlockImage<'a> {
    /// The bytes in the record.
    pub bytes: &'a [u8],
    /// Where the hole begins, 0 without one.
    pub hole_offset: u16,
    /// Length of the hole, 0 without one.
    pub hole_length: u16,
    /// How `bytes` are compressed.
    pub compression: ImageCompression,
    /// Replay puts the image in place. Without it, the image is there for `wal_consistency_checking` only.
    pub apply: bool,
    /// Bytes of the page.
    pub page_size: u32,
}

/// An image that does not give a page.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ImageError {
    /// The crate was built without the codec.
    #[error("the page image is compressed with {}, which is not built in", .0.name())]
    Disabled(ImageCompression),
    /// The bytes are not what the codec makes, or not of a page's length.
    #[error("the {} page image is damaged: {expected} bytes should come out of it", compression.name())]
    Damaged {
        /// The codec.
        compression: ImageCompression,
        /// Bytes of the page without its hole.
        expected: usize,
    },
}

impl BlockImage<'_> {
    /// Writes the page to `page`, which becomes as long as a page: decompressed, the hole filled with zeros.
    ///
    /// # Errors
    /// When the codec is not built in (features `lz4`, `zstd`), or the image is damaged.
    pub fn restore(&self, page: &mut Vec<u8>) -> Result<(), ImageError> {
        let (size, hole) = (self.page_size as usize, usize::from(self.hole_length));
        let offset = usize::from(self.hole_offset);
        let packed = size.saturating_sub(hole);
        let damaged = || ImageError::Damaged { compression: self.compression, expected: packed };
        page.clear();
        page.resize(packed, 0);
        self.unpack(page).ok_or(ImageError::Disabled(self.compression))?.ok_or_else(damaged)?;
        if hole > 0 {
            if offset > packed {
                return Err(damaged());
            }
            page.resize(size, 0);
            page.copy_within(offset..packed, offset + hole);
            page.get_mut(offset..offset + hole).ok_or_else(damaged)?.fill(0);
        }
        Ok(())
    }

    /// `None` without the codec; `Some(None)` when the bytes do not give exactly `page`.
    fn unpack(&self, page: &mut [u8]) -> Option<Option<()>> {
        match self.compression {
            ImageCompression::None => {
                Some((page.len() == self.bytes.len()).then(|| page.copy_from_slice(self.bytes)))
            }
            ImageCompression::Pglz => Some(pglz::decompress(self.bytes, page)),
            #[cfg(feature = "lz4")]
            ImageCompression::Lz4 => {
                let length = lz4_flex::block::decompress_into(self.bytes, page).ok();
                Some((length == Some(page.len())).then_some(()))
            }
            #[cfg(feature = "zstd")]
            ImageCompression::Zstd => {
                let length = zstd::bulk::decompress_to_buffer(self.bytes, page).ok();
                Some((length == Some(page.len())).then_some(()))
            }
            #[cfg(not(all(feature = "lz4", feature = "zstd")))]
            _ => None,
        }
    }
}
