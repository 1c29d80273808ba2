//! A source that becomes the archived file, without its bytes being copied.
//!
//! While the file has both names, whoever may write to the source could change what is archived: a plain `cp` as
//! `archive_command`, repeated by PostgreSQL, truncates the file that is there. So a source in `incoming/` is sealed first: its
//! permission to be written is taken away, and given back once the second name is the only one. (What the receiver left in
//! `streaming/` as a whole segment nobody writes again.) An `archive_command` that meets the seal fails, and PostgreSQL
//! repeats it. What changed before the seal shows in size and time.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::prepare::Item;
use super::{IngestError, Source};
use crate::durable::{Disk, DurableError, DurableFile, OpenMode, Step};

/// Which file it was that was checked, and how it looked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct SourceId {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl SourceId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// Whether the file of this name is still that one.
    pub(super) fn is_at(&self, path: &std::path::Path) -> bool {
        path.metadata().is_ok_and(|metadata| Self::of(&metadata) == *self)
    }
}

#[derive(Debug)]
pub(super) struct Link<'d> {
    disk: &'d dyn Disk,
    path: PathBuf,
    /// The file, opened before it was sealed, and its permission bits.
    seal: Option<(DurableFile, u32)>,
    /// The file may have its second name.
    linked: bool,
}

impl<'d> Link<'d> {
    /// `None` when the source cannot be sealed, or changed meanwhile: then it is to be copied.
    pub(super) fn new(
        disk: &'d dyn Disk,
        item: &Item,
        source: SourceId,
        mode: u32,
    ) -> Result<Option<Self>, IngestError> {
        let path = item.path.clone();
        if item.source == Source::Streaming {
            return Ok(Some(Self { disk, path, seal: None, linked: false }));
        }
        // It belongs to somebody else, or was sealed by a run that crashed: then nobody can write, and we neither.
        let Ok(mut file) = DurableFile::open(disk, &path, OpenMode::Existing, None) else {
            return Ok(None);
        };
        if file.set_mode(mode & !0o222).is_err() {
            return Ok(None);
        }
        let link = Self { disk, path, seal: Some((file, mode)), linked: false };
        if source.is_at(&link.path) {
            return Ok(Some(link));
        }
        link.unseal();
        Ok(None)
    }

    /// Whoever wrote it may not have synced it.
    pub(super) fn sync(&self) -> Result<(), DurableError> {
        self.disk.sync_file(&self.path).map_err(|e| DurableError::io(Step::Sync, &self.path, e))
    }

    /// From here on a failure leaves the seal: whoever wrote to the source would write to the archive. The next run
    /// completes the work.
    pub(super) const fn linked(&mut self) {
        self.linked = true;
    }

    /// Gives back the permission bits. That they are the source's is a courtesy, so it may fail.
    pub(super) fn unseal(mut self) {
        self.give_back();
    }

    fn give_back(&mut self) {
        if let Some((mut file, mode)) = self.seal.take()
            && let Err(error) = file.set_mode(mode)
        {
            tracing::warn!(file = %self.path.display(), %error, "permission bits not given back");
        }
    }
}

impl Drop for Link<'_> {
    fn drop(&mut self) {
        if !self.linked {
            self.give_back();
        }
    }
}
