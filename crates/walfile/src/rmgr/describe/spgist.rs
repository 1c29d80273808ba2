//! SP-GiST indexes (`spgxlog.h`).

use std::fmt;

use super::Description;
use super::input::Result;

/// Writes ` (word)` for each flag that is set.
fn marks<const N: usize>(f: &mut fmt::Formatter<'_>, flags: [(bool, &str); N]) -> Result {
    for (set, word) in flags {
        if set {
            write!(f, " ({word})")?;
        }
    }
    Ok(())
}

pub(super) fn describe(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    match record.kind() {
        0x10 => {
            let (new, nulls) = (main.bool()?, main.bool()?);
            let (leaf, head, parent, node) = (main.u16()?, main.u16()?, main.u16()?, main.u16()?);
            write!(f, "off: {leaf}, headoff: {head}, parentoff: {parent}, nodeI: {node}")?;
            marks(f, [(new, "newpage"), (nulls, "nulls")])
        }
        0x20 => {
            let (moves, new, dead, nulls) = (main.u16()?, main.bool()?, main.bool()?, main.bool()?);
            main.skip(1)?;
            let (parent, node) = (main.u16()?, main.u16()?);
            write!(f, "nmoves: {moves}, parentoff: {parent}, nodeI: {node}")?;
            marks(f, [(new, "newpage"), (dead, "replacedead"), (nulls, "nulls")])
        }
        0x30 => {
            let (offset, new_offset, new) = (main.u16()?, main.u16()?, main.bool()?);
            let (block, parent, node) = (main.u8()?.cast_signed(), main.u16()?, main.u16()?);
            write!(f, "off: {offset}, newoff: {new_offset}, parentBlk: {block}, ")?;
            write!(f, "parentoff: {parent}, nodeI: {node}")?;
            marks(f, [(new, "newpage")])
        }
        0x40 => {
            let (prefix, postfix, new, same) = (main.u16()?, main.u16()?, main.bool()?, main.bool()?);
            write!(f, "prefixoff: {prefix}, postfixoff: {postfix}")?;
            marks(f, [(new, "newpage"), (same, "same")])
        }
        0x50 => {
            let root = main.bool()?;
            main.skip(1)?;
            let (deleted, inserted) = (main.u16()?, main.u16()?);
            main.skip(2)?; // which pages are new
            let inner = main.u16()?;
            main.skip(1)?;
            let (nulls, inner_is_parent) = (main.bool()?, main.bool()?);
            main.skip(1)?;
            let (parent, node) = (main.u16()?, main.u16()?);
            write!(f, "ndelete: {deleted}, ninsert: {inserted}, inneroff: {inner}, ")?;
            write!(f, "parentoff: {parent}, nodeI: {node}")?;
            marks(f, [(inner_is_parent, "innerIsParent"), (nulls, "nulls"), (root, "isRootSplit")])
        }
        0x60 => {
            let (dead, placeholders, moved, chained) = (main.u16()?, main.u16()?, main.u16()?, main.u16()?);
            write!(f, "ndead: {dead}, nplaceholder: {placeholders}, nmove: {moved}, nchain: {chained}")?;
            Ok(())
        }
        0x70 => Ok(write!(f, "ndelete: {}", main.u16()?)?),
        0x80 => {
            let (count, first, xid) = (main.u16()?, main.u16()?, main.u32()?);
            write!(f, "ntoplaceholder: {count}, firstplaceholder: {first}, ")?;
            if record.is_listed() {
                write!(f, "snapshotConflictHorizon: {xid}")?;
                return record.catalog(f, ", isCatalogRel: ", &mut main);
            }
            Ok(write!(f, "newestredirectxid: {xid}")?)
        }
        _ => Ok(()),
    }
}
