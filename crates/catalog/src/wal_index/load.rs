//! Loading an index: compared with the archive, completed, and written back.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use walfile::{SegmentName, WalName};

use super::format::{self, DirTime, IndexContents};
use super::scan::scan_with;
use super::summary::{SegmentSummary, StoredFile};
use super::{HashDir, WalIndexError, store};
use crate::ServerLayout;
use crate::custom_filter::CustomFilter;
use crate::durable::Disk;
use crate::gpg::Gpg;
use crate::locks::{Lock, LockName};
use crate::undo::Undo;

/// A directory is marked as whole when it has not changed for so long: a change within one tick of the file system's clock would
/// not be seen.
const QUIET_SECONDS: i64 = 2;

/// The index of a server's archive.
///
/// ```
/// use std::sync::atomic::AtomicBool;
/// use tapster_catalog::{ServerLayout, ServerName, durable::RealDisk, wal_index::WalIndex};
/// let home = tempfile::tempdir()?;
/// let layout = ServerLayout::standard(home.path(), ServerName::new("main")?);
/// let (stop, now) = (AtomicBool::new(false), time::OffsetDateTime::now_utc());
/// let index = WalIndex::new(&RealDisk, &layout, now, &stop);
/// for dir in index.directories()? {
///     for segment in index.load(dir)?.segments {
///         println!("{}: {} commits", segment.name, segment.content.commits);
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WalIndex<'a> {
    disk: &'a dyn Disk,
    pub(super) layout: &'a ServerLayout,
    now: i64,
    stop: &'a AtomicBool,
    workers: usize,
    undo: Undo<'a>,
}

/// Where the summaries of a directory came from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum IndexState {
    /// The index says that it is whole, and the directory has not changed since.
    Marked,
    /// The index holds every file of the directory.
    Whole,
    /// Some segments had to be read.
    Completed,
    /// There was no index, or a damaged one.
    Missing,
}

/// The summaries of one directory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IndexedDir {
    /// The directory.
    pub dir: HashDir,
    /// One for each whole segment in it, in the order of names.
    pub segments: Vec<SegmentSummary>,
    /// How they were got.
    pub state: IndexState,
    /// Segments that were read.
    pub scanned: usize,
    /// Why the index could not be written back, when it should have been.
    pub unsaved: Option<String>,
}

impl<'a> WalIndex<'a> {
    /// The index at the time `now`. Set `stop` to end a long rebuild.
    pub const fn new(
        disk: &'a dyn Disk,
        layout: &'a ServerLayout,
        now: time::OffsetDateTime,
        stop: &'a AtomicBool,
    ) -> Self {
        Self {
            disk,
            layout,
            now: now.unix_timestamp(),
            stop,
            workers: 1,
            undo: Undo { custom: None, gpg: None },
        }
    }

    /// Reads segments on so many threads.
    #[must_use]
    pub const fn with_workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// What the user's own filter compressed is decompressed by it.
    #[must_use]
    pub const fn with_custom_filter(self, custom: Option<&'a CustomFilter>) -> Self {
        Self { undo: Undo { custom, ..self.undo }, ..self }
    }

    /// What is encrypted is decrypted.
    #[must_use]
    pub const fn with_gpg(self, gpg: Option<&'a Gpg>) -> Self {
        Self { undo: Undo { gpg, ..self.undo }, ..self }
    }

    /// The directories of the archive, in the order of names.
    ///
    /// # Errors
    /// When the archive cannot be listed; one that is missing has none.
    pub fn directories(&self) -> Result<Vec<HashDir>, WalIndexError> {
        let names = names(&self.layout.wals).or_else(absent)?;
        let mut dirs: Vec<HashDir> = names.iter().filter_map(|name| name.parse().ok()).collect();
        dirs.sort_unstable();
        Ok(dirs)
    }

    /// The summaries of a directory. Segments of which the index does not know are read, and the index is completed.
    ///
    /// # Errors
    /// When the directory or a segment cannot be read, or `stop` was set.
    pub fn load(&self, dir: HashDir) -> Result<IndexedDir, WalIndexError> {
        self.get(dir, true)
    }

    /// The summaries of a directory, all segments read again whatever the index says.
    ///
    /// # Errors
    /// As [`WalIndex::load`].
    pub fn rebuild(&self, dir: HashDir) -> Result<IndexedDir, WalIndexError> {
        self.get(dir, false)
    }

    /// Removes indexes of directories that are no longer in the archive.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn remove_orphans(&self) -> Result<(), crate::DurableError> {
        store::remove_orphans(self.disk, self.layout)
    }

    fn get(&self, dir: HashDir, believe: bool) -> Result<IndexedDir, WalIndexError> {
        let (path, index_path) = (dir.path(self.layout), dir.index_path(self.layout));
        // Before its names: what comes later changes it again.
        let dir_time = read_at(&path, std::fs::metadata).map(|metadata| time_of(&metadata))?;
        let bytes = store::read(&index_path).ok().flatten();
        let old = bytes.as_deref().and_then(|bytes| IndexContents::parse(bytes, dir));
        let damaged = old.as_ref().is_none_or(|old| bytes.as_ref().is_some_and(|all| old.valid < all.len()));
        let old = old.unwrap_or_default();
        let marked = believe && !damaged && old.seal == Some(dir_time);
        let frames = old.segments.len();
        let mut known: BTreeMap<SegmentName, SegmentSummary> = BTreeMap::new();
        if believe {
            known.extend(old.segments.into_iter().map(|summary| (summary.name, summary)));
        }
        if marked {
            let mut found = IndexedDir {
                dir,
                segments: known.into_values().collect(),
                state: IndexState::Marked,
                scanned: 0,
                unsaved: None,
            };
            self.join(&mut found);
            return Ok(found);
        }
        let files = self.files(&path)?;
        known.retain(|name, summary| files.get(name) == Some(&summary.stored));
        let todo: Vec<(SegmentName, StoredFile)> = files
            .iter()
            .filter(|(name, _)| !known.contains_key(name))
            .map(|(name, stored)| (*name, *stored))
            .collect();
        let scanned = self.scan(&path, &todo)?;
        let mut found = IndexedDir {
            dir,
            segments: Vec::new(),
            state: match (known.is_empty(), scanned.is_empty()) {
                (_, true) => IndexState::Whole,
                (true, false) => IndexState::Missing,
                (false, false) => IndexState::Completed,
            },
            scanned: scanned.len(),
            unsaved: None,
        };
        known.extend(scanned.into_iter().map(|summary| (summary.name, summary)));
        found.segments = known.into_values().collect();
        let quiet = dir_time.0 < self.now.saturating_sub(QUIET_SECONDS);
        let unchanged = found.scanned == 0 && !damaged && frames == found.segments.len();
        if quiet || !unchanged {
            let seal = if quiet { store::seal(dir_time) } else { Vec::new() };
            found.unsaved = self.save(&found, bytes.as_deref(), unchanged, &seal).err();
        }
        self.join(&mut found);
        Ok(found)
    }

    /// Whole segments in a directory.
    fn files(&self, path: &Path) -> Result<BTreeMap<SegmentName, StoredFile>, WalIndexError> {
        let mut files = BTreeMap::new();
        for name in names(path)? {
            let Ok(WalName::Segment(segment)) = name.parse() else { continue };
            match std::fs::metadata(path.join(&name)) {
                Ok(metadata) if metadata.is_file() => {
                    files.insert(segment, StoredFile::from(&metadata));
                }
                Ok(_) => {}
                // Deleted meanwhile.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(WalIndexError::Read { path: path.join(&name), source }),
            }
        }
        Ok(files)
    }

    fn scan(
        &self,
        path: &Path,
        todo: &[(SegmentName, StoredFile)],
    ) -> Result<Vec<SegmentSummary>, WalIndexError> {
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let done = Mutex::new(Vec::with_capacity(todo.len()));
        std::thread::scope(|scope| {
            for _ in 0..self.workers.clamp(1, todo.len().max(1)) {
                scope.spawn(|| {
                    while !failed.load(Ordering::Relaxed) {
                        let Some((name, stored)) = todo.get(next.fetch_add(1, Ordering::Relaxed)) else {
                            return;
                        };
                        let result = self.scan_one(path, *name, *stored);
                        failed.fetch_or(result.is_err(), Ordering::Relaxed);
                        done.lock().unwrap_or_else(PoisonError::into_inner).push(result);
                    }
                });
            }
        });
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.into_iter().filter_map(Result::transpose).collect()
    }

    /// `None` when the file has vanished.
    fn scan_one(
        &self,
        path: &Path,
        name: SegmentName,
        stored: StoredFile,
    ) -> Result<Option<SegmentSummary>, WalIndexError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(WalIndexError::Stopped { dir: path.to_owned() });
        }
        let path = path.join(name.to_string());
        match scan_with(&path, name, self.undo) {
            Ok(content) => Ok(Some(SegmentSummary { name, stored, content })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(WalIndexError::Read { path, source }),
        }
    }

    /// Writes back what was found out, unless an archiver has changed the index meanwhile: then only what was read is added.
    fn save(
        &self,
        found: &IndexedDir,
        old: Option<&[u8]>,
        unchanged: bool,
        seal: &[u8],
    ) -> Result<(), String> {
        let (layout, dir) = (self.layout, found.dir);
        let lock = Lock::acquire(&layout.lock(&LockName::Xlogdb), self.stop);
        let _lock = lock.map_err(|e| e.to_string())?;
        let now = store::read(&dir.index_path(layout)).map_err(|e| e.to_string())?;
        let written = if now.as_deref() != old {
            let mut frames = Vec::new();
            found.segments.iter().for_each(|summary| format::put_segment(&mut frames, summary));
            store::append_frames(self.disk, layout, dir, &frames)
        } else if unchanged {
            store::append_frames(self.disk, layout, dir, seal)
        } else {
            store::write(self.disk, layout, dir, &found.segments, seal)
        };
        written.map_err(|e| e.to_string())
    }
}

fn time_of(metadata: &Metadata) -> DirTime {
    (metadata.mtime(), metadata.mtime_nsec())
}

fn names(dir: &Path) -> Result<Vec<String>, WalIndexError> {
    let mut names = Vec::new();
    for entry in read_at(dir, std::fs::read_dir)? {
        let entry = entry.map_err(|source| WalIndexError::Read { path: dir.to_owned(), source })?;
        names.extend(entry.file_name().into_string().ok());
    }
    Ok(names)
}

fn read_at<T>(path: &Path, read: impl FnOnce(PathBuf) -> io::Result<T>) -> Result<T, WalIndexError> {
    read(path.to_owned()).map_err(|source| WalIndexError::Read { path: path.to_owned(), source })
}

fn absent<T: Default>(error: WalIndexError) -> Result<T, WalIndexError> {
    match error {
        WalIndexError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        other => Err(other),
    }
}
