//! Where the target lies that only the WAL itself knows: a restore point, the end of a transaction.

use std::sync::Arc;

use walfile::record::Xid;
use walfile::{Lsn, TimelineHistory};

use super::{RecoveryTarget, RestorePlanError, WalPlan};
use crate::wal_find::{FoundPoint, FoundWhat, WalFindError, WalFindOptions, WalTarget};
use crate::{Context, Server};

impl Server {
    /// The record before the end of `wal` that recovery would stop at, searched with the index of the archive. `None` also for
    /// other targets, and when the archive cannot be searched.
    ///
    /// # Errors
    /// When the user asked to stop.
    pub(super) fn stop_point(
        &self,
        target: &RecoveryTarget,
        begin: Lsn,
        wal: &WalPlan,
        history: &Arc<TimelineHistory>,
        context: &Context<'_>,
    ) -> Result<Option<Lsn>, RestorePlanError> {
        let wanted = match target {
            RecoveryTarget::Name(name) => WalTarget::RestorePoint(name.clone()),
            // PostgreSQL takes the lower half of a number with an epoch.
            RecoveryTarget::Xid(xid) => {
                WalTarget::Xid(Xid::new(u32::try_from(xid & 0xFFFF_FFFF).unwrap_or_default()))
            }
            _ => return Ok(None),
        };
        let found = match self.find_wal(&WalFindOptions::new(wanted.clone()), context) {
            Ok(report) => report.found,
            Err(WalFindError::Stopped) => return Err(RestorePlanError::Stopped),
            Err(error) => {
                tracing::warn!(server = self.name(), "the target cannot be searched for: {error}");
                return Ok(None);
            }
        };
        let stops = |point: &&FoundPoint| {
            point.lsn >= begin
                && point.end <= wal.reach
                && history.timeline_at(point.lsn) == point.timeline
                && match (&wanted, &point.what) {
                    // Not at subtransactions, and not where a transaction is only prepared.
                    (WalTarget::Xid(xid), FoundWhat::Commit { .. } | FoundWhat::Abort { .. }) => {
                        point.xid == Some(*xid)
                    }
                    (_, FoundWhat::RestorePoint { .. }) => true,
                    _ => false,
                }
        };
        Ok(found.iter().filter(stops).map(|point| point.lsn).min())
    }
}
