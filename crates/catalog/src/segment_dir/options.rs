//! How received WAL is stored.

use walfile::codec::{Compression, Level};
use walfile::{Lsn, SegmentSize};

use super::SegmentDirError;

/// Options of [`SegmentDir::open`](super::SegmentDir::open).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SegmentDirOptions {
    /// The server's `wal_segment_size`.
    pub segment_size: SegmentSize,
    /// The cluster's system identifier. When given, each segment's first page header is compared with it.
    pub system_id: Option<u64>,
    /// Off, nothing is synced and what is reported as flushed is only written (`pg_receivewal --no-sync`).
    pub sync: bool,
    /// What finished segments become; an archive takes them uncompressed.
    pub compression: SegmentCompression,
    /// Permission bits of new files, before the umask: 0600 as `pg_receivewal`'s.
    pub file_mode: u32,
    /// When a segment is complete and nothing more comes for now, the next one's `.partial` is made at once. An archiver that
    /// holds the newest whole segment back until something follows it (Barman's rule) then need not wait for the next record.
    pub begin_next: bool,
    /// Go on with the newest timeline in the directory, also where files of an older one reach further: those were left
    /// behind by a fork before their end (a restore to a point in time, a standby that lagged). Off, the highest segment
    /// decides, as with `pg_receivewal`.
    pub newest_timeline: bool,
    /// Finished segments that may wait for the disk before [`write`](walfile::WalSink::write) waits too.
    pub queue_depth: usize,
}

impl Default for SegmentDirOptions {
    fn default() -> Self {
        Self {
            segment_size: SegmentSize::DEFAULT,
            system_id: None,
            sync: true,
            compression: SegmentCompression::None,
            file_mode: 0o600,
            begin_next: false,
            newest_timeline: false,
            queue_depth: 4,
        }
    }
}

impl SegmentDirOptions {
    /// The defaults for segments of `segment_size`.
    pub fn with_segment_size(segment_size: SegmentSize) -> Self {
        Self { segment_size, ..Self::default() }
    }
}

/// `pg_receivewal --compress`: what a finished segment becomes. The segment in progress is never compressed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum SegmentCompression {
    /// As it is.
    #[default]
    None,
    /// `<segment>.gz`.
    Gzip {
        /// `Level::Exact` of 1 to 9, or a word.
        level: Level,
    },
    /// `<segment>.lz4`.
    Lz4,
}

impl SegmentCompression {
    /// Codec, level and file name suffix.
    pub(super) const fn codec(self) -> Option<(Compression, Level, &'static str)> {
        match self {
            Self::None => None,
            Self::Gzip { level } => Some((Compression::Gzip, level, "gz")),
            Self::Lz4 => Some((Compression::Lz4, Level::Medium, "lz4")),
        }
    }
}

/// Compares the system identifier in the long page header that begins a segment. A first write that is shorter than the
/// header is let through: the archive looks again at the whole segment.
pub(super) fn check_system(expected: Option<u64>, at: Lsn, first: &[u8]) -> Result<(), SegmentDirError> {
    let Some(expected) = expected else { return Ok(()) };
    match walfile::LongPageHeader::parse(first) {
        Ok(header) if header.system_id.get() != expected => {
            Err(SegmentDirError::ForeignSystem { at, expected, found: header.system_id.get() })
        }
        _ => Ok(()),
    }
}
