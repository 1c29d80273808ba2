//! More about table rows (`heapam_xlog.h`).

use std::fmt;

use super::heap::{lock_list, lock_words};
use super::input::{Input, Result};
use super::{Description, list, prune};

pub(super) fn describe(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    match (record.kind() & 0x70, record.major) {
        (0x10..=0x30, 17..) => prune::describe(record, f, &mut main),
        (0x10, 16) => prune::describe_16(record, f, &mut main),
        (0x30, 16) => prune::freeze_16(record, f, &mut main),
        (_, 16..) => listed(record, f, &mut main),
        (0x30, ..=13) => {
            main.skip(12)?;
            Ok(write!(f, "latestRemovedXid {}", main.u32()?)?)
        }
        (0x20, ..=13) | (0x30, _) => {
            let (cutoff, count) = (main.u32()?, main.u16()?);
            Ok(write!(f, "cutoff xid {cutoff} ntuples {count}")?)
        }
        _ => plain(record, f, &mut main),
    }
}

/// Up to PostgreSQL 15.
fn plain(record: &Description<'_>, f: &mut fmt::Formatter<'_>, main: &mut Input<'_>) -> Result {
    match record.kind() & 0x70 {
        0x10 => {
            let (xid, redirected, dead) = (main.u32()?, main.u16()?, main.u16()?);
            write!(f, "latestRemovedXid {xid} nredirected {redirected} ndead {dead}")?;
        }
        0x20 => write!(f, "nunused {}", main.u16()?)?,
        0x40 => {
            let (cutoff, flags) = (main.u32()?, main.u8()?);
            write!(f, "cutoff xid {cutoff} flags 0x{flags:02X}")?;
        }
        0x50 => {
            let (flags, count) = insert_fields(main)?;
            write!(f, "{count} tuples flags 0x{flags:02X}")?;
        }
        0x60 => {
            let (xmax, offset, bits, flags) = (main.u32()?, main.u16()?, main.u8()?, main.u8()?);
            write!(f, "off {offset}: xmax {xmax}: flags 0x{flags:02X} ")?;
            lock_words(f, bits)?;
        }
        0x70 => {
            let row = Version::read(main)?;
            write!(f, "rel {}; tid {}/{}", row.rel, row.block, row.offset)?;
            write!(f, "; cmin: {}, cmax: {}, combo: {}", row.cmin, row.cmax, row.combo)?;
        }
        _ => {}
    }
    Ok(())
}

/// PostgreSQL 16 and later.
fn listed(record: &Description<'_>, f: &mut fmt::Formatter<'_>, main: &mut Input<'_>) -> Result {
    match record.kind() & 0x70 {
        0x20 => {
            let count = main.u16()?;
            write!(f, "nunused: {count}")?;
            if let Some(block) = record.block(0).filter(|block| block.image.is_none()) {
                f.write_str(", unused:")?;
                list::offsets(f, &mut Input::new(block.data), count.into())?;
            }
        }
        0x40 => {
            let (horizon, flags) = (main.u32()?, main.u8()?);
            write!(f, "snapshotConflictHorizon: {horizon}, flags: 0x{flags:02X}")?;
        }
        0x50 => {
            let (flags, count) = insert_fields(main)?;
            write!(f, "ntuples: {count}, flags: 0x{flags:02X}")?;
            let new_page = record.kind() & 0x80 != 0;
            if !new_page && record.block(0).is_some_and(|block| block.image.is_none()) {
                f.write_str(", offsets:")?;
                list::offsets(f, main, count.into())?;
            }
        }
        0x60 => {
            let (xmax, offset, bits, flags) = (main.u32()?, main.u16()?, main.u8()?, main.u8()?);
            write!(f, "xmax: {xmax}, off: {offset}, ")?;
            lock_list(f, "infobits", bits)?;
            write!(f, ", flags: 0x{flags:02X}")?;
        }
        0x70 => {
            let row = Version::read(main)?;
            write!(f, "rel: {}, tid: {}/{}", row.rel, row.block, row.offset)?;
            write!(f, ", cmin: {}, cmax: {}, combo: {}", row.cmin, row.cmax, row.combo)?;
        }
        _ => {}
    }
    Ok(())
}

fn insert_fields(main: &mut Input<'_>) -> Result<(u8, u16)> {
    let flags = main.u8()?;
    main.skip(1)?;
    Ok((flags, main.u16()?))
}

/// A row of a catalog and the commands that made and removed it (`xl_heap_new_cid`).
struct Version {
    rel: crate::record::RelFile,
    block: u32,
    offset: u16,
    cmin: u32,
    cmax: u32,
    combo: u32,
}

impl Version {
    fn read(main: &mut Input<'_>) -> Result<Self> {
        main.skip(4)?; // the transaction above
        let (cmin, cmax, combo) = (main.u32()?, main.u32()?, main.u32()?);
        Ok(Self { rel: main.rel()?, block: main.block_id()?, offset: main.u16()?, cmin, cmax, combo })
    }
}
