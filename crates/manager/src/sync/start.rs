//! Where the next question begins: `wals/sync-wals.info`, and when all of the primary node's WAL was looked at last.
//!
//! The answers to Barman's question hold what sorts behind the last name. What was archived late, the WAL of an older timeline or
//! a history file, never comes that way; so now and then, and when an older backup has come, all is asked for.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use tapster_catalog::durable;
use tapster_catalog::{BackupRecord, KeepTarget};
use time::OffsetDateTime;
use walfile::{SegmentName, WalName};

use super::primary::PrimaryInfo;
use super::{SyncError, SyncStart};
use crate::Server;
use crate::completeness::failed_for_wal;

/// Between two looks at all of the primary node's WAL.
const FULL_INTERVAL: time::Duration = time::Duration::hours(1);

/// The WAL that the backups here need.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Needed {
    /// Everything from here on.
    pub(super) from: Option<SegmentName>,
    /// That of backups which are kept without what comes later.
    ranges: Vec<(SegmentName, SegmentName)>,
}

impl Needed {
    /// By the backups whose files are here; `None` without any.
    pub(super) fn of(
        records: &[BackupRecord],
        keep: impl Fn(&BackupRecord) -> Option<KeepTarget>,
    ) -> Option<Self> {
        let mut needed = Self::default();
        let mut newest: Option<SegmentName> = None;
        for record in records.iter().filter(|record| record.status.is_copied() || failed_for_wal(record)) {
            let Some(begin) = record.begin_wal else { continue };
            newest = newest.max(Some(begin));
            match (keep(record), record.end_wal) {
                (Some(KeepTarget::Standalone), Some(end)) => needed.ranges.push((begin, end)),
                _ => needed.from = Some(needed.from.map_or(begin, |from| from.min(begin))),
            }
        }
        // WAL goes on from the newest, whatever is kept.
        needed.from = needed.from.or(newest);
        needed.from.map(|_| needed)
    }

    pub(super) fn includes(&self, name: WalName) -> bool {
        let Some(segment) = name.segment() else { return true };
        self.from.is_some_and(|from| segment >= from)
            || self.ranges.iter().any(|(begin, end)| (*begin..=*end).contains(&segment))
    }

    /// In one line, to tell whether it has changed. The oldest name would not do: what is kept without later WAL, and then with
    /// it, begins where it began.
    fn mark(&self) -> String {
        let mut ranges: Vec<String> =
            self.ranges.iter().map(|(begin, end)| format!("{begin}-{end}")).collect();
        ranges.sort_unstable();
        ranges.dedup();
        ranges.extend(self.from.map(|from| format!("{from}-")));
        ranges.join(",")
    }
}

impl Server {
    fn sync_wals_info(&self) -> PathBuf {
        self.layout().wals.join("sync-wals.info")
    }

    /// When all WAL was looked at, and what was needed then.
    fn full_sync_mark(&self) -> PathBuf {
        self.layout().meta.join("sync-wals-full")
    }

    /// What `sync-wals.info` says. One that is cut off or foreign, over which Barman stumbles for ever, counts as none: then
    /// everything is looked at again.
    pub(super) fn sync_position(&self) -> SyncStart {
        let read = |text: String| -> Option<SyncStart> {
            let (name, position) = text.trim_end_matches('\n').split_once('\t')?;
            let name: WalName = name.parse().ok()?;
            Some(SyncStart::after(name.to_string(), Some(position.trim().parse().ok()?)))
        };
        small(&self.sync_wals_info()).and_then(read).unwrap_or_default()
    }

    pub(super) fn save_sync_position(&self, info: &PrimaryInfo) -> Result<(), SyncError> {
        let Some(name) = info.last_name else { return Ok(()) };
        let text = format!("{name}\t{}", info.last_position);
        Ok(durable::replace(self.catalog.disk(), &self.sync_wals_info(), text.as_bytes())?)
    }

    /// All WAL was looked at for these needs.
    pub(super) fn save_full_sync(
        &self,
        needed: &Needed,
        begun: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<(), SyncError> {
        let text = format!("{}\t{}\t{}\n", needed.mark(), now.unix_timestamp(), begun.unix_timestamp());
        Ok(durable::replace(self.catalog.disk(), &self.full_sync_mark(), text.as_bytes())?)
    }

    /// Whether all WAL is to be looked at again.
    pub(super) fn full_sync_is_due(&self, needed: &Needed, now: OffsetDateTime) -> bool {
        let read = |text: String| -> Option<(String, i64)> {
            let mut fields = text.trim_end().split('\t');
            Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
        };
        let Some((mark, at)) = small(&self.full_sync_mark()).and_then(read) else { return true };
        let age = now.unix_timestamp().saturating_sub(at);
        mark != needed.mark() || !(0..FULL_INTERVAL.whole_seconds()).contains(&age)
    }

    /// Whether WAL that is missing may come yet for a copy that waits: the primary node has the backup, and not all of the WAL there
    /// was looked at since the copy was made. `sync-wals` takes files in the order in which they were archived there, in which a later
    /// one may come before an earlier one.
    pub(crate) fn wal_may_come(&self, record: &BackupRecord) -> bool {
        let begun =
            small(&self.full_sync_mark()).and_then(|text| text.trim_end().split('\t').nth(2)?.parse().ok());
        let copied = self.layout().record(&record.id).metadata().and_then(|file| file.modified());
        let copied = copied.ok().map(|time| OffsetDateTime::from(time).unix_timestamp());
        let was_looked_at = begun.zip(copied).is_some_and(|(begun, copied): (i64, i64)| begun > copied);
        !was_looked_at
            && self.load_primary_info().map_or(true, |info| {
                info.backups.contains_key(&record.id) || info.unusable.contains_key(&record.id)
            })
    }

    pub(super) fn needed_wal(&self, records: &[BackupRecord]) -> Option<Needed> {
        // An annotation that cannot be read protects.
        Needed::of(records, |record| self.catalog.keep_target(&record.id).unwrap_or(Some(KeepTarget::Full)))
    }
}

/// Files of ours hold a line: 50 bytes for each backup that is kept by itself.
const MOST: u64 = 1 << 20;

fn small(path: &Path) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(MOST).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tapster_catalog::BackupStatus;

    fn includes_all(needed: &Needed, name: &impl Fn(u32) -> String) -> bool {
        (3..14).all(|low| needed.includes(name(low).parse().unwrap()))
    }

    #[test]
    fn what_backups_need() {
        let record = |id: &str, begin: &str, end: &str| {
            let mut record = BackupRecord::new(id.parse().unwrap());
            record.status = BackupStatus::Done;
            record.begin_wal = Some(begin.parse().unwrap());
            record.end_wal = Some(end.parse().unwrap());
            record
        };
        let name = |low: u32| format!("00000001000000000000{low:04X}");
        let records = [
            record("20260101T000000", &name(3), &name(4)),
            record("20260201T000000", &name(8), &name(9)),
            record("20260301T000000", &name(12), &name(12)),
        ];
        let needed =
            Needed::of(&records, |record| (record.id == records[0].id).then_some(KeepTarget::Standalone));
        let needed = needed.unwrap();
        let includes = |name: &str| needed.includes(name.parse().unwrap());
        let found: Vec<u32> = (0..14).filter(|low| includes(&name(*low))).collect();
        assert_eq!(found, [3, 4, 8, 9, 10, 11, 12, 13]);
        assert!(includes("00000001.history") && includes(&format!("{}.partial", name(13))));
        assert_eq!(needed.mark(), format!("{}-{},{}-", name(3), name(4), name(8)));
        // What lies between them is needed now, and the oldest name is the same.
        let released = Needed::of(&records, |_| None).unwrap();
        assert!(includes_all(&released, &name) && released.mark() != needed.mark());
        let alone = Needed::of(&records[..1], |_| Some(KeepTarget::Standalone)).unwrap();
        assert!(alone.includes(name(7).parse().unwrap()), "it is the newest too");
        assert_eq!(Needed::of(&[BackupRecord::new(records[0].id)], |_| None), None);
    }
}
