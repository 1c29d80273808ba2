//! A file that appears under its name complete or not at all.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Disk, DurableError, DurableFile, OpenMode, Step, parent, rename_unsynced, sync_dir, temp};

/// What to do when the name is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Clobber {
    /// Fail with [`DurableError::Exists`]; the file there stays as it is.
    Refuse,
    /// Put the new file in its place, atomically.
    Replace,
}

/// Writes a hidden temporary file beside `path` and publishes it under that name. Dropped without
/// [`Publish::publish`], it leaves nothing behind; killed, it leaves a temporary file that
/// [`remove_stale`](super::remove_stale) recognises.
#[derive(Debug)]
pub struct Publish<'d> {
    disk: &'d dyn Disk,
    file: DurableFile,
    temp: PathBuf,
    target: PathBuf,
    synced: bool,
    published: bool,
}

impl<'d> Publish<'d> {
    /// Starts a file that is to become `target`. `mode` before the umask; 0666 when `None`.
    ///
    /// # Errors
    /// When the temporary file cannot be created.
    pub fn create(disk: &'d dyn Disk, target: &Path, mode: Option<u32>) -> Result<Self, DurableError> {
        let temp = temp::name_for(disk, target);
        let file = DurableFile::open(disk, &temp, OpenMode::CreateNew, mode)?;
        Ok(Self { disk, file, temp, target: target.to_owned(), synced: false, published: false })
    }

    /// As [`Publish::create`], with the permission bits of the file that is there now, if any.
    ///
    /// # Errors
    /// When the temporary file cannot be created.
    pub fn replacing(disk: &'d dyn Disk, target: &Path) -> Result<Self, DurableError> {
        let mode = match std::fs::metadata(target) {
            Ok(metadata) => Some(metadata.permissions().mode() & 0o7777),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(DurableError::io(Step::Read, target, e)),
        };
        let mut new = Self::create(disk, target, mode)?;
        if let Some(mode) = mode {
            new.set_mode(mode)?;
        }
        Ok(new)
    }

    /// The name the file will have.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The name it has until it is published, for a reader that checks it first.
    pub fn temp_path(&self) -> &Path {
        &self.temp
    }

    /// Adds to the file.
    ///
    /// # Errors
    /// When not everything could be written; it cannot be published then.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), DurableError> {
        self.synced = false;
        self.file.write_all(bytes)
    }

    /// Sets the permission bits, whatever the umask.
    ///
    /// # Errors
    /// What the system says; it cannot be published then.
    pub fn set_mode(&mut self, mode: u32) -> Result<(), DurableError> {
        self.synced = false;
        self.file.set_mode(mode)
    }

    /// Sets the modification time. Call it after the last write.
    ///
    /// # Errors
    /// What the system says; it cannot be published then.
    pub fn set_modified(&mut self, time: SystemTime) -> Result<(), DurableError> {
        self.synced = false;
        self.file.set_modified(time)
    }

    /// Takes the permission bits and the modification time of another file, as `cp -p` does. Call it after the last write.
    ///
    /// # Errors
    /// What the system says; it cannot be published then.
    pub fn copy_attributes(&mut self, of: &std::fs::Metadata) -> Result<(), DurableError> {
        self.set_mode(of.permissions().mode() & 0o7777)?;
        let modified = of.modified().map_err(|e| DurableError::io(Step::Read, &self.temp, e))?;
        self.set_modified(modified)
    }

    /// Syncs the file under its temporary name, so that publishing it later need not: the syncs of several files can then
    /// overlap.
    ///
    /// # Errors
    /// When `fsync` fails; it cannot be published then.
    pub fn sync(&mut self) -> Result<(), DurableError> {
        self.file.sync()?;
        self.synced = true;
        Ok(())
    }

    /// Syncs the file, gives it its name and syncs the directory. When this returns the file is there for good.
    ///
    /// # Errors
    /// [`DurableError::Exists`] with [`Clobber::Refuse`]; else the step that failed. When only the last step
    /// failed the file may be there or not after a crash.
    pub fn publish(self, clobber: Clobber) -> Result<(), DurableError> {
        let disk = self.disk;
        let target = self.publish_unsynced(clobber)?;
        sync_dir(disk, parent(&target))
    }

    /// As [`Publish::publish`] without syncing the directory: for many files of one directory, followed by one
    /// [`sync_dir`]. Nothing may be acknowledged before that. Returns the file's name.
    ///
    /// # Errors
    /// As [`Publish::publish`].
    pub fn publish_unsynced(mut self, clobber: Clobber) -> Result<PathBuf, DurableError> {
        self.give_name(clobber)?;
        Ok(std::mem::take(&mut self.target))
    }

    /// As [`Publish::publish`] with [`Clobber::Refuse`], and where the name is taken the bytes stay under their temporary
    /// name: they can be compared with what is there.
    ///
    /// # Errors
    /// As [`Publish::publish`].
    pub fn try_publish(&mut self) -> Result<(), DurableError> {
        self.give_name(Clobber::Refuse)?;
        sync_dir(self.disk, parent(&self.target))
    }

    fn give_name(&mut self, clobber: Clobber) -> Result<(), DurableError> {
        if !self.synced {
            self.sync()?;
        }
        rename_unsynced(self.disk, &self.temp, &self.target, clobber)?;
        self.published = true;
        Ok(())
    }
}

impl io::Write for Publish<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::write_all(self, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Publish<'_> {
    fn drop(&mut self) {
        if !self.published {
            // When this fails the next run of the owner removes it.
            drop(self.disk.unlink(&self.temp));
        }
    }
}
