//! The records that recovery of a backup looks for in the log, besides that it has no gap: the backup's checkpoint, from which
//! it starts (`InitWalRecovery` in `xlogrecovery.c`), and the one with which the backup ended (`XLOG_BACKUP_END`).

use std::collections::{BTreeMap, BTreeSet};

use walfile::rmgr::Payload;
use walfile::{Lsn, Record};

use super::backup::BackupProblem;
use super::start::Start;

/// Since this major a checkpoint's redo point is a record of its own.
const MAJOR_OF_REDO_RECORDS: u16 = 17;

/// The landmarks that were found, of the backups that begin at some positions. There are never more of them than backups.
#[derive(Clone, Debug, Default)]
pub(super) struct Landmarks {
    /// By redo point.
    checkpoints: BTreeMap<Lsn, FoundCheckpoint>,
    /// Redo points that are records.
    redo_records: BTreeSet<Lsn>,
    /// Where the first record ends that ends a backup which began at the key.
    ends: BTreeMap<Lsn, Lsn>,
}

#[derive(Clone, Copy, Debug)]
struct FoundCheckpoint {
    at: Lsn,
    major: u16,
}

impl Landmarks {
    pub(super) const fn new() -> Self {
        Self { checkpoints: BTreeMap::new(), redo_records: BTreeSet::new(), ends: BTreeMap::new() }
    }

    /// Notes the record if it is one of a backup that begins at one of `begins`, which are in order.
    pub(super) fn note(&mut self, record: &Record<'_>, payload: &Payload<'_>, begins: &[Lsn]) {
        let is_wanted = |begin: &Lsn| begins.binary_search(begin).is_ok();
        match payload {
            Payload::CheckpointShutdown(checkpoint) | Payload::CheckpointOnline(checkpoint)
                if is_wanted(&checkpoint.redo) =>
            {
                let found = FoundCheckpoint { at: record.lsn, major: record.major() };
                self.checkpoints.entry(checkpoint.redo).or_insert(found);
            }
            Payload::CheckpointRedo(_) if is_wanted(&record.lsn) => {
                self.redo_records.insert(record.lsn);
            }
            Payload::BackupEnd(begin) if is_wanted(begin) => {
                self.ends.entry(*begin).or_insert(record.end);
            }
            _ => {}
        }
    }

    /// Adds those of the log that follows.
    pub(super) fn add(&mut self, later: Self) {
        for (redo, found) in later.checkpoints {
            self.checkpoints.entry(redo).or_insert(found);
        }
        self.redo_records.extend(later.redo_records);
        for (begin, end) in later.ends {
            self.ends.entry(begin).or_insert(end);
        }
    }

    /// What recovery of a backup would miss. All of its log was read.
    pub(super) fn problems(&self, begin: Lsn, consistent: Lsn, start: &Start) -> Vec<BackupProblem> {
        let mut problems = Vec::new();
        match self.checkpoints.get(&begin) {
            Some(found) if start.checkpoint.is_none_or(|expected| expected == found.at) => {
                let is_redo_missing = found.major >= MAJOR_OF_REDO_RECORDS
                    && found.at != begin
                    && !self.redo_records.contains(&begin);
                if is_redo_missing {
                    problems.push(BackupProblem::RedoRecord { at: begin });
                }
            }
            found => problems.push(BackupProblem::Checkpoint {
                redo: begin,
                expected: start.checkpoint,
                found: found.map(|found| found.at),
            }),
        }
        if start.ends_with_record {
            let found = self.ends.get(&begin).copied();
            if found.is_none_or(|end| end > consistent) {
                problems.push(BackupProblem::End { begin, expected: consistent, found });
            }
        }
        problems
    }
}
