//! What the segments of the archive hold, so that a moment is found without reading them.
//!
//! For each directory of segments (`wals/0000000100000000/`) there may be one file,
//! `meta/wal-index/0000000100000000.idx`, with a [`SegmentSummary`] for each segment: the range of commit times and of
//! transactions, restore points, checkpoints, where timelines begin, and the relation files that commits removed.
//! Barman reads nothing of that name. The summary of a segment is made while the segment is archived, from the bytes that
//! are compressed anyway.
//!
//! It is a cache. Loading it ([`WalIndex::load`]) compares it with the files that are there, by name, size and
//! modification time; what is missing, damaged or of another file is read again from the segment. A directory that was found
//! complete is marked with its own modification time and not looked through again until that changes. Losing the index, or a
//! failure to write it, costs time and nothing else.
//!
//! ```text
//! header   "TapWalIx" │ version u16 │ 0 u16 │ timeline u32 │ log u32 │ CRC-32C u32
//! frame    length u32 │ CRC-32C u32 │ kind u8 │ content            kind 1: a segment, kind 2: the mark of a whole directory
//! frame    …                                                       a later frame replaces an earlier one of the same segment
//! ```
//! All numbers are little-endian. Frames are appended under the lock of `xlog.db`; a frame that a crash tore is cut off
//! by the next writer.

mod error;
mod format;
mod hash_dir;
mod join;
mod load;
mod note;
mod scan;
mod store;
mod summary;

pub use error::WalIndexError;
pub use format::IndexContents;
pub use hash_dir::{HashDir, ParseHashDirError};
pub use load::{IndexState, IndexedDir, WalIndex};
pub use scan::{SegmentScan, scan_file};
pub use summary::{Completeness, Point, RemovedFiles, SegmentContent, SegmentSummary, StoredFile};

pub(crate) use scan::Scanning;
pub(crate) use store::{append, remove_orphans};
