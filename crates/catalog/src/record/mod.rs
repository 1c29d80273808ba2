//! Backup records: `backup.info`, the file in which Barman keeps what it knows about a backup.
//!
//! The text is `key=value` lines in alphabetical order. Records that Barman 3.19 wrote come back byte for byte, and no key is ever
//! added: Barman refuses to work at all once it meets one that it does not know.

mod error;
mod kinds;
mod parse;
mod python_literal;
mod python_repr;
mod timestamp;
mod write;

pub use error::{RecordError, RecordProblem};
pub use kinds::{BackupMode, BackupStatus, BackupType, CopyStats, TablespaceInfo};
pub use python_literal::{LiteralError, PyValue};
pub use python_repr::repr_f64;
pub use timestamp::{format as format_time, parse as parse_time};

use time::OffsetDateTime;
use walfile::{Lsn, SegmentName, SegmentSize, Timeline};

use crate::BackupId;

/// What is known about one backup. `None` is Barman's `None`: not known (yet), or not applicable.
///
/// ```
/// use tapster_catalog::{BackupRecord, BackupStatus};
/// let id = "20261121T000542".parse()?;
/// let record = BackupRecord::parse(id, b"status=DONE\nsize=10\n", time::UtcOffset::UTC)?;
/// assert_eq!((record.status, record.size), (BackupStatus::Done, Some(10)));
/// assert!(record.to_text().contains("\nstatus=DONE\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BackupRecord {
    /// Which backup. Not in the text: it is the name of the file.
    pub id: BackupId,
    /// The text of `backup_label`.
    pub backup_label: Option<String>,
    /// The name given with `--name`.
    pub backup_name: Option<String>,
    /// Bytes from the start of `begin_wal`.
    pub begin_offset: Option<u32>,
    /// When it began, in the time zone of the server's session.
    pub begin_time: Option<OffsetDateTime>,
    /// The first segment that it needs.
    pub begin_wal: Option<SegmentName>,
    /// Where its redo starts.
    pub begin_xlog: Option<Lsn>,
    /// The incremental backups that build on it.
    pub children_backup_ids: Vec<BackupId>,
    /// Bytes of all tablespaces when it began.
    pub cluster_size: Option<u64>,
    /// `gzip`, `lz4`, `zstd`, `none`; only for tar backups.
    pub compression: Option<String>,
    /// `config_file` of the server.
    pub config_file: Option<String>,
    /// How long the copy took.
    pub copy_stats: Option<CopyStats>,
    /// `on` or `off`.
    pub data_checksums: Option<String>,
    /// Bytes of the files that no other backup shares.
    pub deduplicated_size: Option<u64>,
    /// `gpg`.
    pub encryption: Option<String>,
    /// Bytes from the start of `end_wal`.
    pub end_offset: Option<u32>,
    /// When it ended.
    pub end_time: Option<OffsetDateTime>,
    /// The last segment that it needs.
    pub end_wal: Option<SegmentName>,
    /// Where it ended.
    pub end_xlog: Option<Lsn>,
    /// Why it failed; one line.
    pub error: Option<String>,
    /// `hba_file` of the server.
    pub hba_file: Option<String>,
    /// `ident_file` of the server.
    pub ident_file: Option<String>,
    /// Configuration files other than the main one.
    pub included_files: Option<Vec<String>>,
    /// How it was taken.
    pub mode: Option<BackupMode>,
    /// The backup it builds on, when it is incremental.
    pub parent_backup_id: Option<BackupId>,
    /// `data_directory` of the server.
    pub pgdata: Option<String>,
    /// The server's name in the configuration when it was taken.
    pub server_name: Option<String>,
    /// Bytes of all files.
    pub size: Option<u64>,
    /// The snapshots, as the literal that Barman wrote.
    pub snapshots_info: Option<String>,
    /// How far it has come.
    pub status: BackupStatus,
    /// `on` or `off`; unknown before PostgreSQL 17.
    pub summarize_wal: Option<String>,
    /// The system identifier, in decimal.
    pub systemid: Option<String>,
    /// The tablespaces other than `pg_default` and `pg_global`.
    pub tablespaces: Vec<TablespaceInfo>,
    /// The timeline it began on.
    pub timeline: Option<Timeline>,
    /// `server_version_num`, such as 150020.
    pub version: Option<u32>,
    /// The size of a WAL segment.
    pub xlog_segment_size: Option<SegmentSize>,
}

impl BackupRecord {
    /// A record with nothing in it: status EMPTY, segments of 16 MiB. Set `mode` and `server_name` before saving it: Barman's
    /// `list-backups` breaks off at a record of this catalog that has no mode.
    pub const fn new(id: BackupId) -> Self {
        Self {
            id,
            backup_label: None,
            backup_name: None,
            begin_offset: None,
            begin_time: None,
            begin_wal: None,
            begin_xlog: None,
            children_backup_ids: Vec::new(),
            cluster_size: None,
            compression: None,
            config_file: None,
            copy_stats: None,
            data_checksums: None,
            deduplicated_size: None,
            encryption: None,
            end_offset: None,
            end_time: None,
            end_wal: None,
            end_xlog: None,
            error: None,
            hba_file: None,
            ident_file: None,
            included_files: None,
            mode: None,
            parent_backup_id: None,
            pgdata: None,
            server_name: None,
            size: None,
            snapshots_info: None,
            status: BackupStatus::Empty,
            summarize_wal: None,
            systemid: None,
            tablespaces: Vec::new(),
            timeline: None,
            version: None,
            xlog_segment_size: Some(SegmentSize::DEFAULT),
        }
    }

    /// What kind of backup it is.
    pub fn backup_type(&self) -> BackupType {
        let mode = self.mode.as_ref().map_or("", BackupMode::as_str);
        if mode.starts_with("snapshot") {
            BackupType::Snapshot
        } else if mode.starts_with("rsync") {
            BackupType::Rsync
        } else if self.parent_backup_id.is_some() {
            BackupType::Incremental
        } else {
            BackupType::Full
        }
    }

    /// The size of a WAL segment; 16 MiB when the record does not say.
    pub fn segment_size(&self) -> SegmentSize {
        self.xlog_segment_size.unwrap_or_default()
    }

    /// Whether it was taken with the exclusive interface, whose WAL no later backup can take over.
    pub const fn is_exclusive(&self) -> bool {
        matches!(self.mode, Some(BackupMode::RsyncExclusive | BackupMode::SnapshotExclusive))
    }
}
