//! The small vocabularies of a backup record.

use std::fmt;
use std::str::FromStr;

use super::PyValue;

/// How far a backup has come.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum BackupStatus {
    /// Its record was made, nothing else.
    #[default]
    Empty,
    /// Files are being copied.
    Started,
    /// All files are copied; not all WAL it needs is archived.
    WaitingForWals,
    /// It can be restored.
    Done,
    /// A passive node is copying it.
    Syncing,
    /// It broke off; `error` says why.
    Failed,
}

impl BackupStatus {
    /// The word in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "EMPTY",
            Self::Started => "STARTED",
            Self::WaitingForWals => "WAITING_FOR_WALS",
            Self::Done => "DONE",
            Self::Syncing => "SYNCING",
            Self::Failed => "FAILED",
        }
    }

    /// Whether all files are copied: [`Self::Done`] or [`Self::WaitingForWals`].
    pub const fn is_copied(self) -> bool {
        matches!(self, Self::Done | Self::WaitingForWals)
    }
}

impl fmt::Display for BackupStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for BackupStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Empty, Self::Started, Self::WaitingForWals, Self::Done, Self::Syncing, Self::Failed]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(())
    }
}

/// How a backup was taken, as the record says it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BackupMode {
    /// `postgres`: the replication protocol's base backup.
    Postgres,
    /// `rsync-concurrent`.
    RsyncConcurrent,
    /// `rsync-exclusive`, up to PostgreSQL 14.
    RsyncExclusive,
    /// `snapshot-concurrent`.
    SnapshotConcurrent,
    /// `snapshot-exclusive`.
    SnapshotExclusive,
    /// `local-to-cloud-concurrent`.
    LocalToCloudConcurrent,
    /// `passive`: copied from another Barman.
    Passive,
    /// Another word.
    Other(String),
}

impl BackupMode {
    const KNOWN: [Self; 7] = [
        Self::Postgres,
        Self::RsyncConcurrent,
        Self::RsyncExclusive,
        Self::SnapshotConcurrent,
        Self::SnapshotExclusive,
        Self::LocalToCloudConcurrent,
        Self::Passive,
    ];

    /// The word in the record.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Postgres => "postgres",
            Self::RsyncConcurrent => "rsync-concurrent",
            Self::RsyncExclusive => "rsync-exclusive",
            Self::SnapshotConcurrent => "snapshot-concurrent",
            Self::SnapshotExclusive => "snapshot-exclusive",
            Self::LocalToCloudConcurrent => "local-to-cloud-concurrent",
            Self::Passive => "passive",
            Self::Other(text) => text,
        }
    }
}

impl fmt::Display for BackupMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<&str> for BackupMode {
    fn from(text: &str) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .unwrap_or_else(|| Self::Other(text.to_owned()))
    }
}

/// What kind of backup it is; derived from the mode and the parent, not stored.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BackupType {
    /// A base backup of its own.
    Full,
    /// The changes since its parent (PostgreSQL 17).
    Incremental,
    /// A copy of the files by rsync.
    Rsync,
    /// A snapshot of the volumes.
    Snapshot,
}

impl BackupType {
    /// The word in Barman's output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
            Self::Rsync => "rsync",
            Self::Snapshot => "snapshot",
        }
    }

    /// The letter in `list-backups`.
    pub const fn letter(self) -> char {
        match self {
            Self::Full => 'F',
            Self::Incremental => 'I',
            Self::Rsync => 'R',
            Self::Snapshot => 'S',
        }
    }
}

impl fmt::Display for BackupType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A tablespace at the time of the backup.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TablespaceInfo {
    /// Its name in SQL.
    pub name: String,
    /// Its object id, also the name of its directory in the backup.
    pub oid: u32,
    /// Where it was on the server.
    pub location: String,
}

/// How long the parts of the copy took, in seconds: Barman's dictionary, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CopyStats(Vec<(PyValue, PyValue)>);

impl CopyStats {
    pub(super) const fn from_pairs(pairs: Vec<(PyValue, PyValue)>) -> Self {
        Self(pairs)
    }

    /// The whole dictionary.
    pub fn to_value(&self) -> PyValue {
        PyValue::Dict(self.0.clone())
    }

    /// Whether there is nothing in it; the record then says `None`.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An entry as it stands.
    pub fn get(&self, key: &str) -> Option<&PyValue> {
        self.0.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// A number, such as `copy_time`, `total_time`, `analysis_time` or `number_of_workers`.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.get(key)?.as_f64()
    }

    /// Sets an entry; a new one goes to the end.
    pub fn set(&mut self, key: &str, value: PyValue) {
        match self.0.iter_mut().find(|(name, _)| name.as_str() == Some(key)) {
            Some((_, old)) => *old = value,
            None => self.0.push((PyValue::Str(key.to_owned()), value)),
        }
    }

    /// Sets a duration in seconds, rounded to microseconds as Barman has them.
    pub fn set_seconds(&mut self, key: &str, seconds: f64) {
        self.set(key, PyValue::Float((seconds * 1e6).round() / 1e6));
    }
}
