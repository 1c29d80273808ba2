//! WAL from another node's archive into this one: what a passive node copies from its primary node.
//!
//! The files are first copied below `wals/.sync/`, where no program looks, synced there and compared with their names; then,
//! under the lock of the index, renamed to their places, and listed last. What is listed is there, whatever is cut off when, and
//! the same files copied again change nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;
use walfile::WalName;

use crate::durable::{self, Clobber, DurableError, Step};
use crate::ingest::{IngestOptions, Invalid, Refusal, check_file, refuse};
use crate::locks::{Lock, LockError, LockName};
use crate::same_content;
use crate::undo::Undo;
use crate::xlogdb::{ListedNames, XlogDb, XlogDbError, XlogEntry, entry_of};
use crate::{Catalog, ServerLayout};

/// A copy under way; it holds the lock of Barman's `sync-wals`. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct WalMirror<'c> {
    catalog: &'c Catalog,
    staging: PathBuf,
    /// What the index lists, so that it is not read anew for each batch.
    listed: ListedNames,
    /// What was put aside before, looked up once there is need.
    aside: Option<HashMap<WalName, Vec<PathBuf>>>,
    _lock: Lock,
}

/// What became of the files of one batch.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Mirrored {
    /// Files that went into the archive.
    pub archived: Vec<WalName>,
    /// Files that the archive had already with the same content.
    pub already_archived: usize,
    /// Files that were listed and did not come.
    pub absent: Vec<WalName>,
    /// Files that are not what their names or the list say; they were dropped.
    pub invalid: Vec<(WalName, String)>,
    /// Files of which the archive has others of the same name; they went to `errors/`.
    pub duplicates: Vec<WalName>,
}

/// A copy that broke off. What was published until then stays, and is complete.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WalMirrorError {
    /// Somebody else copies, or the lock cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The storage failed.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] XlogDbError),
    /// Somebody asked to stop.
    #[error("the copy of WAL was stopped")]
    Stopped,
}

impl<'c> WalMirror<'c> {
    /// Takes the lock and makes the directory that files are copied to; what a killed run left in it goes.
    ///
    /// # Errors
    /// [`LockError::Busy`] when another run is under way, or what the storage says.
    pub fn begin(catalog: &'c Catalog) -> Result<Self, WalMirrorError> {
        let layout = catalog.layout();
        durable::create_dir_all(catalog.disk(), &layout.lock_dir, None)?;
        let lock = Lock::try_acquire(&layout.lock(&LockName::SyncWal))?;
        // Two levels: a rebuild of the index, Barman's too, looks at the files of a directory, and not below.
        let above = layout.wals.join(".sync");
        durable::remove_tree(catalog.disk(), &above)?;
        let staging = above.join("files");
        durable::create_dir_all(catalog.disk(), &staging, Some(0o700))?;
        Ok(Self { catalog, staging, listed: ListedNames::default(), aside: None, _lock: lock })
    }

    /// The directory to copy to: each file at [`Self::relative`].
    pub fn staging(&self) -> &Path {
        &self.staging
    }

    /// Where a file lies in every archive of this layout.
    pub fn relative(name: WalName) -> PathBuf {
        PathBuf::from(name.hash_dir().unwrap_or_default()).join(name.to_string())
    }

    /// Which of these the archive lacks, on disk or in its index, in their order, each once.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn missing(
        &mut self,
        entries: Vec<XlogEntry>,
        stop: &AtomicBool,
    ) -> Result<Vec<XlogEntry>, WalMirrorError> {
        let layout = self.catalog.layout();
        let index = self.index(stop)?;
        self.listed.update(&index)?;
        drop(index);
        let mut seen = HashSet::new();
        let lacks = |entry: &XlogEntry| {
            seen.insert(entry.name)
                && !(self.listed.contains(entry.name) && layout.wal(entry.name).symlink_metadata().is_ok())
        };
        Ok(entries.into_iter().filter(lacks).collect())
    }

    /// Makes what came of `entries` part of the archive. They are listed in this order.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn publish(
        &mut self,
        entries: &[XlogEntry],
        options: &IngestOptions,
        stop: &AtomicBool,
    ) -> Result<Mirrored, WalMirrorError> {
        let mut done = Mirrored::default();
        let came = self.check(entries, options, &mut done, stop)?;
        let (disk, layout) = (self.catalog.disk(), self.catalog.layout());
        for path in came.values() {
            disk.sync_file(path).map_err(|e| DurableError::io(Step::Sync, path, e))?;
        }
        let mut index = self.index(stop)?;
        self.listed.update(&index)?;
        let undo = Undo { custom: options.custom.as_ref(), gpg: options.gpg.as_ref() };
        let (mut dirs, mut lines) = (BTreeSet::new(), Vec::new());
        for entry in entries {
            let Some(staged) = came.get(&entry.name) else { continue };
            let target = layout.wal(entry.name);
            let dir = durable::parent(&target).to_owned();
            if !dirs.contains(&dir) {
                durable::create_dir_all(disk, &dir, None)?;
                dirs.insert(dir);
            }
            let line = match durable::rename_unsynced(disk, staged, &target, Clobber::Refuse) {
                Ok(()) => {
                    done.archived.push(entry.name);
                    Some(entry.clone())
                }
                Err(DurableError::Exists { .. }) if same(staged, &target, undo) => {
                    done.already_archived += 1;
                    entry_of(&target, entry.name, undo.custom)
                        .map_err(|source| WalMirrorError::Read { path: target.clone(), source })?
                }
                // Every look at all WAL comes across it again.
                Err(DurableError::Exists { .. }) => {
                    let aside =
                        self.aside.get_or_insert_with(|| put_aside(layout)).entry(entry.name).or_default();
                    if !aside.iter().any(|other| same_content::files(staged, other).unwrap_or(false)) {
                        aside.extend(refuse(disk, layout, staged, Refusal::Duplicate, options.now)?);
                        done.duplicates.push(entry.name);
                    }
                    None
                }
                Err(error) => return Err(error.into()),
            };
            lines.extend(line.filter(|_| !self.listed.contains(entry.name)));
        }
        for dir in &dirs {
            durable::sync_dir(disk, dir)?;
        }
        index.append(&lines)?;
        Ok(done)
    }

    /// The files that came and are what the list and their names say, with their places.
    fn check(
        &self,
        entries: &[XlogEntry],
        options: &IngestOptions,
        done: &mut Mirrored,
        stop: &AtomicBool,
    ) -> Result<BTreeMap<WalName, PathBuf>, WalMirrorError> {
        let mut came = BTreeMap::new();
        for entry in entries {
            if stop.load(Ordering::Relaxed) {
                return Err(WalMirrorError::Stopped);
            }
            let path = self.staging.join(Self::relative(entry.name));
            let metadata = match path.symlink_metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    done.absent.push(entry.name);
                    continue;
                }
                Err(source) => return Err(WalMirrorError::Read { path, source }),
            };
            let problem = if !metadata.is_file() {
                Some("it is no regular file".to_owned())
            } else if metadata.len() != entry.size {
                Some(format!("it has {} bytes, the primary node lists {}", metadata.len(), entry.size))
            } else {
                contradiction(&path, entry, options)
                    .map_err(|source| WalMirrorError::Read { path: path.clone(), source })?
                    .map(|invalid| invalid.to_string())
            };
            match problem {
                Some(problem) => done.invalid.push((entry.name, problem)),
                None => drop(came.insert(entry.name, path)),
            }
        }
        Ok(came)
    }

    fn index(&self, stop: &AtomicBool) -> Result<XlogDb<'c>, WalMirrorError> {
        match XlogDb::lock(self.catalog.disk(), self.catalog.layout(), stop) {
            Err(XlogDbError::Lock(LockError::Stopped { .. })) => Err(WalMirrorError::Stopped),
            done => Ok(done?),
        }
    }
}

impl Drop for WalMirror<'_> {
    fn drop(&mut self) {
        // When this fails the next run removes it.
        let above = durable::parent(&self.staging);
        if let Err(error) = durable::remove_tree(self.catalog.disk(), above) {
            tracing::warn!(directory = %above.display(), "what was copied stays: {error}");
        }
    }
}

/// Whether a file is what its name says, as for WAL that is archived.
fn contradiction(path: &Path, entry: &XlogEntry, options: &IngestOptions) -> io::Result<Option<Invalid>> {
    // What is encrypted, or compressed with somebody else's own filter, cannot be looked into.
    let custom = entry.compression.as_deref() == Some("custom");
    if entry.encryption.is_some() || custom && options.custom.is_none() || !options.validate {
        return Ok(None);
    }
    Ok(check_file(path, entry.name, entry.compression.is_some(), options)?.err())
}

/// What lies in `errors/` of each WAL file.
fn put_aside(layout: &ServerLayout) -> HashMap<WalName, Vec<PathBuf>> {
    let mut aside: HashMap<WalName, Vec<PathBuf>> = HashMap::new();
    let Ok(entries) = std::fs::read_dir(&layout.errors) else { return aside };
    for path in entries.flatten().map(|entry| entry.path()) {
        if let Some(name) = path.file_name().and_then(|name| refused_name(name.to_str()?)) {
            aside.entry(name).or_default().push(path);
        }
    }
    aside
}

/// The WAL file that was refused, by the name it has got: `<name>.<stamp>.<why>`.
fn refused_name(called: &str) -> Option<WalName> {
    called.rsplitn(3, '.').nth(2)?.parse().ok()
}

/// The same bytes, or the same WAL compressed otherwise. What cannot be read is not the same.
fn same(ours: &Path, theirs: &Path, undo: Undo<'_>) -> bool {
    same_content::files(ours, theirs).unwrap_or(false)
        || same_content::segments(ours, theirs, undo).unwrap_or(false)
}
