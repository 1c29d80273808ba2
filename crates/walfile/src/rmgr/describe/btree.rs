//! B-tree indexes (`nbtxlog.h`).

use std::fmt;

use super::Description;
use super::input::{Fault, Input, Result};
use super::list::{list, offsets};
use crate::record::FullXid;

pub(super) fn describe(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    if record.is_listed() { listed(record, f, &mut main) } else { plain(record, f, &mut main) }
}

/// Up to PostgreSQL 15.
fn plain(record: &Description<'_>, f: &mut fmt::Formatter<'_>, main: &mut Input<'_>) -> Result {
    match (record.kind(), record.major) {
        (0x30 | 0x40, _) | (0x50 | 0x60, ..=11) => {
            let (level, first, new) = (main.u32()?, main.u16()?, main.u16()?);
            write!(f, "level {level}, firstrightoff {first}, newitemoff {new}")?;
            if record.major >= 13 {
                write!(f, ", postingoff {}", main.u16()?)?;
            }
        }
        (0x00 | 0x10 | 0x20 | 0x50, _) => write!(f, "off {}", main.u16()?)?,
        (0x60, _) => write!(f, "nintervals {}", main.u16()?)?,
        (0xC0, ..=12) if main.len() >= 4 => write!(f, "lastBlockVacuumed {}", main.u32()?)?,
        (0xC0, 13..) => {
            let (deleted, updated) = (main.u16()?, main.u16()?);
            write!(f, "ndeleted {deleted}; nupdated {updated}")?;
        }
        (0x70, 14..) => {
            let (xid, deleted, updated) = (main.u32()?, main.u16()?, main.u16()?);
            write!(f, "latestRemovedXid {xid}; ndeleted {deleted}; nupdated {updated}")?;
        }
        (0x70, 12..) => {
            let (xid, deleted) = (main.u32()?, main.u32()?);
            write!(f, "latestRemovedXid {xid}; ndeleted {deleted}")?;
        }
        (0x70, _) => {
            main.skip(12)?;
            write!(f, "{} items", main.u32()?)?;
        }
        (0xB0, _) => {
            let page = HalfDead::read(main)?;
            write!(
                f,
                "topparent {}; leaf {}; left {}; right {}",
                page.parent, page.leaf, page.left, page.right
            )?;
        }
        (0x80 | 0x90, 14..) => {
            let page = Unlinked::read(main)?;
            write!(f, "left {}; right {}; level {}; ", page.left, page.right, page.level)?;
            write!(f, "safexid {}:{}; ", page.safe.epoch(), page.safe.xid())?;
            write!(f, "leafleft {}; leafright {}; ", page.leaf_left, page.leaf_right)?;
            write!(f, "leaftopparent {}", page.parent)?;
        }
        (0x80 | 0x90, _) => {
            let (left, right, leaf_left, leaf_right) = (main.u32()?, main.u32()?, main.u32()?, main.u32()?);
            let (parent, xid) = (main.u32()?, main.u32()?);
            write!(f, "left {left}; right {right}; btpo_xact {xid}; ")?;
            write!(f, "leafleft {leaf_left}; leafright {leaf_right}; topparent {parent}")?;
        }
        (0xA0, _) => {
            main.skip(4)?;
            write!(f, "lev {}", main.u32()?)?;
        }
        (0xD0, _) => {
            let rel = main.rel()?;
            main.skip(4)?;
            write!(f, "rel {rel}; latestRemovedXid ")?;
            if record.major >= 14 {
                write_full(f, FullXid::new(main.u64()?))?;
            } else {
                write!(f, "{}", main.u32()?)?;
            }
        }
        (0xE0, _) => cleanup(record, f, ' ')?,
        _ => {}
    }
    Ok(())
}

/// PostgreSQL 16 and later.
fn listed(record: &Description<'_>, f: &mut fmt::Formatter<'_>, main: &mut Input<'_>) -> Result {
    match record.kind() {
        0x00 | 0x10 | 0x20 | 0x50 => write!(f, "off: {}", main.u16()?)?,
        0x30 | 0x40 => {
            let (level, first, new, posting) = (main.u32()?, main.u16()?, main.u16()?, main.u16()?);
            write!(f, "level: {level}, firstrightoff: {first}, newitemoff: {new}, postingoff: {posting}")?;
        }
        0x60 => write!(f, "nintervals: {}", main.u16()?)?,
        0xC0 => {
            let (deleted, updated) = (main.u16()?, main.u16()?);
            write!(f, "ndeleted: {deleted}, nupdated: {updated}")?;
            removed(record, f, deleted, updated)?;
        }
        0x70 => {
            let (horizon, deleted, updated) = (main.u32()?, main.u16()?, main.u16()?);
            write!(f, "snapshotConflictHorizon: {horizon}, ndeleted: {deleted}, nupdated: {updated}")?;
            record.catalog(f, ", isCatalogRel: ", main)?;
            removed(record, f, deleted, updated)?;
        }
        0xB0 => {
            let page = HalfDead::read(main)?;
            write!(
                f,
                "topparent: {}, leaf: {}, left: {}, right: {}",
                page.parent, page.leaf, page.left, page.right
            )?;
        }
        0x80 | 0x90 => {
            let page = Unlinked::read(main)?;
            write!(f, "left: {}, right: {}, level: {}, ", page.left, page.right, page.level)?;
            write!(f, "safexid: {}:{}, ", page.safe.epoch(), page.safe.xid())?;
            write!(f, "leafleft: {}, leafright: {}, ", page.leaf_left, page.leaf_right)?;
            write!(f, "leaftopparent: {}", page.parent)?;
        }
        0xA0 => {
            main.skip(4)?;
            write!(f, "level: {}", main.u32()?)?;
        }
        0xD0 => {
            let rel = main.rel()?;
            main.skip(4)?;
            write!(f, "rel: {rel}, snapshotConflictHorizon: ")?;
            write_full(f, FullXid::new(main.u64()?))?;
            record.catalog(f, ", isCatalogRel: ", main)?;
        }
        0xE0 => cleanup(record, f, ':')?,
        _ => {}
    }
    Ok(())
}

fn write_full(f: &mut fmt::Formatter<'_>, xid: FullXid) -> Result {
    Ok(write!(f, "{}:{}", xid.epoch(), xid.xid())?)
}

/// What a cleanup left in the meta page. Up to PostgreSQL 13 it kept the oldest transaction there.
fn cleanup(record: &Description<'_>, f: &mut fmt::Formatter<'_>, colon: char) -> Result {
    let block = record.block(0).ok_or(Fault::Damaged)?;
    let mut data = Input::new(block.data);
    let fixed = if record.major >= 12 { 20 } else { 16 }; // with the version, without
    data.skip(fixed)?;
    let value = data.u32()?;
    if record.major < 14 {
        let tuples = data.f64()?;
        return Ok(write!(f, "oldest_btpo_xact {value}; last_cleanup_num_heap_tuples: {tuples:.6}")?);
    }
    let colon = if colon == ':' { ":" } else { "" };
    Ok(write!(f, "last_cleanup_num_delpages{colon} {value}")?)
}

/// The items deleted from the page, and those of which some row pointers are.
fn removed(record: &Description<'_>, f: &mut fmt::Formatter<'_>, deleted: u16, updated: u16) -> Result {
    let Some(block) = record.block(0).filter(|block| !block.data.is_empty()) else { return Ok(()) };
    let mut data = Input::new(block.data);
    f.write_str(", deleted:")?;
    offsets(f, &mut data, deleted.into())?;
    f.write_str(", updated:")?;
    let mut places = data.part(updated.into(), 2)?;
    list(f, updated.into(), |f| {
        let (offset, count) = (places.u16()?, data.u16()?);
        write!(f, "{{ off: {offset}, nptids: {count}, ptids:")?;
        offsets(f, &mut data, count.into())?;
        Ok(f.write_str(" }")?)
    })
}

/// `xl_btree_mark_page_halfdead`.
struct HalfDead {
    leaf: u32,
    left: u32,
    right: u32,
    parent: u32,
}

impl HalfDead {
    fn read(main: &mut Input<'_>) -> Result<Self> {
        main.skip(4)?;
        Ok(Self { leaf: main.u32()?, left: main.u32()?, right: main.u32()?, parent: main.u32()? })
    }
}

/// `xl_btree_unlink_page` of PostgreSQL 14 and later.
struct Unlinked {
    left: u32,
    right: u32,
    level: u32,
    safe: FullXid,
    leaf_left: u32,
    leaf_right: u32,
    parent: u32,
}

impl Unlinked {
    fn read(main: &mut Input<'_>) -> Result<Self> {
        let (left, right, level) = (main.u32()?, main.u32()?, main.u32()?);
        main.skip(4)?;
        Ok(Self {
            left,
            right,
            level,
            safe: FullXid::new(main.u64()?),
            leaf_left: main.u32()?,
            leaf_right: main.u32()?,
            parent: main.u32()?,
        })
    }
}
