//! Which WAL nobody needs any more once a backup is gone.

use std::collections::BTreeSet;

use tapster_catalog::{BackupId, BackupRecord, BackupStatus, KeepTarget};
use tapster_cloud::CloudError;
use walfile::{SegmentName, Timeline, WalName};

use super::CloudDeleteCause;
use crate::cloud::CloudServer;
use crate::cloud::wal_objects::StoredWal;

/// WAL that no remaining backup needs.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CloudWalTrim {
    /// What comes before this segment may go.
    pub before: SegmentName,
    /// But nothing of these timelines, which other backups are on.
    pub timelines: BTreeSet<Timeline>,
    /// And nothing from the one to the other, both included: what makes standalone backups consistent.
    pub ranges: Vec<(SegmentName, SegmentName)>,
}

/// What the trim needs to know of a backup.
pub(super) struct Neighbour<'a> {
    pub(super) record: &'a BackupRecord,
    pub(super) keep: Option<KeepTarget>,
    /// Whether it may be under way: STARTED, and not as long ago as one that was killed.
    pub(super) is_running: bool,
}

impl CloudWalTrim {
    /// For the deletion of `id`, one of `backups` (oldest first). `None` when nothing may go: an older backup needs what follows it,
    /// or it is not known what is needed. The rules of Barman 3.19 (`backup.py`, `should_remove_wals`), and beyond them nothing goes
    /// that a newer backup begins with whose id is not in the order of time, because a clock was set back, and nothing that a backup
    /// under way needs, however long ago it began. Where one has not come so far as to say where it begins, nothing goes.
    pub(super) fn of(id: &BackupId, backups: &[Neighbour<'_>], cause: CloudDeleteCause) -> Option<Self> {
        let deleted = backups.iter().find(|backup| backup.record.id == *id)?.record;
        let mut ranges = Vec::new();
        for older in backups.iter().filter(|b| b.record.id < *id && b.record.status.is_copied()) {
            if older.keep != Some(KeepTarget::Standalone) || cause == CloudDeleteCause::Request {
                return None;
            }
            ranges.push((older.record.begin_wal?, older.record.end_wal?));
        }
        let newer = || backups.iter().map(|backup| backup.record).filter(|record| record.id > *id);
        let limit = newer().find(|record| record.status.is_copied()).unwrap_or(deleted);
        let begin = limit.begin_wal?;
        let mut needed = Vec::new();
        for other in backups.iter().filter(|other| other.record.id != *id) {
            let is_needed = match other.record.status {
                BackupStatus::Started => other.is_running,
                BackupStatus::Failed => false,
                _ => other.record.id > *id,
            };
            match other.record.begin_wal {
                Some(begin) if is_needed => needed.push(begin),
                None if other.is_running => return None,
                _ => {}
            }
        }
        let needed = needed.into_iter().filter(|other| other.timeline() == begin.timeline());
        let before = needed.chain([begin]).min()?;
        let others = backups.iter().map(|backup| backup.record).filter(|record| record.id != *id);
        let mut timelines: BTreeSet<Timeline> = others.filter_map(|record| record.timeline).collect();
        timelines.remove(&limit.timeline.unwrap_or_else(|| begin.timeline()));
        Some(Self { before, timelines, ranges })
    }

    /// Whether a file may go. History files never do: they are small, and say how timelines hang together.
    pub fn removes(&self, name: WalName) -> bool {
        name.segment().is_some_and(|segment| {
            segment < self.before
                && !self.timelines.contains(&segment.timeline())
                && !self.ranges.iter().any(|(begin, end)| *begin <= segment && segment <= *end)
        })
    }

    /// Whether all of a directory may go, of which `any` is a file: the directory of a timeline and the upper half of an LSN.
    fn removes_all(&self, any: SegmentName) -> bool {
        let place = |segment: SegmentName| (segment.timeline(), segment.log());
        let (timeline, log) = place(any);
        timeline == self.before.timeline()
            && log < self.before.log()
            && !self.timelines.contains(&timeline)
            && !self.ranges.iter().any(|(begin, end)| {
                let ((first, from), (last, to)) = (place(*begin), place(*end));
                first <= timeline && timeline <= last && from <= log && log <= to
            })
    }

    /// Whether any file of a directory may go.
    fn touches(&self, any: SegmentName) -> bool {
        let place = |segment: SegmentName| (segment.timeline(), segment.log());
        place(any) <= place(self.before) && !self.timelines.contains(&any.timeline())
    }
}

/// A directory of WAL.
pub(super) struct WalDirectory {
    /// Its key, below the store's prefix.
    pub(super) key: String,
    /// Whether all of it may go.
    pub(super) whole: bool,
}

impl CloudServer {
    /// The directories that have WAL to remove, in the order of their names.
    pub(super) fn wal_directories(&self, trim: &CloudWalTrim) -> Result<Vec<WalDirectory>, CloudError> {
        let wals = self.layout().wals();
        let names = self.store().list_dirs(&wals)?;
        let directories = names.into_iter().filter_map(|name| {
            let any: SegmentName = format!("{name}00000000").parse().ok()?;
            let key = format!("{wals}/{name}");
            trim.touches(any).then(|| WalDirectory { key, whole: trim.removes_all(any) })
        });
        Ok(directories.collect())
    }

    /// The objects of a directory that may go, in the order of their keys; a page of the listing at a time.
    pub(super) fn wal_to_remove<'a>(
        &self,
        directory: &WalDirectory,
        trim: &'a CloudWalTrim,
    ) -> impl Iterator<Item = Result<String, CloudError>> + use<'a> {
        let whole = directory.whole;
        self.store().list(&directory.key).filter_map(move |object| match object {
            Ok(object) => {
                let wal = StoredWal::of(&object.key);
                (whole || wal.is_some_and(|wal| trim.removes(wal.name))).then_some(Ok(object.key))
            }
            Err(error) => Some(Err(error)),
        })
    }
}

/// Whether a trim has removed an object.
pub(super) fn covers(trim: &CloudWalTrim, key: &str) -> bool {
    StoredWal::of(key).is_some_and(|wal| trim.removes(wal.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments are numbered in the tests; backup `n` begins in segment `begin`.
    fn segment(timeline: u32, number: u32) -> SegmentName {
        format!("{timeline:08X}{:08X}{:08X}", number / 256, number % 256).parse().unwrap()
    }

    fn record(day: u32, status: BackupStatus, timeline: u32, begin: u32) -> BackupRecord {
        let mut record = BackupRecord::new(format!("202601{day:02}T000000").parse().unwrap());
        record.status = status;
        record.timeline = Timeline::new(timeline);
        record.begin_wal = Some(segment(timeline, begin));
        record.end_wal = Some(segment(timeline, begin + 1));
        record
    }

    fn trim(
        backups: &[(BackupRecord, Option<KeepTarget>)],
        at: usize,
        cause: CloudDeleteCause,
    ) -> Option<CloudWalTrim> {
        let neighbours: Vec<_> = backups
            .iter()
            .map(|(record, keep)| Neighbour { record, keep: *keep, is_running: record.status == Started })
            .collect();
        CloudWalTrim::of(&backups[at].0.id, &neighbours, cause)
    }

    use BackupStatus::{Done, Failed, Started};
    use CloudDeleteCause::{Request, Retention};

    #[test]
    fn the_oldest_takes_its_wal_along_up_to_the_next() {
        let two = [(record(1, Done, 1, 10), None), (record(2, Done, 1, 600), None)];
        let oldest = trim(&two, 0, Request).unwrap();
        assert!(oldest.removes(segment(1, 599).into()) && !oldest.removes(segment(1, 600).into()));
        assert!(!oldest.removes("00000001.history".parse().unwrap()));
        assert!(oldest.removes_all(segment(1, 511)) && !oldest.removes_all(segment(1, 512)));
        assert!(!oldest.touches(segment(1, 768)) && !oldest.touches(segment(2, 0)));
        // With the newest one nothing goes: the other needs what follows it.
        assert_eq!(trim(&two, 1, Request), None);
        // Of the only one, only what came before it.
        assert_eq!(trim(&two[..1], 0, Request).unwrap().before, segment(1, 10));
    }

    #[test]
    fn what_failed_or_runs_keeps_no_more_wal_than_it_needs() {
        let backups = [
            (record(1, Done, 1, 10), None),
            (record(2, Failed, 1, 5), None),
            (record(3, Started, 1, 8), None),
        ];
        assert_eq!(trim(&backups, 0, Request).unwrap().before, segment(1, 8));
        let set_back =
            [(record(1, Done, 1, 10), None), (record(2, Done, 1, 30), None), (record(3, Done, 1, 20), None)];
        assert_eq!(trim(&set_back, 0, Request).unwrap().before, segment(1, 20));
    }

    #[test]
    fn a_backup_under_way_keeps_its_wal_however_long_ago_it_began() {
        let mut backups = [
            (record(1, Started, 1, 10), None),
            (record(2, Done, 1, 40), None),
            (record(3, Done, 1, 80), None),
        ];
        let of = |backups: &[(BackupRecord, Option<KeepTarget>)], is_running| {
            let neighbours: Vec<_> = backups
                .iter()
                .map(|(record, keep)| Neighbour {
                    record,
                    keep: *keep,
                    is_running: is_running && record.status == Started,
                })
                .collect();
            CloudWalTrim::of(&backups[1].0.id, &neighbours, Retention)
        };
        let trim = of(&backups, true).unwrap();
        assert!(trim.removes(segment(1, 9).into()) && !trim.removes(segment(1, 10).into()));
        // Killed long ago.
        assert_eq!(of(&backups, false).unwrap().before, segment(1, 80));
        // It waits for its checkpoint.
        backups[0].0.begin_wal = None;
        assert_eq!(of(&backups, true), None);
        assert_eq!(of(&backups, false).unwrap().before, segment(1, 80));
    }

    #[test]
    fn standalone_backups_keep_what_makes_them_consistent() {
        let standalone = Some(KeepTarget::Standalone);
        let backups = [
            (record(1, Done, 1, 10), standalone),
            (record(2, Done, 1, 40), None),
            (record(3, Done, 1, 80), None),
        ];
        assert_eq!(trim(&backups, 1, Request), None);
        let trim = trim(&backups, 1, Retention).unwrap();
        let gone = |number| trim.removes(segment(1, number).into());
        assert_eq!([9, 10, 11, 12, 79, 80].map(gone), [true, false, false, true, true, false]);
        assert!(!trim.removes_all(segment(1, 0)));
        assert!(!trim.removes(format!("{}.00000028.backup", segment(1, 10)).parse().unwrap()));
    }

    #[test]
    fn other_timelines_with_backups_are_left_alone() {
        let backups =
            [(record(1, Done, 2, 10), None), (record(2, Done, 1, 12), None), (record(3, Done, 2, 20), None)];
        let trim = trim(&backups, 0, Request).unwrap();
        assert_eq!(trim.before, segment(1, 12));
        assert!(trim.timelines.contains(&Timeline::new(2).unwrap()));
        assert!(!trim.removes(segment(2, 1).into()) && trim.removes(segment(1, 1).into()));
    }
}
