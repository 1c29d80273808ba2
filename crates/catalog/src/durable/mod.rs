//! The one place that creates, renames, publishes and removes files of the catalog.
//!
//! The discipline: write under a temporary name, `fsync` the file, rename it to its name, `fsync` the
//! directory. Only then may anybody be told that the file is there. After a failed `fsync` nobody knows what
//! is on disk (the kernel forgets the error and marks the pages clean), so a writer that saw one is poisoned:
//! it refuses everything but being dropped, and the caller starts anew from the source.
//!
//! All functions take a [`Disk`], so that [`testing::RecordingDisk`] can stand in for the real one and a test
//! can try what a power cut after any operation leaves behind.
//!
//! ```
//! use tapster_catalog::durable::{self, RealDisk};
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("identity.json");
//! durable::write_new(&RealDisk, &path, b"{}\n", None)?;
//! assert!(durable::write_new(&RealDisk, &path, b"other", None).is_err());
//! durable::replace(&RealDisk, &path, b"{\"a\": 1}\n")?;
//! assert_eq!(std::fs::read(&path)?, b"{\"a\": 1}\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod disk;
mod error;
mod file;
mod publish;
mod real;
mod temp;
pub mod testing;
mod tree;

pub use disk::{Disk, DiskFile, OpenMode, Owner};
pub use error::{DurableError, Step};
pub use file::DurableFile;
pub use publish::{Clobber, Publish};
pub use real::RealDisk;
pub use temp::{is_temp_name, remove_stale};
pub use tree::{create_dir_all, remove_dir, remove_tree, remove_tree_unless, sync_tree};

use std::path::Path;

/// Writes a file that must not exist yet, durably and all or nothing. `mode` of `None` means what the umask
/// leaves of 0666.
///
/// # Errors
/// [`DurableError::Exists`] when there is a file of that name, whose content stays as it was; otherwise
/// the step that failed.
pub fn write_new(disk: &dyn Disk, path: &Path, bytes: &[u8], mode: Option<u32>) -> Result<(), DurableError> {
    let mut file = Publish::create(disk, path, mode)?;
    file.write_all(bytes)?;
    file.publish(Clobber::Refuse)
}

/// Writes a file in place of whatever is there, durably: a reader sees the old content or the new one, never
/// a mixture. The permission bits of the file replaced are kept.
///
/// # Errors
/// The step that failed; the old file is then still there.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), DurableError> {
    let mut file = Publish::replacing(disk, path)?;
    file.write_all(bytes)?;
    file.publish(Clobber::Replace)
}

/// Renames a file that is durable already, and makes the new name durable. `to` is replaced when it exists
/// and `clobber` allows it. Across directories both are synced, the new home first.
///
/// # Errors
/// [`DurableError::Exists`], or the step that failed.
pub fn rename(disk: &dyn Disk, from: &Path, to: &Path, clobber: Clobber) -> Result<(), DurableError> {
    rename_unsynced(disk, from, to, clobber)?;
    sync_dir(disk, parent(to))?;
    if parent(from) != parent(to) {
        sync_dir(disk, parent(from))?;
    }
    Ok(())
}

/// [`rename`] without the directory syncs, for callers that rename many files and then call [`sync_dir`] once.
/// Nothing may be acknowledged before that.
///
/// # Errors
/// [`DurableError::Exists`], or the step that failed.
pub fn rename_unsynced(
    disk: &dyn Disk,
    from: &Path,
    to: &Path,
    clobber: Clobber,
) -> Result<(), DurableError> {
    match clobber {
        Clobber::Replace => disk.rename(from, to).map_err(|e| DurableError::io(Step::Rename, from, e)),
        Clobber::Refuse => disk.rename_no_replace(from, to).map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => DurableError::Exists { path: to.to_owned() },
            _ => DurableError::io(Step::Rename, from, e),
        }),
    }
}

/// Makes a symbolic link at `path`, which leads to `target`, without syncing the directory.
///
/// # Errors
/// [`DurableError::Exists`] when there is something of that name; else what the system says.
pub fn symlink_unsynced(disk: &dyn Disk, target: &Path, path: &Path) -> Result<(), DurableError> {
    disk.symlink(target, path).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => DurableError::Exists { path: path.to_owned() },
        _ => DurableError::io(Step::Link, path, e),
    })
}

/// Makes the entries of a directory (files created, renamed and removed in it) durable.
///
/// # Errors
/// When the directory cannot be opened or synced.
pub fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<(), DurableError> {
    disk.sync_dir(dir).map_err(|e| DurableError::io(Step::SyncDir, dir, e))
}

/// Removes a file and makes that durable. Returns whether there was one.
///
/// # Errors
/// When it cannot be removed, or the directory cannot be synced.
pub fn remove_file(disk: &dyn Disk, path: &Path) -> Result<bool, DurableError> {
    let removed = remove_file_unsynced(disk, path)?;
    if removed {
        sync_dir(disk, parent(path))?;
    }
    Ok(removed)
}

/// [`remove_file`] without the directory sync: after a crash the file may be back.
///
/// # Errors
/// When it cannot be removed.
pub fn remove_file_unsynced(disk: &dyn Disk, path: &Path) -> Result<bool, DurableError> {
    match disk.unlink(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(DurableError::io(Step::Remove, path, e)),
    }
}

/// Appends `line`, which ends in a newline, and syncs the file (and the directory, when the file is new).
///
/// When a crash or an editor left the file without a newline at its end, `is_whole` is asked about the text
/// after the last newline: a whole line gets its newline, a torn one was never acknowledged and is cut off.
///
/// # Errors
/// The step that failed.
pub fn append_line(
    disk: &dyn Disk,
    path: &Path,
    line: &[u8],
    is_whole: &dyn Fn(&[u8]) -> bool,
) -> Result<(), DurableError> {
    let tail = read_tail(path).map_err(|e| DurableError::io(Step::Read, path, e))?;
    let mut file = DurableFile::open(disk, path, OpenMode::Append, None)?;
    match &tail {
        Some((_, torn)) if !torn.is_empty() && is_whole(torn) => {
            let mut ended = Vec::with_capacity(line.len() + 1);
            ended.push(b'\n');
            ended.extend_from_slice(line);
            file.write_all(&ended)?;
        }
        Some((end, torn)) if !torn.is_empty() => {
            file.set_len(*end)?;
            file.write_all(line)?;
        }
        _ => file.write_all(line)?,
    }
    file.sync_data()?;
    if tail.is_none() { sync_dir(disk, parent(path)) } else { Ok(()) }
}

/// Where the last newline ends and what comes after it; `None` when there is no file. Of an unterminated line
/// longer than 4 KiB only its last 4 KiB are seen as the line.
fn read_tail(path: &Path) -> std::io::Result<Option<(u64, Vec<u8>)>> {
    use std::os::unix::fs::FileExt as _;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let length = file.metadata()?.len();
    let from = length.saturating_sub(4096);
    let mut bytes = vec![0_u8; usize::try_from(length - from).unwrap_or_default()];
    file.read_exact_at(&mut bytes, from)?;
    let start = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let torn = bytes.split_off(start);
    Ok(Some((from + start as u64, torn)))
}

/// The directory that holds `path`; `.` for a bare name.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}
