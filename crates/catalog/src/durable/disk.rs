//! The operations of a file system that durability is made of, as a trait.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// How [`Disk::open`] opens a file for writing. Existing content is never truncated by opening.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OpenMode {
    /// It must not exist (`O_CREAT | O_EXCL`).
    CreateNew,
    /// It is created when missing.
    Create,
    /// It must exist.
    Existing,
    /// It is created when missing, and every write goes to its end (`O_APPEND`).
    Append,
}

/// Whose temporary files these are. `token` is random and differs from process to process, because in
/// a container every run has the same process id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Owner {
    /// The process id.
    pub pid: u32,
    /// Drawn once per process.
    pub token: u64,
}

/// A file system, one method per system call. [`RealDisk`](super::RealDisk) is the real one;
/// [`RecordingDisk`](super::testing::RecordingDisk) also writes down what happened. Reading goes through
/// `std::fs`: it changes nothing that a crash could lose.
pub trait Disk: Debug + Send + Sync {
    /// Opens a file for writing. `mode` are the permission bits of a file created, before the umask; 0666 when `None`.
    ///
    /// # Errors
    /// As `open(2)`.
    fn open(&self, path: &Path, how: OpenMode, mode: Option<u32>) -> io::Result<Box<dyn DiskFile>>;

    /// `rename(2)`: replaces `to`.
    ///
    /// # Errors
    /// As the system call.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// `renameat2(RENAME_NOREPLACE)`.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when `to` exists; else as the system call.
    fn rename_no_replace(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// `link(2)`: a second name for a file. Fails when `to` exists.
    ///
    /// # Errors
    /// As the system call.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// `symlink(2)`: `path` leads to `target`. Fails when `path` exists.
    ///
    /// # Errors
    /// As the system call.
    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()>;

    /// `unlink(2)`.
    ///
    /// # Errors
    /// As the system call.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// `mkdir(2)`; `mode` before the umask, 0777 when `None`.
    ///
    /// # Errors
    /// As the system call.
    fn mkdir(&self, path: &Path, mode: Option<u32>) -> io::Result<()>;

    /// `rmdir(2)`.
    ///
    /// # Errors
    /// As the system call.
    fn rmdir(&self, path: &Path) -> io::Result<()>;

    /// `fsync(2)` of a directory.
    ///
    /// # Errors
    /// As the system call.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// `fsync(2)` of a file by its name, for files that somebody else wrote.
    ///
    /// # Errors
    /// As the system call.
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Whose temporary files this disk makes.
    fn owner(&self) -> Owner;
}

/// An open file of a [`Disk`]. Use it through [`DurableFile`](super::DurableFile), which remembers a failed `fsync`.
pub trait DiskFile: Debug + Send {
    /// Writes all of `bytes` at the file's position, or at its end when opened with [`OpenMode::Append`].
    ///
    /// # Errors
    /// As `write(2)`.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, wherever the position is.
    ///
    /// # Errors
    /// As `pwrite(2)`.
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Starts to write back what was written there, without waiting: only so that [`DiskFile::sync`] has less to wait for.
    fn write_back(&mut self, offset: u64, length: u64) {
        let _ = (offset, length);
    }

    /// `fsync(2)`.
    ///
    /// # Errors
    /// As the system call.
    fn sync(&mut self) -> io::Result<()>;

    /// `fdatasync(2)`: content and size, not times.
    ///
    /// # Errors
    /// As the system call.
    fn sync_data(&mut self) -> io::Result<()>;

    /// `ftruncate(2)`.
    ///
    /// # Errors
    /// As the system call.
    fn set_len(&mut self, length: u64) -> io::Result<()>;

    /// Makes the file `length` bytes long, if it is shorter, with its blocks reserved (`fallocate(2)`; where the file system
    /// cannot, only the length is set). What is added reads as zeros.
    ///
    /// # Errors
    /// As the system call; a full disk shows here.
    fn allocate(&mut self, length: u64) -> io::Result<()>;

    /// `fchmod(2)`.
    ///
    /// # Errors
    /// As the system call.
    fn set_mode(&mut self, mode: u32) -> io::Result<()>;

    /// Sets the modification time.
    ///
    /// # Errors
    /// As `futimens(2)`.
    fn set_modified(&mut self, time: SystemTime) -> io::Result<()>;
}
