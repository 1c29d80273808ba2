//! Reading one file and picking out of it what is searched for.

use std::collections::HashSet;
use std::io::Read;

use tapster_catalog::WalStore;
use walfile::record::{Timestamp, Xid};
use walfile::rmgr::{Payload, Rmgr, Transaction};
use walfile::{Record, RecordDecoder, Timeline};

use super::report::{FoundPoint, FoundWhat, Removal, RestoreAdvice, date};
use super::source::{Source, end_of, following};
use super::{RelationFile, WalFindError, WalTarget};

const PIECE: usize = 256 * 1024;

/// What one file holds.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) found: Vec<FoundPoint>,
    /// Transactions that made relation files.
    pub(super) creators: HashSet<Xid>,
    /// Why it could not be read to its end.
    pub(super) problem: Option<String>,
}

/// Reads the records that begin in a file, the last one to its end in the next file.
pub(super) fn read(
    store: &WalStore<'_>,
    source: Source,
    target: &WalTarget,
    timelines: &[Timeline],
) -> Result<Reading, WalFindError> {
    let mut reading = Reading::default();
    let mut decoder = RecordDecoder::new();
    let mut input = match store.open(source.name, false) {
        Ok(input) => input,
        Err(error) => {
            reading.problem = Some(error.to_string());
            return Ok(reading);
        }
    };
    pump(&mut decoder, &mut input, source, target, &mut reading);
    let Some(size) = decoder.first_page().map(|page| page.segment_size) else { return Ok(reading) };
    if decoder.position() == end_of(source.segment, size) && decoder.unfinished().is_some() {
        let before = decoder;
        for name in following(store, source.segment, size, timelines) {
            let Ok(mut input) = store.open(name, false) else { continue };
            let (mut decoder, known) = (before.clone(), reading.found.len());
            pump(&mut decoder, &mut input, Source { name, ..source }, target, &mut reading);
            if reading.found.len() > known || decoder.unfinished().is_none() {
                break;
            }
        }
    } else if let Some(end) = decoder.end()
        && matches!(source.name, walfile::WalName::Segment(_))
    {
        reading.problem = Some(end.to_string());
    }
    Ok(reading)
}

/// Feeds all of `input`, up to the first record that begins after the segment.
fn pump(
    decoder: &mut RecordDecoder,
    input: &mut impl Read,
    source: Source,
    target: &WalTarget,
    reading: &mut Reading,
) {
    loop {
        match decoder.read_from(input, PIECE) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                reading.problem = Some(error.to_string());
                return;
            }
        }
        let size = decoder.first_page().map(|page| page.segment_size);
        while let Some(record) = decoder.poll() {
            if size.is_some_and(|size| record.lsn >= end_of(source.segment, size)) {
                return;
            }
            if let Some((what, time, xid)) = pick(&record, target, &mut reading.creators) {
                reading.found.push(FoundPoint {
                    lsn: record.lsn,
                    end: record.end,
                    // Judged by the history files later: the page may be a copy of the parent's.
                    timeline: source.segment.timeline(),
                    xid: xid.filter(|xid| !xid.is_invalid()),
                    time: time.and_then(date),
                    what,
                    file: source.name,
                    place: source.place,
                    restore: RestoreAdvice::NoBackup,
                });
            }
        }
    }
}

type Picked = (FoundWhat, Option<Timestamp>, Option<Xid>);

fn pick(record: &Record<'_>, target: &WalTarget, creators: &mut HashSet<Xid>) -> Option<Picked> {
    match record.header.rmgr {
        Rmgr::XLOG if matches!(target, WalTarget::RestorePoint(_)) => {}
        Rmgr::TRANSACTION | Rmgr::DATABASE | Rmgr::STORAGE => {}
        _ => return None,
    }
    // A record that cannot be decoded cannot be recognised.
    let payload = record.payload().ok()?;
    if let Payload::FileCreate(_) = payload {
        creators.insert(record.header.xid);
    }
    match target {
        WalTarget::RestorePoint(name) => match payload {
            Payload::RestorePoint(point) if point.name == name.as_bytes() => {
                Some((FoundWhat::RestorePoint { name: name.clone() }, Some(point.time), None))
            }
            _ => None,
        },
        WalTarget::Time { .. } => match payload {
            Payload::Commit(end) => Some(commit(&end, false)),
            Payload::CommitPrepared(end) => Some(commit(&end, true)),
            _ => None,
        },
        WalTarget::Xid(xid) => pick_xid(&payload, *xid),
        WalTarget::Removed { file, cut } => pick_removed(&payload, file, *cut, record.header.xid),
    }
}

fn commit(end: &Transaction<'_>, prepared: bool) -> Picked {
    let what = FoundWhat::Commit {
        prepared,
        subtransactions: end.subtransactions.iter().collect(),
        removed: end.dropped.iter().collect(),
        removal: None,
    };
    (what, Some(end.time), Some(end.xid))
}

fn pick_xid(payload: &Payload<'_>, xid: Xid) -> Option<Picked> {
    let is_it = |end: &Transaction<'_>| end.xid == xid || end.subtransactions.iter().any(|sub| sub == xid);
    Some(match payload {
        Payload::Commit(end) if is_it(end) => commit(end, false),
        Payload::CommitPrepared(end) if is_it(end) => commit(end, true),
        Payload::Abort(end) if is_it(end) => {
            (FoundWhat::Abort { prepared: false }, Some(end.time), Some(end.xid))
        }
        Payload::AbortPrepared(end) if is_it(end) => {
            (FoundWhat::Abort { prepared: true }, Some(end.time), Some(end.xid))
        }
        Payload::Prepare(end) if is_it(end) => {
            let gid = String::from_utf8_lossy(end.gid.unwrap_or_default()).into_owned();
            (FoundWhat::Prepare { gid }, Some(end.time), Some(end.xid))
        }
        _ => return None,
    })
}

fn pick_removed(payload: &Payload<'_>, file: &RelationFile, cut: bool, xid: Xid) -> Option<Picked> {
    let removes = |end: &Transaction<'_>| end.dropped.iter().any(|dropped| file.matches(&dropped));
    Some(match payload {
        Payload::Commit(end) if removes(end) => commit(end, false),
        Payload::CommitPrepared(end) if removes(end) => commit(end, true),
        Payload::FileTruncate(done) if cut && file.matches(&done.relation) => {
            (FoundWhat::Cut { file: done.relation, blocks: done.blocks }, None, Some(xid))
        }
        Payload::DatabaseDrop(done) => {
            let paths = done.tablespaces.iter().map(|tablespace| walfile::record::RelFile {
                tablespace,
                database: done.database,
                number: 0,
            });
            let gone = paths.into_iter().find(|path| file.matches(path))?;
            (FoundWhat::DropDatabase { file: gone }, None, Some(xid))
        }
        _ => return None,
    })
}

impl FoundPoint {
    /// Says whether the transaction of this commit is among those that made files.
    pub(super) fn judge(&mut self, creators: &HashSet<Xid>) {
        let FoundWhat::Commit { subtransactions, removal, .. } = &mut self.what else { return };
        let made = self.xid.iter().chain(subtransactions.iter()).any(|xid| creators.contains(xid));
        if made {
            *removal = Some(Removal::Replaced);
        } else {
            removal.get_or_insert(Removal::Dropped);
        }
    }
}
