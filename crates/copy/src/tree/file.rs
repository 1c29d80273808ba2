//! One file's data, by the cheapest way that works.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, Timespec, Timestamps, copy_file_range, fchmod, futimens, ioctl_ficlone};

use super::TreeError;
use super::plan::{Entry, OverTree};
use crate::delta::{Over, open_at};
use crate::observer::CopyObserver;
use crate::sync::{SyncError, WriteBehind, at};

/// Bytes between two looks at the stop flag.
const STEP: usize = 8 * 1024 * 1024;

/// Copies `from` into the new file `to`, as far as it went when the copy was planned.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    entry: &Entry,
    observer: &dyn CopyObserver,
    stop: &AtomicBool,
) -> Result<File, TreeError> {
    let mut source = File::open(from).map_err(at("open", from))?;
    let mut target = create(to)?;
    if entry.size > 0 {
        if ioctl_ficlone(&target, &source).is_ok() {
            observer.bytes(entry.size);
        } else {
            let found = data(&mut source, &mut target, (from, to), entry.size, STEP, stop, &mut |n| {
                observer.bytes(n);
            })?;
            if found < entry.size {
                return Err(TreeError::Short { path: from.to_path_buf(), expected: entry.size, found });
            }
        }
    }
    fchmod(&target, Mode::from_raw_mode(entry.mode)).map_err(at("chmod", to))?;
    set_mtime(&target, entry.mtime).map_err(at("set the times of", to))?;
    Ok(target)
}

/// The same over a file that may be there. Says whether that one was right.
pub(super) fn copy_over(
    from: &Path,
    to: &Path,
    entry: &Entry,
    options: &OverTree,
    observer: &dyn CopyObserver,
    stop: &AtomicBool,
) -> Result<(File, bool), TreeError> {
    let Some((mut target, mut over)) = open_at(CWD, to.as_os_str()).map_err(at("open", to))? else {
        return Ok((copy(from, to, entry, observer, stop)?, false));
    };
    let is_same_size = over.length() == entry.size;
    let mut is_kept = is_same_size && entry.size == 0;
    if is_same_size
        && !is_kept
        && let Some(sums) = &options.sums
    {
        // One that cannot be read is written anew.
        let same = sums.is_same(&options.prefix.join(&entry.path), &mut target, stop).unwrap_or(Some(false));
        is_kept = same.ok_or(TreeError::Stopped)?;
    }
    if is_kept {
        observer.bytes(entry.size);
    } else {
        let mut source = File::open(from).map_err(at("open", from))?;
        if ioctl_ficlone(&target, &source).is_ok() {
            target.set_len(entry.size).map_err(at("truncate", to))?;
            observer.bytes(entry.size);
        } else {
            compare(&mut source, &target, &mut over, (from, to), entry.size, observer, stop)?;
            is_kept = is_same_size && over.written == 0;
        }
    }
    let found = target.metadata().map_err(at("read", to))?;
    if found.mode() & 0o7777 != entry.mode {
        fchmod(&target, Mode::from_raw_mode(entry.mode)).map_err(at("chmod", to))?;
    }
    if !is_kept {
        set_mtime(&target, entry.mtime).map_err(at("set the times of", to))?;
    }
    Ok((target, is_kept))
}

/// Writes what differs.
fn compare(
    source: &mut File,
    target: &File,
    over: &mut Over,
    (from, to): (&Path, &Path),
    size: u64,
    observer: &dyn CopyObserver,
    stop: &AtomicBool,
) -> Result<(), TreeError> {
    let mut buffer = vec![0; 256 * 1024];
    let mut done = 0_u64;
    while done < size {
        if stop.load(Ordering::Relaxed) {
            return Err(TreeError::Stopped);
        }
        let step = usize::try_from(size - done).unwrap_or(usize::MAX).min(buffer.len());
        let length = match source.read(buffer.get_mut(..step).unwrap_or_default()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.map_err(at("read", from))?,
        };
        if length == 0 {
            return Err(TreeError::Short { path: from.to_path_buf(), expected: size, found: done });
        }
        over.write(target, buffer.get(..length).unwrap_or_default()).map_err(at("write", to))?;
        done = done.saturating_add(length as u64);
        observer.bytes(length as u64);
    }
    Ok(over.finish(target).map_err(at("truncate", to))?)
}

fn create(path: &Path) -> Result<File, SyncError> {
    File::options().write(true).create_new(true).mode(0o600).open(path).map_err(at("create", path))
}

pub(crate) fn set_mtime(file: &File, (tv_sec, tv_nsec): (i64, i64)) -> rustix::io::Result<()> {
    let time = Timespec { tv_sec, tv_nsec };
    futimens(file, &Timestamps { last_access: time, last_modification: time })
}

/// Moves `size` bytes, `step` at most at a time, or as many as there are; says how many.
pub(crate) fn data(
    source: &mut File,
    target: &mut File,
    (from, to): (&Path, &Path),
    size: u64,
    step: usize,
    stop: &AtomicBool,
    moved: &mut dyn FnMut(u64),
) -> Result<u64, TreeError> {
    let mut done = 0_u64;
    let mut behind = WriteBehind::default();
    let mut buffer = Vec::new();
    let mut in_kernel = true;
    while done < size {
        if stop.load(Ordering::Relaxed) {
            return Err(TreeError::Stopped);
        }
        let step = usize::try_from(size - done).unwrap_or(step).min(step);
        let copied = if in_kernel {
            match copy_file_range(&*source, None, &*target, None, step) {
                Ok(copied) => copied,
                Err(rustix::io::Errno::INTR) => continue,
                // Both file positions stand where the kernel's way ended.
                Err(error) if done > 0 || fatal(error) => return Err(at("write", to)(error).into()),
                Err(_) => {
                    in_kernel = false;
                    continue;
                }
            }
        } else {
            buffer.resize(128 * 1024, 0);
            let piece = buffer.get_mut(..step.min(128 * 1024)).unwrap_or_default();
            match source.read(piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => {
                    let length = result.map_err(at("read", from))?;
                    target.write_all(piece.get(..length).unwrap_or_default()).map_err(at("write", to))?;
                    length
                }
            }
        };
        if copied == 0 {
            break;
        }
        done = done.saturating_add(copied as u64);
        behind.wrote(&*target, copied as u64);
        moved(copied as u64);
    }
    behind.finish(&*target);
    Ok(done)
}

/// Errors that reading and writing would meet as well.
const fn fatal(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(error, Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::ROFS | Errno::FBIG)
}
