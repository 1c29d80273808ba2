//! All that was written to a file system, brought to disk at once.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::{SyncError, SyncMethod, at, open_directory, tree};

/// Since this Linux `syncfs` reports what could not be written (commit 735e4ae5ba28).
const REPORTING: (u32, u32) = (5, 8);

/// File systems whose `syncfs` stores what an fsync of each file would: ext2 to ext4, XFS, Btrfs, F2FS, and those of memory. One over
/// the network, in user space or on top of another is asked file by file.
const KNOWN: [i128; 6] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0x0102_1994, 0x8584_58F6];

/// A file system held open from before the first write, so that its `syncfs` reports every write error since.
#[derive(Debug)]
pub struct FileSystem {
    root: File,
    path: PathBuf,
    at_once: bool,
}

impl FileSystem {
    /// The file system that holds the directory `path`.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub fn open(path: &Path) -> Result<Self, SyncError> {
        let root = open_directory(path)?;
        let kind = rustix::fs::fstatfs(&root).map_err(at("read the file system of", path))?.f_type;
        let release = rustix::system::uname();
        let at_once = KNOWN.contains(&i128::from(kind)) && reports(&release.release().to_string_lossy());
        Ok(Self { root, path: path.to_path_buf(), at_once })
    }

    /// Whether [`FileSystem::sync`] stores all of the file system at once; if not, what is below the directory.
    pub const fn is_at_once(&self) -> bool {
        self.at_once
    }

    /// Waits until everything written so far below the directory is on disk.
    ///
    /// # Errors
    /// When anything written there since [`FileSystem::open`] could not be stored.
    pub fn sync(&self) -> Result<(), SyncError> {
        if self.at_once {
            return rustix::fs::syncfs(&self.root).map_err(at("syncfs", &self.path));
        }
        tree(&self.path, SyncMethod::Fsync, FSYNCS)
    }
}

/// Threads, where each file has an fsync of its own.
const FSYNCS: usize = 8;

/// Whether this release of Linux reports errors from `syncfs`.
fn reports(release: &str) -> bool {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= REPORTING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_are_asked_file_by_file() {
        for (release, expected) in [
            ("6.18.44-fc", true),
            ("5.8.0", true),
            ("5.10", true),
            ("10.0-rc1", true),
            ("5.7.19", false),
            ("4.18.0-553.el8", false),
            ("", false),
            ("x", false),
            ("99999999999.1", false),
        ] {
            assert_eq!(reports(release), expected, "{release}");
        }
    }

    #[test]
    fn a_file_system_without_an_answer_is_asked_file_by_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("base")).unwrap();
        std::io::Write::write_all(&mut File::create(dir.path().join("base/1")).unwrap(), b"page").unwrap();
        let mut file_system = FileSystem::open(dir.path()).unwrap();
        file_system.sync().unwrap();
        file_system.at_once = false;
        file_system.sync().unwrap();
        std::fs::remove_dir_all(dir.path()).unwrap();
        let error = file_system.sync().unwrap_err();
        assert_eq!((error.action, error.path.as_path()), ("read", dir.path()));
        // Of a file system of the kernel itself nothing is known.
        assert!(!FileSystem::open(Path::new("/proc")).unwrap().is_at_once());
    }
}
