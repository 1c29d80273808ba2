//! Tar streams as `BASE_BACKUP` sends them, parsed as they arrive.
//!
//! The parser takes whatever pieces the network gives, copies nothing but headers, and refuses everything
//! that PostgreSQL never sends: names that leave the archive, devices, hard links, sparse files. What it
//! lets through is a regular file, a directory or a symbolic link with a relative name of plain components.

mod error;
mod header;
mod name;
mod parser;
mod pax;
mod writer;

pub use error::{NameProblem, TarError};
pub use header::member_header;
pub use parser::{Event, Member, MemberKind, Parser, Region};
pub use writer::{NewMember, Writer};

/// Bytes of a tar block; headers are one, data is padded to whole ones.
pub const BLOCK: usize = 512;

/// Zero bytes after a member of `size` bytes, up to the next block.
pub const fn padding(size: u64) -> u64 {
    size.wrapping_neg() % 512
}
