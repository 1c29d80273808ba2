//! Which lines of the index belong to a backup (Barman's `get_wal_until_next_backup`).

use std::ops::ControlFlow;

use walfile::{SegmentName, WalName};

use crate::XlogEntry;

/// The WAL of a backup: from its first segment until the next backup's last.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WalsOfBackup {
    /// `begin_wal` of the backup.
    pub begin: SegmentName,
    /// `end_wal` of the backup: up to here WAL is needed to restore it at all. `None` while it is not known; then
    /// nothing counts as needed.
    pub end: Option<SegmentName>,
    /// `end_wal` of the next backup, where there is one.
    pub next_end: Option<SegmentName>,
    /// Hand out history files too, all of them.
    pub history: bool,
}

/// What an entry is to a backup.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Needed {
    /// The backup cannot be restored without it.
    ByBackup,
    /// It lies between the backup and the next one.
    UntilNext,
    /// A history file.
    History,
}

impl WalsOfBackup {
    /// Without a next backup and without history files.
    pub const fn new(begin: SegmentName, end: Option<SegmentName>) -> Self {
        Self { begin, end, next_end: None, history: false }
    }

    /// The entries of the index that belong to the backup, in the order of the index. Segments of later timelines are not
    /// counted, nor are labels and partials; the index is read up to the first segment after the next backup's last.
    pub fn select<E>(
        self,
        entries: impl Iterator<Item = Result<XlogEntry, E>>,
    ) -> impl Iterator<Item = Result<(XlogEntry, Needed), E>> {
        entries
            .map_while(move |entry| match entry {
                Ok(entry) => match self.judge(&entry) {
                    ControlFlow::Continue(needed) => Some(needed.map(|needed| Ok((entry, needed)))),
                    ControlFlow::Break(()) => None,
                },
                Err(e) => Some(Some(Err(e))),
            })
            .flatten()
    }

    /// What the next entry of the index is to the backup, `None` for one to pass over; `Break` when none after it counts. For
    /// several backups in one pass; [`WalsOfBackup::select`] is for one.
    pub fn judge(&self, entry: &XlogEntry) -> ControlFlow<(), Option<Needed>> {
        self.judge_name(entry.name)
    }

    /// [`WalsOfBackup::judge`], by the name alone.
    pub fn judge_name(&self, name: WalName) -> ControlFlow<(), Option<Needed>> {
        let segment = match name {
            WalName::History(_) => return ControlFlow::Continue(self.history.then_some(Needed::History)),
            WalName::Segment(segment) => segment,
            WalName::Partial(_) | WalName::BackupLabel { .. } => return ControlFlow::Continue(None),
        };
        if segment < self.begin || segment.timeline() > self.begin.timeline() {
            return ControlFlow::Continue(None);
        }
        if self.next_end.is_some_and(|end| segment > end) {
            return ControlFlow::Break(());
        }
        let is_needed = self.end.is_some_and(|end| segment <= end);
        ControlFlow::Continue(Some(if is_needed { Needed::ByBackup } else { Needed::UntilNext }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_begin_until_the_next_backup() {
        let lines = [
            "000000010000000000000004",
            "00000002.history",
            "000000010000000000000005",
            "000000010000000000000005.00000028.backup",
            "000000010000000000000006",
            "000000020000000000000006",
            "000000010000000000000006.partial",
            "000000010000000000000007",
            "000000010000000000000009",
            "000000010000000000000008",
        ];
        let entries = lines.map(|name| format!("{name}\t1\t1.0").parse::<XlogEntry>());
        let name = |text: &str| text.parse::<SegmentName>().unwrap();
        let mut wals =
            WalsOfBackup::new(name("000000010000000000000005"), Some(name("000000010000000000000006")));
        wals.next_end = Some(name("000000010000000000000008"));
        let got: Vec<_> = wals
            .select(entries.into_iter())
            .map(|item| item.map(|(entry, needed)| (entry.name.to_string(), needed)).unwrap())
            .collect();
        let want = [
            ("000000010000000000000005", Needed::ByBackup),
            ("000000010000000000000006", Needed::ByBackup),
            ("000000010000000000000007", Needed::UntilNext),
        ];
        assert_eq!(got, want.map(|(name, needed)| (name.to_owned(), needed)));
    }
}
