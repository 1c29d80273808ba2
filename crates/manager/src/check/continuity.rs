//! Whether WAL is missing behind the latest backup: what comes after a gap can never be replayed, however much of it there is.

use tapster_catalog::{BackupRecord, BackupStatus};
use walfile::{Lsn, SegmentName, SegmentNo, SegmentSize, TimelineHistory};

use super::CheckReport;
use crate::Server;
use crate::receive_wal::newest_file;
use crate::wal_verify::{Line, Position, WalVerifyError, first_size, main_line};

/// Segments that are missing, on the timelines recovery would read them from.
struct Gap {
    first: SegmentName,
    last: SegmentName,
    count: u64,
}

fn segment(history: &TimelineHistory, number: SegmentNo, size: SegmentSize) -> SegmentName {
    let end = Lsn::new(number.end(size).get().saturating_sub(1));
    number.name(history.timeline_at(end), size)
}

/// The stretches between the runs of a line, and before what is being received; behind them as far as `until`, which must be there.
fn gaps(line: &Line, receiving: Option<SegmentNo>, until: Option<SegmentNo>) -> Vec<(SegmentNo, SegmentNo)> {
    let mut found = Vec::new();
    let begin = line.start.segment(line.size);
    let mut expected = Some(begin);
    let receiving = receiving.map(|number| (number, number));
    for (first, last) in line.runs.iter().copied().chain(receiving) {
        if let Some(expected) = expected.filter(|expected| *expected < first)
            && let Some(missing) = first.previous()
        {
            found.push((expected, missing));
        }
        expected = expected.max(last.next());
    }
    found.extend(expected.zip(until).filter(|(expected, until)| expected <= until));
    found
}

impl Server {
    /// "WAL continuity" appears only when something is missing. It goes by names; `wal verify` reads.
    pub(super) fn check_continuity(&self, report: &mut CheckReport) {
        let line = "WAL continuity";
        match self.first_gap() {
            Ok(None) => {}
            Ok(Some(Gap { first, last, count })) => {
                let missing = match count {
                    1 => format!("{first} is missing"),
                    _ => format!("{count} segments from {first} to {last} are missing"),
                };
                let hint =
                    format!("{missing}: recovery ends there; please execute 'barman backup {}'", self.name());
                report.failed(line, hint);
            }
            Err(error) => report.failed(line, error.to_string()),
        }
    }

    /// First, last and number of the segments that are missing between this backup and the newest WAL, by stretches.
    pub(super) fn gaps_behind(
        &self,
        record: &BackupRecord,
    ) -> Result<Vec<(SegmentName, SegmentName, u64)>, WalVerifyError> {
        let size = record.segment_size();
        let store = self.wal_store().with_segment_size(size);
        let Some(line) = main_line(&store, size, &store.segment_runs(size)?, Some(record))? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        // What one that waits needs is on its way.
        let end = record.end_wal.filter(|_| record.status == BackupStatus::Done);
        let end = end.and_then(|end| end.number(size).ok());
        for (first, last) in gaps(&line, self.receiving(&line), end) {
            let name = segment(&line.history, first, size);
            // Somebody may have moved it from one directory to the other while they were listed.
            if store.find(name.into(), false)?.is_none() {
                let count = last.get() - first.get() + 1;
                found.push((name, segment(&line.history, last, size), count));
            }
        }
        Ok(found)
    }

    /// The segment that is being received, if it is one of the line's.
    fn receiving(&self, line: &Line) -> Option<SegmentNo> {
        newest_file(&self.layout().streaming)
            .filter(|(name, _)| line.history.contains(name.timeline()))
            .and_then(|(name, _)| name.number(line.size).ok())
    }

    fn first_gap(&self) -> Result<Option<Gap>, WalVerifyError> {
        let mut records = self.catalog().records()?;
        records.retain(|record| Position::of(record).is_some());
        let latest = records.into_iter().max_by_key(|record| record.begin_xlog);
        let store = self.wal_store();
        let Some(size) = latest
            .as_ref()
            .map(|record| Ok(record.segment_size()))
            .or_else(|| first_size(&store).transpose())
        else {
            return Ok(None);
        };
        let size = size?;
        let store = store.with_segment_size(size);
        let Some(line) = main_line(&store, size, &store.segment_runs(size)?, latest.as_ref())? else {
            return Ok(None);
        };
        for (first, last) in gaps(&line, self.receiving(&line), None) {
            // Somebody may have moved it from one directory to the other while they were listed.
            let name = segment(&line.history, first, size);
            if store.find(name.into(), false)?.is_none() {
                let last_name = segment(&line.history, last, size);
                return Ok(Some(Gap { first: name, last: last_name, count: last.get() - first.get() + 1 }));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use walfile::Timeline;

    #[test]
    fn between_the_runs_and_before_what_is_received() {
        let number = SegmentNo::new;
        let line = |runs: &[(u64, u64)]| Line {
            history: Arc::new(TimelineHistory::root(Timeline::FIRST)),
            start: Lsn::new(0x300_0028),
            size: SegmentSize::DEFAULT,
            history_lost: false,
            runs: runs.iter().map(|(first, last)| (number(*first), number(*last))).collect(),
        };
        let found = |runs: &[(u64, u64)], receiving: Option<u64>| -> Vec<(u64, u64)> {
            let found = gaps(&line(runs), receiving.map(number), None);
            found.into_iter().map(|(first, last)| (first.get(), last.get())).collect()
        };
        let until = |runs: &[(u64, u64)], end: u64| -> Vec<(u64, u64)> {
            let found = gaps(&line(runs), None, Some(number(end)));
            found.into_iter().map(|(first, last)| (first.get(), last.get())).collect()
        };
        assert_eq!(until(&[], 5), [(3, 5)]);
        assert_eq!(until(&[(3, 4)], 5), [(5, 5)]);
        assert_eq!(until(&[(3, 3), (5, 5)], 5), [(4, 4)]);
        assert_eq!(until(&[(3, 9)], 5), []);
        assert_eq!(found(&[(3, 5)], None), []);
        assert_eq!(found(&[(3, 5)], Some(6)), []);
        assert_eq!(found(&[(3, 5)], Some(5)), [], "a whole one that begins again");
        assert_eq!(found(&[(3, 5)], Some(8)), [(6, 7)]);
        assert_eq!(found(&[(3, 5), (8, 9)], Some(2)), [(6, 7)]);
        assert_eq!(found(&[(4, 5), (7, 7)], None), [(3, 3), (6, 6)]);
        assert_eq!(found(&[], None), [], "nothing has come yet");
        assert_eq!(found(&[], Some(3)), []);
    }
}
