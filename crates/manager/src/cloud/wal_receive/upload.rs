//! From the spool into the bucket.
//!
//! A whole file leaves the spool when the store has it, and the beginning of the segment leaves the bucket then. The order is such
//! that a process that is killed at any point has done nothing that the next one cannot go on from: object, removal of the
//! beginning's object, position, removal of the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Seek as _};
use std::time::{Duration, Instant};

use tapster_catalog::same_content::Unread;
use tapster_cloud::{CloudError, PutMode, WriteOptions};
use walfile::codec::Compression;
use walfile::{Lsn, SegmentName, SegmentSize, Timeline, WalName};

use super::super::wal_archive::Outgoing;
use super::super::wal_content::has_all;
use super::super::wal_objects::{StoredWal, ending};
use super::super::{CloudServer, CloudWalError};
use super::sink::Shared;
use super::spool::Spool;
use super::{CloudReceiveEvent, CloudReceiveOptions};

/// How soon the upload looks for work by itself.
const TICK: Duration = Duration::from_millis(200);
/// After a failure of the store, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub(super) struct Uploader<'u> {
    server: &'u CloudServer,
    spool: &'u Spool,
    shared: &'u Shared,
    options: &'u CloudReceiveOptions,
    tell: &'u (dyn Fn(&CloudReceiveEvent<'_>) + Sync),
    /// The place is noted as this cluster's.
    is_claimed: bool,
    /// History files in the bucket; they stay in the spool, where the receiver looks for them.
    histories: BTreeSet<Timeline>,
    /// Last segments of timelines that were left, as far as these are in the bucket.
    ended: BTreeSet<SegmentName>,
    /// The segment whose beginning is in the bucket, and up to where.
    begun: Option<(SegmentName, Lsn)>,
    /// When that may be replaced.
    next_begin: Instant,
}

impl<'u> Uploader<'u> {
    pub(super) fn new(
        server: &'u CloudServer,
        spool: &'u Spool,
        shared: &'u Shared,
        options: &'u CloudReceiveOptions,
        tell: &'u (dyn Fn(&CloudReceiveEvent<'_>) + Sync),
    ) -> Self {
        Self {
            server,
            spool,
            shared,
            options,
            tell,
            is_claimed: false,
            histories: BTreeSet::new(),
            ended: BTreeSet::new(),
            begun: None,
            next_begin: Instant::now(),
        }
    }

    /// Until nothing more is received and all of it is in the bucket. What the store does not take then stays in the spool, and is no
    /// error.
    ///
    /// # Errors
    /// What trying again cannot cure.
    pub(super) fn run(&mut self) -> Result<(), CloudWalError> {
        let mut pause = FIRST_PAUSE;
        loop {
            // Asked before the work: what was received until then is seen by it.
            let has_ended = self.shared.state().has_ended;
            match self.pass(has_ended) {
                Ok(()) if has_ended => return Ok(()),
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    self.shared.wait(TICK);
                }
                Err(CloudWalError::Store(error)) if has_ended => {
                    (self.tell)(&CloudReceiveEvent::Warning(format!(
                        "what was received last stays in {}: {error}",
                        self.spool.dir().display()
                    )));
                    return Ok(());
                }
                Err(error @ (CloudWalError::Store(_) | CloudWalError::Changed { .. })) => {
                    (self.tell)(&CloudReceiveEvent::StoreFailed { error: &error, retry_in: pause });
                    let begun = Instant::now();
                    while begun.elapsed() < pause && !self.shared.state().has_ended {
                        self.shared.wait(TICK);
                    }
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Everything that is there, and at last the beginning of the segment in hand.
    fn pass(&mut self, is_last: bool) -> Result<(), CloudWalError> {
        loop {
            // A segment is given its visible name only when those before it have theirs: what is opened here before the whole files
            // are looked for, follows them.
            let current = self.current()?;
            let waiting = self.spool.waiting()?;
            let whole: Vec<WalName> = waiting
                .whole
                .into_iter()
                .filter(|name| !matches!(name, WalName::History(of) if self.histories.contains(of)))
                .take(self.options.archive.parallel.max(1))
                .collect();
            if !whole.is_empty() {
                self.archive(&whole)?;
                continue;
            }
            if let Some((segment, _)) = self.shared.state().current {
                for old in waiting.partial.into_iter().filter(|old| old.timeline() < segment.timeline()) {
                    self.end_timeline(old)?;
                }
            }
            if let Some((segment, written, file)) = current {
                self.begin(segment, written, file, is_last)?;
            }
            return Ok(());
        }
    }

    /// The beginning of the segment in hand, if there is one.
    fn current(&self) -> Result<Option<(SegmentName, Lsn, File)>, CloudWalError> {
        let Some((segment, written)) = self.shared.state().current else { return Ok(None) };
        let path = self.spool.path(WalName::Partial(segment));
        match File::open(&path) {
            Ok(file) => Ok(Some((segment, written, file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(CloudWalError::Read { path, source }),
        }
    }

    /// Notes for whom the place is. `false` when that is not known yet.
    fn claim(&mut self, name: WalName) -> Result<bool, CloudWalError> {
        if !self.is_claimed
            && let Some(own) = self.spool.system_id()?
        {
            self.server.claim_for(own, name, self.options.archive.take_over)?;
            self.is_claimed = true;
        }
        Ok(self.is_claimed)
    }

    /// Files of which nothing more will come.
    fn archive(&mut self, names: &[WalName]) -> Result<(), CloudWalError> {
        let Some(first) = names.first() else { return Ok(()) };
        if !self.claim(*first)? {
            // Received by nobody: somebody put it there.
            let error = io::Error::other("it does not say whose WAL it holds");
            return Err(CloudWalError::Spool { path: self.spool.dir().to_owned(), source: error });
        }
        let partial = |name: &WalName| match name {
            WalName::Segment(segment) => Some(WalName::Partial(*segment)),
            _ => None,
        };
        let there = self.server.archived_of(names.iter().copied().chain(names.iter().filter_map(partial)))?;
        let results: Vec<Result<(), CloudWalError>> = std::thread::scope(|scope| {
            let tasks: Vec<_> = names
                .iter()
                .map(|name| {
                    let path = self.spool.path(*name);
                    let (server, there, options) = (self.server, there.get(name), &self.options.archive);
                    scope.spawn(move || server.archive_file(&path, *name, there, options))
                })
                .collect();
            let lost = || Err(CloudError::Stopped.into());
            tasks.into_iter().map(|task| task.join().unwrap_or_else(|_| lost())).collect()
        });
        // What comes after a failure counts only when that one is there, too.
        for (name, result) in names.iter().zip(results) {
            result?;
            match name {
                WalName::History(timeline) => drop(self.histories.insert(*timeline)),
                WalName::Segment(segment) => {
                    let begun = partial(name).and_then(|name| there.get(&name));
                    let keys: Vec<String> =
                        begun.into_iter().flatten().map(|stored| stored.key.clone()).collect();
                    self.forget(&keys);
                    let end = self.end_of(*segment)?;
                    self.spool.set_position(segment.timeline(), end)?;
                    self.spool.remove(&[*name])?;
                    self.shared.set_stored(segment.timeline(), end);
                }
                _ => {}
            }
            (self.tell)(&CloudReceiveEvent::Archived(*name));
        }
        Ok(())
    }

    /// Removes objects that whole ones have made useless. They do no harm.
    fn forget(&self, keys: &[String]) {
        if !keys.is_empty()
            && let Err(error) = self.server.store().delete(keys)
        {
            (self.tell)(&CloudReceiveEvent::Warning(format!(
                "cannot remove the beginning of a segment that is archived whole: {error}"
            )));
        }
    }

    /// The length of a whole segment's file is that of all segments.
    fn end_of(&self, segment: SegmentName) -> Result<Lsn, CloudWalError> {
        let path = self.spool.path(segment.into());
        let length = std::fs::metadata(&path).map_err(|source| CloudWalError::Read { path, source })?.len();
        let end = SegmentSize::new(length).ok().and_then(|size| segment.end(size).ok());
        end.ok_or(CloudWalError::Name { name: segment.to_string() })
    }

    /// The beginning of the segment in hand, if it has grown and it is time for it.
    fn begin(
        &mut self,
        segment: SegmentName,
        written: Lsn,
        file: File,
        is_last: bool,
    ) -> Result<(), CloudWalError> {
        let Some(interval) = self.options.partial_interval else { return Ok(()) };
        let has_grown = self.begun.is_none_or(|(before, up_to)| before != segment || up_to < written);
        if !has_grown || !(is_last || Instant::now() >= self.next_begin) {
            return Ok(());
        }
        if !self.claim(WalName::Partial(segment))? {
            return Ok(());
        }
        self.next_begin = Instant::now() + interval;
        if !self.put_beginning(segment, file)? {
            return Ok(());
        }
        self.begun = Some((segment, written));
        self.shared.set_stored(segment.timeline(), written);
        (self.tell)(&CloudReceiveEvent::Begun { segment, position: written });
        Ok(())
    }

    /// Of the timeline that was left nothing more comes: the beginning of its last segment is kept in the bucket alone. It leaves the
    /// spool when the next timeline's position is noted, for until then it says where to go on.
    fn end_timeline(&mut self, old: SegmentName) -> Result<(), CloudWalError> {
        let name = WalName::Partial(old);
        if !self.ended.contains(&old) {
            if !self.claim(name)? {
                return Ok(());
            }
            let path = self.spool.path(name);
            let file = File::open(&path).map_err(|source| CloudWalError::Read { path, source })?;
            // Where the bucket has more of it, that stays.
            self.put_beginning(old, file)?;
            self.ended.insert(old);
            (self.tell)(&CloudReceiveEvent::Archived(name));
        }
        if self.spool.position()?.is_some_and(|(timeline, _)| timeline > old.timeline()) {
            self.spool.remove(&[name])?;
        }
        Ok(())
    }

    /// A segment as it is, with zeros where nothing was received yet. It is always compressed: for seconds of WAL there are megabytes
    /// of these. `false` when it was not stored, because the bucket has more of it: from a spool that was lost.
    fn put_beginning(&mut self, segment: SegmentName, mut file: File) -> Result<bool, CloudWalError> {
        let archive = &self.options.archive;
        let compression = match archive.compression {
            Compression::None => Compression::Gzip,
            other => other,
        };
        let name = WalName::Partial(segment);
        let is_first = self.begun.is_none_or(|(before, _)| before != segment);
        let there = if is_first { self.server.archived_of(std::iter::once(name))? } else { BTreeMap::new() };
        let there: Vec<StoredWal> = there.into_values().flatten().collect();
        let failed = |source| CloudWalError::Read { path: self.spool.path(name), source };
        for stored in &there {
            if !self.has_all_of(stored, &mut file)? {
                return Ok(false);
            }
            file.rewind().map_err(failed)?;
        }
        let key = format!("{}{}", self.server.layout().wal(name), ending(compression));
        let mut write = WriteOptions::default();
        (write.mode, write.tags) = (PutMode::Replace, archive.tags.clone());
        Outgoing::new(self.server.store(), &key, write, 1 << 20)
            .fill(name, &mut file, compression, archive.level)?
            .finish()?;
        // A run with other options has left another form, which is older from now on.
        let others = there.into_iter().map(|stored| stored.key).filter(|other| *other != key);
        self.forget(&others.collect::<Vec<_>>());
        Ok(true)
    }

    /// Whether a beginning that is archived says nothing that `file` does not say. What cannot be decompressed says nothing.
    fn has_all_of(&self, stored: &StoredWal, file: &mut File) -> Result<bool, CloudWalError> {
        let opened = match self.server.open_wal(stored) {
            Err(CloudWalError::Content { .. }) => return Ok(true),
            Err(CloudWalError::Store(error)) if error.is_not_found() => return Ok(true),
            opened => opened?,
        };
        match has_all(file, opened) {
            Ok(has_all) => Ok(has_all),
            Err(Unread::First(source)) => {
                Err(CloudWalError::Read { path: self.spool.path(stored.name), source })
            }
            Err(Unread::Second(source)) => match self.server.unreadable(stored, source) {
                CloudWalError::Content { .. } => Ok(true),
                error => Err(error),
            },
        }
    }
}
