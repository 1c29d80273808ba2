//! Files that the previous backup has already.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What becomes of an unchanged file (`reuse_backup`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reuse {
    /// It is copied from the server like any other.
    #[default]
    Off,
    /// It is a hard link to the previous backup's.
    Link,
    /// It is copied from the previous backup's.
    Copy,
}

/// A tree of the previous backup.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reference {
    /// The directory.
    pub root: PathBuf,
    /// When that backup began, in seconds since 1970. A file written since then may have changed after it was copied, at the
    /// same time as far as its time stamp tells.
    pub horizon: i64,
}

impl Reference {
    /// A tree of a backup that began at `horizon`, in seconds since 1970.
    pub fn new(root: impl Into<PathBuf>, horizon: i64) -> Self {
        Self { root: root.into(), horizon }
    }

    /// Whether a file with this time was written last before the horizon. Clocks of file systems are coarse, and those of
    /// servers are corrected: a little before counts as after.
    pub(crate) const fn is_old(&self, mtime: i64) -> bool {
        mtime < self.horizon.saturating_sub(MARGIN)
    }

    /// Where the same file of the previous backup lies, if it is the same.
    pub(super) fn same(&self, path: &Path, file: &File, metadata: &Metadata) -> io::Result<Option<PathBuf>> {
        let there = self.root.join(path);
        let Ok(other) = std::fs::symlink_metadata(&there) else { return Ok(None) };
        if !other.is_file()
            // The server's own file, linked: it goes on being written to, and no backup may share it.
            || (other.dev(), other.ino()) == (metadata.dev(), metadata.ino())
            || other.len() != metadata.len()
            || other.mtime() != metadata.mtime()
            || other.mode() & 0o7777 != metadata.mode() & 0o7777
        {
            return Ok(None);
        }
        let old = self.is_old(metadata.mtime());
        let exact = other.mtime_nsec() == metadata.mtime_nsec();
        if old && exact {
            return Ok(Some(there));
        }
        let equal = equal(file, &there, metadata.len())?;
        Ok(equal.then_some(there))
    }
}

/// Seconds.
const MARGIN: i64 = 2;

/// Compares contents; the file is read from where it stands.
fn equal(mut file: &File, other: &Path, length: u64) -> io::Result<bool> {
    let mut other = File::open(other)?;
    let (mut left, mut right) = (vec![0; 128 * 1024], vec![0; 128 * 1024]);
    let mut done = 0;
    while done < length {
        let step = usize::try_from(length - done).unwrap_or(usize::MAX).min(left.len());
        let (Some(a), Some(b)) = (left.get_mut(..step), right.get_mut(..step)) else { return Ok(false) };
        match (file.read_exact(a), other.read_exact(b)) {
            (Err(error), _) | (_, Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(false);
            }
            (Err(error), _) | (_, Err(error)) => return Err(error),
            _ if a != b => return Ok(false),
            _ => done += step as u64,
        }
    }
    // It may have grown meanwhile.
    Ok(file.read(&mut [0])? == 0)
}
