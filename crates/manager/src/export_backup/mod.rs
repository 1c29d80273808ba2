//! A backup with its WAL as one file (Barman's `export-backup`), which Barman's import takes as well.
//!
//! The archive is written once, in order, compressed on all cores and summed up on the way; it gets its name, with the beginning
//! of the sum in it, when it is on disk.

mod error;
mod members;
mod name;
mod output;

pub use error::ExportError;
pub use name::ExportName;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{BackupRecord, BackupStatus, Identity, XlogEntry};
use tapster_copy::compress::{StreamCodec, StreamEncoder, all_cores};
use tapster_copy::tar::Writer;
use walfile::{SegmentName, WalName};

use crate::{Context, Server};
use members::Members;
use output::{SummedFile, Unfinished};

/// Options of [`Server::export_backup`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExportOptions {
    /// Where the file goes; the directory must exist.
    pub directory: PathBuf,
    /// How it is compressed.
    pub codec: Option<StreamCodec>,
    /// How hard; only with a codec.
    pub level: Option<u32>,
    /// Threads that compress.
    pub workers: usize,
}

impl ExportOptions {
    /// An uncompressed archive in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), codec: None, level: None, workers: all_cores() }
    }
}

/// A finished export.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ExportReport {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256 in hexadecimal digits; the first eight are in its name.
    pub sha256: String,
    /// WAL segments in it.
    pub wals: usize,
    /// History files in it.
    pub histories: usize,
}

impl Server {
    /// Writes a complete backup, with the WAL that makes it consistent and the history files that lead to its timeline, into
    /// one file.
    ///
    /// # Errors
    /// When the backup is not complete or incremental, WAL is missing, or something cannot be read or written. Then no file
    /// is left.
    pub fn export_backup(
        &self,
        record: &BackupRecord,
        options: &ExportOptions,
        context: &Context<'_>,
    ) -> Result<ExportReport, ExportError> {
        let level = self.check_export(record, options)?;
        let (id, server) = (record.id, self.name().to_owned());
        let identity = Identity::load(&self.layout().identity())?
            .ok_or_else(|| ExportError::NoIdentity { server: server.clone() })?;
        // Shared with other readers, alone against whoever changes or deletes it.
        let _lock = Lock::try_share(&self.layout().lock(&LockName::BackupId(id))).map_err(|e| match e {
            LockError::Busy { .. } => ExportError::Busy { id, server: server.clone() },
            other => ExportError::Lock(other),
        })?;
        let wals = self.wals_to_export(record, context)?;

        let stem = ExportName::stem(&server, id, context.now());
        let temporary = options.directory.join(format!("{stem}.tmp"));
        let write = |source| ExportError::Write { path: temporary.clone(), source };
        let file = SummedFile::create(&temporary).map_err(write)?;
        let mut unfinished = Unfinished(Some(temporary.clone()));
        let encoder = StreamEncoder::new(file, options.codec, level, options.workers).map_err(write)?;
        let mut members = Members {
            server: self,
            context,
            archive: Writer::new(encoder),
            path: &temporary,
            total: record.size,
            done: 0,
            buffer: Vec::new(),
        };
        let (wals, histories) = members.write(record, &identity, &wals)?;
        let file = members.finish()?.finish().map_err(write)?;
        let (size, sha256) = file.finish().map_err(write)?;
        let checksum = sha256.get(..8).unwrap_or_default();
        let suffix = options.codec.map_or("", StreamCodec::suffix);
        let path = options.directory.join(format!("{stem}-{checksum}.tar{suffix}"));
        unfinished.rename_to(&path).map_err(write)?;
        Ok(ExportReport { path, size, sha256, wals, histories })
    }

    /// Whether such an export can begin, without touching anything. Returns the level to compress with.
    ///
    /// # Errors
    /// When the backup or the options do not allow it.
    pub fn check_export(&self, record: &BackupRecord, options: &ExportOptions) -> Result<u32, ExportError> {
        if self.has_backups_in_bucket() || self.has_wals_in_bucket() {
            return Err(ExportError::InObjectStore);
        }
        let (id, server) = (record.id, self.name().to_owned());
        if record.parent_backup_id.is_some() {
            return Err(ExportError::Incremental { id, server });
        }
        if record.status != BackupStatus::Done {
            return Err(ExportError::NotDone { id, server, status: record.status });
        }
        check_directory(&options.directory)?;
        match (options.codec, options.level) {
            (None, Some(_)) => Err(ExportError::LevelAlone),
            (None, None) => Ok(0),
            (Some(codec), level) => {
                let level = level.unwrap_or(codec.default_level());
                codec.check_level(level)?;
                Ok(level)
            }
        }
    }

    /// The segments that make the backup consistent, with their lines of the index.
    fn wals_to_export(
        &self,
        record: &BackupRecord,
        context: &Context<'_>,
    ) -> Result<BTreeMap<SegmentName, XlogEntry>, ExportError> {
        let (Some(begin), Some(end)) = (record.begin_wal, record.end_wal) else {
            return Err(ExportError::NoWalRange { id: record.id });
        };
        let mut wals = BTreeMap::new();
        for entry in self.wal_index(context)?.entries()? {
            let entry = entry?;
            if let WalName::Segment(name) = entry.name
                && (begin..=end).contains(&name)
            {
                wals.insert(name, entry);
            }
        }
        for name in begin.through(end, record.segment_size())? {
            if !wals.contains_key(&name) {
                return Err(ExportError::NotListed { id: record.id, name });
            }
        }
        Ok(wals)
    }
}

fn check_directory(path: &Path) -> Result<(), ExportError> {
    let path_buf = || path.to_owned();
    match path.metadata() {
        Err(_) => Err(ExportError::NoDirectory { path: path_buf() }),
        Ok(metadata) if !metadata.is_dir() => Err(ExportError::NotADirectory { path: path_buf() }),
        Ok(_) => rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
            .map_err(|_| ExportError::NotWritable { path: path_buf() }),
    }
}
