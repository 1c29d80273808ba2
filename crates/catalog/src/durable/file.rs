//! An open file that remembers a failed write or `fsync`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Disk, DiskFile, DurableError, OpenMode, Step};

/// A file open for writing. After the first error it is poisoned: each later call fails with
/// [`DurableError::Poisoned`].
#[derive(Debug)]
pub struct DurableFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    poisoned: bool,
    /// Of a new file that is written from its start: how much, and how much of that is on its way to the disk.
    written: u64,
    started: u64,
}

/// Enough at a time for the disk to work in long strokes.
const WRITE_BACK: u64 = 4 * 1024 * 1024;

impl DurableFile {
    /// Opens or creates `path`. The directory entry of a file created here is durable only after
    /// [`sync_dir`](super::sync_dir).
    ///
    /// # Errors
    /// [`DurableError::Exists`] for [`OpenMode::CreateNew`] on a name that is taken; else what the system says.
    pub fn open(
        disk: &dyn Disk,
        path: &Path,
        how: OpenMode,
        mode: Option<u32>,
    ) -> Result<Self, DurableError> {
        match disk.open(path, how, mode) {
            Ok(file) => Ok(Self { file, path: path.to_owned(), poisoned: false, written: 0, started: 0 }),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                Err(DurableError::Exists { path: path.to_owned() })
            }
            Err(e) => Err(DurableError::io(Step::Open, path, e)),
        }
    }

    /// The name it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether an error has made it unusable.
    pub const fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    fn run(
        &mut self,
        step: Step,
        work: impl FnOnce(&mut dyn DiskFile) -> io::Result<()>,
    ) -> Result<(), DurableError> {
        if self.poisoned {
            return Err(DurableError::Poisoned { path: self.path.clone() });
        }
        work(self.file.as_mut()).map_err(|source| {
            self.poisoned = true;
            DurableError::io(step, &self.path, source)
        })
    }

    /// Writes at the position, or at the end in [`OpenMode::Append`].
    ///
    /// # Errors
    /// When not all bytes could be written. The file is poisoned then.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), DurableError> {
        self.run(Step::Write, |file| file.write_all(bytes))?;
        self.written += bytes.len() as u64;
        if self.written - self.started >= WRITE_BACK {
            self.file.write_back(self.started, self.written - self.started);
            self.started = self.written;
        }
        Ok(())
    }

    /// Writes at `offset`.
    ///
    /// # Errors
    /// When not all bytes could be written. The file is poisoned then.
    pub fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), DurableError> {
        self.run(Step::Write, |file| file.write_all_at(offset, bytes))
    }

    /// Content, size and attributes are on disk when this returns.
    ///
    /// # Errors
    /// When `fsync` fails. The file is poisoned then.
    pub fn sync(&mut self) -> Result<(), DurableError> {
        self.run(Step::Sync, |file| file.sync())
    }

    /// Content and size are on disk when this returns.
    ///
    /// # Errors
    /// When `fdatasync` fails. The file is poisoned then.
    pub fn sync_data(&mut self) -> Result<(), DurableError> {
        self.run(Step::Sync, |file| file.sync_data())
    }

    /// Cuts or extends the file.
    ///
    /// # Errors
    /// What the system says. The file is poisoned then.
    pub fn set_len(&mut self, length: u64) -> Result<(), DurableError> {
        self.run(Step::Resize, |file| file.set_len(length))
    }

    /// Reserves space, see [`DiskFile::allocate`].
    ///
    /// # Errors
    /// What the system says, such as a full disk. The file is poisoned then.
    pub fn allocate(&mut self, length: u64) -> Result<(), DurableError> {
        self.run(Step::Resize, |file| file.allocate(length))
    }

    /// Sets the permission bits.
    ///
    /// # Errors
    /// What the system says. The file is poisoned then.
    pub fn set_mode(&mut self, mode: u32) -> Result<(), DurableError> {
        self.run(Step::SetAttributes, |file| file.set_mode(mode))
    }

    /// Sets the modification time.
    ///
    /// # Errors
    /// What the system says. The file is poisoned then.
    pub fn set_modified(&mut self, time: SystemTime) -> Result<(), DurableError> {
        self.run(Step::SetAttributes, |file| file.set_modified(time))
    }
}

impl io::Write for DurableFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::write_all(self, bytes)?;
        Ok(bytes.len())
    }

    /// Nothing is buffered here; this is not [`DurableFile::sync`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
