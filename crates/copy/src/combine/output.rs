//! Files of the result.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, Timespec, Timestamps, copy_file_range, fchmod, futimens, ioctl_ficlone};

use super::CombineError;
use super::options::CopyMethod;
use super::reading::Reading;
use crate::delta::{Over, open_at};
use crate::observer::CopyObserver;
use crate::sync::{SyncError, at};
use crate::{Checksum, ChecksumAlgorithm, Hasher};

const PIECE: usize = 256 * 1024;
/// Bytes between two looks at the stop flag.
const STEP: usize = 8 * 1024 * 1024;

/// A file being written, and its sum.
pub(super) struct Writing<'a> {
    pub(super) file: File,
    pub(super) path: PathBuf,
    hasher: Hasher,
    written: u64,
    /// What was there.
    over: Option<Over>,
    observer: &'a dyn CopyObserver,
    stop: &'a AtomicBool,
}

impl<'a> Writing<'a> {
    pub(super) fn create(
        path: PathBuf,
        algorithm: ChecksumAlgorithm,
        over: bool,
        observer: &'a dyn CopyObserver,
        stop: &'a AtomicBool,
    ) -> Result<Self, CombineError> {
        if over && let Some((file, over)) = open_at(CWD, path.as_os_str()).map_err(at("open", &path))? {
            let (hasher, over) = (algorithm.hasher(), Some(over));
            return Ok(Self { file, path, hasher, written: 0, over, observer, stop });
        }
        let mut options = File::options();
        let file =
            options.write(true).create_new(true).mode(0o600).open(&path).map_err(at("create", &path))?;
        Ok(Self { file, path, hasher: algorithm.hasher(), written: 0, over: None, observer, stop })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), CombineError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(CombineError::Stopped);
        }
        match &mut self.over {
            None => self.file.write_all(bytes),
            Some(over) => over.write(&self.file, bytes),
        }
        .map_err(at("write", &self.path))?;
        self.hasher.update(bytes);
        self.written = self.written.saturating_add(bytes.len() as u64);
        self.observer.bytes(bytes.len() as u64);
        Ok(())
    }

    /// Everything `source` has, by the first of the ways that `method` allows.
    pub(super) fn copy(&mut self, mut source: Reading<'_>, method: CopyMethod) -> Result<(), CombineError> {
        let shared = match method {
            // What is there already is cheaper still.
            CopyMethod::Auto => self.over.is_none() && ioctl_ficlone(&self.file, source.file()).is_ok(),
            CopyMethod::Clone => {
                self.begin_anew()?;
                let cloned = ioctl_ficlone(&self.file, source.file());
                cloned.map_err(|error| self.impossible("cloning", &source, error))?;
                true
            }
            CopyMethod::CopyFileRange => {
                self.begin_anew()?;
                self.in_kernel(&source)?;
                true
            }
            CopyMethod::Copy | CopyMethod::Link => false,
        };
        if shared {
            // Its bytes did not pass here, and are read for the sums.
            return self.sum(source);
        }
        let mut buffer = vec![0; PIECE];
        loop {
            match source.read(&mut buffer).map_err(at("read", &source.path))? {
                0 => return source.finish(),
                length => self.write(buffer.get(..length).unwrap_or_default())?,
            }
        }
    }

    /// Forgets what was there.
    fn begin_anew(&mut self) -> Result<(), CombineError> {
        if self.over.take().is_some() {
            self.file.set_len(0).map_err(at("truncate", &self.path))?;
        }
        Ok(())
    }

    fn impossible(&self, what: &'static str, source: &Reading<'_>, error: rustix::io::Errno) -> CombineError {
        let (from, to) = (source.path.clone(), self.path.clone());
        CombineError::Method { what, from, to, source: error.into() }
    }

    fn in_kernel(&mut self, source: &Reading<'_>) -> Result<(), CombineError> {
        let (mut from, mut left) = (0_u64, source.length());
        while left > 0 {
            if self.stop.load(Ordering::Relaxed) {
                return Err(CombineError::Stopped);
            }
            let step = usize::try_from(left).unwrap_or(STEP).min(STEP);
            match copy_file_range(source.file(), Some(&mut from), &self.file, None, step) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(self.impossible("copying a file range", source, error)),
                Ok(0) => {
                    let (expected, found) = (source.length(), from);
                    return Err(CombineError::Short { path: source.path.clone(), expected, found });
                }
                Ok(copied) => left = left.saturating_sub(copied as u64),
            }
        }
        Ok(())
    }

    /// Reads a file whose content this one shares, for its own sum and that of its manifest.
    fn sum(&mut self, mut source: Reading<'_>) -> Result<(), CombineError> {
        let mut buffer = vec![0; PIECE];
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(CombineError::Stopped);
            }
            match source.read(&mut buffer).map_err(at("read", &source.path))? {
                0 => return source.finish(),
                length => {
                    self.hasher.update(buffer.get(..length).unwrap_or_default());
                    self.written = self.written.saturating_add(length as u64);
                    self.observer.bytes(length as u64);
                }
            }
        }
    }

    /// Mode and time of what it was made from; its bytes and sum.
    pub(super) fn finish(self, like: &Metadata) -> Result<Finished, CombineError> {
        let mut is_kept = false;
        if let Some(over) = &self.over {
            is_kept = over.written == 0 && over.length() == self.written;
            over.finish(&self.file).map_err(at("truncate", &self.path))?;
        }
        fchmod(&self.file, Mode::from_raw_mode(like.mode() & 0o7777)).map_err(at("chmod", &self.path))?;
        if !is_kept {
            set_mtime(&self.file, like).map_err(at("set the times of", &self.path))?;
        }
        let (size, sum) = (self.written, self.hasher.finish());
        Ok(Finished { file: self.file, path: self.path, size, sum, is_kept })
    }
}

/// A file that is complete.
pub(super) struct Finished {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) sum: Checksum,
    /// It was there, and right.
    pub(super) is_kept: bool,
}

fn set_mtime(file: &File, like: &Metadata) -> Result<(), io::Error> {
    let time = Timespec { tv_sec: like.mtime(), tv_nsec: like.mtime_nsec() };
    Ok(futimens(file, &Timestamps { last_access: time, last_modification: time })?)
}

/// The sum of a file that is shared by a hard link.
pub(super) fn link(
    source: Reading<'_>,
    target: &Path,
    algorithm: ChecksumAlgorithm,
    observer: &dyn CopyObserver,
    stop: &AtomicBool,
) -> Result<(u64, Checksum), CombineError> {
    std::fs::hard_link(&source.path, target).map_err(|error| CombineError::Method {
        what: "linking",
        from: source.path.clone(),
        to: target.to_owned(),
        source: error,
    })?;
    let mut hasher = algorithm.hasher();
    let (mut source, mut buffer, mut size) = (source, vec![0; PIECE], 0_u64);
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(CombineError::Stopped);
        }
        match source.read(&mut buffer).map_err(at("read", &source.path))? {
            0 => break,
            length => {
                hasher.update(buffer.get(..length).unwrap_or_default());
                size = size.saturating_add(length as u64);
                observer.bytes(length as u64);
            }
        }
    }
    source.finish()?;
    Ok((size, hasher.finish()))
}

/// Makes a directory of the result; one that is there is taken.
pub(super) fn directory(path: &Path) -> Result<(), SyncError> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(_) if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) => Ok(()),
        result => result.map_err(at("create", path)),
    }
}
