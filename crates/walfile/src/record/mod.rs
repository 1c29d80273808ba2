//! What a record is made of: its header, the blocks it refers to with their page images, and its own data.

mod block;
mod checksum;
mod fields;
mod header;
mod ids;
mod image;
mod lengths;
mod parts;
mod pglz;

pub use block::{BlockRef, Fork, RelFile};
pub(crate) use checksum::checksum;
pub(crate) use fields::Fields;
pub use header::RecordHeader;
pub use ids::{FullXid, Oid, Timestamp, Xid};
pub use image::{BlockImage, ImageCompression, ImageError};
pub use lengths::image_bytes;
pub use parts::{Blocks, Parts, PartsError, parts};
