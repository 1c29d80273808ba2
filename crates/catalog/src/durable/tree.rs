//! Directories: made, removed and synced as a whole.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Disk, DurableError, Step, parent, sync_dir};

/// Creates a directory and the missing ones above it, each made durable in its parent. `mode` (before the umask) is that of the last
/// one; those above get 0777. A directory that exists is left as it is.
///
/// # Errors
/// The step that failed; also when something else than a directory is in the way.
pub fn create_dir_all(disk: &dyn Disk, path: &Path, mode: Option<u32>) -> Result<(), DurableError> {
    let mut missing: Vec<&Path> = Vec::new();
    let mut current = path;
    while !current.is_dir() {
        missing.push(current);
        let above = parent(current);
        if above == current {
            break;
        }
        current = above;
    }
    for dir in missing.into_iter().rev() {
        let wanted = if dir == path { mode } else { None };
        match disk.mkdir(dir, wanted) {
            Ok(()) => sync_dir(disk, parent(dir))?,
            // Somebody else was faster; its entry must be durable for us too.
            Err(e) if e.kind() == ErrorKind::AlreadyExists && dir.is_dir() => sync_dir(disk, parent(dir))?,
            Err(e) => return Err(DurableError::io(Step::MakeDir, dir, e)),
        }
    }
    Ok(())
}

/// Removes an empty directory, durably. Returns whether it is gone by our hand: a directory that is missing or not
/// empty is left alone.
///
/// # Errors
/// What the system says otherwise.
pub fn remove_dir(disk: &dyn Disk, path: &Path) -> Result<bool, DurableError> {
    match disk.rmdir(path) {
        Ok(()) => sync_dir(disk, parent(path)).map(|()| true),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => Ok(false),
        Err(e) => Err(DurableError::io(Step::Remove, path, e)),
    }
}

/// Removes a directory and everything in it, without following symbolic links, and makes that durable. Returns
/// whether there was one. A crash in the middle leaves a part of it: put a marker beside it first.
///
/// # Errors
/// The first entry that could not be removed.
pub fn remove_tree(disk: &dyn Disk, path: &Path) -> Result<bool, DurableError> {
    Ok(remove(disk, path, &AtomicBool::new(false))? == Removal::Gone)
}

/// [`remove_tree`] that ends when `stop` is set, after the file in hand. Returns whether nothing is left; what is left can be
/// removed later.
///
/// # Errors
/// As [`remove_tree`].
pub fn remove_tree_unless(disk: &dyn Disk, path: &Path, stop: &AtomicBool) -> Result<bool, DurableError> {
    Ok(remove(disk, path, stop)? != Removal::Stopped)
}

#[derive(Eq, PartialEq)]
enum Removal {
    Absent,
    Gone,
    Stopped,
}

fn remove(disk: &dyn Disk, path: &Path, stop: &AtomicBool) -> Result<Removal, DurableError> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            let removed = super::remove_file(disk, path)?;
            return Ok(if removed { Removal::Gone } else { Removal::Absent });
        }
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Removal::Absent),
        Err(e) => return Err(DurableError::io(Step::Read, path, e)),
    }
    // Parents stand before their children, so backwards every directory is empty when its turn comes.
    let mut dirs: Vec<PathBuf> = vec![path.to_owned()];
    let mut next = 0;
    let stopped = || stop.load(Ordering::Relaxed);
    while let Some(dir) = dirs.get(next).cloned() {
        next += 1;
        for_each_entry(&dir, |entry, is_dir| {
            if is_dir {
                dirs.push(entry);
            } else if !stopped() {
                super::remove_file_unsynced(disk, &entry)?;
            }
            Ok(())
        })?;
        if stopped() {
            return Ok(Removal::Stopped);
        }
    }
    for dir in dirs.iter().rev() {
        match disk.rmdir(dir) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(DurableError::io(Step::Remove, dir, e)),
            _ => {}
        }
    }
    sync_dir(disk, parent(path))?;
    Ok(Removal::Gone)
}

/// Syncs every regular file and directory below `path`, and `path` itself, without following symbolic links.
///
/// # Errors
/// The first that could not be synced.
pub fn sync_tree(disk: &dyn Disk, path: &Path) -> Result<(), DurableError> {
    let mut dirs: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(dir) = dirs.pop() {
        for_each_entry(&dir, |entry, is_dir| {
            if is_dir {
                dirs.push(entry);
                return Ok(());
            }
            let metadata =
                std::fs::symlink_metadata(&entry).map_err(|e| DurableError::io(Step::Read, &entry, e))?;
            if metadata.is_file() {
                disk.sync_file(&entry).map_err(|e| DurableError::io(Step::Sync, &entry, e))?;
            }
            Ok(())
        })?;
        sync_dir(disk, &dir)?;
    }
    Ok(())
}

fn for_each_entry(
    dir: &Path,
    mut visit: impl FnMut(PathBuf, bool) -> Result<(), DurableError>,
) -> Result<(), DurableError> {
    let fail = |e| DurableError::io(Step::Read, dir, e);
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        visit(entry.path(), entry.file_type().map_err(fail)?.is_dir())?;
    }
    Ok(())
}
