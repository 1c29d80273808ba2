//! One file's data, by the cheapest way that works.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, Timespec, Timestamps, copy_file_range, fchmod, futimens, ioctl_ficlone};

use super::TreeError;
use super::plan::Entry;
use crate::observer::CopyObserver;
use crate::sync::{SyncError, at};

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
        moved(copied as u64);
    }
    Ok(done)
}

/// Errors that reading and writing would meet as well.
const fn fatal(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(error, Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::ROFS | Errno::FBIG)
}
