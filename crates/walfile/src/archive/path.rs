//! Which files may hold a segment on the way to a timeline (`XLogFileReadAnyTLI`).

use crate::{Lsn, SegmentName, SegmentNo, SegmentSize, TimelineHistory};

/// A file that may hold a segment, and up to where it may be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Holder {
    pub(super) name: SegmentName,
    /// Where its timeline was left, when that is inside the segment.
    pub(super) left: Option<Lsn>,
}

/// The files in the order of preference: that of the newest timeline that has begun by the end of the segment, then
/// those of its ancestors that hold the beginning. Never empty.
pub(super) fn holders(
    history: &TimelineHistory,
    number: SegmentNo,
    size: SegmentSize,
) -> impl Iterator<Item = Holder> {
    let (start, end) = (number.start(size), number.end(size));
    let own =
        (history.begin() < end).then(|| Holder { name: number.name(history.timeline(), size), left: None });
    let ancestors = history.entries().iter().enumerate().rev().filter_map(move |(index, entry)| {
        let before = index.checked_sub(1).and_then(|before| history.entries().get(before));
        let begin = before.map_or(Lsn::INVALID, |before| before.switch);
        let holds = begin < end && entry.switch > start;
        let left = (entry.switch < end).then_some(entry.switch);
        holds.then(|| Holder { name: number.name(entry.timeline, size), left })
    });
    own.into_iter().chain(ancestors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timeline;

    fn names(text: &str, timeline: u32, number: u64) -> Vec<(String, Option<u64>)> {
        let timeline = Timeline::new(timeline).unwrap();
        let history = TimelineHistory::parse(timeline, text.as_bytes()).unwrap();
        holders(&history, SegmentNo::new(number), SegmentSize::DEFAULT)
            .map(|holder| (holder.name.to_string(), holder.left.map(Lsn::get)))
            .collect()
    }

    fn file(name: &str, left: Option<u64>) -> (String, Option<u64>) {
        (name.to_owned(), left)
    }

    #[test]
    fn the_segment_of_a_switch_is_looked_for_on_both_timelines() {
        let text = "1\t0/5800000\tpromoted\n";
        assert_eq!(names(text, 2, 4), [file("000000010000000000000004", None)]);
        assert_eq!(
            names(text, 2, 5),
            [file("000000020000000000000005", None), file("000000010000000000000005", Some(0x580_0000))]
        );
        assert_eq!(names(text, 2, 6), [file("000000020000000000000006", None)]);
    }

    #[test]
    fn a_switch_on_a_boundary_leaves_one_file() {
        let text = "1\t0/5000000\tpromoted\n";
        assert_eq!(names(text, 2, 4), [file("000000010000000000000004", None)]);
        assert_eq!(names(text, 2, 5), [file("000000020000000000000005", None)]);
    }

    #[test]
    fn two_switches_in_one_segment() {
        let text = "1\t0/5100000\ta\n2\t0/5200000\tb\n";
        let found = names(text, 3, 5);
        assert_eq!(
            found,
            [
                file("000000030000000000000005", None),
                file("000000020000000000000005", Some(0x520_0000)),
                file("000000010000000000000005", Some(0x510_0000)),
            ]
        );
    }
}
