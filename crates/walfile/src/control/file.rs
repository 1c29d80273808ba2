//! Reading `pg_control`.

use thiserror::Error;

use crate::control::layout::Layout;
use crate::control::{ClusterState, WalLevel};
use crate::{Lsn, SegmentSize, SegmentSizeError, SystemId, Timeline};

/// The content of `global/pg_control`, of PostgreSQL 10 to 18.
///
/// ```no_run
/// # let bytes: Vec<u8> = Vec::new();
/// let control = walfile::ControlFile::parse(&bytes)?;
/// println!("PostgreSQL {}, {}, redo from {}", control.major, control.state, control.redo);
/// # Ok::<(), walfile::ControlFileError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ControlFile {
    /// The cluster.
    pub system_id: SystemId,
    /// `pg_control` version number, such as 1300.
    pub version: u32,
    /// Catalog version number, such as 202209061.
    pub catalog_version: u32,
    /// The major release of PostgreSQL, such as 15.
    pub major: u16,
    /// What the cluster was doing.
    pub state: ClusterState,
    /// When the file was last written, in seconds since 1970.
    pub modified: i64,
    /// The last checkpoint record.
    pub checkpoint: Lsn,
    /// Where recovery from that checkpoint begins.
    pub redo: Lsn,
    /// The timeline of that checkpoint.
    pub timeline: Timeline,
    /// The timeline before it, the same unless the checkpoint began a timeline.
    pub previous_timeline: Timeline,
    /// Whether the pages of the log since then can repair torn pages.
    pub full_page_writes: bool,
    /// When that checkpoint began, in seconds since 1970.
    pub checkpoint_time: i64,
    /// In recovery: the position that must be reached before the data are consistent; zero otherwise.
    pub min_recovery_point: Lsn,
    /// The timeline of that position; `None` when there is no such position.
    pub min_recovery_timeline: Option<Timeline>,
    /// While a backup is being recovered: its start position; zero once its end was reached.
    pub backup_start: Lsn,
    /// While a backup taken from a standby is being recovered: its end position; zero otherwise.
    pub backup_end: Lsn,
    /// Whether the end-of-backup record must still be found.
    pub backup_end_required: bool,
    /// `wal_level` of the primary.
    pub wal_level: WalLevel,
    /// `wal_log_hints` of the primary.
    pub wal_log_hints: bool,
    /// `max_connections` of the primary: a standby must have at least as many, as with the next four.
    pub max_connections: u32,
    /// `max_worker_processes` of the primary.
    pub max_worker_processes: u32,
    /// `max_wal_senders` of the primary (PostgreSQL 12 and later).
    pub max_wal_senders: Option<u32>,
    /// `max_prepared_transactions` of the primary.
    pub max_prepared_xacts: u32,
    /// `max_locks_per_transaction` of the primary.
    pub max_locks_per_xact: u32,
    /// `track_commit_timestamp` of the primary.
    pub track_commit_timestamp: bool,
    /// Bytes in a data page.
    pub block_size: u32,
    /// Pages in one file of a relation.
    pub relation_segment_blocks: u32,
    /// Bytes in a WAL page.
    pub wal_block_size: u32,
    /// Size of WAL segments.
    pub wal_segment_size: SegmentSize,
    /// Version of the data page checksums: 0 without checksums, else 1.
    pub data_checksum_version: u32,
    /// The checksum of the above, as stored and verified.
    pub crc: u32,
}

/// Bytes that are not a `pg_control` file this crate can read.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ControlFileError {
    /// The file ends before its checksum.
    #[error("{found} bytes are too few for pg_control, which has at least {expected}")]
    TooShort {
        /// Bytes there are.
        found: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// A known version in the other byte order.
    #[error(
        "pg_control was written by a big-endian machine (version {version}); only little-endian ones can be read"
    )]
    BigEndian {
        /// The control version, bytes swapped.
        version: u32,
    },
    /// No release of PostgreSQL 10-18 has this pair of versions.
    #[error(
        "unknown pg_control version {version} with catalog version {catalog_version}: not PostgreSQL 10 to 18"
    )]
    UnknownLayout {
        /// The control version.
        version: u32,
        /// The catalog version.
        catalog_version: u32,
    },
    /// The file is damaged, or was read while the server wrote it: read it again.
    #[error("pg_control has CRC {found:08X}, but its content {expected:08X}")]
    Crc {
        /// Stored.
        found: u32,
        /// Computed.
        expected: u32,
    },
    /// A field has a value no server writes.
    #[error("pg_control has {value} as its {field}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it holds.
        value: u32,
    },
    /// A segment size PostgreSQL does not have.
    #[error("in pg_control: {0}")]
    SegmentSize(#[from] SegmentSizeError),
}

impl ControlFile {
    /// The length of the file in bytes (`PG_CONTROL_FILE_SIZE`); less than 300 of them are used.
    pub const FILE_LEN: usize = 8192;

    /// Reads the file. A running server may be writing it at the same time; its checksum then fails, and the
    /// file should be read again.
    ///
    /// # Errors
    /// When the versions are unknown, the checksum is wrong, or a field holds what no server writes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ControlFileError> {
        let fields = Fields(bytes);
        let (version, catalog_version) = (fields.u32(8)?, fields.u32(12)?);
        let Some(layout) = Layout::of(version, catalog_version) else {
            let swapped = version.swap_bytes();
            return Err(if Layout::knows_version(swapped) {
                ControlFileError::BigEndian { version: swapped }
            } else {
                ControlFileError::UnknownLayout { version, catalog_version }
            });
        };
        let crc = fields.u32(layout.crc)?;
        let computed = crc32c::crc32c(bytes.get(..layout.crc).unwrap_or(&[]));
        if crc != computed {
            return Err(ControlFileError::Crc { found: crc, expected: computed });
        }
        let (copy, after, limits) = (layout.copy, layout.after, layout.max_connections());
        let prepared = layout.max_prepared();
        let sizes = layout.block_size();
        let wrong = |field, value| ControlFileError::Field { field, value };
        let state = fields.u32(16)?;
        let timeline = |at, field| {
            let number = fields.u32(at)?;
            Timeline::new(number).ok_or(wrong(field, number))
        };
        let wal_level = fields.u32(after + 44)?;
        Ok(Self {
            system_id: SystemId::new(fields.u64(0)?),
            version,
            catalog_version,
            major: layout.major,
            state: ClusterState::from_value(state).ok_or(wrong("cluster state", state))?,
            modified: fields.u64(24)?.cast_signed(),
            checkpoint: Lsn::new(fields.u64(32)?),
            redo: Lsn::new(fields.u64(copy)?),
            timeline: timeline(copy + 8, "timeline")?,
            previous_timeline: timeline(copy + 12, "previous timeline")?,
            full_page_writes: fields.flag(copy + 16)?,
            checkpoint_time: fields.u64(copy + layout.copy_time)?.cast_signed(),
            min_recovery_point: Lsn::new(fields.u64(after + 8)?),
            min_recovery_timeline: Timeline::new(fields.u32(after + 16)?),
            backup_start: Lsn::new(fields.u64(after + 24)?),
            backup_end: Lsn::new(fields.u64(after + 32)?),
            backup_end_required: fields.flag(after + 40)?,
            wal_level: WalLevel::from_value(wal_level).ok_or(wrong("wal_level", wal_level))?,
            wal_log_hints: fields.flag(after + 48)?,
            max_connections: fields.u32(limits)?,
            max_worker_processes: fields.u32(limits + 4)?,
            max_wal_senders: if layout.has_senders { Some(fields.u32(limits + 8)?) } else { None },
            max_prepared_xacts: fields.u32(prepared)?,
            max_locks_per_xact: fields.u32(prepared + 4)?,
            track_commit_timestamp: fields.flag(prepared + 8)?,
            block_size: fields.u32(sizes)?,
            relation_segment_blocks: fields.u32(sizes + 4)?,
            wal_block_size: fields.u32(sizes + 8)?,
            wal_segment_size: SegmentSize::new(fields.u32(sizes + 12)?.into())?,
            data_checksum_version: fields.u32(sizes + 36)?,
            crc,
        })
    }

    /// Whether data pages have checksums.
    pub const fn has_data_checksums(&self) -> bool {
        self.data_checksum_version != 0
    }
}

/// Fields by offset; every read is checked.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Result<[u8; N], ControlFileError> {
        self.0
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .ok_or(ControlFileError::TooShort { found: self.0.len(), expected: at + N })
    }

    fn u32(&self, at: usize) -> Result<u32, ControlFileError> {
        self.bytes(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Result<u64, ControlFileError> {
        self.bytes(at).map(u64::from_le_bytes)
    }

    fn flag(&self, at: usize) -> Result<bool, ControlFileError> {
        self.bytes(at).map(|[byte]| byte != 0)
    }
}
