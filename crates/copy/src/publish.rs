//! Publishing: a name appears complete and durable, or not at all.
//!
//! The only place of this crate that renames. The order is always: write under a temporary name, fsync the
//! file, rename, fsync the directory; only then has it happened.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::sync::{self, SyncError, at};

/// Gives the complete file `from` the name `to`, durably: fsync of the file, rename, fsync of the directory.
///
/// An existing `to` is replaced. Both names must be on one file system.
///
/// # Errors
/// When a step fails; before the rename `to` is untouched, after it only its durability is in doubt.
pub fn publish(from: &Path, to: &Path) -> Result<(), SyncError> {
    sync::file(from)?;
    rename(from, to)?;
    sync::directory(parent(to))
}

/// Renames without asking the disk for anything: for callers that were told not to sync.
///
/// # Errors
/// When the rename fails.
#[expect(clippy::disallowed_methods, reason = "this module is where the crate renames")]
pub fn rename(from: &Path, to: &Path) -> Result<(), SyncError> {
    std::fs::rename(from, to).map_err(at("rename", from))
}

/// Writes `content` under `path`, durably, replacing what was there; `mode` as in `chmod`.
///
/// # Errors
/// When a step fails; an existing file is then still whole.
pub fn replace(path: &Path, mode: u32, content: &[u8]) -> Result<(), SyncError> {
    let temporary = temporary_name(path);
    let written = create(&temporary, mode).and_then(|mut file| {
        file.write_all(content).map_err(at("write", &temporary))?;
        drop(file);
        publish(&temporary, path)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn create(path: &Path, mode: u32) -> Result<File, SyncError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .map_err(at("create", path))
}

/// The name a file has until it is complete.
pub(crate) fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

/// The directory that holds `path`; the current one for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("standby.signal");
        replace(&path, 0o600, b"one").unwrap();
        replace(&path, 0o600, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        std::fs::create_dir(dir.path().join("taken")).unwrap();
        std::fs::create_dir(dir.path().join("taken/inside")).unwrap();
        assert!(replace(&dir.path().join("taken"), 0o600, b"x").is_err());
        let mut left: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["standby.signal", "taken"]);
    }
}
