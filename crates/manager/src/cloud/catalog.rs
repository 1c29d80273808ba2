//! Which backups an object store has of a server.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use tapster_catalog::{BackupId, BackupRecord, BackupStatus, KeepTarget};
use tapster_cloud::{CloudError, ObjectInfo};
use time::UtcOffset;

use super::CloudServer;

/// The record of a backup of 10,000 tablespaces is smaller.
const LARGEST_RECORD: u64 = 4 << 20;
/// One word.
const LARGEST_ANNOTATION: u64 = 4096;
/// Records that are read at once.
const READERS: usize = 8;
/// So many objects below one backup, of parts of 100 GB by default, are not one backup.
const MOST_OBJECTS: usize = 200_000;

/// A keep annotation.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CloudKeep {
    /// It says what is kept.
    Target(KeepTarget),
    /// It says something else. The backup counts as kept until somebody has looked.
    Unknown(String),
}

impl CloudKeep {
    /// Of the annotation's content, of which the first line counts.
    fn of(content: &[u8]) -> Self {
        let text = String::from_utf8_lossy(content);
        let line = text.lines().next().unwrap_or_default();
        line.trim().parse().map_or_else(|()| Self::Unknown(line.chars().take(40).collect()), Self::Target)
    }

    /// What it says.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Target(target) => target.as_str(),
            Self::Unknown(text) => text,
        }
    }
}

/// A backup in an object store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloudBackup {
    /// What is known about it. Barman's own tool leaves out mode, compression and size, and calls every server `cloud`.
    pub record: BackupRecord,
    /// Whether it is kept, and how.
    pub keep: Option<CloudKeep>,
    /// Everything below its directory, in the order of the keys.
    pub objects: Vec<ObjectInfo>,
}

/// The backups of a server in an object store, at the time of one listing.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CloudCatalog {
    /// Those that have a record, oldest first.
    pub backups: BTreeMap<BackupId, CloudBackup>,
    /// Records that cannot be read or understood, and why.
    pub unreadable: BTreeMap<BackupId, CloudError>,
    /// Directories without a record, and what is in them: an upload that was broken off before it began, or a deletion.
    pub without_record: BTreeMap<BackupId, Vec<ObjectInfo>>,
}

/// Why a text names no backup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloudSelectError {
    /// There is none of that name, or none that the word selects.
    #[error("Unknown backup '{selector}' for server '{server}'")]
    Unknown {
        /// What was given.
        selector: String,
        /// The server.
        server: String,
    },
    /// Several have that name.
    #[error("Multiple backups found matching name '{name}' (try using backup ID instead): {}", join(ids))]
    Ambiguous {
        /// The name.
        name: String,
        /// Those that have it, oldest first.
        ids: Vec<BackupId>,
    },
    /// See [`CloudError`].
    #[error(transparent)]
    Store(#[from] CloudError),
}

fn join(ids: &[BackupId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl CloudCatalog {
    /// The backup of that id, of that name, or that the word selects: `latest`, `last`, `oldest`, `first`, `last-failed`. An id is
    /// not looked for. Unlike on a backup host, every backup but one that is being taken can be the latest, as in Barman 3.19.
    ///
    /// # Errors
    /// See [`CloudSelectError`].
    pub fn select(&self, server: &str, selector: &str) -> Result<BackupId, CloudSelectError> {
        if let Ok(id) = selector.parse() {
            return Ok(id);
        }
        let records = || self.backups.values().map(|backup| &backup.record);
        let begun = |record: &&BackupRecord| record.status != BackupStatus::Started;
        let by_word = match selector {
            "last" | "latest" => records().rev().find(begun),
            "first" | "oldest" => records().find(begun),
            "last-failed" => records().rev().find(|record| record.status == BackupStatus::Failed),
            _ => None,
        };
        if let Some(record) = by_word {
            return Ok(record.id);
        }
        let named = records().filter(|record| record.backup_name.as_deref() == Some(selector));
        match named.map(|record| record.id).collect::<Vec<_>>().as_slice() {
            [id] => Ok(*id),
            [] => Err(CloudSelectError::Unknown { selector: selector.to_owned(), server: server.to_owned() }),
            ids => Err(CloudSelectError::Ambiguous { name: selector.to_owned(), ids: ids.to_vec() }),
        }
    }
}

impl CloudServer {
    /// The backup that a text names, as [`CloudCatalog::select`] does it. An id costs no request.
    ///
    /// # Errors
    /// See [`CloudSelectError`].
    pub fn select(&self, selector: &str) -> Result<BackupId, CloudSelectError> {
        match selector.parse() {
            Ok(id) => Ok(id),
            Err(_) => self.catalog()?.select(self.layout().server(), selector),
        }
    }

    /// All backups, with one listing of everything below `base/` (a page at a time), and their records, which are read several at
    /// once. A record that cannot be understood does not hide the others.
    ///
    /// # Errors
    /// When the listing breaks off.
    pub fn catalog(&self) -> Result<CloudCatalog, CloudError> {
        let mut found: BTreeMap<BackupId, Vec<ObjectInfo>> = BTreeMap::new();
        let base = self.layout().base();
        for object in self.store().list(&base) {
            let object = object?;
            let Some((id, _)) = self.split(&object.key) else { continue };
            let objects = found.entry(id).or_default();
            if objects.len() >= MOST_OBJECTS {
                let reason = format!("more than {MOST_OBJECTS} objects are below it");
                let (store, key) = (self.store().url().to_string(), self.layout().backup(&id));
                return Err(CloudError::Invalid { store, key, reason });
            }
            objects.push(object);
        }
        let mut catalog = CloudCatalog::default();
        let mut with_record = Vec::new();
        for (id, objects) in found {
            if objects.iter().any(|object| self.is(&object.key, &id, "backup.info")) {
                with_record.push((id, objects));
            } else if objects.iter().any(|object| self.is_archive(&object.key)) {
                catalog.without_record.insert(id, objects);
            }
        }
        for (id, objects, read) in self.read_all(with_record) {
            match read {
                Ok(Some((record, keep))) => {
                    catalog.backups.insert(id, CloudBackup { record, keep, objects });
                }
                // Gone since the listing.
                Ok(None) => {}
                Err(error @ CloudError::Invalid { .. }) => {
                    tracing::warn!("cannot read the record of backup {id}: {error}");
                    catalog.unreadable.insert(id, error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(catalog)
    }

    /// The record of one backup; `None` when the store has no such backup.
    ///
    /// # Errors
    /// When that is not known, or the record cannot be understood.
    pub fn record(&self, id: &BackupId) -> Result<Option<BackupRecord>, CloudError> {
        let key = self.layout().record(id);
        let bytes = match self.store().read(&key, LARGEST_RECORD) {
            Err(CloudError::NotFound { .. }) => return Ok(None),
            result => result?,
        };
        // Times of Barman's records have their zone; very old ones are local.
        let local = UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC);
        BackupRecord::parse(*id, &bytes, local).map(Some).map_err(|problem| CloudError::Invalid {
            store: self.store().url().to_string(),
            key,
            reason: problem.to_string(),
        })
    }

    /// Whether a backup is kept, and how; also of one that is not there.
    ///
    /// # Errors
    /// When that is not known.
    pub fn keep_of(&self, id: &BackupId) -> Result<Option<CloudKeep>, CloudError> {
        match self.store().read(&self.layout().annotation(id, "keep"), LARGEST_ANNOTATION) {
            Ok(content) => Ok(Some(CloudKeep::of(&content))),
            Err(CloudError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The backup that an object below `base/` belongs to, and its name there.
    fn split<'k>(&self, key: &'k str) -> Option<(BackupId, &'k str)> {
        let below = key.strip_prefix(self.layout().server())?.strip_prefix("/base/")?;
        let (id, name) = below.split_once('/')?;
        Some((id.parse().ok()?, name))
    }

    fn is(&self, key: &str, id: &BackupId, name: &str) -> bool {
        self.split(key).is_some_and(|(of, rest)| of == *id && rest == name)
    }

    pub(super) fn is_archive(&self, key: &str) -> bool {
        self.split(key).is_some_and(|(_, name)| name.contains(".tar"))
    }

    fn read_all(&self, backups: Vec<(BackupId, Vec<ObjectInfo>)>) -> Vec<Read> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some((id, objects)) = backups.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push((*id, self.read_one(id, objects)));
            }
            done
        };
        let mut read: BTreeMap<BackupId, _> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..READERS.min(backups.len())).map(|_| scope.spawn(work)).collect();
            // A thread ends by a panic only, which is a defect and goes on here.
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        backups.into_iter().filter_map(|(id, objects)| Some((id, objects, read.remove(&id)?))).collect()
    }

    fn read_one(&self, id: &BackupId, objects: &[ObjectInfo]) -> Result<Option<Facts>, CloudError> {
        let Some(record) = self.record(id)? else { return Ok(None) };
        let kept = objects.iter().any(|object| self.is(&object.key, id, "annotations/keep"));
        let keep = if kept { self.keep_of(id)? } else { None };
        Ok(Some((record, keep)))
    }
}

type Facts = (BackupRecord, Option<CloudKeep>);
type Read = (BackupId, Vec<ObjectInfo>, Result<Option<Facts>, CloudError>);

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(backups: &[(&str, BackupStatus, Option<&str>)]) -> CloudCatalog {
        let mut catalog = CloudCatalog::default();
        for (id, status, name) in backups {
            let id: BackupId = id.parse().unwrap();
            let mut record = BackupRecord::new(id);
            record.status = *status;
            record.backup_name = name.map(str::to_owned);
            catalog.backups.insert(id, CloudBackup { record, keep: None, objects: Vec::new() });
        }
        catalog
    }

    #[test]
    fn words_names_and_ids_select_as_in_barmans_cloud_tools() {
        let (old, failed, new, running) =
            ("20260101T000000", "20260102T000000", "20260103T000000", "20260104T000000");
        let catalog = catalog(&[
            (old, BackupStatus::Done, Some("one")),
            (failed, BackupStatus::Failed, Some("two")),
            (new, BackupStatus::Done, Some("two")),
            (running, BackupStatus::Started, Some("latest-full")),
        ]);
        let select = |text: &str| catalog.select("main", text).map(|id| id.to_string());
        for (text, id) in [
            ("latest", new),
            ("last", new),
            ("oldest", old),
            ("first", old),
            ("last-failed", failed),
            ("one", old),
            // No word here, so a name.
            ("latest-full", running),
            // Not looked for.
            ("20200101T000000", "20200101T000000"),
        ] {
            assert_eq!(select(text).unwrap(), id, "{text}");
        }
        assert_eq!(
            select("two").unwrap_err().to_string(),
            format!(
                "Multiple backups found matching name 'two' (try using backup ID instead): {failed}, {new}"
            )
        );
        assert_eq!(select("three").unwrap_err().to_string(), "Unknown backup 'three' for server 'main'");
        assert!(CloudCatalog::default().select("main", "latest").is_err());
    }

    #[test]
    fn an_annotation_of_unknown_content_keeps_its_backup() {
        assert_eq!(CloudKeep::of(b"full"), CloudKeep::Target(KeepTarget::Full));
        assert_eq!(CloudKeep::of(b"standalone\nx"), CloudKeep::Target(KeepTarget::Standalone));
        assert_eq!(CloudKeep::of(b"\xff").as_str(), "\u{fffd}");
        assert_eq!(CloudKeep::of(b""), CloudKeep::Unknown(String::new()));
    }
}
