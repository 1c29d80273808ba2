//! Runs of segments.

use crate::{SegmentName, SegmentNo, SegmentSize, Timeline};

/// Segments of one timeline in order; made by [`SegmentName::through`].
#[derive(Clone, Debug)]
pub struct SegmentRange {
    timeline: Timeline,
    size: SegmentSize,
    next: Option<SegmentNo>,
    last: SegmentNo,
}

impl SegmentRange {
    pub(crate) const fn new(
        timeline: Timeline,
        size: SegmentSize,
        first: SegmentNo,
        last: SegmentNo,
    ) -> Self {
        Self { timeline, size, next: Some(first), last }
    }
}

impl Iterator for SegmentRange {
    type Item = SegmentName;

    fn next(&mut self) -> Option<SegmentName> {
        let current = self.next.filter(|number| *number <= self.last)?;
        self.next = current.next();
        Some(current.name(self.timeline, self.size))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.next.map_or(0, |next| (self.last.get() + 1).saturating_sub(next.get()));
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SegmentName {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_include_both_ends() {
        let from = name("0000000100000000000000FE");
        let range = from.through(name("000000010000000100000001"), SegmentSize::DEFAULT).unwrap();
        assert_eq!(range.size_hint(), (4, Some(4)));
        let names: Vec<_> = range.map(|n| n.to_string()).collect();
        assert_eq!(
            names,
            [
                "0000000100000000000000FE",
                "0000000100000000000000FF",
                "000000010000000100000000",
                "000000010000000100000001"
            ]
        );
        assert_eq!(name("000000010000000000000002").through(from, SegmentSize::MIN).unwrap().count(), 253);
    }
}
