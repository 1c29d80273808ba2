//! Pages of a WAL segment: their headers (PostgreSQL's `xlog_internal.h`), what a header must agree with, and a
//! walk over the pages of a segment that does not look at records.
//!
//! The format is that of little-endian, 8-byte-aligned builds (x86-64, arm64, riscv64, ppc64le): a segment
//! written in the other byte order is recognised by its magic and refused with an error of its own.

mod header;
mod magic;
mod validate;
mod walk;

pub use header::{LongPageHeader, PageError, PageHeader, PageInfo};
pub use magic::WalMagic;
pub use validate::SegmentMismatch;
pub use walk::{Page, PageWalkError, PageWalkProblem, Pages, pages};
