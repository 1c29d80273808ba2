//! What matters of one record when a line is verified.

use time::OffsetDateTime;
use walfile::rmgr::{Payload, Rmgr};
use walfile::{Lsn, Record, Timeline};

use super::landmarks::Landmarks;
use super::report::Commit;

/// What matters of a record.
pub(super) struct Seen {
    pub(super) lsn: Lsn,
    pub(super) end: Lsn,
    pub(super) timeline: Timeline,
    pub(super) bytes: u64,
    /// A server may write it before it declares the end of recovery.
    pub(super) is_early: bool,
    pub(super) commit: Option<Commit>,
    /// The timeline that it names, and the one before.
    pub(super) change: Option<(Timeline, Timeline)>,
}

impl Seen {
    /// What matters of it. Landmarks of backups that begin at one of `begins` are noted.
    pub(super) fn of(record: &Record<'_>, landmarks: &mut Landmarks, begins: &[Lsn]) -> Self {
        let mut seen = Self {
            lsn: record.lsn,
            end: record.end,
            timeline: record.timeline,
            bytes: record.header.total_len.into(),
            is_early: false,
            commit: None,
            change: None,
        };
        match record.header.rmgr {
            Rmgr::TRANSACTION => seen.commit = commit(record),
            Rmgr::XLOG => match record.type_name() {
                // Images of single pages, of which there are many.
                Some("FPI" | "FPI_FOR_HINT") => {}
                name => {
                    seen.is_early = matches!(name, Some("FPW_CHANGE" | "OVERWRITE_CONTRECORD"));
                    if let Ok(payload) = record.payload() {
                        landmarks.note(record, &payload, begins);
                        seen.change = timelines(&payload);
                    }
                }
            },
            _ => {}
        }
        seen
    }
}

/// The timeline that a record names, and the one before.
const fn timelines(payload: &Payload<'_>) -> Option<(Timeline, Timeline)> {
    match payload {
        Payload::CheckpointShutdown(checkpoint) => Some((checkpoint.timeline, checkpoint.previous_timeline)),
        Payload::EndOfRecovery(end) => Some((end.timeline, end.previous_timeline)),
        _ => None,
    }
}

fn commit(record: &Record<'_>) -> Option<Commit> {
    let (Payload::Commit(commit) | Payload::CommitPrepared(commit)) = record.payload().ok()? else {
        return None;
    };
    let nanos = i128::from(commit.time.unix_micros()) * 1000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
    Some(Commit { lsn: record.lsn, xid: commit.xid, time })
}

/// Where the records before a timeline's first one end.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// The end of the last record.
    end: Option<Lsn>,
    /// The end of the last one that is not of a kind that a server may write before it declares the end of recovery.
    replayed: Option<Lsn>,
}

impl Before {
    /// Goes on to where a record ends, which may be of a kind that comes before the end of recovery is declared.
    pub(super) fn add(&mut self, end: Option<Lsn>, is_early: bool) {
        self.end = end;
        if !is_early {
            self.replayed = end;
        }
    }

    /// Whether the log of the parent can end at `switch` when the record that says so begins at `lsn`.
    pub(super) fn may_end_at(&self, switch: Lsn, lsn: Lsn) -> bool {
        match (self.end, self.replayed) {
            (None, _) => switch <= lsn && lsn.get() - switch.get() <= MOST_BEFORE,
            (end, replayed) => end == Some(switch) || replayed == Some(switch),
        }
    }
}

/// A page header and the records that a server may write before it declares the end of recovery.
const MOST_BEFORE: u64 = 160;
