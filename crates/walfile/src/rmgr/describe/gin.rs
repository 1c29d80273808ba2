//! GIN indexes (`ginxlog.h`).

use std::fmt;

use super::input::{Fault, Input, Result};
use super::{Description, truth};
use crate::record::BlockRef;

/// Bytes of the meta page that stand before the number of deleted pages.
const META: usize = 56;

pub(super) fn describe(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    match record.kind() {
        0x20 => insert(record, f, &mut main),
        0x30 => {
            main.skip(24)?;
            let flags = main.u16()?;
            write!(f, "isrootsplit: {} ", truth(flags & 4 != 0))?;
            Ok(write!(f, "isdata: {} isleaf: {}", truth(flags & 1 != 0), truth(flags & 2 != 0))?)
        }
        0x80 => {
            main.skip(META)?;
            Ok(write!(f, "ndeleted: {}", main.i32()?)?)
        }
        0x90 => match record.block(0) {
            Some(block) if image(&block, f)? => Ok(()),
            Some(block) => recompressed(f, &mut Input::new(block.data)),
            None => Err(Fault::Damaged),
        },
        _ => Ok(()),
    }
}

fn insert(record: &Description<'_>, f: &mut fmt::Formatter<'_>, main: &mut Input<'_>) -> Result {
    let flags = main.u16()?;
    let (data, leaf) = (flags & 1 != 0, flags & 2 != 0);
    write!(f, "isdata: {} isleaf: {}", truth(data), truth(leaf))?;
    if !leaf {
        let (left, right) = (main.block_id()?, main.block_id()?);
        write!(f, " children: {left}/{right}")?;
    }
    let block = record.block(0).ok_or(Fault::Damaged)?;
    if image(&block, f)? {
        return Ok(());
    }
    let mut input = Input::new(block.data);
    if data && leaf {
        return recompressed(f, &mut input);
    }
    input.skip(2)?; // the item's offset
    if !data {
        return Ok(write!(f, " isdelete: {}", truth(input.bool()?))?);
    }
    let (child, key_block, key_offset) = (input.block_id()?, input.block_id()?, input.u16()?);
    Ok(write!(f, " pitem: {child}-{key_block}/{key_offset}")?)
}

/// Whether the page's image stands in for what was done to it.
fn image(block: &BlockRef<'_>, f: &mut fmt::Formatter<'_>) -> Result<bool> {
    let Some(image) = block.image else { return Ok(false) };
    f.write_str(if image.apply { " (full page image)" } else { " (full page image, for WAL verification)" })?;
    Ok(true)
}

/// What is done to the compressed lists of a leaf page (`ginxlogRecompressDataLeaf`).
fn recompressed(f: &mut fmt::Formatter<'_>, input: &mut Input<'_>) -> Result {
    let count = input.u16()?;
    write!(f, " {count} segments:")?;
    for _ in 0..count {
        let (number, action) = (input.u8()?, input.u8()?);
        match action {
            1 => write!(f, " {number} (delete)")?,
            2 | 3 => {
                input.skip(6)?; // the first row pointer
                let length = input.u16()?;
                input.skip(usize::from(length).next_multiple_of(2))?;
                write!(f, " {number} ({})", if action == 2 { "insert" } else { "replace" })?;
            }
            4 => {
                let items = input.u16()?;
                input.part(items.into(), 6)?;
                write!(f, " {number} (add {items} items)")?;
            }
            _ => {
                write!(f, " {number} unknown action {action} ???")?;
                break;
            }
        }
    }
    Ok(())
}
