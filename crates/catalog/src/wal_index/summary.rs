//! What is known about one segment.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use walfile::record::{RelFile, Timestamp, Xid};
use walfile::{Lsn, SegmentName, Timeline};

/// Relation files of one segment that are listed one by one.
const MAX_REMOVED: usize = 128;

/// One segment of the archive: which file it was read from, and what is in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SegmentSummary {
    /// The segment.
    pub name: SegmentName,
    /// The file it was read from.
    pub stored: StoredFile,
    /// What is in it.
    pub content: SegmentContent,
}

/// By what a file is recognised.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StoredFile {
    /// Bytes as stored.
    pub size: u64,
    /// Modification time: seconds since 1970.
    pub seconds: i64,
    /// And nanoseconds.
    pub nanoseconds: i64,
}

impl From<&Metadata> for StoredFile {
    fn from(metadata: &Metadata) -> Self {
        Self { size: metadata.len(), seconds: metadata.mtime(), nanoseconds: metadata.mtime_nsec() }
    }
}

/// How much of a segment could be read.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Completeness {
    /// All of it.
    Whole,
    /// Up to a position that is not its end: recovery would end there.
    UpTo,
    /// Nothing: it is encrypted, or no WAL.
    #[default]
    Nothing,
}

/// Something in a segment that has a place of its own.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Point {
    /// A restore point.
    Restore {
        /// Where its record begins.
        lsn: Lsn,
        /// When it was made.
        time: Timestamp,
        /// Its name.
        name: Vec<u8>,
    },
    /// A checkpoint.
    Checkpoint {
        /// Where its record begins.
        lsn: Lsn,
        /// When it was made; whole seconds.
        time: Timestamp,
        /// Where replay begins from it.
        redo: Lsn,
    },
    /// A timeline begins here, and with it ends the one before.
    Timeline {
        /// Where the record that says so begins.
        lsn: Lsn,
        /// When.
        time: Timestamp,
        /// The timeline that begins.
        timeline: Timeline,
        /// The one that ends.
        previous: Timeline,
    },
}

/// The relation files that commits in a segment removed, by `DROP`, `TRUNCATE` or a rewrite, or cut off. A whole database
/// stands as its file with number zero.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RemovedFiles {
    /// Each one, unless there were too many.
    pub files: Vec<RelFile>,
    /// The lowest and the highest number of all, when they were too many.
    pub range: Option<(u32, u32)>,
}

impl RemovedFiles {
    pub(super) fn add(&mut self, file: RelFile) {
        if let Some((low, high)) = &mut self.range {
            (*low, *high) = ((*low).min(file.number), (*high).max(file.number));
        } else if self.files.len() < MAX_REMOVED {
            if !self.files.contains(&file) {
                self.files.push(file);
            }
        } else if !self.files.contains(&file) {
            self.range = Some((file.number, file.number));
            for file in std::mem::take(&mut self.files) {
                self.add(file);
            }
        }
    }

    /// Whether one of them may match; never `false` for one that does.
    pub fn may_contain(&self, matches: impl FnMut(&RelFile) -> bool, number: u32) -> bool {
        // A file of a dropped database has any number.
        self.range.is_some_and(|(low, high)| low == 0 || (low..=high).contains(&number))
            || self.files.iter().any(matches)
    }
}

/// What the records that begin in a segment say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SegmentContent {
    /// How much could be read.
    pub completeness: Completeness,
    /// The major release that wrote it; 0 when nothing could be read.
    pub major: u16,
    /// Where the readable part ends.
    pub valid_to: Lsn,
    /// Where the first record begins; [`Lsn::INVALID`] without one.
    pub first: Lsn,
    /// Where the last record begins that is known; [`Lsn::INVALID`] without one.
    pub last: Lsn,
    /// Whole records.
    pub records: u32,
    /// Commits, those of prepared transactions included.
    pub commits: u32,
    /// Rollbacks.
    pub aborts: u32,
    /// Prepared transactions.
    pub prepares: u32,
    /// The earliest and the latest time of a commit, which need not be the first and the last commit.
    pub commit_times: Option<(Timestamp, Timestamp)>,
    /// The lowest and the highest transaction that is prepared or ends here, subtransactions included.
    pub xids: Option<(Xid, Xid)>,
    /// Relation files that went.
    pub removed: RemovedFiles,
    /// Restore points, checkpoints, timelines.
    pub points: Vec<Point>,
    /// There are more points than are listed.
    pub more_points: bool,
    /// Something here could not be decoded, so it may hold anything.
    pub undecoded: bool,
    /// Bytes at the start that belong to a record of an earlier segment.
    pub head_length: u32,
    /// Those bytes when they are few, else the first of them.
    pub head: Vec<u8>,
    /// Where the record begins that goes on in the next segment, when it may be one that matters.
    pub tail_lsn: Option<Lsn>,
    /// What is here of it, when that is little.
    pub tail: Vec<u8>,
}

impl SegmentContent {
    /// Whether something may be in the segment that the summary does not tell.
    pub const fn is_uncertain(&self) -> bool {
        self.undecoded || self.tail_lsn.is_some()
    }

    /// Whether a commit at a time in this range may be here.
    pub fn may_commit_between(&self, from: Timestamp, to: Timestamp) -> bool {
        self.is_uncertain() || self.commit_times.is_some_and(|(low, high)| low <= to && from <= high)
    }

    /// Whether this transaction may be prepared or end here.
    pub fn may_end(&self, xid: Xid) -> bool {
        self.is_uncertain() || self.xids.is_some_and(|(low, high)| (low..=high).contains(&xid))
    }

    /// Whether a restore point of this name may be here.
    pub fn may_have_restore_point(&self, wanted: &[u8]) -> bool {
        let is_it = |point: &Point| matches!(point, Point::Restore { name, .. } if name == wanted);
        self.is_uncertain() || self.more_points || self.points.iter().any(is_it)
    }

    /// Whether a relation file may go here.
    pub fn may_remove(&self, matches: impl FnMut(&RelFile) -> bool, number: u32) -> bool {
        self.is_uncertain() || self.removed.may_contain(matches, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use walfile::record::Oid;

    #[test]
    fn many_removed_files_become_a_range_that_forgets_none() {
        let file = |number| RelFile { tablespace: Oid::new(1663), database: Oid::new(5), number };
        let mut removed = RemovedFiles::default();
        for number in (0..128).chain(0..10) {
            removed.add(file(50_000 + number));
        }
        assert_eq!((removed.files.len(), removed.range), (MAX_REMOVED, None));
        assert!(removed.may_contain(|f| f.number == 50_003, 50_003));
        assert!(!removed.may_contain(|f| f.number == 49_999, 49_999));
        removed.add(file(60_000));
        assert_eq!((removed.files.len(), removed.range), (0, Some((50_000, 60_000))));
        assert!(removed.may_contain(|_| false, 55_000) && !removed.may_contain(|_| false, 60_001));
        removed.add(file(0));
        assert!(removed.may_contain(|_| false, 60_001));
    }
}
