//! The segment being written.

use std::path::{Path, PathBuf};

use walfile::{Lsn, SegmentName};

use super::again::Received;
use super::{SegmentDirError, SegmentDirOptions};
use crate::durable::{self, Clobber, Disk, DurableFile, OpenMode, Step};

/// The open segment: preallocated, written at offsets, known as `<segment>.partial`.
///
/// While the segment before it is still being finished in the background, it waits under a hidden name: two
/// `.partial` files of one timeline would make an archiver (Barman's or ours) take the older one for a tail
/// that nobody completes.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) file: DurableFile,
    pub(super) name: SegmentName,
    pub(super) start: Lsn,
    pub(super) path: PathBuf,
    /// Under its hidden name.
    waiting: bool,
    /// The directory entry is on disk.
    entry_durable: bool,
    /// Bytes written since the last sync.
    dirty: bool,
    /// What was in the file before.
    before: Option<Received>,
}

pub(super) fn partial_path(dir: &Path, name: SegmentName) -> PathBuf {
    dir.join(format!("{name}.partial"))
}

/// Hidden and ending in `.tmp`: neither Barman's archivers nor `pg_receivewal` look at such a file.
fn waiting_path(dir: &Path, name: SegmentName) -> PathBuf {
    dir.join(format!(".{name}.partial.tmp"))
}

pub(super) fn is_waiting_name(path: &Path) -> bool {
    let stem = path
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_prefix('.')?.strip_suffix(".partial.tmp"));
    stem.is_some_and(|stem| stem.parse::<SegmentName>().is_ok())
}

impl Current {
    pub(super) fn open(
        disk: &dyn Disk,
        dir: &Path,
        name: SegmentName,
        start: Lsn,
        waiting: bool,
        options: &SegmentDirOptions,
    ) -> Result<Self, SegmentDirError> {
        let size = options.segment_size.bytes();
        // A `.partial` that is there already may hold acknowledged bytes: it is gone on with, never replaced.
        let waiting = waiting && !partial_path(dir, name).exists();
        let path = if waiting { waiting_path(dir, name) } else { partial_path(dir, name) };
        let existing = match std::fs::metadata(&path) {
            Ok(metadata) => Some(metadata.len()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(SegmentDirError::io(Step::Read, &path, e)),
        };
        if let Some(found) = existing.filter(|length| *length > size) {
            return Err(SegmentDirError::TooLong { path, expected: size, found });
        }
        let before = existing.filter(|length| *length > 0).map(|length| Received::open(&path, length));
        let before = before.transpose().map_err(|e| SegmentDirError::io(Step::Read, &path, e))?;
        let mut file = DurableFile::open(disk, &path, OpenMode::Create, Some(options.file_mode))?;
        // A shorter file (a crash before this line, a full disk) keeps its content and is filled up with zeros.
        file.allocate(size)?;
        Ok(Self { file, name, start, path, waiting, entry_durable: false, dirty: true, before })
    }

    /// Writes unless something else was received there before.
    pub(super) fn write_new(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SegmentDirError> {
        if let Some(before) = &mut self.before {
            let found = before.contradiction(offset, bytes);
            let found = found.map_err(|e| SegmentDirError::io(Step::Read, &self.path, e))?;
            self.refuse(found)?;
        }
        self.write(offset, bytes)
    }

    pub(super) fn refuse(&self, offset: Option<u64>) -> Result<(), SegmentDirError> {
        match offset {
            Some(offset) => Err(SegmentDirError::Rewritten {
                path: self.path.clone(),
                at: self.start.saturating_add(offset),
            }),
            None => Ok(()),
        }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SegmentDirError> {
        self.file.write_all_at(offset, bytes)?;
        self.dirty = true;
        Ok(())
    }

    /// Takes the name `.partial`, once nothing older needs it.
    pub(super) fn stop_waiting(&mut self, disk: &dyn Disk, dir: &Path) -> Result<(), SegmentDirError> {
        if self.waiting {
            let path = partial_path(dir, self.name);
            durable::rename_unsynced(disk, &self.path, &path, Clobber::Refuse)?;
            self.path = path;
            self.waiting = false;
            self.entry_durable = false;
        }
        Ok(())
    }

    pub(super) const fn is_waiting(&self) -> bool {
        self.waiting
    }

    pub(super) fn sync(&mut self, disk: &dyn Disk, dir: &Path) -> Result<(), SegmentDirError> {
        if self.dirty {
            self.file.sync_data()?;
            self.dirty = false;
        }
        if !self.entry_durable {
            durable::sync_dir(disk, dir)?;
            self.entry_durable = true;
        }
        Ok(())
    }
}
