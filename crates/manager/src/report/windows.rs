//! From which moment to which one can recover, and what is missing between: pure, from names alone.

use tapster_catalog::BackupId;
use time::OffsetDateTime;
use walfile::{Lsn, SegmentNo, SegmentSize, Timeline, TimelineHistory};

/// A backup that recovery can begin with, as far as its files go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base {
    pub(super) id: BackupId,
    pub(super) timeline: Timeline,
    /// The first segment it needs.
    pub(super) begin: SegmentNo,
    /// Where it is consistent, and when that was.
    pub(super) consistent: Lsn,
    pub(super) ended: Option<OffsetDateTime>,
    /// Kept without the WAL that follows it.
    pub(super) standalone: bool,
}

impl Base {
    /// Whether recovery of it can go to the timeline of `history`.
    fn leads_to(&self, history: &TimelineHistory) -> bool {
        self.timeline == history.timeline()
            || history.switch_from(self.timeline).is_some_and(|left| left >= self.consistent)
    }

    /// The run of segments, among those of a way, that it can be recovered through.
    pub(super) fn run(
        &self,
        runs: &[(SegmentNo, SegmentNo)],
        size: SegmentSize,
    ) -> Option<(SegmentNo, SegmentNo)> {
        let before = runs.partition_point(|(first, _)| *first <= self.begin).checked_sub(1)?;
        let needed = self.consistent.segment_ending_at(size)?.max(self.begin);
        runs.get(before).copied().filter(|(_, last)| *last >= needed)
    }
}

/// A window by positions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Reach {
    /// Where it begins: where a backup is consistent, or where the timeline does.
    pub(super) from: Lsn,
    /// The backup that it begins with.
    pub(super) first: BackupId,
    /// When `first` was consistent; `None` when the window begins with the timeline.
    pub(super) ended: Option<OffsetDateTime>,
    /// The last segment.
    pub(super) last: SegmentNo,
    /// How many backups recovery in it can begin with.
    pub(super) backups: usize,
    /// Whether there is WAL behind a gap after it.
    pub(super) before_gap: bool,
    /// Whether all of them are kept without the WAL that follows.
    pub(super) standalone: bool,
}

/// The windows on the way to the timeline of `history`, in order, from `clip` on; `bases` are in the order of their ends.
pub(super) fn windows(
    bases: &[Base],
    history: &TimelineHistory,
    runs: &[(SegmentNo, SegmentNo)],
    size: SegmentSize,
    clip: Lsn,
) -> Vec<Reach> {
    let mut found: Vec<Reach> = Vec::new();
    let newest = runs.last().map(|(_, last)| *last);
    for base in bases.iter().filter(|base| base.leads_to(history)) {
        let Some((_, last)) = base.run(runs, size) else { continue };
        let end = last.end(size);
        // What only touches the fork ends on the timeline before.
        if end < base.consistent || (end <= clip && !clip.is_invalid()) {
            continue;
        }
        match found.last_mut() {
            // Of a run two windows overlap, since both go to its end.
            Some(before) if before.last == last => {
                before.backups += 1;
                before.standalone &= base.standalone;
            }
            _ => found.push(Reach {
                from: base.consistent.max(clip),
                first: base.id,
                ended: base.ended.filter(|_| base.consistent >= clip),
                last,
                backups: 1,
                before_gap: newest.is_some_and(|newest| newest > last),
                standalone: base.standalone,
            }),
        }
    }
    found
}

/// Segments missing on the way to the timeline of `history`, from its own beginning on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Hole {
    pub(super) first: SegmentNo,
    pub(super) last: SegmentNo,
    /// Whether recovery of some backup would have to go through.
    pub(super) needed: bool,
}

/// The holes on the way to the timeline of `history` that lie on that timeline itself.
pub(super) fn holes(
    bases: &[Base],
    history: &TimelineHistory,
    runs: &[(SegmentNo, SegmentNo)],
    size: SegmentSize,
) -> Vec<Hole> {
    let on_the_way: Vec<&Base> = bases.iter().filter(|base| base.leads_to(history)).collect();
    let needs = |hole: (SegmentNo, SegmentNo), base: &Base| {
        let own = base.consistent.segment_ending_at(size).unwrap_or(base.begin);
        base.begin <= hole.1 && (!base.standalone || own >= hole.0)
    };
    let own_begin = history.begin().segment(size);
    let mut expected = on_the_way.iter().map(|base| base.begin).min();
    let mut found = Vec::new();
    for (first, last) in runs {
        if let (Some(from), Some(to)) = (expected.filter(|expected| expected < first), first.previous())
            && to >= own_begin
        {
            let needed = on_the_way.iter().any(|base| needs((from, to), base));
            found.push(Hole { first: from, last: to, needed });
        }
        expected = expected.max(last.next());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn runs(pairs: &[(u64, u64)]) -> Vec<(SegmentNo, SegmentNo)> {
        pairs.iter().map(|(first, last)| (SegmentNo::new(*first), SegmentNo::new(*last))).collect()
    }

    /// Begins in a segment and ends in the next.
    fn base(timeline: u32, begin: u64) -> Base {
        Base {
            id: format!("20261121T0000{begin:02}").parse().unwrap(),
            timeline: Timeline::new(timeline).unwrap(),
            begin: SegmentNo::new(begin),
            consistent: Lsn::new((begin + 1) * SIZE.bytes() + 0x100),
            ended: Some(OffsetDateTime::UNIX_EPOCH),
            standalone: false,
        }
    }

    fn shape(found: &[Reach]) -> Vec<(u64, u64, usize, bool)> {
        found.iter().map(|w| (w.from.segment(SIZE).get(), w.last.get(), w.backups, w.before_gap)).collect()
    }

    #[test]
    fn a_window_ends_at_a_gap_and_the_next_begins_with_a_backup_behind_it() {
        let one = TimelineHistory::root(Timeline::FIRST);
        let found = |bases: &[Base], pairs: &[(u64, u64)]| {
            shape(&windows(bases, &one, &runs(pairs), SIZE, Lsn::INVALID))
        };
        let bases = [base(1, 3), base(1, 6), base(1, 20)];
        assert_eq!(found(&bases, &[(3, 30)]), [(4, 30, 3, false)]);
        assert_eq!(found(&bases, &[(1, 9), (12, 30)]), [(4, 9, 2, true), (21, 30, 1, false)]);
        assert_eq!(found(&bases, &[(5, 10)]), [(7, 10, 1, false)], "the first one's WAL is gone");
        assert_eq!(found(&bases, &[(3, 3), (5, 5)]), [], "no backup's own WAL is whole");
        assert_eq!(found(&bases, &[]), []);
        assert_eq!(found(&[base(2, 3)], &[(1, 9)]), [], "of a timeline that does not lead here");
    }

    #[test]
    fn a_timeline_begins_where_it_left_its_parent() {
        let two = Timeline::new(2).unwrap();
        let history = TimelineHistory::parse(two, b"1\t0/8000100\tpromoted\n").unwrap();
        let way = runs(&[(3, 12)]);
        let bases = [base(1, 3), base(1, 9), base(2, 9)];
        let found = windows(&bases, &history, &way, SIZE, history.begin());
        assert_eq!(shape(&found), [(8, 12, 2, false)], "the one after the fork is on another way");
        assert_eq!(found[0].ended, None);
        let whole = windows(&bases, &history, &way, SIZE, Lsn::INVALID);
        assert_eq!(shape(&whole), [(4, 12, 2, false)]);
        assert!(whole[0].ended.is_some());
    }

    #[test]
    fn a_hole_matters_when_a_backup_would_have_to_cross_it() {
        let one = TimelineHistory::root(Timeline::FIRST);
        let found = |bases: &[Base], pairs: &[(u64, u64)]| -> Vec<(u64, u64, bool)> {
            let found = holes(bases, &one, &runs(pairs), SIZE);
            found.iter().map(|hole| (hole.first.get(), hole.last.get(), hole.needed)).collect()
        };
        let standalone = Base { standalone: true, ..base(1, 3) };
        assert_eq!(found(&[base(1, 3)], &[(3, 4), (7, 9)]), [(5, 6, true)]);
        assert_eq!(found(&[standalone, base(1, 7)], &[(3, 4), (7, 9)]), [(5, 6, false)]);
        assert_eq!(found(&[standalone], &[(3, 3), (7, 9)]), [(4, 6, true)], "its own end is missing");
        assert_eq!(found(&[base(1, 7)], &[(3, 4), (7, 9)]), [], "what came before the oldest is not wanted");
        assert_eq!(found(&[], &[(3, 4), (7, 9)]), [(5, 6, false)]);
        assert_eq!(found(&[base(1, 3)], &[(5, 9)]), [(3, 4, true)]);
        assert_eq!(found(&[base(1, 3)], &[]), []);
    }

    #[test]
    fn a_timeline_shows_the_holes_of_its_own() {
        let two = Timeline::new(2).unwrap();
        let history = TimelineHistory::parse(two, b"1\t0/8000100\tpromoted\n").unwrap();
        let found = holes(&[base(1, 3)], &history, &runs(&[(3, 4), (6, 7), (10, 12)]), SIZE);
        let numbers: Vec<_> = found.iter().map(|hole| (hole.first.get(), hole.last.get())).collect();
        assert_eq!(numbers, [(8, 9)]);
    }
}
