//! Which files a backup consists of, with the WAL it needs: what `list-files` prints.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tapster_catalog::wal_store::WalsOfBackup;
use tapster_catalog::{BackupRecord, CatalogError, XlogDbError, XlogLine, next_of};
use thiserror::Error;
use walfile::SegmentNameError;

use crate::{Context, Server};

/// Which files.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FilesTarget {
    /// The backup's own, and the WAL that makes it consistent.
    #[default]
    Standalone,
    /// The backup's own.
    Data,
    /// History files, and WAL from the backup's first segment up to the next backup's last.
    Wal,
    /// `Data` and `Wal`.
    Full,
}

impl FilesTarget {
    const fn has_data(self) -> bool {
        matches!(self, Self::Standalone | Self::Data | Self::Full)
    }
}

/// Options of [`Server::list_files`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ListFilesOptions {
    /// Which files.
    pub target: FilesTarget,
    /// Name directories in which nothing is, too.
    pub empty_directories: bool,
}

/// A list that was not made, or not to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListFilesError {
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A directory of the backup cannot be read; without what is in it the list would be wrong.
    #[error("cannot list {}: {source}", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The object store does not say what it has.
    #[error(transparent)]
    Objects(#[from] tapster_catalog::ObjectsError),
    /// The WAL index cannot be read.
    #[error(transparent)]
    Index(#[from] XlogDbError),
    /// A line of the WAL index is none, and perhaps names a file that is needed.
    #[error("invalid xlog segment name '{name}'")]
    BadIndexLine {
        /// What stands in place of the name.
        name: String,
        /// Whose index.
        server: String,
    },
    /// The record's WAL positions cannot be.
    #[error(transparent)]
    Segment(#[from] SegmentNameError),
}

impl Server {
    /// Tells `each` the absolute path of every file, in Barman's order: the backup's directory as the system lists it, the files
    /// of each directory sorted; then WAL, as the index lists it. Links to directories are not followed.
    ///
    /// The WAL of a `Standalone` list is computed from the record and need not be in the archive yet.
    ///
    /// # Errors
    /// When something cannot be read. What was told before that is right.
    pub fn list_files(
        &self,
        record: &BackupRecord,
        options: &ListFilesOptions,
        context: &Context<'_>,
        each: &mut dyn FnMut(&Path),
    ) -> Result<(), ListFilesError> {
        if options.target.has_data() {
            match self.catalog.backup_objects() {
                Some(objects) => objects.files(&record.id, each)?,
                None => walk(&self.layout().backup_dir(&record.id), options.empty_directories, each)?,
            }
        }
        match options.target {
            FilesTarget::Data => Ok(()),
            FilesTarget::Standalone => self.list_own_wal(record, each),
            FilesTarget::Wal | FilesTarget::Full => self.list_wal(record, context, each),
        }
    }

    fn list_own_wal(&self, record: &BackupRecord, each: &mut dyn FnMut(&Path)) -> Result<(), ListFilesError> {
        let (Some(begin), Some(end)) = (record.begin_wal, record.end_wal) else { return Ok(()) };
        for segment in begin.through(end, record.segment_size())? {
            each(&self.catalog.place_of_wal(segment.into()));
        }
        Ok(())
    }

    fn list_wal(
        &self,
        record: &BackupRecord,
        context: &Context<'_>,
        each: &mut dyn FnMut(&Path),
    ) -> Result<(), ListFilesError> {
        let Some(begin) = record.begin_wal else { return Ok(()) };
        let records = self.catalog.records()?;
        let mut wals = WalsOfBackup::new(begin, record.end_wal);
        wals.next_end = next_of(&records, &record.id).and_then(|next| next.end_wal);
        wals.history = true;
        if !self.has_wals_in_bucket() && !self.layout().wals.is_dir() {
            return Ok(());
        }
        // Whoever reads the list may be slow, and the archive must not wait for that.
        let mut names = Vec::new();
        let index = self.wal_index(context)?;
        for line in index.lines()? {
            match line.map_err(|source| XlogDbError::Read { path: index.path().clone(), source })? {
                XlogLine::Entry(entry) => match wals.judge(&entry) {
                    ControlFlow::Continue(needed) => names.extend(needed.map(|_| entry.name)),
                    ControlFlow::Break(()) => break,
                },
                XlogLine::Unreadable(line) => {
                    let text = String::from_utf8_lossy(&line);
                    let name = text.split_whitespace().next().unwrap_or_default();
                    let name = name.chars().take(64).collect();
                    return Err(ListFilesError::BadIndexLine { name, server: self.name().to_owned() });
                }
                // It was never acknowledged.
                XlogLine::Torn(_) => {}
            }
        }
        drop(index);
        names.into_iter().for_each(|name| each(&self.catalog.place_of_wal(name)));
        Ok(())
    }
}

/// Everything below `root`, a directory's own files before those of the directories in it. A directory that is not there
/// holds nothing.
fn walk(root: &Path, empty: bool, each: &mut dyn FnMut(&Path)) -> Result<(), ListFilesError> {
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        let fail = |source| ListFilesError::List { path: directory.clone(), source };
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(fail)?,
        };
        let (mut files, mut directories, mut links) = (Vec::new(), Vec::new(), 0_usize);
        for entry in entries {
            let entry = entry.map_err(fail)?;
            let kind = entry.file_type().map_err(fail)?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_symlink() && entry.path().is_dir() {
                // A tablespace: its files are listed where they lie.
                links += 1;
            } else {
                files.push(entry.path());
            }
        }
        if empty && files.is_empty() && directories.is_empty() && links == 0 {
            each(&directory);
        }
        files.sort_unstable();
        files.iter().for_each(|file| each(file));
        pending.extend(directories.into_iter().rev());
    }
    Ok(())
}
