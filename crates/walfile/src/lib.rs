//! PostgreSQL WAL files: names, positions, timelines, history files, backup labels, page headers, `pg_control`, the
//! formats in which archived WAL is compressed, and the records inside. PostgreSQL 10 to 18; no I/O of its own, no clock, no unsafe code
//! (but for pointers from C, with the feature `capi`).
//!
//! A log is one sequence of bytes; a position in it ([`Lsn`]) counts from its beginning. It is kept in files of one size, the
//! segments, which consist of pages, in which lie records:
//!
//! ```text
//!  0/5000000                      0/6000000                      0/7000000
//! ┌──────────────────────────────┬──────────────────────────────┬─ ─ ─ ─
//! │ 000000010000000000000005     │ 000000010000000000000006     │           segments, 16 MiB
//! └──────────────────────────────┴──────────────────────────────┴─ ─ ─ ─
//!  ┌────────┬────────┬─ ─ ─ ┬────────┐
//!  │ page   │ page   │      │ page   │                                      pages, 8 KiB: see [`LongPageHeader`]
//!  └────────┴────────┴─ ─ ─ ┴────────┘
//!  ┌──┬───────┬──┬──────────
//!  │hd│ record│  │ record ...                                              records, from multiples of 8: see [`record`]
//!  └──┴───────┴──┴──────────
//! ```
//! The name of a segment is its timeline, then its position in units of segments, in two parts of eight hexadecimal digits.
//!
//! ```
//! use walfile::{BackupLabel, Lsn, SegmentName, SegmentSize, Timeline};
//!
//! // Which segments does a restore of this backup need, up to a given position?
//! let label = BackupLabel::parse(
//!     b"START WAL LOCATION: 0/5000028 (file 000000010000000000000005)\n\
//!       CHECKPOINT LOCATION: 0/5000060\nLABEL: nightly\nSTART TIMELINE: 1\n",
//! )?;
//! let stop: Lsn = "0/7000000".parse()?;
//! let size = SegmentSize::DEFAULT;
//! let last = SegmentName::ending_at(Timeline::FIRST, stop, size).ok_or("no position")?;
//! let needed: Vec<String> = label.start_segment.through(last, size)?.map(|name| name.to_string()).collect();
//! assert_eq!(needed, ["000000010000000000000005", "000000010000000000000006"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Records are found by [`Segment`] and [`RecordDecoder`]; [`record`] is what they are made of, [`rmgr`] what they mean.
//!
//! ```no_run
//! # let bytes: Vec<u8> = Vec::new();
//! let segment = walfile::Segment::new(&bytes)?;
//! let mut records = segment.records();
//! while let Some(record) = records.next_record() {
//!     let blocks = record.parts()?.blocks().map(|block| format!("{} {}", block.relation, block.block));
//!     println!("{} {} {:?} {:?}", record.lsn, record.header.rmgr, record.type_name(), blocks.collect::<Vec<_>>());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | Feature | Adds |
//! |---|---|
//! | `gzip`, `bzip2`, `lz4`, `snappy` | the codec of that name, in Rust; `lz4` also for page images |
//! | `xz`, `zstd` | the codec of that name, in C; `zstd` also for page images |
//! | `codecs` | all six |
//! | `serde` | serialised forms: texts for [`Lsn`], names, [`SystemId`], [`codec::Compression`]; a number for [`Timeline`] |
//! | `postgres-types` | [`Lsn`] to and from `PgLsn` |
//! | `capi` | functions for C, as declared in `include/walfile.h` |
//!
//! No feature is on by default, and without `xz` and `zstd` nothing is compiled from C. `gzip` selects the
//! `zlib-rs` back end of `flate2` for the whole program.
//!
//! There is no `no_std` build: the codecs, the archive and [`RecordDecoder::read_from`] are made of `std::io`'s traits, whose errors
//! are in the errors of this crate, and the choice of the processor's checksum instruction needs `std` too.
//!
//! What is parsed may come from anyone: lengths are checked before memory is taken, and nothing panics.

mod archive;
#[cfg(feature = "capi")]
pub mod capi;
pub mod changed_blocks;
pub mod codec;
mod control;
mod history;
mod label;
mod lsn;
mod name;
mod page;
mod reader;
pub mod record;
pub mod rmgr;
mod segment;
mod segment_range;
mod segment_size;
mod sink;
mod system_id;
mod timeline;

pub use archive::{ArchiveEnd, ArchiveError, ArchiveReader, ArchiveStop, WalArchive};
pub use control::{ClusterState, ControlFile, ControlFileError, WalLevel};
pub use history::{HistoryEntry, HistoryError, HistoryProblem, TimelineHistory};
pub use label::{
    BackupFrom, BackupHistoryFile, BackupLabel, BackupLabelError, BackupLabelProblem, BackupMethod,
};
pub use lsn::{Lsn, ParseLsnError};
pub use name::{ParseWalNameError, WalName};
pub use page::{
    LongPageHeader, Page, PageError, PageHeader, PageInfo, PageWalkError, PageWalkProblem, Pages,
    SegmentMismatch, WalMagic, pages,
};
pub use reader::{
    EndOfWal, EndReason, Passed, Record, RecordDecoder, RecordError, Records, Segment, Summary, VerifyError,
};
pub use segment::{ParseSegmentNameError, SegmentName, SegmentNameError, SegmentNo};
pub use segment_range::SegmentRange;
pub use segment_size::{SegmentSize, SegmentSizeError};
pub use sink::WalSink;
pub use system_id::SystemId;
pub use timeline::{ParseTimelineError, Timeline, TimelineHex};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
