//! Which WAL goes, and its going.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use time::OffsetDateTime;
use walfile::{SegmentName, Timeline, WalName};

use super::observer::Listener;
use super::{DeleteError, DeleteObserver};
use crate::durable::{self, Disk, DurableError, Step};
use crate::xlogdb::{XlogDb, XlogEntry, entry_of};
use crate::{Catalog, ServerLayout, WalObjects, wal_index};

/// A set of archived files that no backup needs. History files are never in it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct WalTrim {
    /// Only what sorts before this name; `None` means everything.
    pub before: Option<SegmentName>,
    /// Not what is on these timelines.
    pub timelines: HashSet<Timeline>,
    /// Not what lies in these ranges, both ends included.
    pub ranges: Vec<(SegmentName, SegmentName)>,
    /// Only what is on this timeline.
    pub only: Option<Timeline>,
    /// Only what is listed, and was written before this time, in seconds since 1970.
    pub written_before: Option<f64>,
}

impl WalTrim {
    /// All WAL before the start of the first backup, which nothing can use.
    pub fn before(begin: SegmentName) -> Self {
        Self { before: Some(begin), ..Self::default() }
    }

    /// Of those only what was written before `time`.
    #[must_use]
    pub fn written_before(self, time: OffsetDateTime) -> Self {
        let seconds = (time - OffsetDateTime::UNIX_EPOCH).as_seconds_f64();
        Self { written_before: Some(seconds), ..self }
    }

    /// Whether a listed file must stay.
    pub fn keeps_entry(&self, entry: &XlogEntry) -> bool {
        self.keeps(entry.name) || self.written_before.is_some_and(|time| entry.mtime >= time)
    }

    /// Whether a file must stay, whenever it was written. Names are compared as text, as Barman does, so all higher timelines stay.
    pub fn keeps(&self, name: WalName) -> bool {
        let Some(segment) = name.segment() else { return true };
        // `.partial` and `.backup` sort behind the bare name.
        self.before.is_some_and(|before| segment >= before)
            || self.timelines.contains(&segment.timeline())
            || self.only.is_some_and(|only| segment.timeline() != only)
            || self.ranges.iter().any(|(begin, end)| (*begin..=*end).contains(&segment))
    }

    /// The listed files that would go, in the order of the index, without touching anything.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn listed(&self, catalog: &Catalog, stop: &AtomicBool) -> Result<Vec<WalName>, DeleteError> {
        let index = XlogDb::lock(catalog.disk(), catalog.layout(), stop)?;
        let mut names = Vec::new();
        index.scan(|brief| {
            let is_young = self.written_before.is_some_and(|time| brief.mtime.seconds() >= time);
            if !is_young && !self.keeps(brief.name) {
                names.push(brief.name);
            }
            ControlFlow::Continue(())
        })?;
        Ok(names)
    }

    /// Removes the files: from the index first, then from disk, then the directories that are empty. In a
    /// directory of which nothing is listed any more, files that were not listed go as well.
    /// Returns what was listed, in the order of the index.
    ///
    /// # Errors
    /// When the index cannot be rewritten or a file not be removed.
    pub fn execute(&self, catalog: &Catalog, stop: &AtomicBool) -> Result<Vec<WalName>, DeleteError> {
        self.execute_watched(catalog, stop, &mut Listener(&mut drop))
    }

    /// [`WalTrim::execute`] with an observer that can stop it.
    ///
    /// # Errors
    /// As there; [`DeleteError::Aborted`] when the observer wants it, and then nothing has gone.
    pub fn execute_watched(
        &self,
        catalog: &Catalog,
        stop: &AtomicBool,
        observer: &mut dyn DeleteObserver,
    ) -> Result<Vec<WalName>, DeleteError> {
        // Nobody would look for the rest.
        let run = Run { trim: self, catalog, stop, sweep: false, interruptible: false };
        Ok(run.execute(observer)?.unwrap_or_default())
    }

    /// The same for a backup whose marker is set, so that a request to stop can be heard between two files: then the result is
    /// `None`, and the next run has to `sweep`. That finds, in every directory, what a crash or such a request left
    /// between index and files.
    pub(super) fn execute_marked(
        &self,
        catalog: &Catalog,
        sweep: bool,
        stop: &AtomicBool,
        observer: &mut dyn DeleteObserver,
    ) -> Result<Option<Vec<WalName>>, DeleteError> {
        Run { trim: self, catalog, stop, sweep, interruptible: true }.execute(observer)
    }
}

struct Run<'a> {
    trim: &'a WalTrim,
    catalog: &'a Catalog,
    stop: &'a AtomicBool,
    sweep: bool,
    interruptible: bool,
}

impl Run<'_> {
    fn execute(&self, observer: &mut dyn DeleteObserver) -> Result<Option<Vec<WalName>>, DeleteError> {
        let layout = self.catalog.layout();
        if self.catalog.wal_objects().is_none() && !layout.wals.is_dir() {
            return Ok(Some(Vec::new()));
        }
        if !observer.wants_wals() {
            return self.remove(None);
        }
        let mut announced = Vec::new();
        for entry in self.going()? {
            if self.is_stopped() {
                return Ok(None);
            }
            if let ControlFlow::Break(why) =
                observer.before_wal(&entry, &self.catalog.place_of_wal(entry.name))
            {
                return Err(DeleteError::Aborted { why });
            }
            announced.push(entry);
        }
        let names = announced.iter().map(|entry| entry.name).collect();
        let removed = self.remove(Some(&names));
        for entry in &announced {
            let path = self.catalog.place_of_wal(entry.name);
            let is_left = match self.catalog.wal_objects() {
                Some(_) => !matches!(&removed, Ok(Some(_))),
                None => path.exists(),
            };
            let error = is_left.then(|| match &removed {
                Err(error) => error.to_string(),
                Ok(_) => "the deletion was stopped before".to_owned(),
            });
            observer.after_wal(entry, &path, error.as_deref());
        }
        removed
    }

    /// What is to go, from the index; with a sweep also what lies in the archive unlisted.
    fn going(&self) -> Result<Vec<XlogEntry>, DeleteError> {
        let (disk, layout) = (self.catalog.disk(), self.catalog.layout());
        let index = XlogDb::lock(disk, layout, self.stop)?;
        let mut going = Vec::new();
        for entry in index.entries()? {
            let entry = entry?;
            if !self.trim.keeps_entry(&entry) {
                going.push(entry);
            }
        }
        drop(index);
        if self.sweep && self.catalog.wal_objects().is_none() {
            let listed: HashSet<WalName> = going.iter().map(|entry| entry.name).collect();
            for dir in hash_dirs(&layout.wals)? {
                for name in wal_names(&layout.wals.join(dir))? {
                    if !self.trim.keeps(name) && !listed.contains(&name) {
                        let path = layout.wal(name);
                        let entry = entry_of(&path, name, None);
                        going.extend(entry.map_err(|e| DurableError::io(Step::Read, &path, e))?);
                    }
                }
            }
        }
        Ok(going)
    }

    /// Removes the files, or those of them that were announced.
    fn remove(&self, announced: Option<&HashSet<WalName>>) -> Result<Option<Vec<WalName>>, DeleteError> {
        let (disk, layout) = (self.catalog.disk(), self.catalog.layout());
        let keeps = |entry: &XlogEntry| {
            self.trim.keeps_entry(entry)
                || announced.is_some_and(|announced| !announced.contains(&entry.name))
        };
        let mut index = XlogDb::lock(disk, layout, self.stop)?;
        if let Some(objects) = self.catalog.wal_objects() {
            return self.remove_objects(objects, &keeps, index);
        }
        let mut removed = Vec::new();
        // Listed since the announcement.
        let mut late: HashSet<WalName> = HashSet::new();
        let mut kept_dirs: HashSet<String> = HashSet::new();
        let mut last_dir = None;
        index.retain(|entry| {
            let keep = keeps(entry);
            if keep {
                // Mostly the directory of the line before.
                let dir = entry.name.segment().map(|segment| (segment.timeline(), segment.log()));
                if dir != last_dir {
                    kept_dirs.extend(entry.name.hash_dir());
                    last_dir = dir;
                }
                if announced.is_some() && !self.trim.keeps(entry.name) {
                    late.insert(entry.name);
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
            if !self.remove_files(disk, dir, names)? {
                return Ok(None);
            }
        }
        let mut swept: BTreeSet<String> = dirs.into_keys().filter(|dir| !kept_dirs.contains(dir)).collect();
        let spares_strays = self.trim.written_before.is_some();
        if self.sweep {
            swept.extend(hash_dirs(&layout.wals)?);
        }
        for dir in swept.iter().filter(|dir| !dir.is_empty()) {
            let path = layout.wals.join(dir);
            let strays = wal_names(&path)?
                .into_iter()
                .filter(|name| !spares_strays && !self.trim.keeps(*name) && !late.contains(name));
            if !self.remove_files(disk, dir, &strays.collect::<Vec<_>>())? {
                return Ok(None);
            }
            durable::remove_dir(disk, &path)?;
        }
        if let Err(error) = wal_index::remove_orphans(disk, layout) {
            tracing::warn!(%error, "indexes of directories that are gone cannot be removed");
        }
        Ok(Some(removed))
    }

    /// The same in an object store: only what the index lists goes, for others may archive to the same place. The index is told last,
    /// so that what is left lying after a failure is found by whoever deletes next, with Barman too.
    fn remove_objects(
        &self,
        objects: &dyn WalObjects,
        keeps: &dyn Fn(&XlogEntry) -> bool,
        mut index: XlogDb<'_>,
    ) -> Result<Option<Vec<WalName>>, DeleteError> {
        let mut listed = HashSet::new();
        for entry in index.entries()? {
            let entry = entry?;
            if !keeps(&entry) {
                listed.insert(entry.name);
            }
        }
        if listed.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let never = AtomicBool::new(false);
        let stop = if self.interruptible { self.stop } else { &never };
        let goes = |name: WalName| listed.contains(&name);
        if !objects.remove(self.trim.before, &goes, stop).map_err(DurableError::from)? {
            return Ok(None);
        }
        let mut removed = Vec::with_capacity(listed.len());
        index.retain(|entry| {
            let keep = keeps(entry);
            if !keep {
                removed.push(entry.name);
            }
            keep
        })?;
        Ok(Some(removed))
    }

    /// False when it was stopped.
    fn remove_files(&self, disk: &dyn Disk, dir: &str, names: &[WalName]) -> Result<bool, DurableError> {
        let layout = self.catalog.layout();
        let mut any = false;
        for name in names {
            if self.is_stopped() {
                return Ok(false);
            }
            any |= durable::remove_file_unsynced(disk, &layout.wal(*name))?;
        }
        if any {
            durable::sync_dir(disk, &layout.wals.join(dir))?;
        }
        Ok(true)
    }

    fn is_stopped(&self) -> bool {
        self.interruptible && self.stop.load(Ordering::Relaxed)
    }
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
