//! Taking down what a record says.

use walfile::Lsn;
use walfile::record::{RecordHeader, RelFile, parts};
use walfile::rmgr::{Payload, Rmgr, Transaction};

use super::summary::{Point, SegmentContent};

/// Points of one segment that are listed one by one.
const MAX_POINTS: usize = 64;

impl SegmentContent {
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
