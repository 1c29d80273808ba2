//! Which WAL goes, and its going.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use walfile::{SegmentName, Timeline, WalName};

use super::DeleteError;
use crate::durable::{self, Disk, DurableError, Step};
use crate::xlogdb::XlogDb;
use crate::{Catalog, ServerLayout, wal_index};

/// A set of archived files that no backup needs. History files are never in it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct WalTrim {
    /// Only what sorts before this name; `None` means everything.
    pub before: Option<SegmentName>,
    /// Not what is on these timelines.
    pub timelines: HashSet<Timeline>,
    /// Not what lies in these ranges, both ends included.
    pub ranges: Vec<(SegmentName, SegmentName)>,
}

impl WalTrim {
    /// All WAL before the start of the first backup, which nothing can use.
    pub fn before(begin: SegmentName) -> Self {
        Self { before: Some(begin), ..Self::default() }
    }

    /// Whether a file must stay. Names are compared as text, as Barman does, so all higher timelines stay.
    pub fn keeps(&self, name: WalName) -> bool {
        let Some(segment) = name.segment() else { return true };
        // `.partial` and `.backup` sort behind the bare name.
        self.before.is_some_and(|before| segment >= before)
            || self.timelines.contains(&segment.timeline())
            || self.ranges.iter().any(|(begin, end)| (*begin..=*end).contains(&segment))
    }

    /// The listed files that would go, in the order of the index, without touching anything.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn listed(&self, catalog: &Catalog, stop: &AtomicBool) -> Result<Vec<WalName>, DeleteError> {
        let index = XlogDb::lock(catalog.disk(), catalog.layout(), stop)?;
        let mut names = Vec::new();
        for entry in index.entries()? {
            let name = entry?.name;
            if !self.keeps(name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Removes the files: from the index first, then from disk, then the directories that are empty. In a
    /// directory of which nothing is listed any more, files that were not listed go as well. With
    /// `sweep` that is done in every directory: it finds what a crash left between index and files.
    /// Returns what was listed, in the order of the index.
    ///
    /// # Errors
    /// When the index cannot be rewritten or a file not be removed.
    pub fn execute(
        &self,
        catalog: &Catalog,
        sweep: bool,
        stop: &AtomicBool,
    ) -> Result<Vec<WalName>, DeleteError> {
        let (disk, layout) = (catalog.disk(), catalog.layout());
        if !layout.wals.is_dir() {
            return Ok(Vec::new());
        }
        let mut index = XlogDb::lock(disk, layout, stop)?;
        let mut removed = Vec::new();
        let mut kept: HashSet<WalName> = HashSet::new();
        let mut kept_dirs: HashSet<String> = HashSet::new();
        index.retain(|entry| {
            let keep = self.keeps(entry.name);
            if keep {
                kept_dirs.extend(entry.name.hash_dir());
                // Only these can lie among what a sweep looks at.
                if sweep {
                    kept.insert(entry.name);
                }
            } else {
                removed.push(entry.name);
            }
            keep
        })?;
        let mut dirs: BTreeMap<String, Vec<WalName>> = BTreeMap::new();
        for name in &removed {
            dirs.entry(name.hash_dir().unwrap_or_default()).or_default().push(*name);
        }
        for (dir, names) in &dirs {
            remove_files(disk, layout, dir, names)?;
        }
        let mut swept: BTreeSet<String> = dirs.into_keys().filter(|dir| !kept_dirs.contains(dir)).collect();
        if sweep {
            swept.extend(hash_dirs(&layout.wals)?);
        }
        for dir in swept.iter().filter(|dir| !dir.is_empty()) {
            let path = layout.wals.join(dir);
            let strays =
                wal_names(&path)?.into_iter().filter(|name| !self.keeps(*name) && !kept.contains(name));
            remove_files(disk, layout, dir, &strays.collect::<Vec<_>>())?;
            durable::remove_dir(disk, &path)?;
        }
        if let Err(error) = wal_index::remove_orphans(disk, layout) {
            tracing::warn!(%error, "indexes of directories that are gone cannot be removed");
        }
        Ok(removed)
    }
}

fn remove_files(
    disk: &dyn Disk,
    layout: &ServerLayout,
    dir: &str,
    names: &[WalName],
) -> Result<(), DurableError> {
    let mut any = false;
    for name in names {
        any |= durable::remove_file_unsynced(disk, &layout.wal(*name))?;
    }
    if any { durable::sync_dir(disk, &layout.wals.join(dir)) } else { Ok(()) }
}

fn hash_dirs(wals: &Path) -> Result<Vec<String>, DurableError> {
    Ok(entries(wals)?.into_iter().filter(|name| ServerLayout::is_hash_dir(name)).collect())
}

fn wal_names(dir: &Path) -> Result<Vec<WalName>, DurableError> {
    Ok(entries(dir)?.iter().filter_map(|name| name.parse().ok()).collect())
}

fn entries(dir: &Path) -> Result<Vec<String>, DurableError> {
    let fail = |e| DurableError::io(Step::Read, dir, e);
    let list = match std::fs::read_dir(dir) {
        Ok(list) => list,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(fail(e)),
    };
    let mut names = Vec::new();
    for entry in list {
        names.extend(entry.map_err(fail)?.file_name().into_string().ok());
    }
    Ok(names)
}
