//! Finding records: in one segment ([`Segment`]), or in a stream of bytes ([`RecordDecoder`]). Both check page
//! headers, back links and checksums as PostgreSQL's `xlogreader.c` does, and end with an [`EndOfWal`].

mod assembler;
mod decoder;
mod end;
mod pages;
mod record;
mod segment;

pub use assembler::Passed;
pub(crate) use assembler::{Assembler, Pass, Step};
pub use decoder::RecordDecoder;
pub use end::{EndOfWal, EndReason};
pub use record::{Record, RecordError};
pub use segment::{Records, Segment, Summary, VerifyError};
