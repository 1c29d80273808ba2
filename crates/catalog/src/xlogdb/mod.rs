//! `<server>-xlog.db`: the index of the archive.
//!
//! One line per archived file, in the order of archiving, which is not the order of names: labels, history files and
//! late segments stand between the others. It is read and written under the lock `.<server>-xlogdb.lock`, by Barman
//! as well. A line is appended after its file is durable, so what is listed is there; it is rewritten through
//! a temporary file, so a crash leaves the old index or the new one. A missing index is rebuilt from disk.

mod entry;
mod lines;
mod merge;
mod names;
mod rebuild;
mod scan;
mod snapshot;
mod tail;

pub use entry::{ParseXlogEntryError, XlogEntry};
pub use lines::{XlogLine, XlogLines};
pub use rebuild::RebuildReport;
pub use scan::{XlogBrief, XlogTime};
pub use snapshot::XlogSnapshot;

pub(crate) use entry::python_mtime;
pub(crate) use names::ListedNames;
pub(crate) use rebuild::entry_of;

use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use thiserror::Error;
use walfile::WalName;

use crate::ServerLayout;
use crate::durable::{self, Clobber, Disk, DurableError, DurableFile, OpenMode, Publish, Step};
use crate::locks::{Lock, LockError, LockName};

/// A failure of the index.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum XlogDbError {
    /// What is archived is in an object store, of which no index is made. The words are Barman's.
    #[error("Rebuilding xlogdb is not supported for servers using cloud storage")]
    InObjectStore,
    /// The lock was not got.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The storage failed.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The index or the archive cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The index of one server's archive, locked as long as this lives.
///
/// ```
/// use std::sync::atomic::AtomicBool;
/// use tapster_catalog::{ServerLayout, ServerName, XlogDb, durable::RealDisk};
/// let home = tempfile::tempdir()?;
/// let layout = ServerLayout::standard(home.path(), ServerName::new("main")?);
/// std::fs::create_dir_all(&layout.wals)?;
/// let mut index = XlogDb::lock(&RealDisk, &layout, &AtomicBool::new(false))?;
/// index.append(&["000000010000000000000005\t16777216\t1795219542.4\tNone\tNone".parse()?])?;
/// assert_eq!(index.entries()?.count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct XlogDb<'a> {
    disk: &'a dyn Disk,
    layout: &'a ServerLayout,
    path: PathBuf,
    _lock: Lock,
}

impl<'a> XlogDb<'a> {
    /// Waits for the lock and opens the index. A missing one is rebuilt from what is in the archive, and the
    /// `wals/xlog.db` of versions before 3.13 removed.
    ///
    /// # Errors
    /// When the lock is not got (`stop` was set), or the index is missing and cannot be rebuilt.
    pub fn lock(
        disk: &'a dyn Disk,
        layout: &'a ServerLayout,
        stop: &AtomicBool,
    ) -> Result<Self, XlogDbError> {
        let lock = Lock::acquire(&layout.lock(&LockName::Xlogdb), stop)?;
        let mut index = Self { disk, layout, path: layout.xlogdb(), _lock: lock };
        let exists = index.path.try_exists().map_err(|source| index.unreadable(source))?;
        if !exists {
            durable::create_dir_all(disk, &layout.xlogdb_dir, None)?;
            index.rebuild(None)?;
            if layout.old_xlogdb() != index.path {
                durable::remove_file(disk, &layout.old_xlogdb())?;
            }
        }
        Ok(index)
    }

    /// The file.
    pub const fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Every line, in the order of archiving.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn lines(&self) -> Result<XlogLines<BufReader<File>>, XlogDbError> {
        let file = File::open(&self.path).map_err(|source| self.unreadable(source))?;
        Ok(XlogLines::new(BufReader::with_capacity(64 * 1024, file)))
    }

    /// Every entry, in the order of archiving. Lines that are no entries are passed over with a warning in the log.
    ///
    /// # Errors
    /// When the file cannot be opened; an item is an error when it cannot be read further.
    pub fn entries(
        &self,
    ) -> Result<impl Iterator<Item = Result<XlogEntry, XlogDbError>> + use<>, XlogDbError> {
        let path = self.path.clone();
        Ok(self.lines()?.filter_map(move |line| match line {
            Ok(XlogLine::Entry(entry)) => Some(Ok(entry)),
            Ok(XlogLine::Unreadable(bytes) | XlogLine::Torn(bytes)) => {
                tracing::warn!(index = %path.display(), line = %String::from_utf8_lossy(&bytes), "not an index line");
                None
            }
            Err(source) => Some(Err(XlogDbError::Read { path: path.clone(), source })),
        }))
    }

    /// Whether `name` is listed. Looks from the end backwards, where recent files stand.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn contains(&self, name: WalName) -> Result<bool, XlogDbError> {
        let read = || -> io::Result<bool> {
            let file = File::open(&self.path)?;
            tail::contains(&file, &name.to_string())
        };
        read().map_err(|source| self.unreadable(source))
    }

    /// Whether `name` is listed among the last entries, some four thousand. Costs the same whatever the length of the index.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn contains_recent(&self, name: WalName) -> Result<bool, XlogDbError> {
        let read = || -> io::Result<bool> {
            let file = File::open(&self.path)?;
            tail::recent_contains(&file, &name.to_string())
        };
        read().map_err(|source| self.unreadable(source))
    }

    /// Adds entries, durably, all with one sync. What a crash left of a line that was being appended is removed first: it
    /// was never acknowledged, and the new line would be glued to it.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn append(&mut self, entries: &[XlogEntry]) -> Result<(), XlogDbError> {
        use std::fmt::Write as _;
        if entries.is_empty() {
            return Ok(());
        }
        let end = File::open(&self.path)
            .and_then(|file| tail::end(&file))
            .map_err(|source| self.unreadable(source))?;
        let mut text = String::with_capacity(entries.len() * 80 + 1);
        if end.needs_newline {
            text.push('\n');
        }
        for entry in entries {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{entry}");
        }
        let mut file = DurableFile::open(self.disk, &self.path, OpenMode::Append, None)?;
        if end.is_torn {
            file.set_len(end.whole)?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        Ok(())
    }

    /// Keeps the entries for which `keep` says so, and every line that is no entry. Returns how many went.
    ///
    /// # Errors
    /// When the storage fails; the old index is then still there.
    pub fn retain(&mut self, mut keep: impl FnMut(&XlogEntry) -> bool) -> Result<u64, XlogDbError> {
        let mut removed = 0;
        let mut output = self.rewrite()?;
        for line in self.lines()? {
            match line.map_err(|source| self.unreadable(source))? {
                XlogLine::Entry(entry) if keep(&entry) => self.put(&mut output, &entry)?,
                XlogLine::Entry(_) => removed += 1,
                XlogLine::Unreadable(mut bytes) => {
                    bytes.push(b'\n');
                    output.write_all(&bytes).map_err(|e| self.unwritable(e))?;
                }
                XlogLine::Torn(_) => {}
            }
        }
        if removed > 0 {
            self.finish(output)?;
        }
        Ok(removed)
    }

    /// Replaces the whole index.
    ///
    /// # Errors
    /// The first error among `entries`, or when the storage fails; the old index is then still there.
    pub fn replace(
        &mut self,
        entries: impl IntoIterator<Item = Result<XlogEntry, XlogDbError>>,
    ) -> Result<(), XlogDbError> {
        let mut output = self.rewrite()?;
        for entry in entries {
            self.put(&mut output, &entry?)?;
        }
        self.finish(output)
    }

    /// The next index, under a temporary name; the one of a rewriting that was killed goes first.
    fn rewrite(&self) -> Result<io::BufWriter<Publish<'a>>, XlogDbError> {
        let disk: &'a dyn Disk = self.disk;
        durable::remove_stale(disk, &self.layout.xlogdb_dir)?;
        Ok(io::BufWriter::with_capacity(64 * 1024, Publish::replacing(disk, &self.path)?))
    }

    fn put(&self, output: &mut impl io::Write, entry: &XlogEntry) -> Result<(), XlogDbError> {
        writeln!(output, "{entry}").map_err(|e| self.unwritable(e))
    }

    fn finish(&self, output: io::BufWriter<Publish<'a>>) -> Result<(), XlogDbError> {
        let publish = output.into_inner().map_err(|e| self.unwritable(e.into_error()))?;
        Ok(publish.publish(Clobber::Replace)?)
    }

    fn unreadable(&self, source: io::Error) -> XlogDbError {
        XlogDbError::Read { path: self.path.clone(), source }
    }

    fn unwritable(&self, source: io::Error) -> XlogDbError {
        DurableError::io(Step::Write, &self.path, source).into()
    }
}
