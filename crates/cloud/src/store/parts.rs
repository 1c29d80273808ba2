//! How an object is cut into parts.

use std::time::Duration;

use object_store::client::HttpErrorKind;
use object_store::retry::{RetryContext, RetryFailure, RetryPolicy};

use crate::{Retries, StoreOptions};

/// S3 takes no part smaller than this, but the last.
pub(super) const LEAST: usize = 5 << 20;
/// And no more of them.
pub(super) const MOST: u64 = 10_000;
/// What parts have when nothing asks for more.
const USUAL: usize = 8 << 20;
/// The memory when the options do not say.
const MEMORY: usize = 64 << 20;
/// After so many parts of an object of unknown size, the others are as large as the memory allows.
const FEW: u64 = 5_000;

/// All parts but the last have one size, as some stores want it (Cloudflare's R2), if the object stays as large as was expected, or
/// small enough: 40 GiB, and more with more memory than the default. Then comes one step to parts as large as half of the memory, one
/// of which is sent while the next is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// Bytes of each of the first parts.
    size: usize,
    /// Requests at once with these.
    concurrency: usize,
    /// How many these are: those of the expected size, and no fewer than [`FEW`].
    first: u64,
    /// Bytes of each of those after them.
    later: usize,
}

impl Plan {
    /// With the memory and the requests at once of these options.
    ///
    /// # Errors
    /// How much memory it takes, when this is not enough.
    pub(super) fn new(options: &StoreOptions, expected: Option<u64>) -> Result<Self, u64> {
        let memory = if options.memory == 0 { MEMORY } else { options.memory.max(2 * LEAST) };
        let concurrency = options.connections();
        let largest = memory / 2;
        // Whole MiB are easier to read in a list of parts.
        let needed = expected.unwrap_or(0).div_ceil(MOST).next_multiple_of(1 << 20);
        let Some(needed) = usize::try_from(needed).ok().filter(|needed| *needed <= largest) else {
            return Err(needed.saturating_mul(2));
        };
        let size = needed.max(USUAL.min(memory / (concurrency + 1))).max(LEAST);
        let concurrency = concurrency.min(memory / size - 1).max(1);
        let first = expected.unwrap_or(0).div_ceil(size as u64).max(FEW);
        Ok(Self { size, concurrency, first, later: largest })
    }

    /// Bytes of the part of that number, from 0.
    pub(super) const fn size_of(&self, part: u64) -> usize {
        if part < self.first { self.size } else { self.later }
    }

    /// Requests at once when the part of that number is sent.
    pub(super) const fn concurrency_at(&self, part: u64) -> usize {
        if part < self.first || self.later == self.size { self.concurrency } else { 1 }
    }

    /// Whether there is room for the part of that number.
    pub(super) const fn has_room(part: u64) -> bool {
        part < MOST
    }
}

/// A part is tried anew, with a new signature, as long as patience lasts: all that was sent before it would be lost with it.
#[derive(Debug)]
pub(super) struct Patient(pub(super) Retries);

#[async_trait::async_trait]
impl RetryPolicy for Patient {
    async fn retry(&self, context: RetryContext) -> bool {
        let may_pass = match context.failure {
            RetryFailure::Status(status) => {
                matches!(status.as_u16(), 408 | 429 | 500 | 502..=599)
            }
            RetryFailure::Transport(kind) => !matches!(kind, HttpErrorKind::Decode),
            _ => false,
        };
        let attempt = u32::try_from(context.attempt.min(5)).unwrap_or(5);
        let wait = Duration::from_millis(250) * 2_u32.pow(attempt);
        if !may_pass || context.elapsed + wait > self.0.patience {
            return false;
        }
        tokio::time::sleep(wait).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    fn with(memory: usize, concurrency: usize) -> StoreOptions {
        StoreOptions { memory, concurrency, ..StoreOptions::default() }
    }

    #[test]
    fn parts_are_as_large_as_the_object_asks_for_and_the_memory_allows() {
        let plan = |memory, concurrency, expected| Plan::new(&with(memory, concurrency), expected).unwrap();
        let usual = plan(0, 0, None);
        assert_eq!((usual.size, usual.concurrency, usual.later), (8 << 20, 4, 32 << 20));
        assert_eq!((usual.size_of(4_999), usual.size_of(5_000)), (8 << 20, 32 << 20));
        assert_eq!((usual.concurrency_at(4_999), usual.concurrency_at(5_000)), (4, 1));
        let known = plan(0, 0, Some(100 * GIB));
        assert_eq!((known.size, known.first, known.concurrency), (11 << 20, 9_310, 4));
        // What becomes larger than anybody expected has room to.
        assert_eq!((known.size_of(9_309), known.size_of(9_310)), (11 << 20, 32 << 20));
        let small = plan(0, 0, Some(GIB));
        assert_eq!((small.size_of(4_999), small.size_of(5_000)), (8 << 20, 32 << 20));
        assert_eq!((small.concurrency_at(4_999), small.concurrency_at(5_000)), (4, 1));
        assert_eq!(plan(1 << 20, 0, None).size, LEAST);
        assert_eq!(Plan::new(&with(0, 0), Some(1024 * GIB)), Err(210 << 20));
        assert_eq!(plan(512 << 20, 0, Some(1024 * GIB)).size, 105 << 20);
    }

    proptest! {
        #[test]
        fn the_memory_is_kept_and_the_object_fits(
            memory in 0_usize..2 << 30,
            concurrency in 0_usize..64,
            expected in proptest::option::of(0_u64..6 << 40),
        ) {
            let bound = if memory == 0 { MEMORY } else { memory.max(2 * LEAST) };
            match Plan::new(&with(memory, concurrency), expected) {
                Ok(plan) => {
                    for part in [0, FEW - 1, FEW, plan.first - 1, plan.first, MOST - 1] {
                        prop_assert!(plan.size_of(part) >= LEAST);
                        prop_assert!((plan.concurrency_at(part) + 1) * plan.size_of(part) <= bound);
                    }
                    if let Some(expected) = expected {
                        let last = expected.div_ceil(plan.size_of(0) as u64).saturating_sub(1);
                        prop_assert_eq!(plan.size_of(0), plan.size_of(last));
                        prop_assert!(plan.size_of(0) as u64 * MOST >= expected);
                    }
                }
                Err(needed) => {
                    prop_assert!(needed > bound as u64 - 1);
                    prop_assert!(Plan::new(&with(usize::try_from(needed).unwrap(), concurrency), expected).is_ok());
                }
            }
        }
    }
}
