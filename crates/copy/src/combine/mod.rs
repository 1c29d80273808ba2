//! A full backup from a full one and incremental ones on top of it (PostgreSQL 17 and later): what `pg_combinebackup` does.
//!
//! One pass: the newest backup is walked, and each of its files is copied, or, for an `INCREMENTAL.*` file, put together from
//! the newest backup that has each block. Files are worked on in parallel and read once, front to back; what is read is
//! compared with the manifest of the backup it comes from, what is written is summed up for the new manifest.
//!
//! ```text
//!  full         16384              [a][b][c][d]
//!  incremental  INCREMENTAL.16384  length 2, nothing changed
//!  incremental  INCREMENTAL.16384  length 5, blocks 1 [B] and 4 [E]
//!  result       16384              [a][B][0][0][E]    the first incremental says that blocks 2 and 3 were cut off
//! ```
//! One thing differs from `pg_combinebackup` 17 and 18: they bound what an older backup may give by the truncation length of
//! the newest backup alone, and would take blocks 2 and 3 from the full one. Here each backup bounds what comes from before it, so that combining three backups gives the same
//! as combining two and then the third. It matters for blocks of zeros that a server appends without WAL to a relation that
//! had been truncated before.

mod check;
mod error;
mod header;
mod index;
mod options;
mod output;
mod reading;
mod rebuild;
mod run;

pub use error::CombineError;
pub use header::{HeaderError, IncrementalHeader, MAGIC, PREFIX};
pub(crate) use index::Index;
pub use options::{CombineOptions, CombineReport, CombineSource, CopyMethod};
pub use run::combine;
