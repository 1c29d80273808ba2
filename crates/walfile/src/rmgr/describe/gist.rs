//! `GiST` indexes (`gistxlog.h`).

use std::fmt;

use super::Description;
use super::input::Result;
use crate::record::FullXid;

pub(super) fn describe(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    let xid_name = if record.is_listed() { "snapshotConflictHorizon" } else { "latestRemovedXid" };
    match record.kind() {
        0x10 => {
            let (xid, count) = (main.u32()?, main.u16()?);
            write!(f, "delete: {xid_name} {xid}, nitems: {count}")?;
            record.catalog(f, ", isCatalogRel ", &mut main)?;
        }
        0x20 => {
            let (rel, block, xid) = (main.rel()?, main.u32()?, FullXid::new(main.u64()?));
            write!(f, "rel {rel}; blk {block}; {xid_name} {}:{}", xid.epoch(), xid.xid())?;
            record.catalog(f, ", isCatalogRel ", &mut main)?;
        }
        0x30 => {
            main.skip(18)?; // the right link and the sequence number before, whether it was a leaf
            write!(f, "page_split: splits to {} pages", main.u16()?)?;
        }
        0x60 => {
            let xid = FullXid::new(main.u64()?);
            write!(f, "deleteXid {}:{}; downlink {}", xid.epoch(), xid.xid(), main.u16()?)?;
        }
        _ => {}
    }
    Ok(())
}
