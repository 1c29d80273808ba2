//! What changed in one fork of a relation.

use std::iter::FusedIterator;
use std::ops::RangeInclusive;

use crate::changed_blocks::chunk::{CHUNK_BLOCKS, Chunk, Offsets};

/// What changed in one fork of a relation.
///
/// Two are equal when they say the same, whatever the order in which the blocks came.
#[derive(Clone, Debug)]
pub struct ForkChanges {
    /// `u32::MAX`, which is no block: none.
    pub(super) limit: u32,
    /// With their numbers, ascending; those without a change may be left out.
    pub(super) chunks: Vec<(u16, Chunk)>,
}

impl Default for ForkChanges {
    fn default() -> Self {
        Self { limit: u32::MAX, chunks: Vec::new() }
    }
}

impl ForkChanges {
    /// Nothing changed.
    pub fn new() -> Self {
        Self::default()
    }

    /// The limit block: the shortest the fork was in the range, in blocks. What is at or after it was written anew,
    /// or is gone. Zero when the fork was created, dropped or rewritten; `None` when it was never cut.
    pub const fn limit(&self) -> Option<u32> {
        if self.limit == u32::MAX { None } else { Some(self.limit) }
    }

    /// Notes that the block was changed.
    #[inline]
    pub fn mark(&mut self, block: u32) {
        let (number, offset) = split(block);
        // Most relations have one chunk.
        let at = match self.chunks.last() {
            Some((last, _)) if *last == number => Ok(self.chunks.len() - 1),
            _ => self.chunks.binary_search_by_key(&number, |(number, _)| *number),
        };
        let at = at.unwrap_or_else(|at| {
            self.chunks.insert(at, (number, Chunk::new()));
            at
        });
        if let Some((_, chunk)) = self.chunks.get_mut(at) {
            chunk.mark(offset);
        }
    }

    /// Notes that the fork had only this many blocks, and forgets the changes of others. Nothing happens when it
    /// was already as short before, for the blocks that are known came after that.
    pub fn set_limit(&mut self, blocks: u32) {
        if blocks >= self.limit {
            return;
        }
        self.limit = blocks;
        let (number, offset) = split(blocks);
        self.chunks.retain(|(kept, _)| *kept <= number);
        if let Some((_, chunk)) = self.chunks.last_mut().filter(|(last, _)| *last == number) {
            chunk.truncate(offset);
        }
    }

    /// Adds what changed in a range of the log that follows this one's. [`ForkChanges::is_changed`] then says what it
    /// says after reading both ranges as one.
    pub fn merge(&mut self, later: &Self) {
        self.set_limit(later.limit);
        for (number, chunk) in &later.chunks {
            for offset in chunk.in_order() {
                self.mark(u32::from(*number) * CHUNK_BLOCKS + u32::from(offset));
            }
        }
    }

    /// Whether the block was changed, or is at or after the limit.
    pub fn is_changed(&self, block: u32) -> bool {
        let (number, offset) = split(block);
        let found = self.chunks.binary_search_by_key(&number, |(number, _)| *number);
        let chunk = found.ok().and_then(|at| self.chunks.get(at));
        block >= self.limit || chunk.is_some_and(|(_, chunk)| chunk.contains(offset))
    }

    /// How many blocks are known to be changed.
    pub fn len(&self) -> u64 {
        self.chunks.iter().map(|(_, chunk)| u64::from(chunk.len())).sum()
    }

    /// Whether no block is known to be changed; there may still be a limit.
    pub fn is_empty(&self) -> bool {
        self.chunks.iter().all(|(_, chunk)| chunk.len() == 0)
    }

    /// The changed blocks, ascending.
    pub fn blocks(&self) -> ChangedBlockNumbers<'_> {
        ChangedBlockNumbers {
            chunks: self.chunks.iter(),
            base: 0,
            offsets: Offsets::Sorted(Vec::new().into_iter()),
        }
    }

    /// The changed blocks as ranges, ascending, with gaps between them.
    ///
    /// ```
    /// let mut fork = walfile::changed_blocks::ForkChanges::new();
    /// [7, 3, 5, 4].into_iter().for_each(|block| fork.mark(block));
    /// assert_eq!(fork.ranges().collect::<Vec<_>>(), [3..=5, 7..=7]);
    /// ```
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u32>> + use<'_> {
        let mut blocks = self.blocks();
        let mut next = blocks.next();
        std::iter::from_fn(move || {
            let first = next.take()?;
            let mut last = first;
            for block in blocks.by_ref() {
                if block - last != 1 {
                    next = Some(block);
                    break;
                }
                last = block;
            }
            Some(first..=last)
        })
    }
}

impl PartialEq for ForkChanges {
    fn eq(&self, other: &Self) -> bool {
        self.limit == other.limit && self.blocks().eq(other.blocks())
    }
}

impl Eq for ForkChanges {}

#[expect(clippy::cast_possible_truncation, reason = "both halves are asked for")]
const fn split(block: u32) -> (u16, u16) {
    ((block / CHUNK_BLOCKS) as u16, block as u16)
}

/// Numbers of changed blocks; made by [`ForkChanges::blocks`].
#[derive(Clone, Debug)]
pub struct ChangedBlockNumbers<'a> {
    chunks: std::slice::Iter<'a, (u16, Chunk)>,
    base: u32,
    offsets: Offsets<'a>,
}

impl Iterator for ChangedBlockNumbers<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        loop {
            if let Some(offset) = self.offsets.next() {
                return Some(self.base + u32::from(offset));
            }
            let (number, chunk) = self.chunks.next()?;
            self.base = u32::from(*number) * CHUNK_BLOCKS;
            self.offsets = chunk.ascending();
        }
    }
}

impl FusedIterator for ChangedBlockNumbers<'_> {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Mark(u32),
        Limit(u32),
    }

    fn apply(fork: &mut ForkChanges, step: Step) {
        match step {
            Step::Mark(block) => fork.mark(block),
            Step::Limit(blocks) => fork.set_limit(blocks),
        }
    }

    fn block() -> impl Strategy<Value = u32> {
        prop_oneof![0..100u32, 65500..65600u32, 131_000..131_200u32, any::<u32>()]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![12 => block().prop_map(Step::Mark), 1 => block().prop_map(Step::Limit)]
    }

    fn limit(fork: &ForkChanges) -> u32 {
        fork.limit().unwrap_or(u32::MAX)
    }

    proptest! {
        #[test]
        fn as_a_set_of_numbers(steps in prop::collection::vec(step(), 0..200)) {
            let (mut fork, mut set, mut limit) = (ForkChanges::new(), BTreeSet::new(), u32::MAX);
            for step in steps {
                apply(&mut fork, step);
                match step {
                    Step::Mark(block) => { set.insert(block); }
                    Step::Limit(blocks) if blocks < limit => {
                        limit = blocks;
                        set = set.range(..blocks).copied().collect();
                    }
                    Step::Limit(_) => {}
                }
            }
            prop_assert!(fork.blocks().eq(set.iter().copied()));
            prop_assert_eq!(fork.limit(), (limit < u32::MAX).then_some(limit));
            prop_assert_eq!(fork.len(), set.len() as u64);
            prop_assert_eq!(fork.is_empty(), set.is_empty());
            let ranges: Vec<_> = fork.ranges().collect();
            prop_assert!(ranges.iter().cloned().flatten().eq(set.iter().copied()));
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end() + 1 < *pair[1].start()));
            for block in set.iter().flat_map(|block| [*block, block.saturating_add(1)]) {
                prop_assert_eq!(fork.is_changed(block), block >= limit || set.contains(&block));
            }
        }

        #[test]
        fn parts_of_a_range_make_up_the_range(
            before in prop::collection::vec(step(), 0..80),
            after in prop::collection::vec(step(), 0..80),
        ) {
            let (mut whole, mut first, mut second) =
                (ForkChanges::new(), ForkChanges::new(), ForkChanges::new());
            before.iter().for_each(|step| { apply(&mut whole, *step); apply(&mut first, *step); });
            after.iter().for_each(|step| { apply(&mut whole, *step); apply(&mut second, *step); });
            first.merge(&second);
            // Below the limit the same; after it, where all is to be copied, the parts may know more to be gone.
            prop_assert_eq!(first.limit(), whole.limit());
            let below = |fork: &ForkChanges| fork.blocks().filter(|block| *block < limit(fork)).collect::<Vec<_>>();
            prop_assert_eq!(below(&first), below(&whole));
            prop_assert!(first.blocks().all(|block| whole.is_changed(block)));
        }
    }
}
