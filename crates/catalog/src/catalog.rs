//! The backups of one server.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use time::UtcOffset;

use crate::durable::{self, Disk, DurableError, RealDisk};
use crate::{
    BackupId, BackupObjects, BackupRecord, BackupStatus, ObjectsError, RecordError, ServerLayout, WalObjects,
};

/// The key of the marker of a deletion in progress: `meta/<id>-delete_this`, with Barman's content.
pub(crate) const MARKER: &str = "delete_this";

/// One server's catalog: its records, annotations and markers.
///
/// Nothing is cached: each call looks at the disk, because Barman may change it at any time.
///
/// ```
/// use tapster_catalog::{BackupRecord, BackupStatus, Catalog, Selector, ServerLayout, ServerName};
/// let home = tempfile::tempdir()?;
/// let layout = ServerLayout::standard(home.path(), ServerName::new("main")?);
/// let catalog = Catalog::open(layout, time::UtcOffset::UTC);
/// let mut record = BackupRecord::new("20261121T000542".parse()?);
/// record.status = BackupStatus::Done;
/// catalog.save(&record)?;
/// assert_eq!(catalog.select(&Selector::from("latest"))?, record);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Catalog {
    layout: ServerLayout,
    disk: Arc<dyn Disk>,
    local: UtcOffset,
    backup_objects: Option<Arc<dyn BackupObjects>>,
    wal_objects: Option<Arc<dyn WalObjects>>,
    /// Whether records that are only in the store count.
    reads_store: bool,
}

/// A catalog that cannot be read, or a backup that is not in it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// A directory cannot be listed.
    #[error("cannot list {}: {source}", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The object store does not say what it has.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// There is no such backup.
    #[error("Unknown backup '{wanted}' for server '{server}'")]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// Where.
        server: String,
    },
    /// Several backups have this name.
    #[error("Multiple backups found matching name '{name}' (try using backup ID instead): {}", join(ids))]
    Ambiguous {
        /// The name.
        name: String,
        /// The backups that have it, oldest first.
        ids: Vec<BackupId>,
    },
}

fn join(ids: &[BackupId]) -> String {
    ids.iter().map(BackupId::as_str).collect::<Vec<_>>().join(" ")
}

/// Which backup is meant: Barman's shortcuts, an id or a name.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Selector {
    /// `latest`, `last`: the newest that is copied.
    Latest,
    /// `oldest`, `first`: the oldest that is copied.
    Oldest,
    /// `latest-full`, `last-full`: the newest copied one that is neither incremental nor a snapshot.
    LatestFull,
    /// `last-failed`: the newest that failed.
    LastFailed,
    /// An id.
    Id(BackupId),
    /// The name given with `--name`.
    Name(String),
}

impl From<&str> for Selector {
    /// Unlike Barman, a part of the word `last-failed` is a name, not the word.
    fn from(text: &str) -> Self {
        match text {
            "latest" | "last" => Self::Latest,
            "oldest" | "first" => Self::Oldest,
            "latest-full" | "last-full" => Self::LatestFull,
            "last-failed" => Self::LastFailed,
            _ => text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Id),
        }
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Latest => "latest",
            Self::Oldest => "oldest",
            Self::LatestFull => "latest-full",
            Self::LastFailed => "last-failed",
            Self::Id(id) => id.as_str(),
            Self::Name(name) => name,
        })
    }
}

/// A backup as it was found: its id, and its record or why that cannot be read.
pub type FoundBackup = (BackupId, Result<BackupRecord, RecordError>);

impl Catalog {
    /// The catalog in these directories; they need not exist yet. `local` is the zone of times in old records
    /// that carry none.
    pub fn open(layout: ServerLayout, local: UtcOffset) -> Self {
        Self::with_disk(layout, local, Arc::new(RealDisk))
    }

    /// As [`Catalog::open`], writing through another [`Disk`].
    pub fn with_disk(layout: ServerLayout, local: UtcOffset, disk: Arc<dyn Disk>) -> Self {
        Self { layout, disk, local, backup_objects: None, wal_objects: None, reads_store: false }
    }

    /// Base backups are in that store. With `reads_store`, so are records that this host does not have: for a host that only restores
    /// what another one has taken.
    #[must_use]
    pub fn with_backup_objects(self, objects: Arc<dyn BackupObjects>, reads_store: bool) -> Self {
        Self { backup_objects: Some(objects), reads_store, ..self }
    }

    /// Archived WAL is in that store.
    #[must_use]
    pub fn with_wal_objects(self, objects: Arc<dyn WalObjects>) -> Self {
        Self { wal_objects: Some(objects), ..self }
    }

    /// The store of base backups, where they are in one.
    pub fn backup_objects(&self) -> Option<&dyn BackupObjects> {
        self.backup_objects.as_deref()
    }

    /// The store of WAL, where it is in one.
    pub fn wal_objects(&self) -> Option<&dyn WalObjects> {
        self.wal_objects.as_deref()
    }

    /// Where the files of a backup are, in a store or here.
    pub fn place_of(&self, id: &BackupId) -> PathBuf {
        self.backup_objects().map_or_else(|| self.layout.backup_dir(id), |objects| objects.place(id))
    }

    /// Where an archived file is, in a store or here.
    pub fn place_of_wal(&self, name: walfile::WalName) -> PathBuf {
        self.wal_objects().map_or_else(|| self.layout.wal(name), |objects| objects.place(name))
    }

    /// Where everything is.
    pub const fn layout(&self) -> &ServerLayout {
        &self.layout
    }

    /// What it writes through.
    pub fn disk(&self) -> &dyn Disk {
        self.disk.as_ref()
    }

    /// All backups, sorted by id. A record that cannot be read does not hide the others; what is not a backup is
    /// passed over.
    ///
    /// # Errors
    /// When a directory cannot be listed.
    pub fn backups(&self) -> Result<Vec<FoundBackup>, CatalogError> {
        let mut paths: BTreeMap<BackupId, PathBuf> = BTreeMap::new();
        for name in names(&self.layout.base)? {
            if let Ok(id) = name.parse::<BackupId>()
                && self.layout.old_record(&id).is_file()
            {
                paths.insert(id, self.layout.old_record(&id));
            }
        }
        for id in self.ids_with("backup.info")? {
            paths.insert(id, self.layout.record(&id));
        }
        let read = |(id, path): (BackupId, PathBuf)| (id, BackupRecord::read(id, &path, self.local));
        let mut found: Vec<FoundBackup> = paths.into_iter().map(read).collect();
        if let Some(objects) = self.backup_objects().filter(|_| self.reads_store) {
            let here: std::collections::BTreeSet<BackupId> = found.iter().map(|(id, _)| *id).collect();
            found.extend(objects.records()?.into_iter().filter(|(id, _)| !here.contains(id)));
            found.sort_by_key(|(id, _)| *id);
        }
        Ok(found)
    }

    /// Whether records that are only in the store count.
    pub(crate) const fn reads_store(&self) -> bool {
        self.reads_store
    }

    /// The zone of times that records hold without one.
    pub const fn local_offset(&self) -> UtcOffset {
        self.local
    }

    /// The records that can be read, sorted by id.
    ///
    /// # Errors
    /// When a directory cannot be listed.
    pub fn records(&self) -> Result<Vec<BackupRecord>, CatalogError> {
        Ok(self.backups()?.into_iter().filter_map(|(_, record)| record.ok()).collect())
    }

    /// The record of one backup, from `meta/` or its old place.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`] when there is none.
    pub fn load(&self, id: &BackupId) -> Result<BackupRecord, CatalogError> {
        for path in [self.layout.record(id), self.layout.old_record(id)] {
            match BackupRecord::read(*id, &path, self.local) {
                Err(RecordError::Io { source, .. })
                    if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                done => return Ok(done?),
            }
        }
        if let Some(objects) = self.backup_objects().filter(|_| self.reads_store)
            && let Some((_, record)) = objects.records()?.into_iter().find(|(found, _)| found == id)
        {
            return Ok(record?);
        }
        Err(self.unknown(&id.to_string()))
    }

    /// Writes a record to `meta/`, durably. The old one is there until the new one is complete. Where base backups are in an object
    /// store, a copy goes there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, record: &BackupRecord) -> Result<(), DurableError> {
        self.save_here(record)?;
        if let Some(objects) = self.backup_objects() {
            objects.save_record(record)?;
        }
        Ok(())
    }

    /// Writes a record to `meta/` alone.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_here(&self, record: &BackupRecord) -> Result<(), DurableError> {
        durable::create_dir_all(self.disk(), &self.layout.meta, None)?;
        durable::replace(self.disk(), &self.layout.record(&record.id), record.to_text().as_bytes())
    }

    /// Finds a backup the way Barman's commands do.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`], [`CatalogError::Ambiguous`], or that the catalog cannot be read.
    pub fn select(&self, selector: &Selector) -> Result<BackupRecord, CatalogError> {
        let name = match selector {
            Selector::Id(id) => return self.load(id),
            Selector::Name(name) => Some(name.as_str()),
            _ => None,
        };
        let mut records = self.records()?;
        records.retain(|record| match selector {
            Selector::LastFailed => record.status == BackupStatus::Failed,
            Selector::LatestFull => record.status.is_copied() && record.is_full(),
            Selector::Name(name) => record.status.is_copied() && record.backup_name.as_ref() == Some(name),
            _ => record.status.is_copied(),
        });
        if let (Some(name), true) = (name, records.len() > 1) {
            let ids = records.iter().map(|record| record.id).collect();
            return Err(CatalogError::Ambiguous { name: name.to_owned(), ids });
        }
        let found = if *selector == Selector::Oldest {
            records.into_iter().next()
        } else {
            records.into_iter().next_back()
        };
        found.ok_or_else(|| self.unknown(&selector.to_string()))
    }

    fn unknown(&self, wanted: &str) -> CatalogError {
        CatalogError::Unknown { wanted: wanted.to_owned(), server: self.layout.server.to_string() }
    }

    /// Whether the record says that files were copied, but there are none: what a `delete` that broke off
    /// may leave (Barman's `is_orphan`).
    pub fn is_orphan(&self, record: &BackupRecord) -> bool {
        if record.status == BackupStatus::Empty {
            return false;
        }
        if let Some(objects) = self.backup_objects() {
            // Of one whose store does not answer, nobody knows.
            return self.layout.record(&record.id).exists()
                && matches!(objects.has_archives(&record.id), Ok(false));
        }
        let dir = self.layout.backup_dir(&record.id);
        if self.layout.record(&record.id).exists() && !dir.exists() {
            return true;
        }
        let only_the_record = || std::fs::read_dir(&dir).is_ok_and(|entries| entries.take(2).count() == 1);
        self.layout.old_record(&record.id).exists() && only_the_record()
    }

    /// Whether the record says nothing about a backup whose directory is there: an empty `backup.info`, as a crash of the
    /// host or a full disk leaves it. Which WAL the backup needs, nobody knows.
    pub fn has_lost_record(&self, record: &BackupRecord) -> bool {
        if record.status != BackupStatus::Empty {
            return false;
        }
        if let Some(objects) = self.backup_objects() {
            return !matches!(objects.has_archives(&record.id), Ok(false));
        }
        let dir = self.layout.backup_dir(&record.id);
        !std::fs::symlink_metadata(dir).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
    }

    /// The backups whose deletion has begun and not ended, sorted.
    ///
    /// # Errors
    /// When `meta/` cannot be listed.
    pub fn deletions_in_progress(&self) -> Result<Vec<BackupId>, CatalogError> {
        let mut ids = self.ids_with(MARKER)?;
        ids.sort_unstable();
        Ok(ids)
    }

    /// Removes the temporary files that crashed writers left: of records in `meta/`, of `identity.json` beside it, of the
    /// index in its directory. Call it under the backup lock.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_stale(&self) -> Result<Vec<PathBuf>, DurableError> {
        let mut removed = Vec::new();
        for dir in [&self.layout.meta, &self.layout.root, &self.layout.xlogdb_dir] {
            removed.extend(durable::remove_stale(self.disk(), dir)?);
        }
        Ok(removed)
    }

    fn ids_with(&self, key: &str) -> Result<Vec<BackupId>, CatalogError> {
        let id = |name: String| name.split_once('-').filter(|(_, rest)| *rest == key)?.0.parse().ok();
        Ok(names(&self.layout.meta)?.into_iter().filter_map(id).collect())
    }
}

impl BackupRecord {
    /// Whether it is a base backup of its own files: neither incremental nor a snapshot.
    pub fn is_full(&self) -> bool {
        matches!(self.backup_type(), crate::BackupType::Full | crate::BackupType::Rsync)
    }
}

/// The nearest copied backup before `id` in `records`, which are sorted by id.
pub fn previous_of<'a>(records: &'a [BackupRecord], id: &BackupId) -> Option<&'a BackupRecord> {
    records.iter().rev().find(|record| record.id < *id && record.status.is_copied())
}

/// The nearest copied backup after `id` in `records`, which are sorted by id.
pub fn next_of<'a>(records: &'a [BackupRecord], id: &BackupId) -> Option<&'a BackupRecord> {
    records.iter().find(|record| record.id > *id && record.status.is_copied())
}

/// The names in a directory; none when it is missing. A name that is not UTF-8 is not ours.
fn names(dir: &Path) -> Result<Vec<String>, CatalogError> {
    let fail = |source| CatalogError::List { path: dir.to_owned(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(fail(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry.map_err(fail)?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}
