//! Rows removed from a page, and frozen on it: the records of PostgreSQL 16, and the one that took their place in 17.

use std::fmt;

use super::input::{Fault, Input, Result};
use super::list::{list, offsets};
use super::{Description, truth};

/// Bytes of a plan to freeze rows: which values they get, and how many get them.
const PLAN: usize = 12;

/// Bits of `xl_heap_prune`.
mod has {
    pub(super) const CATALOG: u8 = 1 << 1;
    pub(super) const HORIZON: u8 = 1 << 3;
    pub(super) const PLANS: u8 = 1 << 4;
    pub(super) const REDIRECTED: u8 = 1 << 5;
    pub(super) const DEAD: u8 = 1 << 6;
    pub(super) const UNUSED: u8 = 1 << 7;
}

/// PostgreSQL 17 and later.
pub(super) fn describe(record: &Description<'_>, f: &mut fmt::Formatter<'_>, main: &mut Input<'_>) -> Result {
    main.skip(1)?; // why, which the record's type says too
    let flags = main.u8()?;
    let has = |bit| flags & bit != 0;
    if has(has::HORIZON) {
        write!(f, "snapshotConflictHorizon: {}", main.u32()?)?;
    }
    // The comma is there without the horizon too.
    write!(f, ", isCatalogRel: {}", truth(has(has::CATALOG)))?;
    let Some(block) = record.block(0).filter(|block| !block.data.is_empty()) else { return Ok(()) };
    let mut data = Input::new(block.data);
    let (plan_count, plans) = if has(has::PLANS) {
        let count = data.u16()?;
        data.skip(2)?;
        (count, data.part(count.into(), PLAN)?)
    } else {
        (0, Input::new(&[]))
    };
    let mut items = |bit, size| -> Result<(usize, Input<'_>)> {
        if !has(bit) {
            return Ok((0, Input::new(&[])));
        }
        let count = usize::from(data.u16()?);
        Ok((count, data.part(count, size)?))
    };
    let (redirected, mut pairs) = items(has::REDIRECTED, 4)?;
    let (dead, mut dead_items) = items(has::DEAD, 2)?;
    let (unused, mut unused_items) = items(has::UNUSED, 2)?;
    write!(f, ", nplans: {plan_count}, nredirected: {redirected}, ndead: {dead}, nunused: {unused}")?;
    if plan_count > 0 {
        f.write_str(", plans:")?;
        write_plans(f, plan_count, plans, data)?;
    }
    if redirected > 0 {
        f.write_str(", redirected:")?;
        write_pairs(f, redirected, &mut pairs)?;
    }
    if dead > 0 {
        f.write_str(", dead:")?;
        offsets(f, &mut dead_items, dead)?;
    }
    if unused > 0 {
        f.write_str(", unused:")?;
        offsets(f, &mut unused_items, unused)?;
    }
    Ok(())
}

/// `PRUNE` of PostgreSQL 16.
pub(super) fn describe_16(
    record: &Description<'_>,
    f: &mut fmt::Formatter<'_>,
    main: &mut Input<'_>,
) -> Result {
    let (horizon, redirected, dead) = (main.u32()?, main.u16()?, main.u16()?);
    write!(f, "snapshotConflictHorizon: {horizon}, nredirected: {redirected}, ndead: {dead}")?;
    let Some(block) = record.block(0).filter(|block| block.image.is_none()) else { return Ok(()) };
    let mut data = Input::new(block.data);
    let (redirected, dead) = (usize::from(redirected), usize::from(dead));
    let unused = (data.len() / 2).checked_sub(2 * redirected + dead).ok_or(Fault::Damaged)?;
    write!(f, ", nunused: {unused}, redirected:")?;
    write_pairs(f, redirected, &mut data)?;
    f.write_str(", dead:")?;
    offsets(f, &mut data, dead)?;
    f.write_str(", unused:")?;
    offsets(f, &mut data, unused)
}

/// `FREEZE_PAGE` of PostgreSQL 16.
pub(super) fn freeze_16(
    record: &Description<'_>,
    f: &mut fmt::Formatter<'_>,
    main: &mut Input<'_>,
) -> Result {
    let (horizon, count) = (main.u32()?, main.u16()?);
    write!(f, "snapshotConflictHorizon: {horizon}, nplans: {count}")?;
    let Some(block) = record.block(0).filter(|block| block.image.is_none()) else { return Ok(()) };
    let mut data = Input::new(block.data);
    let plans = data.part(count.into(), PLAN)?;
    f.write_str(", plans:")?;
    write_plans(f, count, plans, data)
}

fn write_pairs(f: &mut fmt::Formatter<'_>, count: usize, input: &mut Input<'_>) -> Result {
    let mut pairs = input.part(count, 4)?;
    list(f, count, |f| {
        let (from, to) = (pairs.u16()?, pairs.u16()?);
        Ok(write!(f, "{from}->{to}")?)
    })
}

/// The plans, and behind all of them the offsets of the rows of each.
fn write_plans(f: &mut fmt::Formatter<'_>, count: u16, mut plans: Input<'_>, mut rows: Input<'_>) -> Result {
    list(f, count.into(), |f| {
        let (xmax, infomask2, infomask) = (plans.u32()?, plans.u16()?, plans.u16()?);
        plans.skip(2)?; // flags and padding
        let tuples = plans.u16()?;
        write!(
            f,
            "{{ xmax: {xmax}, infomask: {infomask}, infomask2: {infomask2}, ntuples: {tuples}, offsets:"
        )?;
        offsets(f, &mut rows, tuples.into())?;
        Ok(f.write_str(" }")?)
    })
}
