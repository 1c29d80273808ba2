//! Files that are links to the previous backup's: nothing is ever written into them.
//!
//! An attempt that failed has linked what it found unchanged. The file may change on the server before the next attempt, and
//! rsync would then write into the one that both backups have, or change its mode and times.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tempfile::TempDir;

use crate::sync::{SyncError, at};

/// Where rsync writes a file before it takes its name, in the file system of the target. What a killed rsync leaves there goes
/// with it.
pub(super) struct Scratch(TempDir);

/// What its name begins with.
pub(super) const SCRATCH: &str = ".rsync-";

impl Scratch {
    pub(super) fn make(target: &Path) -> Result<Self, SyncError> {
        let made = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(target);
        Ok(Self(made.map_err(at("create a directory in", target))?))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// It must not become a part of the backup.
    pub(super) fn remove(self) -> Result<(), SyncError> {
        let path = self.path().to_path_buf();
        self.0.close().map_err(at("remove", &path))
    }
}

/// Removes the files of a list that have another link from `target`, so that rsync links or transfers them anew.
pub(super) fn unlink_shared(target: &Path, list: &Path) -> Result<(), SyncError> {
    for name in BufReader::new(File::open(list).map_err(at("read", list))?).split(0) {
        let name = name.map_err(at("read", list))?;
        let path = target.join(std::ffi::OsStr::from_bytes(&name));
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() && found.nlink() > 1 => {
                std::fs::remove_file(&path).map_err(at("remove", &path))?;
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(at("read", &path)(error)),
        }
    }
    Ok(())
}
