//! What is known about one segment.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use walfile::record::{RecordHeader, RelFile, Timestamp, Xid, parts};
use walfile::rmgr::{Payload, Rmgr, Transaction};
use walfile::{Lsn, SegmentName, Timeline};

/// Relation files of one segment that are listed one by one.
const MAX_REMOVED: usize = 128;
/// Points of one segment that are listed one by one.
const MAX_POINTS: usize = 64;

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
    fn add(&mut self, file: RelFile) {
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

    /// Adds a record.
    pub(super) fn note(&mut self, lsn: Lsn, header: &RecordHeader, body: &[u8], major: u16) {
        self.records = self.records.saturating_add(1);
        if self.first.is_invalid() {
            self.first = lsn;
        }
        self.last = lsn;
        if !matters(header) {
            return;
        }
        let Ok(parts) = parts(body, major, 8192) else {
            self.undecoded = true;
            return;
        };
        match Payload::read(header, parts.main, major) {
            Ok(payload) => self.note_payload(lsn, &payload),
            Err(_) => self.undecoded = true,
        }
    }

    fn note_payload(&mut self, lsn: Lsn, payload: &Payload<'_>) {
        match payload {
            Payload::Commit(end) | Payload::CommitPrepared(end) => {
                self.commits = self.commits.saturating_add(1);
                let (low, high) = self.commit_times.unwrap_or((end.time, end.time));
                self.commit_times = Some((low.min(end.time), high.max(end.time)));
                self.note_end(end);
                end.dropped.iter().for_each(|file| self.removed.add(file));
            }
            Payload::Abort(end) | Payload::AbortPrepared(end) => {
                self.aborts = self.aborts.saturating_add(1);
                self.note_end(end);
            }
            Payload::Prepare(end) => {
                self.prepares = self.prepares.saturating_add(1);
                self.note_end(end);
            }
            Payload::FileTruncate(cut) => self.removed.add(cut.relation),
            Payload::DatabaseDrop(drop) => drop.tablespaces.iter().for_each(|tablespace| {
                self.removed.add(RelFile { tablespace, database: drop.database, number: 0 });
            }),
            Payload::RestorePoint(point) => {
                self.point(Point::Restore { lsn, time: point.time, name: point.name.to_vec() });
            }
            Payload::CheckpointShutdown(at) | Payload::CheckpointOnline(at) => {
                self.point(Point::Checkpoint { lsn, time: at.time, redo: at.redo });
                if at.timeline != at.previous_timeline {
                    let (timeline, previous) = (at.timeline, at.previous_timeline);
                    self.point(Point::Timeline { lsn, time: at.time, timeline, previous });
                }
            }
            Payload::EndOfRecovery(end) if end.timeline != end.previous_timeline => {
                let (timeline, previous) = (end.timeline, end.previous_timeline);
                self.point(Point::Timeline { lsn, time: end.time, timeline, previous });
            }
            _ => {}
        }
    }

    fn note_end(&mut self, end: &Transaction<'_>) {
        for xid in [end.xid].into_iter().chain(end.subtransactions.iter()) {
            // A transaction that wrote nothing else may have none.
            if !xid.is_invalid() {
                let (low, high) = self.xids.unwrap_or((xid, xid));
                self.xids = Some((low.min(xid), high.max(xid)));
            }
        }
    }

    fn point(&mut self, point: Point) {
        if self.points.len() < MAX_POINTS {
            self.points.push(point);
        } else {
            self.more_points = true;
        }
    }
}

/// Whether a record says something that a summary holds.
pub(super) fn matters(header: &RecordHeader) -> bool {
    match header.rmgr {
        Rmgr::XLOG => matches!(header.kind(), 0x00 | 0x10 | 0x70 | 0x90),
        Rmgr::TRANSACTION => true,
        Rmgr::STORAGE => header.kind() == 0x20,
        Rmgr::DATABASE => true,
        _ => false,
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
