//! Which way through the archive is read: the segments of a timeline and its ancestors, and how they are shared out.

use std::sync::Arc;

use tapster_catalog::wal_store::{SegmentRun, SegmentRuns};
use walfile::{Lsn, SegmentNo, SegmentSize, TimelineHistory};

use super::chunk::Chunk;

/// A way through the archive.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) history: Arc<TimelineHistory>,
    pub(crate) start: Lsn,
    pub(crate) size: SegmentSize,
    /// Whether the history is not known: then pages of any ancestor are taken.
    pub(crate) history_lost: bool,
    /// The segments that are there, in order.
    pub(crate) runs: Vec<(SegmentNo, SegmentNo)>,
}

impl Line {
    /// The way from `start` on to the timeline whose history this is.
    pub(crate) fn new(
        history: TimelineHistory,
        start: Lsn,
        archived: &SegmentRuns,
        size: SegmentSize,
    ) -> Self {
        let from = start.segment(size);
        let mut runs = path_runs(&history, archived, size);
        runs.retain(|(_, last)| *last >= from);
        if let Some((first, _)) = runs.first_mut() {
            *first = (*first).max(from);
        }
        Self { history: Arc::new(history), start, size, history_lost: false, runs }
    }

    /// Bytes of the segments that are there.
    pub(super) fn segments(&self) -> u64 {
        self.runs.iter().map(|(first, last)| last.get() - first.get() + 1).sum()
    }

    /// The segments in pieces of up to `length`.
    pub(super) fn chunks(&self, length: u64, size: SegmentSize) -> impl Iterator<Item = Chunk> + Send + '_ {
        let from = self.start.segment(size);
        // Without a whole segment there may still be a partial.
        let alone = self.runs.is_empty().then_some((from, from));
        let length = length.max(1);
        let very_last = self.runs.last().map_or(from, |(_, last)| *last);
        self.runs.iter().copied().chain(alone).flat_map(move |(first, last)| {
            let count = (last.get() - first.get()) / length + 1;
            (0..count).map(move |index| {
                let begin = SegmentNo::new(first.get() + index * length);
                let end = SegmentNo::new((begin.get() + length - 1).min(last.get()));
                let start = (begin == from).then_some(self.start);
                Chunk { first: begin, last: end, start, ends_run: end == last, ends_line: end == very_last }
            })
        })
    }
}

/// The segments for which the path has a file, whatever timeline it is of.
fn path_runs(
    history: &TimelineHistory,
    archived: &SegmentRuns,
    size: SegmentSize,
) -> Vec<(SegmentNo, SegmentNo)> {
    let mut runs = Vec::new();
    let mut begin = Lsn::INVALID;
    let own = [(history.timeline(), Lsn::MAX)];
    for (timeline, left) in history.entries().iter().map(|entry| (entry.timeline, entry.switch)).chain(own) {
        if let Some(last) = left.segment_ending_at(size).filter(|_| left > begin) {
            let clip = |run: &SegmentRun| {
                let (first, last) = (run.first.max(begin.segment(size)), run.last.min(last));
                (first <= last).then_some((first, last))
            };
            runs.extend(archived.get(&timeline).into_iter().flatten().filter_map(clip));
        }
        begin = left;
    }
    runs.sort_unstable();
    merge(runs)
}

/// Joins runs that touch or overlap; they are sorted.
fn merge(runs: Vec<(SegmentNo, SegmentNo)>) -> Vec<(SegmentNo, SegmentNo)> {
    let mut merged: Vec<(SegmentNo, SegmentNo)> = Vec::new();
    for (first, last) in runs {
        match merged.last_mut() {
            Some(before) if first <= before.1.next().unwrap_or(before.1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use walfile::{SegmentName, Timeline};

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn numbers(runs: &[(SegmentNo, SegmentNo)]) -> Vec<(u64, u64)> {
        runs.iter().map(|(first, last)| (first.get(), last.get())).collect()
    }

    #[test]
    fn the_path_takes_each_segment_from_the_timelines_that_may_hold_it() {
        let two = Timeline::new(2).unwrap();
        let history = TimelineHistory::parse(two, b"1\t0/5800000\tpromoted\n").unwrap();
        let run = |first: &str, last: &str| -> SegmentRuns {
            let mut runs = BTreeMap::new();
            for name in [first, last] {
                let name: SegmentName = name.parse().unwrap();
                let number = name.number(SIZE).unwrap();
                runs.entry(name.timeline()).or_insert_with(Vec::new).push(number);
            }
            runs.into_iter().map(|(timeline, numbers)| (timeline, span(&numbers))).collect()
        };
        let mut archived = run("000000010000000000000002", "000000010000000000000009");
        archived.extend(run("000000020000000000000007", "000000020000000000000008"));
        let line = Line::new(history, Lsn::new(0x300_0028), &archived, SIZE);
        assert_eq!(numbers(&line.runs), [(3, 5), (7, 8)]);
        assert_eq!(line.segments(), 5);
        let chunks: Vec<_> = line.chunks(2, SIZE).collect();
        let shape =
            chunks.iter().map(|c| (c.first.get(), c.last.get(), c.start.is_some(), c.ends_run, c.ends_line));
        let expected = [(3, 4, true, false, false), (5, 5, false, true, false), (7, 8, false, true, true)];
        assert!(shape.eq(expected), "{chunks:?}");
    }

    fn span(numbers: &[SegmentNo]) -> Vec<SegmentRun> {
        // Built as the store does it.
        let (first, last) = (numbers[0].get(), numbers[numbers.len() - 1].get());
        let dir = tempfile::tempdir().unwrap();
        let layout = tapster_catalog::ServerLayout::standard(
            dir.path(),
            tapster_catalog::ServerName::new("main").unwrap(),
        );
        std::fs::create_dir_all(&layout.incoming).unwrap();
        for number in first..=last {
            let name = SegmentNo::new(number).name(Timeline::FIRST, SIZE).to_string();
            std::fs::File::create(layout.incoming.join(name)).unwrap();
        }
        let runs = tapster_catalog::WalStore::new(&layout).segment_runs(SIZE).unwrap();
        runs.into_values().next().unwrap()
    }
}
