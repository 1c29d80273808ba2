//! From the spool into the bucket.
//!
//! A whole file leaves the spool when the store has it, and the beginning of the segment leaves the bucket then. The order is such
//! that a process that is killed at any point has done nothing that the next one cannot go on from: object, removal of the
//! beginning's object, position, removal of the file. On a disk that is full the file goes before the position is noted: the bucket
//! tells it then. Several files go at the same time, so a later one may arrive alone: nothing behind the first that has not arrived
//! is acknowledged or noted.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Seek as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tapster_cloud::{CloudError, PutMode, WriteOptions};
use walfile::codec::Compression;
use walfile::{Lsn, SegmentName, SegmentSize, Timeline, WalName};

use super::super::wal_archive::{MOST_AT_ONCE, Outgoing};
use super::super::wal_objects::{StoredWal, ending};
use super::super::{CloudServer, CloudWalError};
use super::beginning::{Replacement, Stored};
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
    /// The segment whose beginning this run has brought to the bucket.
    begun: Option<Begun>,
    /// Last segments of timelines that were left, as far as these are in the bucket.
    ended: BTreeSet<SegmentName>,
    /// A segment of which the bucket has more, up to there.
    ahead: Option<(SegmentName, Lsn)>,
    /// Segments whose beginnings in the bucket are something else.
    refused: BTreeSet<SegmentName>,
    /// When a beginning may be uploaded again.
    next_begin: Instant,
    /// Told to end: what is whole stays in the spool.
    stop: &'u AtomicBool,
}

/// The beginning of a segment in the bucket.
#[derive(Clone, Debug)]
struct Begun {
    segment: SegmentName,
    /// Up to here.
    position: Lsn,
    key: String,
}

/// Beginnings of segments that are both in the spool and in the bucket.
#[derive(Debug)]
pub(super) struct Sent {
    begun: Option<Begun>,
    ended: BTreeSet<SegmentName>,
}

impl Sent {
    /// Whether all that was received of this one is there.
    pub(super) fn has(&self, segment: SegmentName, current: Option<(SegmentName, Lsn)>) -> bool {
        let written = current.filter(|(of, _)| *of == segment).map(|(_, written)| written);
        let is_begun = |begun: &Begun| {
            begun.segment == segment && written.is_none_or(|written| written <= begun.position)
        };
        self.ended.contains(&segment) || self.begun.as_ref().is_some_and(is_begun)
    }
}

impl<'u> Uploader<'u> {
    pub(super) fn new(
        server: &'u CloudServer,
        spool: &'u Spool,
        shared: &'u Shared,
        options: &'u CloudReceiveOptions,
        tell: &'u (dyn Fn(&CloudReceiveEvent<'_>) + Sync),
        stop: &'u AtomicBool,
    ) -> Self {
        Self {
            server,
            spool,
            shared,
            options,
            tell,
            is_claimed: false,
            histories: BTreeSet::new(),
            begun: None,
            ended: BTreeSet::new(),
            ahead: None,
            refused: BTreeSet::new(),
            next_begin: Instant::now(),
            stop,
        }
    }

    /// Until nothing more is received and all of it is in the bucket, or until it is told to end. What is not there then stays in the
    /// spool, and is no error. Returns what the bucket has of the segment in hand.
    ///
    /// # Errors
    /// What trying again cannot cure.
    pub(super) fn run(mut self) -> Result<Sent, CloudWalError> {
        let mut pause = FIRST_PAUSE;
        loop {
            // Asked before the work: what was received until then is seen by it.
            let has_ended = self.shared.state().has_ended;
            match self.pass(has_ended) {
                Ok(()) if has_ended => return Ok(self.sent()),
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    self.shared.wait(TICK);
                }
                Err(CloudWalError::Store(error)) if has_ended => {
                    (self.tell)(&CloudReceiveEvent::Warning(format!(
                        "what was received last stays in {}: {error}",
                        self.spool.dir().display()
                    )));
                    return Ok(self.sent());
                }
                Err(error @ (CloudWalError::Store(_) | CloudWalError::Changed { .. })) => {
                    (self.tell)(&CloudReceiveEvent::StoreFailed { error: &error, retry_in: pause });
                    let begun = Instant::now();
                    while begun.elapsed() < pause && !self.shared.state().has_ended {
                        self.shared.wait(TICK);
                    }
                    if self.has_stopped() {
                        // It would take its time to fail once more.
                        return Ok(self.sent());
                    }
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn sent(self) -> Sent {
        Sent { begun: self.begun, ended: self.ended }
    }

    fn has_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Everything that is there, and at last the beginning of the segment in hand.
    fn pass(&mut self, is_last: bool) -> Result<(), CloudWalError> {
        loop {
            // A segment is given its visible name only when those before it have theirs: what is opened here before the whole files
            // are looked for, follows them.
            let current = self.current()?;
            let waiting = self.spool.waiting()?;
            let mut whole: Vec<WalName> = waiting
                .whole
                .into_iter()
                .filter(|name| !matches!(name, WalName::History(of) if self.histories.contains(of)))
                .take(self.options.archive.parallel.clamp(1, MOST_AT_ONCE))
                .collect();
            // A history that the bucket has otherwise must end it before the segments of such a timeline are there.
            let histories = whole.iter().take_while(|name| matches!(name, WalName::History(_))).count();
            if histories > 0 {
                whole.truncate(histories);
            }
            if !whole.is_empty() {
                if self.has_stopped() {
                    return Ok(());
                }
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
                    self.forget_beginnings(*segment, begun.map_or(&[], Vec::as_slice))?;
                    let end = self.end_of(*segment)?;
                    self.spool.take_out(*name, segment.timeline(), end)?;
                    self.shared.set_stored(segment.timeline(), end);
                }
                _ => {}
            }
            (self.tell)(&CloudReceiveEvent::Archived(*name));
        }
        Ok(())
    }

    /// Removes the beginnings of a segment that is archived whole, as far as they are no more than that.
    fn forget_beginnings(&self, segment: SegmentName, begun: &[StoredWal]) -> Result<(), CloudWalError> {
        let mut keys = Vec::new();
        for stored in begun {
            let is_own = self.begun.as_ref().is_some_and(|own| own.key == stored.key);
            if !is_own {
                let path = self.spool.path(segment.into());
                let file = File::open(&path).map_err(|source| CloudWalError::Read { path, source })?;
                match self.server.compare_beginning(stored, &file, 0)? {
                    None => continue,
                    Some(Stored::Within) => {}
                    Some(Stored::Beyond(_) | Stored::Other) => {
                        self.leave(stored.name, &stored.key);
                        continue;
                    }
                }
            }
            keys.push(stored.key.clone());
        }
        self.forget(&keys);
        Ok(())
    }

    /// Removes objects of which there is more. They do no harm.
    fn forget(&self, keys: &[String]) {
        if !keys.is_empty()
            && let Err(error) = self.server.store().delete(keys)
        {
            (self.tell)(&CloudReceiveEvent::Warning(format!(
                "cannot remove the beginning of a segment of which more is archived: {error}"
            )));
        }
    }

    fn leave(&self, name: WalName, key: &str) {
        (self.tell)(&CloudReceiveEvent::Warning(format!(
            "what is archived as {name} ({key}) is not what was received: it stays"
        )));
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
        let has_grown =
            self.begun.as_ref().is_none_or(|begun| begun.segment != segment || begun.position < written);
        let is_less = self.ahead.is_some_and(|(of, up_to)| of == segment && written < up_to);
        if !has_grown || is_less || !(is_last || Instant::now() >= self.next_begin) {
            return Ok(());
        }
        if !self.claim(WalName::Partial(segment))? {
            return Ok(());
        }
        let is_stored = self.put_beginning(segment, written, file)?;
        self.next_begin = Instant::now() + interval;
        if is_stored {
            self.shared.set_stored(segment.timeline(), written);
            (self.tell)(&CloudReceiveEvent::Begun { segment, position: written });
        }
        Ok(())
    }

    /// Of the timeline that was left nothing more comes: the beginning of its last segment is kept in the bucket alone. It leaves the
    /// spool when the next timeline's position is noted, for until then it says where to go on.
    fn end_timeline(&mut self, old: SegmentName) -> Result<(), CloudWalError> {
        let name = WalName::Partial(old);
        if !self.ended.contains(&old) {
            if self.refused.contains(&old) || !self.claim(name)? {
                return Ok(());
            }
            let path = self.spool.path(name);
            let failed = |source| CloudWalError::Read { path: path.clone(), source };
            let file = File::open(&path).map_err(failed)?;
            let is_empty = file.metadata().map_err(failed)?.len() == 0;
            // Where the bucket has more of it, that stays.
            if !is_empty
                && !self.put_beginning(old, Lsn::INVALID, file)?
                && self.ahead.is_none_or(|(of, _)| of != old)
            {
                // What is here may be the only one of its kind.
                self.refused.insert(old);
                return Ok(());
            }
            self.ended.insert(old);
            (self.tell)(&CloudReceiveEvent::Archived(name));
        }
        if self.spool.position()?.is_some_and(|(timeline, _)| timeline > old.timeline()) {
            self.spool.remove(&[name])?;
        }
        Ok(())
    }

    /// A segment as it is, received up to `written`, with zeros where nothing was received yet. It is always compressed: for seconds of
    /// WAL there are megabytes of these. Returns `false` when it is not in the bucket: it holds no segment yet, or something is there
    /// that it must not replace.
    fn put_beginning(
        &mut self,
        segment: SegmentName,
        written: Lsn,
        mut file: File,
    ) -> Result<bool, CloudWalError> {
        let name = WalName::Partial(segment);
        let failed = |source| CloudWalError::Read { path: self.spool.path(name), source };
        let length = file.metadata().map_err(failed)?.len();
        // One that was just made is empty, and one on a full disk short.
        let Some((size, start)) =
            SegmentSize::new(length).ok().and_then(|size| Some((size, segment.start(size).ok()?)))
        else {
            return Ok(false);
        };
        if self.refused.contains(&segment) {
            return Ok(false);
        }
        let archive = &self.options.archive;
        let compression = match archive.compression {
            Compression::None => Compression::Gzip,
            other => other,
        };
        let key = format!("{}{}", self.server.layout().wal(name), ending(compression));
        let mut others = Vec::new();
        if self.begun.as_ref().is_none_or(|begun| begun.segment != segment) {
            let received = written.saturating_bytes_since(start).min(size.bytes());
            match self.server.may_replace_beginning(segment, &file, received)? {
                // A run with other options has left another form, of which there is less; it would be restored instead.
                Replacement::Allowed(keys) => others = keys,
                Replacement::NotBefore(offset) => {
                    self.ahead = Some((segment, start.saturating_add(offset)));
                    return Ok(false);
                }
                Replacement::Refused(key) => {
                    self.leave(name, &key);
                    self.refused.insert(segment);
                    return Ok(false);
                }
            }
        }
        file.rewind().map_err(failed)?;
        let mut write = WriteOptions::default();
        (write.mode, write.tags) = (PutMode::Replace, archive.tags.clone());
        Outgoing::new(self.server.store(), &key, write, 1 << 20)
            .fill(name, &mut file, compression, archive.level)?
            .finish()?;
        others.retain(|other| *other != key);
        self.forget(&others);
        self.begun = Some(Begun { segment, position: written, key });
        Ok(true)
    }
}
