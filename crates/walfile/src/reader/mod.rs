//! Finding records: in one segment ([`Segment`]), or in a stream of bytes ([`RecordDecoder`]). Both check page
//! headers, back links and checksums as PostgreSQL's `xlogreader.c` does, and end with an [`EndOfWal`].
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

mod assembler;
mod decoder;
mod end;
mod pages;
mod record;
mod segment;

pub(crate) use assembler::{Assembler, Step};
pub use decoder::RecordDecoder;
pub use end::{EndOfWal, EndReason};
pub use record::{Record, RecordError};
pub use segment::{Records, Segment, Summary, VerifyError};
