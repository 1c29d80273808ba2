//! Measuring and removing trees.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::TreeError;
use crate::sync::{self, at};

/// What the files of a tree take.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct TreeSizes {
    /// Bytes of all regular files (`st_size`).
    pub total: u64,
    /// Bytes of those with one name only: the rest is shared with another backup by hard links.
    pub deduplicated: u64,
    /// Regular files.
    pub files: u64,
}

/// Measures the tree below `root`; links are not followed.
///
/// # Errors
/// When a directory cannot be read. A file that disappears meanwhile is not counted.
pub fn sizes(root: &Path) -> Result<TreeSizes, TreeError> {
    let mut sizes = TreeSizes::default();
    let mut pending = vec![root.to_path_buf()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).map_err(at("read", &directory))? {
            let entry = entry.map_err(at("read", &directory))?;
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                result => result.map_err(at("read", &entry.path()))?,
            };
            if metadata.is_dir() {
                pending.push(entry.path());
            } else if metadata.is_file() {
                sizes.files = sizes.files.saturating_add(1);
                sizes.total = sizes.total.saturating_add(metadata.len());
                if metadata.nlink() == 1 {
                    sizes.deduplicated = sizes.deduplicated.saturating_add(metadata.len());
                }
            }
        }
    }
    Ok(sizes)
}

/// Removes the tree at `root`, durably; links in it are removed, not followed. One that is not there is no
/// error.
///
/// # Errors
/// When something cannot be removed.
pub fn remove(root: &Path) -> Result<(), TreeError> {
    match std::fs::remove_dir_all(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        result => result.map_err(at("remove", root))?,
    }
    Ok(sync::directory(crate::publish::parent(root))?)
}
