//! Where the log of a plan ends inside its last segment: the names of files say no more than which segments there are.
//!
//! For a target position PostgreSQL needs a record that begins there or later (`recoveryStopsBefore` and `recoveryStopsAfter`
//! in `xlogrecovery.c`); since release 13 recovery fails when the log ends before one comes.

use walfile::{ArchiveReader, ArchiveStop, Lsn};

use super::archived_wal::Archive;
use super::reach::{Reached, Route};
use super::time_reach::Planned;
use super::{RestorePlanError, StopAt, WalPlanError};
use crate::Context;

/// Records between two looks at the stop flag.
const RECORDS_BETWEEN_LOOKS: u32 = 4096;

/// What was found from some position on.
struct Found {
    /// The log goes on there, or begins a record that is not whole.
    end: Lsn,
    /// Where the last whole record begins.
    last: Option<Lsn>,
    /// Whether what comes after is not there yet, and not merely unreadable here.
    is_end: bool,
}

impl Archive<'_> {
    /// That the last bytes of the plan are enough for the backup to become consistent, and for a target position.
    pub(super) fn check_end(
        &self,
        route: Route<'_>,
        reached: &mut Reached,
        context: &Context<'_>,
    ) -> Result<(), RestorePlanError> {
        // More can come.
        if route.is_open() {
            return Ok(());
        }
        let consistent = route.record.end_xlog.unwrap_or_default();
        if let Some(segment) = reached.wal.partial.filter(|_| reached.wal.reach < consistent) {
            let found = self.read_to(route, reached, consistent, context)?;
            if found.is_end && found.end < consistent {
                return Err(WalPlanError::Inconsistent { segment, consistent }.into());
            }
        }
        let Some(target) = reached.stop.filter(|stop| stop.what == StopAt::Position).map(|stop| stop.lsn)
        else {
            return Ok(());
        };
        let found = self.read_to(route, reached, target, context)?;
        if !found.is_end || found.last.is_some_and(|last| last >= target) {
            return Ok(());
        }
        let Some(missing) = self.next_after(&reached.wal) else { return Ok(()) };
        let last = match found.last {
            Some(last) => Some(last),
            None => self.last_record(route, context)?,
        };
        let last = last.filter(|last| *last >= consistent);
        let beyond = RestorePlanError::LsnBeyondArchive { target, reach: found.end, missing, last };
        if route.record.version.is_some_and(|version| version < 130_000) {
            reached.warnings.push(format!(
                "{beyond}; before PostgreSQL 13, recovery ends with the archive as if there were no target"
            ));
            return Ok(());
        }
        Err(beyond)
    }

    /// Reads from the beginning of the segment that holds `target` to the first record that begins there or later.
    fn read_to(
        &self,
        route: Route<'_>,
        reached: &Reached,
        target: Lsn,
        context: &Context<'_>,
    ) -> Result<Found, RestorePlanError> {
        let begin = route.record.begin_xlog.unwrap_or_default();
        let from = target.segment_start(self.size).max(begin);
        let archive = Planned { store: &self.store, wal: &reached.wal };
        let mut reader = ArchiveReader::with_history(archive, self.history(&reached.wal), from)
            .with_segment_size(self.size);
        let (mut last, mut count) = (None, 0_u32);
        while let Some(record) = reader.next_record() {
            last = Some(record.lsn);
            if record.lsn >= target {
                return Ok(Found { end: record.lsn, last, is_end: false });
            }
            count = count.wrapping_add(1);
            if count.is_multiple_of(RECORDS_BETWEEN_LOOKS) && context.stopped() {
                return Err(RestorePlanError::Stopped);
            }
        }
        let ended = reader.into_end();
        let is_end = ended
            .as_ref()
            .is_some_and(|ended| matches!(ended.stop, ArchiveStop::Missing { .. } | ArchiveStop::Log(_)));
        Ok(Found { end: ended.map_or(from, |ended| ended.at), last, is_end })
    }
}
