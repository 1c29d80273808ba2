//! What would work, when a restore cannot reach its target: another backup, another timeline, or what was received of a segment
//! that is not complete.

use tapster_catalog::{BackupId, BackupRecord};

use super::archived_wal::{Archive, target_timeline};
use super::reach::Route;
use super::{BackupChoice, RecoveryTarget, RestoreOptions, RestorePlanError, StopPoint, TimelineTarget};
use crate::{Context, Server};

/// Whoever has so many backups is helped by the first that are tried.
const MOST_BACKUPS: usize = 32;

/// A way on which the target can be reached.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RestoreWay {
    /// From this backup.
    pub backup: BackupId,
    /// Along this timeline, when it is not the one that was asked for.
    pub timeline: Option<TimelineTarget>,
    /// With what was received of a segment that is not complete.
    pub partial_wal: bool,
    /// Where recovery stops then.
    pub stop: Option<StopPoint>,
}

impl Server {
    /// Another way to the target of a restore that [`Server::plan_restore`] has refused. Looks at the WAL as far as the target
    /// demands, not at the files of the backups nor at the destination. A restore without a target has none.
    ///
    /// # Errors
    /// When the catalog cannot be read, or somebody asked to stop.
    pub fn other_way(
        &self,
        options: &RestoreOptions,
        context: &Context<'_>,
    ) -> Result<Option<RestoreWay>, RestorePlanError> {
        if matches!(options.target, RecoveryTarget::End) {
            return Ok(None);
        }
        let points = self.points(&options.target, context)?;
        if points.as_ref().is_some_and(|points| points.problem.is_some() || points.stops().next().is_none()) {
            return Ok(None);
        }
        let mut records = self.catalog.records()?;
        let going = self.catalog.deletions_in_progress()?;
        records.retain(|record| record.status.is_copied() && !going.contains(&record.id));
        records.sort_by_key(|record| std::cmp::Reverse(record.end_time));
        if let BackupChoice::Record(chosen) = &options.backup {
            records.sort_by_key(|record| record.id != chosen.id);
        }
        for record in records.iter().take(MOST_BACKUPS) {
            let archive = match Archive::read(self, record, context) {
                Ok(archive) => archive,
                Err(RestorePlanError::Stopped) => return Err(RestorePlanError::Stopped),
                Err(_) => continue,
            };
            for changed in variants(options, record, &archive) {
                let route = Route::new(self, record, &changed);
                match archive.reach(route, points.as_ref(), context) {
                    // Where nobody can tell, this is no way either.
                    Ok(reached) if reached.stop.is_some() && reached.wal.gap.is_none() => {
                        return Ok(Some(RestoreWay {
                            backup: record.id,
                            timeline: changed.timeline.filter(|_| changed.timeline != options.timeline),
                            partial_wal: changed.partial_wal && !options.partial_wal,
                            stop: reached.stop,
                        }));
                    }
                    Err(RestorePlanError::Stopped) => return Err(RestorePlanError::Stopped),
                    _ => {}
                }
            }
        }
        Ok(None)
    }
}

/// What was asked for, and then with other timelines, the newest first; each without and with what is not complete.
fn variants(options: &RestoreOptions, record: &BackupRecord, archive: &Archive<'_>) -> Vec<RestoreOptions> {
    let asked = target_timeline(record, options, true);
    let known = archive.histories.keys().rev().copied().chain(record.timeline).map(TimelineTarget::Number);
    let timelines = known.map(Some).filter(|timeline| *timeline != Some(asked));
    let with = |timeline, partial| {
        let mut changed = options.clone();
        changed.timeline = timeline;
        changed.partial_wal |= partial;
        changed
    };
    [options.timeline]
        .into_iter()
        .chain(timelines)
        .flat_map(|timeline| [with(timeline, false), with(timeline, true)])
        .collect()
}
