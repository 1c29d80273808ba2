//! The disk that writes down what happens to it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::model::Model;
use super::tree::{CrashState, Tree};
use crate::durable::{Disk, DiskFile, OpenMode, Owner, RealDisk, temp};

/// One operation on the disk. Paths are relative to the recorded root; `handle` numbers the open files.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are those of the system calls")]
pub enum Operation {
    /// A file was opened; `created` if it was new.
    Open { path: PathBuf, handle: u64, created: bool, mode: u32 },
    /// Bytes were written at `offset`, or at the end.
    Write { handle: u64, offset: Option<u64>, bytes: Arc<[u8]> },
    /// The length was set.
    SetLen { handle: u64, length: u64 },
    /// The length was raised with the blocks reserved.
    Allocate { handle: u64, length: u64 },
    /// `fchmod`.
    SetMode { handle: u64, mode: u32 },
    /// The modification time was set.
    SetModified { handle: u64, time: SystemTime },
    /// `fsync` or `fdatasync` of an open file.
    Sync { handle: u64 },
    /// `fsync` of a file by name.
    SyncPath { path: PathBuf },
    /// `rename`.
    Rename { from: PathBuf, to: PathBuf },
    /// `link`.
    Link { from: PathBuf, to: PathBuf },
    /// `symlink`.
    Symlink { target: PathBuf, path: PathBuf },
    /// `unlink`.
    Unlink { path: PathBuf },
    /// `mkdir`.
    Mkdir { path: PathBuf },
    /// `rmdir`.
    Rmdir { path: PathBuf },
    /// `fsync` of a directory.
    SyncDir { path: PathBuf },
    /// The test noted that something was acknowledged.
    Mark(String),
}

#[derive(Debug, Default)]
struct Log {
    operations: Vec<Operation>,
    calls: usize,
    /// From which call to which, and the error number.
    fail: Option<(usize, usize, i32)>,
}

/// Works on a real directory and records every operation below it that succeeded.
#[derive(Clone, Debug)]
pub struct RecordingDisk {
    root: PathBuf,
    initial: Tree,
    log: Arc<Mutex<Log>>,
    owner: Owner,
}

impl RecordingDisk {
    /// Records what happens below `root` from now on. What is there now counts as durable.
    ///
    /// # Errors
    /// When `root` cannot be read.
    pub fn new(root: &Path) -> io::Result<Self> {
        // A process id beyond the kernel's highest: the recorded run is dead when its traces are looked at.
        let owner = Owner { pid: 0x7FFF_FFF1, token: temp::random_token() };
        Ok(Self { root: root.to_owned(), initial: Tree::read(root)?, log: Arc::default(), owner })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happened so far.
    pub fn operations(&self) -> Vec<Operation> {
        self.log().operations.clone()
    }

    /// Notes that something was acknowledged: each later crash state carries the text in its `marks`.
    pub fn mark(&self, text: impl Into<String>) {
        self.log().operations.push(Operation::Mark(text.into()));
    }

    /// The number of operations tried so far, for [`RecordingDisk::fail_at`].
    pub fn calls(&self) -> usize {
        self.log().calls
    }

    /// Lets the operation number `call` (counted from 0, failed ones included) fail with the error number
    /// `errno`, without any effect except that a failing write leaves its first half behind.
    pub fn fail_at(&self, call: usize, errno: i32) {
        self.log().fail = Some((call, call, errno));
    }

    /// As [`RecordingDisk::fail_at`], with every operation after it failing as well.
    pub fn fail_from(&self, call: usize, errno: i32) {
        self.log().fail = Some((call, usize::MAX, errno));
    }

    /// Calls `visit` with every state that a crash after any of the recorded operations may leave.
    ///
    /// # Errors
    /// The first error of `visit`, or that the record cannot be replayed.
    pub fn for_each_crash(&self, mut visit: impl FnMut(&CrashState) -> io::Result<()>) -> io::Result<()> {
        let operations = self.operations();
        let mut model = Model::new(&self.initial);
        let mut marks = Vec::new();
        model.crash_states(0, &marks, &mut visit)?;
        for (index, operation) in operations.iter().enumerate() {
            match operation {
                Operation::Mark(text) => marks.push(text.clone()),
                operation => model.apply(operation)?,
            }
            model.crash_states(index + 1, &marks, &mut visit)?;
        }
        Ok(())
    }

    fn relative(&self, path: &Path) -> io::Result<PathBuf> {
        path.strip_prefix(&self.root).map(Path::to_owned).map_err(|_| {
            io::Error::other(format!("{} is outside of the recorded {}", path.display(), self.root.display()))
        })
    }

    /// Counts the call; fails it if its turn has come.
    fn admit(&self) -> io::Result<()> {
        let mut log = self.log();
        let call = log.calls;
        log.calls += 1;
        match log.fail {
            Some((from, to, errno)) if (from..=to).contains(&call) => {
                Err(io::Error::from_raw_os_error(errno))
            }
            _ => Ok(()),
        }
    }

    fn record(&self, operation: Operation) {
        self.log().operations.push(operation);
    }
}

impl Disk for RecordingDisk {
    fn open(&self, path: &Path, how: OpenMode, mode: Option<u32>) -> io::Result<Box<dyn DiskFile>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let relative = self.relative(path)?;
        self.admit()?;
        let existed = path.symlink_metadata().is_ok();
        let file = RealDisk.open(path, how, mode)?;
        let handle = NEXT.fetch_add(1, Ordering::Relaxed);
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata()?.permissions()) & 0o7777;
        self.record(Operation::Open { path: relative, handle, created: !existed, mode });
        let append = how == OpenMode::Append;
        Ok(Box::new(RecordingFile { disk: self.clone(), file, handle, position: 0, append }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let operation = Operation::Rename { from: self.relative(from)?, to: self.relative(to)? };
        self.admit()?;
        RealDisk.rename(from, to)?;
        self.record(operation);
        Ok(())
    }

    fn rename_no_replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        let operation = Operation::Rename { from: self.relative(from)?, to: self.relative(to)? };
        self.admit()?;
        RealDisk.rename_no_replace(from, to)?;
        self.record(operation);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let operation = Operation::Link { from: self.relative(from)?, to: self.relative(to)? };
        self.admit()?;
        RealDisk.link(from, to)?;
        self.record(operation);
        Ok(())
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        let operation = Operation::Symlink { target: target.to_owned(), path: self.relative(path)? };
        self.admit()?;
        RealDisk.symlink(target, path)?;
        self.record(operation);
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let relative = self.relative(path)?;
        self.admit()?;
        RealDisk.unlink(path)?;
        self.record(Operation::Unlink { path: relative });
        Ok(())
    }

    fn mkdir(&self, path: &Path, mode: Option<u32>) -> io::Result<()> {
        let relative = self.relative(path)?;
        self.admit()?;
        RealDisk.mkdir(path, mode)?;
        self.record(Operation::Mkdir { path: relative });
        Ok(())
    }

    fn rmdir(&self, path: &Path) -> io::Result<()> {
        let relative = self.relative(path)?;
        self.admit()?;
        RealDisk.rmdir(path)?;
        self.record(Operation::Rmdir { path: relative });
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let relative = self.relative(path)?;
        self.admit()?;
        self.record(Operation::SyncDir { path: relative });
        Ok(())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let relative = self.relative(path)?;
        self.admit()?;
        self.record(Operation::SyncPath { path: relative });
        Ok(())
    }

    fn owner(&self) -> Owner {
        self.owner
    }
}

#[derive(Debug)]
struct RecordingFile {
    disk: RecordingDisk,
    file: Box<dyn DiskFile>,
    handle: u64,
    position: u64,
    append: bool,
}

impl RecordingFile {
    fn write(&mut self, offset: Option<u64>, bytes: &[u8]) -> io::Result<()> {
        let admitted = self.disk.admit();
        let bytes = match &admitted {
            Ok(()) => bytes,
            Err(_) => bytes.get(..bytes.len() / 2).unwrap_or_default(),
        };
        match offset {
            Some(offset) => self.file.write_all_at(offset, bytes)?,
            None => self.file.write_all(bytes)?,
        }
        self.disk.record(Operation::Write { handle: self.handle, offset, bytes: Arc::from(bytes) });
        admitted
    }
}

impl DiskFile for RecordingFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.append {
            return self.write(None, bytes);
        }
        let at = self.position;
        self.position += bytes.len() as u64;
        self.write(Some(at), bytes)
    }

    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(Some(offset), bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.admit()?;
        self.disk.record(Operation::Sync { handle: self.handle });
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.sync()
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.disk.admit()?;
        self.file.set_len(length)?;
        self.disk.record(Operation::SetLen { handle: self.handle, length });
        Ok(())
    }

    fn allocate(&mut self, length: u64) -> io::Result<()> {
        self.disk.admit()?;
        self.file.allocate(length)?;
        self.disk.record(Operation::Allocate { handle: self.handle, length });
        Ok(())
    }

    fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        self.disk.admit()?;
        self.file.set_mode(mode)?;
        self.disk.record(Operation::SetMode { handle: self.handle, mode });
        Ok(())
    }

    fn set_modified(&mut self, time: SystemTime) -> io::Result<()> {
        self.disk.admit()?;
        self.file.set_modified(time)?;
        self.disk.record(Operation::SetModified { handle: self.handle, time });
        Ok(())
    }
}
