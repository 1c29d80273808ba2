//! What there is: runs of segments, the newest ones, history files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use walfile::{SegmentName, SegmentSize, Timeline, TimelineHistory, WalName};

use super::{WalStore, WalStoreError, is_absent};
use crate::xlogdb::entry_of;
use crate::{ServerLayout, WalObjects, XlogEntry};

impl WalStore<'_> {
    /// The segments from `first` on that are there without a gap, at most `limit` (`get-wal --peek`). Where the timeline of `first`
    /// ends they go on as the history file of the newest timeline says that descends from just there.
    ///
    /// # Errors
    /// As [`WalStore::find`]; also when `first` cannot exist with this segment size.
    pub fn successive(
        &self,
        first: SegmentName,
        size: SegmentSize,
        limit: usize,
    ) -> Result<Vec<SegmentName>, WalStoreError> {
        let mut names = Vec::new();
        let mut next = Some(first);
        let mut path: Option<TimelineHistory> = None;
        while let Some(mut name) = next.filter(|_| names.len() < limit) {
            if !self.exists(name.into())? {
                let continued = if names.is_empty() { None } else { self.continued(name, size)? };
                let Some((other, history)) = continued else { break };
                name = other;
                path = Some(history);
            }
            names.push(name);
            // A name that cannot exist with this size has no successor.
            next = name.next(size).ok().flatten();
            if let (Some(path), Some(after)) = (&path, next) {
                next = Some(on_path(path, after, size).unwrap_or(after));
            }
        }
        Ok(names)
    }

    /// The segment that takes the place of `ended`, the first that is not there of its timeline: on the newest timeline whose
    /// history leaves that one no earlier than there.
    fn continued(
        &self,
        ended: SegmentName,
        size: SegmentSize,
    ) -> Result<Option<(SegmentName, TimelineHistory)>, WalStoreError> {
        let Ok(start) = ended.start(size) else { return Ok(None) };
        let newer = self.history_files()?.into_iter().rev().take_while(|newer| *newer > ended.timeline());
        for timeline in newer {
            // Recovery would not follow one that cannot be read.
            let Ok(Some(history)) = self.history(timeline) else { continue };
            if history.switch_from(ended.timeline()).is_some_and(|switch| switch >= start)
                && let Some(name) = on_path(&history, ended, size)
                && name != ended
                && self.exists(name.into())?
            {
                return Ok(Some((name, history)));
            }
        }
        Ok(None)
    }

    /// The first segment from `first` through `last` that is nowhere; `None` when all are there.
    ///
    /// # Errors
    /// As [`WalStore::find`].
    pub fn first_missing(
        &self,
        first: SegmentName,
        last: SegmentName,
        size: SegmentSize,
    ) -> Result<Option<SegmentName>, WalStoreError> {
        let Ok(range) = first.through(last, size) else { return Ok(Some(first)) };
        for name in range {
            if !self.exists(name.into())? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// The newest archived segment of each timeline. Reads the names of `wals/` and of one hash directory per timeline.
    ///
    /// # Errors
    /// When the archive cannot be read.
    pub fn newest_segments(&self) -> Result<BTreeMap<Timeline, SegmentName>, WalStoreError> {
        if let Some(objects) = self.objects {
            return Ok(objects.newest_segments()?);
        }
        let mut newest: BTreeMap<Timeline, SegmentName> = BTreeMap::new();
        let mut dirs: Vec<String> = names(&self.layout.wals)?
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .filter(|name| ServerLayout::is_hash_dir(name))
            .collect();
        dirs.sort_unstable();
        for dir in dirs.into_iter().rev() {
            let Some(timeline) = dir.get(..8).and_then(|hex| Timeline::from_hex(hex).ok()) else { continue };
            if newest.contains_key(&timeline) {
                continue;
            }
            let segments = names(&self.layout.wals.join(&dir))?
                .into_iter()
                .filter_map(|name| name.to_str()?.parse::<SegmentName>().ok());
            if let Some(last) = segments.filter(|name| name.timeline() == timeline).max() {
                newest.insert(timeline, last);
            }
        }
        Ok(newest)
    }

    /// An archived file as the index has it, described from the file itself; `None` when it is not in the archive.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn archived_entry(&self, name: WalName) -> Result<Option<XlogEntry>, WalStoreError> {
        let path = self.layout.wal(name);
        match entry_of(&path, name, self.undo.custom) {
            Ok(entry) => Ok(entry),
            Err(e) if is_absent(&e) => Ok(None),
            Err(source) => Err(WalStoreError::Read { path, source }),
        }
    }

    /// The timelines whose history file is in the archive, in `incoming/` or in `streaming/`, in order.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn history_files(&self) -> Result<Vec<Timeline>, WalStoreError> {
        let mut timelines = self.objects.map_or(Ok(Vec::new()), WalObjects::histories)?;
        for dir in [&self.layout.wals, &self.layout.incoming, &self.layout.streaming] {
            timelines.extend(names(dir)?.into_iter().filter_map(|name| match name.to_str()?.parse() {
                Ok(WalName::History(timeline)) => Some(timeline),
                _ => None,
            }));
        }
        timelines.sort_unstable();
        timelines.dedup();
        Ok(timelines)
    }

    /// The history of a timeline; `None` when there is no history file, as for the first.
    ///
    /// # Errors
    /// When it cannot be read, or PostgreSQL would not accept it.
    pub fn history(&self, timeline: Timeline) -> Result<Option<TimelineHistory>, WalStoreError> {
        let reader = match self.open(WalName::History(timeline), false) {
            Ok(reader) => reader,
            Err(WalStoreError::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(e),
        };
        let path = reader.found().path.clone();
        let mut content = Vec::new();
        // Lines of some dozen bytes, and no cluster is promoted that often.
        io::Read::read_to_end(&mut io::Read::take(reader, 16 * 1024 * 1024), &mut content)
            .map_err(|source| WalStoreError::Read { path: path.clone(), source })?;
        TimelineHistory::parse(timeline, &content)
            .map(Some)
            .map_err(|source| WalStoreError::History { path, source })
    }
}

/// The segment of this place on the way to the history's timeline: where one is left within a segment, that of the next timeline,
/// which repeats what was before.
fn on_path(history: &TimelineHistory, name: SegmentName, size: SegmentSize) -> Option<SegmentName> {
    let last = name.start(size).ok()?.saturating_add(size.bytes() - 1);
    Some(name.number(size).ok()?.name(history.timeline_at(last), size))
}

pub(super) fn names(dir: &Path) -> Result<Vec<OsString>, WalStoreError> {
    let fail = |source| WalStoreError::Read { path: dir.to_owned(), source };
    match std::fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.file_name()).map_err(fail)).collect(),
        Err(e) if is_absent(&e) => Ok(Vec::new()),
        Err(e) => Err(fail(e)),
    }
}
