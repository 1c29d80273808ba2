//! Base-backup archives kept as files: `base.tar` and `<oid>.tar`, compressed when asked.
//!
//! Invariants as in `pg_basebackup -F t`: an archive ends with two zero blocks even when the server left
//! them out; the manifest is `backup_manifest.tmp` until everything is on disk. Member names are checked on
//! the way, so that whoever unpacks the archive later is not the first to look.

mod blocks;
mod check;
mod compress;
mod output;
mod relay;
mod writer;

pub use compress::{ArchiveCompression, CompressionError};
pub use relay::{ArchiveRelay, Part, PartStore, PartWriter, RelayOptions, RelayReport, RelayedPart};
pub use writer::{ArchiveError, ArchiveOptions, ArchiveReport, ArchiveWriter, Injection};
