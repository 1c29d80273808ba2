//! What changed in a cluster.

use std::collections::HashMap;
use std::fmt;

use crate::changed_blocks::ForkChanges;
use crate::record::{Fork, Oid, RelFile};

/// A fork of a relation. Ordered as PostgreSQL orders them in a summary: by tablespace, database, file, fork.
///
/// `Display` gives `pg_walsummary`'s form, such as `TS 1663, DB 5, REL 16384, FORK main`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ForkId {
    /// The relation's file. With file number zero it stands for all the relations of the database in that tablespace.
    pub relation: RelFile,
    /// The fork.
    pub fork: Fork,
}

impl fmt::Display for ForkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RelFile { tablespace, database, number } = self.relation;
        write!(f, "TS {tablespace}, DB {database}, REL {number}, FORK {}", self.fork)
    }
}

/// Which blocks of a cluster changed in a range of its log, and which files were cut or written anew.
///
/// It is filled by [`ChangedBlocks::apply`] record by record, or read from a summary of PostgreSQL 17 and later.
/// Two are equal when they say the same.
///
/// Memory: for each changed fork at most 16 KiB per 65536 blocks of which one is changed.
#[derive(Clone, Debug, Default)]
pub struct ChangedBlocks {
    forks: Vec<(ForkId, ForkChanges)>,
    index: HashMap<ForkId, usize>,
    recent: Recent,
}

/// How much of a fork must be copied to have what it is at the end of the range, given what it was at the beginning;
/// by [`ChangedBlocks::changes`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Changes<'a> {
    /// Nothing.
    None,
    /// What is said to be changed, and everything from the limit block on.
    Blocks(&'a ForkChanges),
    /// All of it, because the log does not tell enough, or the whole database was created or moved here.
    Whole,
}

impl ChangedBlocks {
    /// Nothing changed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that the block was changed.
    #[inline]
    pub fn mark(&mut self, fork: ForkId, block: u32) {
        self.with(fork, |changes| changes.mark(block));
    }

    /// Notes that the fork had only this many blocks: see [`ForkChanges::set_limit`].
    pub fn set_limit(&mut self, fork: ForkId, blocks: u32) {
        self.with(fork, |changes| changes.set_limit(blocks));
    }

    /// Adds what changed in a range of the log that follows this one's.
    pub fn merge(&mut self, later: &Self) {
        for (id, changes) in &later.forks {
            self.merge_fork(*id, changes);
        }
    }

    /// Adds what changed in one fork in a range of the log that follows this one's.
    pub fn merge_fork(&mut self, fork: ForkId, later: &ForkChanges) {
        self.with(fork, |changes| changes.merge(later));
    }

    /// Replaces what is known of one fork.
    pub(super) fn insert(&mut self, fork: ForkId, changes: ForkChanges) {
        self.with(fork, |entry| *entry = changes);
    }

    /// How many forks are known to be changed.
    pub const fn len(&self) -> usize {
        self.forks.len()
    }

    /// Whether nothing is known to be changed.
    pub const fn is_empty(&self) -> bool {
        self.forks.is_empty()
    }

    /// What is known of this fork alone; see [`ChangedBlocks::changes`] for what follows from it and from others.
    pub fn get(&self, fork: ForkId) -> Option<&ForkChanges> {
        self.index.get(&fork).and_then(|at| self.forks.get(*at)).map(|(_, changes)| changes)
    }

    /// How much of the fork must be copied. That is more than what a summary says of the fork: no release logs which
    /// block of a visibility map it clears bits in, only that the table's block is no longer all visible.
    /// So the map, which has one block for 32672 of the table, is copied with any change of the table.
    ///
    /// What is not in the log cannot be known: of an unlogged relation only the `init` fork is meant.
    pub fn changes(&self, fork: ForkId) -> Changes<'_> {
        let RelFile { tablespace, database, .. } = fork.relation;
        let known = self.get(fork);
        let whole = match fork.fork {
            // The free space map is not fully logged.
            Fork::FreeSpace => true,
            Fork::Visibility => known.is_some() || self.get(ForkId { fork: Fork::Main, ..fork }).is_some(),
            Fork::Main | Fork::Init => false,
        };
        if whole || self.get(whole_database(tablespace, database)).is_some() {
            return Changes::Whole;
        }
        known.map_or(Changes::None, Changes::Blocks)
    }

    /// The forks, ordered.
    pub fn forks(&self) -> impl ExactSizeIterator<Item = (&ForkId, &ForkChanges)> {
        let mut sorted: Vec<_> = self.forks.iter().map(|(id, changes)| (id, changes)).collect();
        sorted.sort_unstable_by_key(|(id, _)| **id);
        sorted.into_iter()
    }

    #[inline]
    fn with(&mut self, fork: ForkId, change: impl FnOnce(&mut ForkChanges)) {
        if let Some((id, changes)) = self.forks.get_mut(self.recent.get(fork))
            && *id == fork
        {
            change(changes);
            return;
        }
        let next = self.forks.len();
        let at = *self.index.entry(fork).or_insert(next);
        if at == next {
            self.forks.push((fork, ForkChanges::new()));
        }
        self.recent.set(fork, at);
        if let Some((_, changes)) = self.forks.get_mut(at) {
            change(changes);
        }
    }
}

/// Where the forks are that were seen last: the log comes back to few of them, and the map's hash, which nobody can
/// make collide, costs more than all the rest of noting a block.
#[derive(Clone, Debug)]
struct Recent([usize; 64]);

impl Default for Recent {
    fn default() -> Self {
        Self([usize::MAX; 64])
    }
}

impl Recent {
    #[inline]
    const fn slot(fork: ForkId) -> usize {
        let number = fork.relation.number;
        ((number ^ number >> 6) as usize + 21 * fork.fork as usize) % 64
    }

    #[inline]
    fn get(&self, fork: ForkId) -> usize {
        self.0.get(Self::slot(fork)).copied().unwrap_or(usize::MAX)
    }

    fn set(&mut self, fork: ForkId, at: usize) {
        if let Some(slot) = self.0.get_mut(Self::slot(fork)) {
            *slot = at;
        }
    }
}

/// The entry under which a database's creation and removal in a tablespace are noted.
pub(super) fn whole_database(tablespace: Oid, database: Oid) -> ForkId {
    ForkId { relation: RelFile { tablespace, database, number: 0 }, fork: Fork::Main }
}

impl PartialEq for ChangedBlocks {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.forks.iter().all(|(id, changes)| other.get(*id) == Some(changes))
    }
}

impl Eq for ChangedBlocks {}
