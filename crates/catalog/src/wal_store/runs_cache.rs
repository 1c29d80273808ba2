//! The runs of segments in an archive that is looked at again and again.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt as _;

use walfile::{SegmentNo, SegmentSize};

use super::archive::{SegmentRun, SegmentRuns, add, add_dir};
use super::list::names;
use super::{WalStore, WalStoreError};
use crate::ServerLayout;

/// What the directories of an archive held when they were last read. One that did not change since is not read again, so
/// that looking costs one `stat` for each 4 GiB of the log.
#[derive(Clone, Debug, Default)]
pub struct RunsCache {
    size: Option<SegmentSize>,
    dirs: BTreeMap<String, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    changed: Stamp,
    /// It was read again after the change was seen: a file system's clock stands still for some milliseconds, in which a
    /// directory may change twice.
    settled: bool,
    runs: SegmentRuns,
}

/// When a directory changed, and which one it is.
type Stamp = (u64, i64, i64, i64, i64);

impl WalStore<'_> {
    /// The whole segments in the archive alone, in runs, by their names.
    ///
    /// ```
    /// use tapster_catalog::wal_store::{RunsCache, WalStore};
    /// use tapster_catalog::{ServerLayout, ServerName};
    /// use walfile::{SegmentSize, Timeline};
    /// let home = tempfile::tempdir()?;
    /// let layout = ServerLayout::standard(home.path(), ServerName::new("main")?);
    /// let dir = layout.wals.join("0000000100000000");
    /// std::fs::create_dir_all(&dir)?;
    /// for name in ["000000010000000000000003", "000000010000000000000004", "000000010000000000000006"] {
    ///     std::fs::File::create(dir.join(name))?;
    /// }
    /// let mut cache = RunsCache::default();
    /// let runs = WalStore::new(&layout).archived_runs(SegmentSize::DEFAULT, &mut cache)?;
    /// assert_eq!(runs[&Timeline::FIRST].len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn archived_runs(
        &self,
        size: SegmentSize,
        cache: &mut RunsCache,
    ) -> Result<SegmentRuns, WalStoreError> {
        if cache.size != Some(size) {
            *cache = RunsCache { size: Some(size), dirs: BTreeMap::new() };
        }
        let dirs: HashSet<String> = names(&self.layout.wals)?
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .filter(|name| ServerLayout::is_hash_dir(name))
            .collect();
        cache.dirs.retain(|dir, _| dirs.contains(dir));
        for dir in dirs {
            let path = self.layout.wals.join(&dir);
            let changed = match path.metadata() {
                Ok(m) => (m.ino(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    cache.dirs.remove(&dir);
                    continue;
                }
                Err(source) => return Err(WalStoreError::Read { path, source }),
            };
            let known = cache.dirs.get(&dir).filter(|known| known.changed == changed);
            if known.is_some_and(|known| known.settled) {
                continue;
            }
            let settled = known.is_some();
            let mut runs = SegmentRuns::new();
            add_dir(&mut runs, &path, size, Some(&dir))?;
            cache.dirs.insert(dir, Known { changed, settled, runs });
        }
        let mut all = SegmentRuns::new();
        for (timeline, run) in cache.dirs.values().flat_map(|known| {
            known.runs.iter().flat_map(|(timeline, runs)| runs.iter().map(|run| (*timeline, *run)))
        }) {
            append(all.entry(timeline).or_default(), run);
        }
        Ok(all)
    }
}

/// Directories come in the order of their names, so a run nearly always goes on from the last one.
fn append(runs: &mut Vec<SegmentRun>, run: SegmentRun) {
    match runs.last_mut() {
        Some(last) if last.last.next() == Some(run.first) => last.last = run.last,
        Some(last) if last.last >= run.first => {
            (run.first.get()..=run.last.get()).for_each(|number| add(runs, SegmentNo::new(number)));
        }
        _ => runs.push(run),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use walfile::Timeline;

    use super::*;
    use crate::ServerName;

    fn shape(runs: &SegmentRuns) -> Vec<(u64, u64)> {
        runs.get(&Timeline::FIRST)
            .into_iter()
            .flatten()
            .map(|run| (run.first.get(), run.last.get()))
            .collect()
    }

    #[test]
    fn what_changes_is_seen_and_runs_join_across_directories() {
        let home = tempfile::tempdir().unwrap();
        let layout = ServerLayout::standard(home.path(), ServerName::new("main").unwrap());
        let put = |number: u64| {
            let name = SegmentNo::new(number).name(Timeline::FIRST, SegmentSize::DEFAULT);
            let path = layout.wal(name.into());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::File::create(&path).unwrap();
            path
        };
        let mut cache = RunsCache::default();
        let mut look = || {
            let store = WalStore::new(&layout);
            let found = shape(&store.archived_runs(SegmentSize::DEFAULT, &mut cache).unwrap());
            assert_eq!(found, shape(&store.segment_runs(SegmentSize::DEFAULT).unwrap()));
            found
        };
        assert_eq!(look(), []);
        for number in 250..=260 {
            put(number);
        }
        assert_eq!(look(), [(250, 260)]);
        let gone = put(253);
        for _ in 0..3 {
            assert_eq!(look(), [(250, 260)]);
        }
        std::fs::remove_file(gone).unwrap();
        assert_eq!(look(), [(250, 252), (254, 260)]);
        std::fs::remove_dir_all(layout.wals.join(Path::new("0000000100000000"))).unwrap();
        assert_eq!(look(), [(256, 260)]);
    }
}
