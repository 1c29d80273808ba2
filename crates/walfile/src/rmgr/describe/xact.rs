//! Transactions (`xact.h`, `twophase.c`).

use std::fmt::{self, Write as _};

use super::input::{Input, Result};
use super::objects::Path;
use super::timestamp::At;
use super::{Description, invalidation};
use crate::Lsn;
use crate::record::{Fork, Timestamp};

/// Bytes in the encoding of some database: what is not UTF-8 is replaced.
pub(super) struct Text<'a>(pub(super) &'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_char(char::REPLACEMENT_CHARACTER)?;
            }
        }
        Ok(())
    }
}

/// Bits of `xinfo`.
mod has {
    pub(super) const DATABASE: u32 = 1 << 0;
    pub(super) const SUBXACTS: u32 = 1 << 1;
    pub(super) const FILES: u32 = 1 << 2;
    pub(super) const INVALIDATIONS: u32 = 1 << 3;
    pub(super) const TWO_PHASE: u32 = 1 << 4;
    pub(super) const ORIGIN: u32 = 1 << 5;
    pub(super) const GID: u32 = 1 << 7;
    pub(super) const STATS: u32 = 1 << 8;
    pub(super) const APPLY_FEEDBACK: u32 = 1 << 29;
    pub(super) const INIT_FILE: u32 = 1 << 30;
    pub(super) const SYNC: u32 = 1 << 31;
}

pub(super) fn describe(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    match record.kind() & 0x70 {
        0x00 | 0x30 => End::read(record, &mut main)?.commit(record, f),
        0x20 | 0x40 => End::read(record, &mut main)?.abort(record, f),
        0x10 if record.major >= 13 => prepare(record, f, &mut main),
        0x50 => {
            write!(f, "xtop {}: subxacts:", main.u32()?)?;
            let count = main.count()?;
            let mut xids = main.part(count, 4)?;
            for _ in 0..count {
                write!(f, " {}", xids.u32()?)?;
            }
            Ok(())
        }
        0x60 => {
            let count = main.count()?;
            invalidation::messages(f, &mut main, count, (0, 0), false)
        }
        _ => Ok(()),
    }
}

/// Elements of one size.
#[derive(Clone, Copy)]
struct Several<'a> {
    count: usize,
    input: Input<'a>,
}

impl<'a> Several<'a> {
    const NONE: Self = Self { count: 0, input: Input::new(&[]) };

    fn read(main: &mut Input<'a>, size: usize) -> Result<Self> {
        let count = main.count()?;
        Ok(Self { count, input: main.part(count, size)? })
    }

    fn files(mut self, record: &Description<'_>, f: &mut fmt::Formatter<'_>, label: &str) -> Result {
        if self.count > 0 {
            write!(f, "; {label}:")?;
        }
        for _ in 0..self.count {
            let path = Path { rel: self.input.rel()?, fork: Fork::Main, major: record.major };
            write!(f, " {path}")?;
        }
        Ok(())
    }

    fn subxacts(mut self, f: &mut fmt::Formatter<'_>) -> Result {
        if self.count > 0 {
            f.write_str("; subxacts:")?;
        }
        for _ in 0..self.count {
            write!(f, " {}", self.input.u32()?)?;
        }
        Ok(())
    }

    /// Statistics that go with what was dropped.
    fn stats(mut self, record: &Description<'_>, f: &mut fmt::Formatter<'_>, label: &str) -> Result {
        if self.count > 0 {
            write!(f, "; {label}dropped stats:")?;
        }
        for _ in 0..self.count {
            let (kind, database, low) = (self.input.i32()?, self.input.u32()?, self.input.u32()?);
            let high = if record.major >= 18 { self.input.u32()? } else { 0 };
            write!(f, " {kind}/{database}/{}", u64::from(high) << 32 | u64::from(low))?;
        }
        Ok(())
    }
}

/// Bytes of an entry of dropped statistics; 18 made its object identifier 64 bits wide.
const fn stats_len(major: u16) -> usize {
    if major >= 18 { 16 } else { 12 }
}

/// The end of a transaction.
struct End<'a> {
    time: Timestamp,
    bits: u32,
    place: (u32, u32),
    subxacts: Several<'a>,
    files: Several<'a>,
    stats: Several<'a>,
    invalidations: Several<'a>,
    prepared: u32,
    origin: Option<(Lsn, Timestamp)>,
}

impl<'a> End<'a> {
    fn read(record: &Description<'_>, main: &mut Input<'a>) -> Result<Self> {
        let time = Timestamp::from_micros(main.i64()?);
        let bits = if record.header.info & 0x80 == 0 { 0 } else { main.u32()? };
        let has = |bit| bits & bit != 0;
        let place = if has(has::DATABASE) { (main.u32()?, main.u32()?) } else { (0, 0) };
        let mut part = |bit, size| if has(bit) { Several::read(main, size) } else { Ok(Several::NONE) };
        let (subxacts, files) = (part(has::SUBXACTS, 4)?, part(has::FILES, 12)?);
        let stats =
            if record.major >= 15 { part(has::STATS, stats_len(record.major))? } else { Several::NONE };
        let invalidations = part(has::INVALIDATIONS, invalidation::LEN)?;
        let mut prepared = 0;
        if has(has::TWO_PHASE) {
            prepared = main.u32()?;
            if has(has::GID) && record.major >= 11 {
                main.skip(main.text().len() + 1)?;
            }
        }
        let origin = if has(has::ORIGIN) { Some(origin(main)?) } else { None };
        Ok(Self { time, bits, place, subxacts, files, stats, invalidations, prepared, origin })
    }

    fn begin(&self, record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
        if self.prepared != 0 {
            write!(f, "{}: ", self.prepared)?;
        }
        write!(f, "{}", At(self.time, record.zone))?;
        self.files.files(record, f, "rels")?;
        self.subxacts.subxacts(f)
    }

    fn commit(mut self, record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
        self.begin(record, f)?;
        self.stats.stats(record, f, "")?;
        let count = self.invalidations.count;
        let init_file = self.bits & has::INIT_FILE != 0;
        invalidation::messages(f, &mut self.invalidations.input, count, self.place, init_file)?;
        f.write_str(if self.bits & has::APPLY_FEEDBACK != 0 { "; apply_feedback" } else { "" })?;
        f.write_str(if self.bits & has::SYNC != 0 { "; sync" } else { "" })?;
        write_origin(record, f, self.origin)
    }

    fn abort(&self, record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
        self.begin(record, f)?;
        write_origin(record, f, self.origin)?;
        self.stats.stats(record, f, "")
    }
}

fn origin(main: &mut Input<'_>) -> Result<(Lsn, Timestamp)> {
    Ok((main.lsn()?, Timestamp::from_micros(main.i64()?)))
}

fn write_origin(
    record: &Description<'_>,
    f: &mut fmt::Formatter<'_>,
    origin: Option<(Lsn, Timestamp)>,
) -> Result {
    let Some((lsn, time)) = origin else { return Ok(()) };
    let node = record.parts.origin.unwrap_or(0);
    Ok(write!(f, "; origin: node {node}, lsn {lsn}, at {}", At(time, record.zone))?)
}

/// The state file of a prepared transaction, whose parts begin on multiples of eight bytes.
fn prepare(record: &Description<'_>, f: &mut fmt::Formatter<'_>, main: &mut Input<'_>) -> Result {
    let all = main.rest();
    main.skip(12)?; // magic, length, transaction
    let database = main.u32()?;
    let time = Timestamp::from_micros(main.i64()?);
    main.skip(4)?; // owner
    let [subxacts, files, abort_files] = [main.count()?, main.count()?, main.count()?];
    let stats = if record.major >= 15 { [main.count()?, main.count()?] } else { [0, 0] };
    let (messages, init_file) = (main.count()?, main.bool()?);
    main.skip(1)?;
    let gid_len = usize::from(main.u16()?);
    let origin = origin(main)?;
    let mut rest = *main;
    let mut part = |count: usize, size: usize| -> Result<Several<'_>> {
        let at = (all.len() - rest.len()).next_multiple_of(8);
        rest = Input::new(all.get(at..).unwrap_or(&[]));
        Ok(Several { count, input: rest.part(count, size)? })
    };
    let gid = part(gid_len, 1)?;
    let subxacts = part(subxacts, 4)?;
    let (files, abort_files) = (part(files, 12)?, part(abort_files, 12)?);
    let size = stats_len(record.major);
    let [stats, abort_stats] = [part(stats[0], size)?, part(stats[1], size)?];
    let mut messages = part(messages, invalidation::LEN)?;

    write!(f, "gid {}: {}", Text(gid.input.text()), At(time, record.zone))?;
    files.files(record, f, "rels(commit)")?;
    abort_files.files(record, f, "rels(abort)")?;
    stats.stats(record, f, "commit ")?;
    abort_stats.stats(record, f, "abort ")?;
    subxacts.subxacts(f)?;
    // A prepared transaction has no tablespace.
    invalidation::messages(f, &mut messages.input, messages.count, (database, 0), init_file)?;
    write_origin(record, f, record.parts.origin.map(|_| origin))
}
