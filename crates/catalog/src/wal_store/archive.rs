//! The store as an archive whose records can be read, and the runs of segments in it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use walfile::{SegmentName, SegmentNo, SegmentSize, Timeline, WalArchive, WalName};

use super::list::names;
use super::{WalStore, WalStoreError};
use crate::ServerLayout;

impl WalArchive for WalStore<'_> {
    /// Looks in the archive, in `incoming/` and in `streaming/`, as [`WalStore::open`] does. A segment that is not whole is an
    /// error, when it is opened or where it ends.
    fn open(&self, name: WalName) -> io::Result<Option<Box<dyn Read + Send>>> {
        // The receiver's partial is asked for through its segment, because it may be completed meanwhile.
        match WalStore::open(self, name, false) {
            Ok(reader) => Ok(Some(Box::new(reader))),
            Err(WalStoreError::NotFound { .. }) => Ok(None),
            Err(WalStoreError::Read { path, source }) => {
                Err(io::Error::new(source.kind(), format!("{}: {source}", path.display())))
            }
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

/// Segments of one timeline without a gap.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SegmentRun {
    /// The first segment.
    pub first: SegmentNo,
    /// The last one, which is there too.
    pub last: SegmentNo,
}

/// What segments of each timeline there are, in order.
pub type SegmentRuns = BTreeMap<Timeline, Vec<SegmentRun>>;

impl WalStore<'_> {
    /// What whole segments there are in the archive, in `incoming/` and in `streaming/`, by their names alone. Names that
    /// cannot occur with this segment size are passed over.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn segment_runs(&self, size: SegmentSize) -> Result<SegmentRuns, WalStoreError> {
        let mut runs = SegmentRuns::new();
        let mut dirs: Vec<String> = names(&self.layout.wals)?
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .filter(|name| ServerLayout::is_hash_dir(name))
            .collect();
        dirs.sort_unstable();
        for dir in dirs {
            add_dir(&mut runs, &self.layout.wals.join(&dir), size, Some(&dir))?;
        }
        for dir in [&self.layout.incoming, &self.layout.streaming] {
            add_dir(&mut runs, dir, size, None)?;
        }
        Ok(runs)
    }
}

pub(super) fn add_dir(
    runs: &mut SegmentRuns,
    dir: &Path,
    size: SegmentSize,
    hash: Option<&str>,
) -> Result<(), WalStoreError> {
    let segments = names(dir)?.into_iter().filter_map(|name| name.to_str()?.parse::<SegmentName>().ok());
    let mut segments: Vec<(Timeline, SegmentNo)> = segments
        .filter(|name| hash.is_none_or(|hash| name.hash_dir() == hash))
        .filter_map(|name| Some((name.timeline(), name.number(size).ok()?)))
        .collect();
    segments.sort_unstable();
    for (timeline, number) in segments {
        add(runs.entry(timeline).or_default(), number);
    }
    Ok(())
}

/// Adds a segment to the runs, which are in order: nearly always at their end.
pub(crate) fn add(runs: &mut Vec<SegmentRun>, number: SegmentNo) {
    let after = runs.partition_point(|run| run.first <= number);
    let before = after.checked_sub(1);
    let touches_before =
        before.and_then(|at| runs.get(at)).map(|run| (run.last >= number, run.last.next() == Some(number)));
    let touches_after = runs.get(after).is_some_and(|run| number.next() == Some(run.first));
    match (touches_before, before) {
        (Some((true, _)), _) => {}
        (Some((false, true)), Some(at)) => {
            let last = if touches_after { runs.remove(after).last } else { number };
            if let Some(run) = runs.get_mut(at) {
                run.last = last;
            }
        }
        _ if touches_after => {
            if let Some(run) = runs.get_mut(after) {
                run.first = number;
            }
        }
        _ => runs.insert(after, SegmentRun { first: number, last: number }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_grow_and_join_in_any_order() {
        let mut runs = Vec::new();
        for number in [5, 6, 9, 2, 7, 8, 6, 1, 20] {
            add(&mut runs, SegmentNo::new(number));
        }
        let found: Vec<(u64, u64)> = runs.iter().map(|run| (run.first.get(), run.last.get())).collect();
        assert_eq!(found, [(1, 2), (5, 9), (20, 20)]);
    }
}
