//! Which blocks changed in a range of the archived WAL: the base for incremental copies of servers of any major.

use std::path::Path;

use tapster_catalog::{WalDirectory, WalStoreError};
use thiserror::Error;
use walfile::changed_blocks::{ChangedBlocks, announced_wal_level};
use walfile::{
    ArchiveEnd, ArchiveError, ArchiveReader, Lsn, RecordError, SegmentSize, Timeline, WalArchive, WalLevel,
};

use crate::{Context, Server};

/// Options of [`Server::changed_blocks`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct WalBlocksOptions {
    /// Where the first record begins, such as the begin position of a backup; or the start of a page.
    pub start: Lsn,
    /// The first record that is not looked at begins here or later, such as the begin position of the next backup.
    pub end: Lsn,
    /// The timeline that is followed up to the end; the newest in the archive when `None`.
    pub timeline: Option<Timeline>,
}

/// What [`Server::changed_blocks`] finds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WalBlocks {
    /// The timeline that was followed.
    pub timeline: Timeline,
    /// How many records there are in the range.
    pub records: u64,
    /// What changed.
    pub blocks: ChangedBlocks,
}

/// Changed blocks that are not known.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WalBlocksError {
    /// The end is not after the start.
    #[error("the range from {start} to {end} is empty")]
    EmptyRange {
        /// The start.
        start: Lsn,
        /// The end.
        end: Lsn,
    },
    /// No WAL at all.
    #[error("there is no WAL to read")]
    Empty,
    /// The directory cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The archive cannot be listed.
    #[error(transparent)]
    Store(#[from] WalStoreError),
    /// A history file cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// No record begins where the range does, so part of one would be missed.
    #[error("no record begins at {start}; the next one begins at {found}")]
    NotARecord {
        /// The start.
        start: Lsn,
        /// The next record.
        found: Lsn,
    },
    /// The log ends, or is damaged, before the end of the range.
    #[error("the WAL from {start} to {end} is not complete: {found}")]
    Incomplete {
        /// The start.
        start: Lsn,
        /// The end.
        end: Lsn,
        /// How far it goes.
        found: Box<ArchiveEnd>,
    },
    /// Part of the range was written with `wal_level = minimal`.
    #[error("what changed is not all in the WAL: wal_level was minimal from {lsn} on")]
    Minimal {
        /// The record that says so.
        lsn: Lsn,
    },
    /// A record with a right checksum that no server writes.
    #[error("the record at {lsn} is damaged: {source}")]
    Record {
        /// Where it begins.
        lsn: Lsn,
        /// What is wrong.
        source: RecordError,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Stopped,
}

/// Records between two looks at the stop flag.
const STOP_EVERY: u64 = 4096;

/// Which blocks changed in a range of the WAL in `archive`, on the way to `timeline`.
///
/// # Errors
/// When the range is not all there, or not all that changed is in it.
pub fn changed_blocks(
    archive: impl WalArchive,
    timeline: Timeline,
    options: &WalBlocksOptions,
    context: &Context<'_>,
) -> Result<WalBlocks, WalBlocksError> {
    let WalBlocksOptions { start, end, .. } = *options;
    if end <= start {
        return Err(WalBlocksError::EmptyRange { start, end });
    }
    let mut reader = ArchiveReader::open(archive, timeline, start)?.until(end);
    let (mut records, mut blocks) = (0, ChangedBlocks::new());
    while let Some(record) = reader.next_record() {
        let lsn = record.lsn;
        // What goes on into the page where the range begins was part of the range before.
        if records == 0 && lsn != start && !start.get().is_multiple_of(PAGE) {
            return Err(WalBlocksError::NotARecord { start, found: lsn });
        }
        let damaged = |source| WalBlocksError::Record { lsn, source };
        if announced_wal_level(&record).map_err(damaged)? == Some(WalLevel::Minimal) {
            return Err(WalBlocksError::Minimal { lsn });
        }
        blocks.apply(&record).map_err(damaged)?;
        records += 1;
        if records % STOP_EVERY == 0 && context.stopped() {
            return Err(WalBlocksError::Stopped);
        }
    }
    match reader.into_end() {
        Some(found) if found.at < end => {
            Err(WalBlocksError::Incomplete { start, end, found: Box::new(found) })
        }
        _ => Ok(WalBlocks { timeline, records, blocks }),
    }
}

/// Pages of the log have this size unless PostgreSQL was built otherwise, and then a multiple or a part of it.
const PAGE: u64 = 8192;

/// As [`changed_blocks`], for the WAL files in a directory.
///
/// # Errors
/// As [`changed_blocks`].
pub fn changed_blocks_in(
    directory: &Path,
    options: &WalBlocksOptions,
    context: &Context<'_>,
) -> Result<WalBlocks, WalBlocksError> {
    let archive = WalDirectory::new(directory);
    let fail = |source| WalBlocksError::Directory { path: directory.to_owned(), source };
    let newest = || -> Result<_, WalBlocksError> {
        let files = archive.files().map_err(fail)?;
        Ok(files.iter().filter_map(|name| name.segment().map(|segment| segment.timeline())).max())
    };
    let timeline = match options.timeline {
        Some(timeline) => timeline,
        None => newest()?.ok_or(WalBlocksError::Empty)?,
    };
    changed_blocks(archive, timeline, options, context)
}

impl Server {
    /// As [`changed_blocks`], for the WAL of this server in the hub.
    ///
    /// # Errors
    /// As [`changed_blocks`].
    pub fn changed_blocks(
        &self,
        options: &WalBlocksOptions,
        context: &Context<'_>,
    ) -> Result<WalBlocks, WalBlocksError> {
        let store = self.wal_store();
        let timeline = match options.timeline {
            Some(timeline) => timeline,
            // Any size will do: only the timelines are asked for.
            None => {
                store.segment_runs(SegmentSize::MIN)?.into_keys().next_back().ok_or(WalBlocksError::Empty)?
            }
        };
        changed_blocks(store, timeline, options, context)
    }
}
