//! How far the WAL takes a backup.

use tapster_catalog::{BackupRecord, ServerLayout};

use super::Position;
use super::backup::BackupReach;
use super::start::Start;
use super::work::Verified;

/// How far the WAL takes a backup: along the line on whose way it lies. `None` when its record does not say where it is.
pub(super) fn of(record: &BackupRecord, layout: &ServerLayout, lines: &[Verified]) -> Option<BackupReach> {
    let Position { timeline, begin, consistent } = Position::of(record)?;
    let start = Start::of(record, layout);
    let consistent = start.min_recovery_point.map_or(consistent, |point| point.max(consistent));
    let mut problems = Vec::new();
    let found = lines
        .iter()
        .filter(|verified| verified.line.history.timeline_at(begin) == timeline)
        .flat_map(|verified| verified.found.ranges.iter().map(move |range| (verified, range)))
        .find(|(_, range)| range.start <= begin && consistent <= range.end);
    if let Some((verified, _)) = found {
        problems = verified.landmarks.problems(begin, consistent, &start);
    }
    problems.extend(start.problems);
    let reach = found.map(|(_, range)| *range);
    Some(BackupReach { id: record.id, begin, consistent, reach, problems })
}
