//! Lists as PostgreSQL 16 and later write them: ` [1, 2]`.

use std::fmt;

use super::input::{Input, Result};

/// Writes `count` elements, each by `element`.
pub(super) fn list(
    f: &mut fmt::Formatter<'_>,
    count: usize,
    mut element: impl FnMut(&mut fmt::Formatter<'_>) -> Result,
) -> Result {
    f.write_str(" [")?;
    for index in 0..count {
        f.write_str(if index == 0 { "" } else { ", " })?;
        element(f)?;
    }
    Ok(f.write_str("]")?)
}

/// Writes the next `count` offsets.
pub(super) fn offsets(f: &mut fmt::Formatter<'_>, input: &mut Input<'_>, count: usize) -> Result {
    let mut offsets = input.part(count, 2)?;
    list(f, count, |f| Ok(write!(f, "{}", offsets.u16()?)?))
}

/// Writes the next `count` identifiers.
pub(super) fn numbers(f: &mut fmt::Formatter<'_>, input: &mut Input<'_>, count: usize) -> Result {
    let mut numbers = input.part(count, 4)?;
    list(f, count, |f| Ok(write!(f, "{}", numbers.u32()?)?))
}
