//! The file that is being written: summed up as it grows, named when it is complete, gone when it is not.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Bytes between two requests to write back: the sync at the end then finds little to do.
const WRITE_BACK: u64 = 64 * 1024 * 1024;

/// A file with the sum of what was written to it.
#[derive(Debug)]
pub(super) struct SummedFile {
    file: File,
    sum: Sha256,
    written: u64,
}

impl SummedFile {
    /// A new file, readable by its owner: it holds everything that is in the database.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { file, sum: Sha256::new(), written: 0 })
    }

    /// Brings it to disk. Returns its size, and its SHA-256 in hexadecimal digits.
    pub(super) fn finish(self) -> io::Result<(u64, String)> {
        self.file.sync_all()?;
        let digits = self.sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((self.written, digits))
    }
}

impl Write for SummedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.sum.update(bytes.get(..count).unwrap_or_default());
        let before = self.written / WRITE_BACK;
        self.written += count as u64;
        if self.written / WRITE_BACK > before {
            self.file.sync_data()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Removes the file unless it got its name.
#[derive(Debug)]
pub(super) struct Unfinished(pub(super) Option<PathBuf>);

impl Unfinished {
    pub(super) fn rename_to(&mut self, target: &Path) -> io::Result<()> {
        if let Some(path) = &self.0 {
            // Two exports of one second would have one name only with one content.
            tapster_copy::publish::publish(path, target).map_err(io::Error::other)?;
            self.0 = None;
        }
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            drop(std::fs::remove_file(path));
        }
    }
}
