//! Base backups and WAL that are not in directories but in an object store (`basebackups_directory` and `wals_directory` with an
//! address).
//!
//! Records, annotations, markers and the index of WAL are on this host all the same, as with Barman 3.19; what is in the store is
//! behind the traits here, so that this crate needs no client of one.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use thiserror::Error;
use walfile::codec::{Compression, Level};
use walfile::{SegmentName, Timeline, WalName};

use crate::{BackupId, BackupRecord, FoundBackup, KeepTarget};

/// What a call to the store failed for; never that something is not there.
#[derive(Debug)]
pub struct ObjectsError(Box<dyn std::error::Error + Send + Sync>);

impl ObjectsError {
    /// For that reason.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(source.into())
    }

    /// That reason.
    pub fn get_ref(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self.0.as_ref()
    }
}

impl fmt::Display for ObjectsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ObjectsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// The base backups of one server in an object store.
pub trait BackupObjects: fmt::Debug + Send + Sync {
    /// Where a backup is, for people and scripts.
    fn place(&self, id: &BackupId) -> PathBuf;

    /// Stores a copy of a record beside the archives.
    ///
    /// # Errors
    /// When it is not stored.
    fn save_record(&self, record: &BackupRecord) -> Result<(), ObjectsError>;

    /// The records that are in the store.
    ///
    /// # Errors
    /// When that is not known.
    fn records(&self) -> Result<Vec<FoundBackup>, ObjectsError>;

    /// Whether anything of a backup is in the store.
    ///
    /// # Errors
    /// When that is not known.
    fn has_any(&self, id: &BackupId) -> Result<bool, ObjectsError>;

    /// Tells `each` where every object of a backup is, its record included, as [`BackupObjects::place`] does.
    ///
    /// # Errors
    /// When they cannot be listed. What was told before that is right.
    fn files(&self, id: &BackupId, each: &mut dyn FnMut(&Path)) -> Result<(), ObjectsError>;

    /// The keep annotation of a backup.
    ///
    /// # Errors
    /// When that is not known.
    fn keep(&self, id: &BackupId) -> Result<Option<KeepTarget>, ObjectsError>;

    /// Whether there is anything of its content: more than its record and annotations.
    ///
    /// # Errors
    /// When that is not known.
    fn has_archives(&self, id: &BackupId) -> Result<bool, ObjectsError>;

    /// Stores a copy of the keep annotation, or removes it.
    ///
    /// # Errors
    /// When that did not happen.
    fn annotate(&self, id: &BackupId, keep: Option<KeepTarget>) -> Result<(), ObjectsError>;

    /// Removes everything of a backup, its record last. `false` when it was stopped before.
    ///
    /// # Errors
    /// When something is left.
    fn remove(&self, record: &BackupRecord, stop: &AtomicBool) -> Result<bool, ObjectsError>;
}

/// What became of a file that was to be archived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ArchivedObject {
    /// It was stored.
    New {
        /// Bytes, as stored.
        size: u64,
    },
    /// The same content was there.
    Same {
        /// Bytes, as stored.
        size: u64,
    },
    /// Another content is archived under its name, or one that cannot be decompressed, and stays.
    Different,
}

/// Why a file was not archived.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotArchived {
    /// The store, or what it is for: the next file would fare no better.
    #[error(transparent)]
    Store(#[from] ObjectsError),
    /// The file is not what its name says.
    #[error("{problem}")]
    Invalid {
        /// What is wrong with it.
        problem: String,
    },
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    /// Somebody wrote to the file while it was read.
    #[error("it changed while it was read")]
    Changed,
}

/// The archived WAL of one server in an object store.
pub trait WalObjects: fmt::Debug + Send + Sync {
    /// Where a file is, for people and scripts.
    fn place(&self, name: WalName) -> PathBuf;

    /// Whether a file is there, however it is compressed.
    ///
    /// # Errors
    /// When that is not known.
    fn exists(&self, name: WalName) -> Result<bool, ObjectsError>;

    /// Tells `each` every file in the directories of segments, but for those of positions before `since`.
    ///
    /// # Errors
    /// When they cannot be listed. What was told before that is right.
    fn names(&self, since: Option<SegmentName>, each: &mut dyn FnMut(WalName)) -> Result<(), ObjectsError>;

    /// The timelines that have a history file.
    ///
    /// # Errors
    /// When that is not known.
    fn histories(&self) -> Result<Vec<Timeline>, ObjectsError>;

    /// The newest segment of each timeline.
    ///
    /// # Errors
    /// When that is not known.
    fn newest_segments(&self) -> Result<BTreeMap<Timeline, SegmentName>, ObjectsError>;

    /// A file as it is stored, or decompressed, from its first byte; `None` when it is not there.
    ///
    /// # Errors
    /// When that is not known, or it cannot be read. Reading may fail later, too.
    fn open(&self, name: WalName, decompressed: bool) -> Result<Option<Box<dyn Read + Send>>, ObjectsError>;

    /// Archives the file at `path`, which may be compressed, in this form, unless it is archived already. It is durable in the store
    /// when this returns.
    ///
    /// # Errors
    /// When it may not be there; says whether that is the file's fault alone.
    fn archive(
        &self,
        name: WalName,
        path: &Path,
        compression: Compression,
        level: Level,
    ) -> Result<ArchivedObject, NotArchived>;

    /// Removes the files for which `goes` says so. None that does sorts behind `before`, so that nobody looks there. `false` when it
    /// was stopped before.
    ///
    /// # Errors
    /// When something is left.
    fn remove(
        &self,
        before: Option<SegmentName>,
        goes: &dyn Fn(WalName) -> bool,
        stop: &AtomicBool,
    ) -> Result<bool, ObjectsError>;
}
