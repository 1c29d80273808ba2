//! What the archive's names tell: its newest segment, its holes, and from where to where recovery can go.

use tapster_catalog::wal_store::{RunsCache, SegmentRuns};
use tapster_catalog::{BackupRecord, BackupStatus};
use time::OffsetDateTime;
use walfile::{Lsn, SegmentNo, SegmentSize, Timeline};

use super::{ArchiveMetrics, ArchivedPoint, RecoverablePoint};
use crate::Server;
use crate::wal_verify::{WalVerifyError, first_size, way_of};

impl Server {
    pub(super) fn archive_metrics(
        &self,
        records: &[BackupRecord],
        cache: &mut RunsCache,
    ) -> Result<ArchiveMetrics, WalVerifyError> {
        let store = self.wal_store();
        let size = match records.iter().rfind(|record| record.status.is_copied()) {
            Some(record) => record.segment_size(),
            None => match first_size(&store)? {
                Some(size) => size,
                None => {
                    return Ok(ArchiveMetrics {
                        gaps: Some(0),
                        missing: Some(0),
                        ..ArchiveMetrics::default()
                    });
                }
            },
        };
        let store = store.with_segment_size(size);
        let archived = store.archived_runs(size, cache)?;
        let mut metrics =
            ArchiveMetrics { last: self.last_archived(&archived, size), ..ArchiveMetrics::default() };
        let complete = || records.iter().filter(|record| record.status == BackupStatus::Done);
        let oldest = complete().min_by_key(|record| record.begin_xlog);
        let newest = complete().max_by_key(|record| record.begin_xlog);
        if let Some((_, runs)) = way_of(&store, size, &archived, oldest)? {
            let begin = oldest.and_then(|record| record.begin_xlog).map(|begin| begin.segment(size));
            let (gaps, missing) = holes(begin, &runs);
            metrics.gaps = Some(gaps);
            metrics.missing = Some(missing);
        }
        metrics.oldest_recoverable =
            oldest.and_then(|record| Some(RecoverablePoint { lsn: record.end_xlog?, time: record.end_time }));
        if let Some(record) = newest
            && let (Some(end), Some((timeline, runs))) =
                (record.end_xlog, way_of(&store, size, &archived, newest)?)
        {
            let at_least = RecoverablePoint { lsn: end, time: record.end_time };
            let further = reached(record, &runs, size).filter(|last| last.end(size) > end).map(|last| {
                let time = self.written(&archived, timeline, last, size);
                RecoverablePoint { lsn: last.end(size), time: time.or(record.end_time) }
            });
            metrics.newest_recoverable = Some(further.unwrap_or(at_least));
        }
        Ok(metrics)
    }

    fn last_archived(&self, archived: &SegmentRuns, size: SegmentSize) -> Option<ArchivedPoint> {
        let (timeline, runs) = archived.iter().next_back()?;
        let last = runs.last()?.last;
        let time = self.written(archived, *timeline, last, size);
        Some(ArchivedPoint { timeline: *timeline, end: last.end(size), time })
    }

    /// When the server wrote the segment: its file in the archive keeps the time. `newest` is the timeline on which the way
    /// ends; the segment may be an ancestor's.
    fn written(
        &self,
        archived: &SegmentRuns,
        newest: Timeline,
        number: SegmentNo,
        size: SegmentSize,
    ) -> Option<OffsetDateTime> {
        let holds = |timeline: &Timeline| {
            let runs = archived.get(timeline)?;
            runs.iter().any(|run| run.first <= number && number <= run.last).then_some(*timeline)
        };
        let timeline = archived.range(..=newest).rev().find_map(|(timeline, _)| holds(timeline))?;
        let path = self.layout().wal(number.name(timeline, size).into());
        path.metadata().ok()?.modified().ok().map(OffsetDateTime::from)
    }
}

/// How many holes there are between the runs, which are in order, and from `begin` on to the first; and how many segments are
/// missing in them.
fn holes(begin: Option<SegmentNo>, runs: &[(SegmentNo, SegmentNo)]) -> (u64, u64) {
    let mut next = begin;
    let (mut gaps, mut missing) = (0, 0);
    for (first, last) in runs {
        if let Some(next) = next.filter(|next| next < first) {
            gaps += 1;
            missing += first.get() - next.get();
        }
        next = last.next();
    }
    (gaps, missing)
}

/// The last segment that recovery of `record` can read.
fn reached(record: &BackupRecord, runs: &[(SegmentNo, SegmentNo)], size: SegmentSize) -> Option<SegmentNo> {
    let begin = record.begin_xlog.map(|begin: Lsn| begin.segment(size))?;
    runs.iter().find(|(first, last)| *first <= begin && begin <= *last).map(|(_, last)| *last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_counted_with_what_is_missing_in_front() {
        let runs = |pairs: &[(u64, u64)]| -> Vec<(SegmentNo, SegmentNo)> {
            pairs.iter().map(|(first, last)| (SegmentNo::new(*first), SegmentNo::new(*last))).collect()
        };
        let begin = Some(SegmentNo::new(5));
        assert_eq!(holes(begin, &runs(&[(5, 9)])), (0, 0));
        assert_eq!(holes(begin, &runs(&[(5, 9), (11, 12), (20, 20)])), (2, 8));
        assert_eq!(holes(begin, &runs(&[(7, 9)])), (1, 2));
        assert_eq!(holes(None, &runs(&[(7, 9), (11, 11)])), (1, 1));
        assert_eq!(holes(begin, &[]), (0, 0));
    }
}
