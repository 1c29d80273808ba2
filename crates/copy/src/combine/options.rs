//! What is combined, and how.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{ChecksumAlgorithm, SyncMethod};

/// One backup of the chain.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CombineSource {
    /// The data directory.
    pub data: PathBuf,
    /// Where tablespaces lie, when the links in `pg_tblspc` do not lead there.
    pub tablespaces: BTreeMap<u32, PathBuf>,
}

impl CombineSource {
    /// The backup in `data`, its tablespaces where its links lead.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), tablespaces: BTreeMap::new() }
    }

    /// Where a file of the backup lies.
    pub(super) fn path(&self, relative: &Path) -> PathBuf {
        place(&self.data, &self.tablespaces, relative)
    }
}

/// Where the file of this name lies below `root`.
pub(super) fn place(root: &Path, tablespaces: &BTreeMap<u32, PathBuf>, relative: &Path) -> PathBuf {
    if !tablespaces.is_empty()
        && let Ok(rest) = relative.strip_prefix("pg_tblspc")
        && let Some(oid) = rest.iter().next()
        && let Some(directory) = oid.to_str().and_then(|oid| tablespaces.get(&oid.parse().ok()?))
    {
        let inside = rest.strip_prefix(oid).unwrap_or(Path::new(""));
        return if inside.as_os_str().is_empty() { directory.clone() } else { directory.join(inside) };
    }
    root.join(relative)
}

/// How files that did not change are brought over.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CopyMethod {
    /// Shared with the backup where the file system can do that (reflink), else read and written.
    #[default]
    Auto,
    /// Read and written.
    Copy,
    /// Shared, or an error (`--clone`).
    Clone,
    /// With `copy_file_range`, or an error.
    CopyFileRange,
    /// A hard link: whoever writes to the result writes to the backup.
    Link,
}

/// How backups are combined.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CombineOptions {
    /// Threads that work on files.
    pub threads: usize,
    /// How the result is brought to disk.
    pub sync: SyncMethod,
    /// How files that did not change are brought over.
    pub method: CopyMethod,
    /// The checksums of the new manifest; `None` for no manifest.
    pub manifest: Option<ChecksumAlgorithm>,
    /// Compare every file that is read with the manifest of its backup. `pg_combinebackup` does not.
    pub verify: bool,
    /// The directories of the tablespaces of the result; one not named here is written into `pg_tblspc` itself.
    pub tablespaces: BTreeMap<u32, PathBuf>,
    /// Names left out, as in [`TreeOptions::excludes`](crate::tree::TreeOptions::excludes).
    pub excludes: Vec<String>,
    /// Leave `global/pg_control` to the caller, who has more to do before the result may be started.
    pub without_control_file: bool,
    /// Look at everything and write nothing.
    pub dry_run: bool,
    /// Write over the files that are there, only what differs. What the backup does not hold stays:
    /// [`Prune`](crate::delta::Prune) removes it.
    pub over: bool,
}

impl Default for CombineOptions {
    fn default() -> Self {
        Self {
            threads: 2,
            sync: SyncMethod::default(),
            method: CopyMethod::default(),
            manifest: Some(ChecksumAlgorithm::Crc32c),
            verify: true,
            tablespaces: BTreeMap::new(),
            excludes: Vec::new(),
            without_control_file: false,
            dry_run: false,
            over: false,
        }
    }
}

/// What was done.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CombineReport {
    /// Files written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files of these that were there already, and right ([`CombineOptions::over`]).
    pub kept: u64,
    /// Their bytes.
    pub kept_bytes: u64,
    /// Files put together from several backups.
    pub rebuilt: u64,
    /// Incremental files of a server that wrote a truncation length beyond the segment; it was capped.
    pub oversized: u64,
    /// Some of the backups have page checksums and others do not: the pages of the result differ in that.
    pub mixed_checksums: bool,
    /// Links and special files that were left out; at most 100 of them.
    pub skipped: Vec<PathBuf>,
}
