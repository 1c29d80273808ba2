//! What is to be copied.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::TreeError;
use super::files::{Files, Slot};
use crate::delta::{Inventory, Kind, Sums};
use crate::sync::{SyncMethod, at};

/// How a tree is copied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TreeOptions {
    /// Threads that copy files.
    pub threads: usize,
    /// How the copy is brought to disk.
    pub sync: SyncMethod,
    /// Anchored patterns as rsync has them: `/name` leaves out that name, `/directory/*` what is in it.
    pub excludes: Vec<String>,
    /// Links in `pg_tblspc` are made to these directories instead of where they lead in the source; a link
    /// not named here is copied as it is. The tablespaces' contents are copied by plans of their own.
    pub tablespaces: BTreeMap<u32, PathBuf>,
    /// Write this file, relative to the root, when all others are on disk.
    pub last: Option<PathBuf>,
    /// Copy over what the target holds; without it there must not be any of the files.
    pub over: Option<OverTree>,
    /// Mode of the target's root directory when it has to be made; `None` takes the source's.
    pub root_mode: Option<u32>,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self {
            threads: 2,
            sync: SyncMethod::default(),
            excludes: Vec::new(),
            tablespaces: BTreeMap::new(),
            last: Some(PathBuf::from("global/pg_control")),
            over: None,
            root_mode: None,
        }
    }
}

/// How a tree is copied over what is there. What is not in the source stays: [`Prune`](crate::delta::Prune) removes it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OverTree {
    /// The manifest of the backup, by which files are found right that are in the target. Others, and all without it, are
    /// compared with the source.
    pub sums: Option<Sums>,
    /// Where the tree is in the manifest: `pg_tblspc/<oid>` for a tablespace.
    pub prefix: PathBuf,
}

/// A walked tree. Memory: 24 bytes and the name for each file, and some 100 for each directory.
#[derive(Debug)]
#[non_exhaustive]
pub struct Plan {
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    pub(super) source: PathBuf,
    pub(super) options: TreeOptions,
    /// Parents before children; the root itself first.
    pub(super) directories: Vec<Entry>,
    pub(super) regular: Files,
    pub(super) links: Vec<(PathBuf, PathBuf)>,
    pub(super) last: Option<Entry>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) mtime: (i64, i64),
}

impl Entry {
    pub(super) fn new(path: PathBuf, metadata: &std::fs::Metadata) -> Self {
        Self {
            path,
            size: metadata.len(),
            mode: metadata.mode() & 0o7777,
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Plan {
    /// Walks `source`, which may itself be a link to a directory; links inside it are not followed.
    ///
    /// # Errors
    /// When a directory cannot be read, or holds a socket, device or pipe.
    pub fn new(source: &Path, options: TreeOptions) -> Result<Self, TreeError> {
        let root = std::fs::metadata(source).map_err(at("read", source))?;
        let mut plan = Self {
            files: 0,
            bytes: 0,
            source: source.to_path_buf(),
            options,
            directories: vec![Entry::new(PathBuf::new(), &root)],
            regular: Files::default(),
            links: Vec::new(),
            last: None,
        };
        let mut pending = vec![0];
        while let Some(directory) = pending.pop() {
            plan.list(directory, &mut pending)?;
        }
        plan.regular.sort();
        Ok(plan)
    }

    /// The directories, parents before children, by their relative paths. The root is not named.
    pub(crate) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directories.iter().skip(1).map(|entry| entry.path.as_path())
    }

    /// The symbolic links.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Path> {
        self.links.iter().map(|(path, _)| path.as_path())
    }

    /// The regular files with their sizes, the largest first.
    pub(crate) fn files(&self) -> impl Iterator<Item = (PathBuf, u64)> {
        self.regular.slots().iter().map(|slot| (self.path(slot), slot.size))
    }

    /// The path of a regular file.
    pub(super) fn path(&self, slot: &Slot) -> PathBuf {
        let directory = self.directories.get(slot.directory as usize);
        directory.map(|entry| entry.path.as_path()).unwrap_or(Path::new("")).join(self.regular.name(slot))
    }

    /// The names the target will hold, but for the links, which are made anew.
    pub fn inventory(&self) -> Inventory {
        let mut inventory = Inventory::default();
        for entry in self.directories.iter().skip(1) {
            inventory.add(&entry.path, Kind::Directory);
        }
        for (path, _) in self.files() {
            inventory.add(&path, Kind::File);
        }
        if let Some(entry) = &self.last {
            inventory.add(&entry.path, Kind::File);
        }
        inventory.sort();
        inventory
    }

    fn list(&mut self, index: usize, pending: &mut Vec<usize>) -> Result<(), TreeError> {
        let Some(directory) = self.directories.get(index) else { return Ok(()) };
        let directory = directory.path.clone();
        let place = self.source.join(&directory);
        for entry in std::fs::read_dir(&place).map_err(at("read", &place))? {
            let entry = entry.map_err(at("read", &place))?;
            let path = directory.join(entry.file_name());
            if self.excluded(&path) {
                continue;
            }
            let metadata = entry.metadata().map_err(at("read", &entry.path()))?;
            if metadata.is_dir() {
                pending.push(self.directories.len());
                self.directories.push(Entry::new(path, &metadata));
            } else if metadata.is_symlink() {
                let target = match self.remapped(&path) {
                    Some(target) => target,
                    None => std::fs::read_link(entry.path()).map_err(at("read", &entry.path()))?,
                };
                self.links.push((path, target));
            } else if metadata.is_file() {
                self.files = self.files.saturating_add(1);
                self.bytes = self.bytes.saturating_add(metadata.len());
                if self.options.last.as_deref() == Some(&path) {
                    self.last = Some(Entry::new(path, &metadata));
                } else {
                    self.regular.push(index, &entry.file_name(), metadata.len());
                }
            } else {
                return Err(TreeError::Kind { path: entry.path() });
            }
        }
        Ok(())
    }

    fn excluded(&self, path: &Path) -> bool {
        is_excluded(&self.options.excludes, path)
    }

    fn remapped(&self, path: &Path) -> Option<PathBuf> {
        let oid = path.strip_prefix("pg_tblspc").ok()?.to_str()?.parse().ok()?;
        self.options.tablespaces.get(&oid).cloned()
    }
}

/// Whether one of the patterns, as [`TreeOptions::excludes`] has them, leaves out `path`.
pub(crate) fn is_excluded(patterns: &[String], path: &Path) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix("/*") {
        Some(directory) => path.parent() == Some(relative(directory)),
        None => path == relative(pattern),
    })
}

fn relative(pattern: &str) -> &Path {
    Path::new(OsStr::from_bytes(pattern.as_bytes().trim_ascii_start()))
        .strip_prefix("/")
        .unwrap_or(Path::new(pattern))
}
