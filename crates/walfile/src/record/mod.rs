//! What a record is made of: its header, the blocks it refers to with their page images, and its own data.
//!
//! ```text
//!  page n                                   page n+1
//! ┌────────┬──────────┬─────┬──────────────┐┌────────┬───────────────┬─────┬────
//! │ header │ record A │ pad │ record B ... ││ header │ ... rest of B │ pad │ C
//! │ 24/40  │          │ → 8 │              ││ rem=…  │               │ → 8 │
//! └────────┴──────────┴─────┴──────────────┘└────────┴───────────────┴─────┴────
//! ```
//! Records begin on multiples of eight bytes. A record that does not fit goes on after the next page's header, which
//! then has the flag of a continued record and says how many bytes are still to come.
//!
//! A record:
//!
//! ```text
//!  byte 0           4           8                       16     17     18    20          24
//!      ┌───────────┬───────────┬───────────────────────┬──────┬──────┬─────┬───────────┬─ ─ ─ ─
//!      │ length    │ xid       │ where the record      │ info │ rmgr │  0  │ CRC-32C   │ body
//!      │ with this │           │ before begins         │      │      │     │           │
//!      └───────────┴───────────┴───────────────────────┴──────┴──────┴─────┴───────────┴─ ─ ─ ─
//! ```
//! The checksum covers the body first, then bytes 0 to 19. The body is a sequence of small headers, and then all they
//! announce in the same order ([`parts`]). A block's header:
//!
//! ```text
//!  0     1     2        4
//! ┌─────┬─────┬────────┬───────────────────────────┬──────────────────────────────┬──────────┐
//! │ id  │flags│ bytes  │ image: length, hole, info │ tablespace, database, file   │ block    │
//! │0..32│     │ of data│ 5 or 7, with flag 0x10    │ 12, without flag 0x80        │ number   │
//! └─────┴─────┴────────┴───────────────────────────┴──────────────────────────────┴──────────┘
//! ```
//! Its flags are the fork in the lower four bits, 0x10: an image of the page, 0x20: data, 0x40: the page is written anew, 0x80: the same
//! relation as the block before. After the blocks come, each with its mark, 0xFD the origin (2 bytes), 0xFC the top-level
//! transaction (4), and last 0xFF or 0xFE with the length of the record's own data in one byte or four.
//!
//! A commit without anything else, as a server of PostgreSQL 15 wrote it:
//!
//! ```
//! let bytes = [
//!     0x22, 0x00, 0x00, 0x00, // 34 bytes
//!     0x0B, 0x73, 0x0E, 0x00, // transaction 946955
//!     0x80, 0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, // the record before begins at 0/20000080
//!     0x00, 0x01, 0x00, 0x00, // info 0 of resource manager 1: a commit
//!     0x1C, 0x71, 0x1C, 0x38, // checksum
//!     0xFF, 0x08, // own data, eight bytes:
//!     0x8A, 0xFA, 0x93, 0xEB, 0xC1, 0x03, 0x03, 0x00, // the time
//! ];
//! use walfile::record::{RecordHeader, parts};
//! use walfile::rmgr::{Payload, Rmgr};
//!
//! let (header, body) = bytes.split_first_chunk().ok_or("too short")?;
//! let header = RecordHeader::read(header);
//! assert_eq!((header.total_len, header.xid.get(), header.rmgr), (34, 946_955, Rmgr::TRANSACTION));
//! let Payload::Commit(commit) = Payload::read(&header, parts(body, 15, 8192)?.main, 15)? else { panic!() };
//! // 2026-11-21 06:05:46.047114 UTC
//! assert_eq!(commit.time.unix_micros(), 1_795_241_146_047_114);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
#[cfg(target_arch = "aarch64")]
pub(crate) use checksum::aarch64;
#[cfg(target_arch = "x86_64")]
pub(crate) use checksum::x86_64;
pub(crate) use checksum::{SHORT, append, checksum, checksum_of, finish};
pub(crate) use fields::Fields;
pub use header::RecordHeader;
pub use ids::{FullXid, Oid, Timestamp, Xid};
pub use image::{BlockImage, ImageCompression, ImageError};
pub use lengths::image_bytes;
pub use parts::{Blocks, Parts, PartsError, parts};
