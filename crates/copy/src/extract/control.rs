//! `global/pg_control`, which comes last.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub(crate) const CONTROL_FILE: &str = "global/pg_control";
/// The real one has 8 KiB.
pub(super) const MAX_CONTROL_FILE: u64 = 64 * 1024;

/// `global/pg_control` of a backup whose other files are all written and on disk.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ControlFile {
    /// Its content.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

impl ControlFile {
    /// That of a data directory.
    ///
    /// # Errors
    /// When it cannot be read, or is larger than one can be.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        let mode = file.metadata()?.mode() & 0o777;
        let mut content = Vec::new();
        file.take(MAX_CONTROL_FILE + 1).read_to_end(&mut content)?;
        if content.len() as u64 > MAX_CONTROL_FILE {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "no control file is so large"));
        }
        Ok(Self { content, mode })
    }
}
