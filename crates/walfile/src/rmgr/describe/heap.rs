//! Table rows (`heapam_xlog.h`).

use std::fmt;

use super::input::{Input, Result};
use super::{Description, invalidation, list};

/// Bits of a row's lock (`XLHL_*`).
const LOCK_BITS: [(u8, &str); 5] = [
    (0x01, "IS_MULTI"),
    (0x02, "LOCK_ONLY"),
    (0x04, "EXCL_LOCK"),
    (0x08, "KEYSHR_LOCK"),
    (0x10, "KEYS_UPDATED"),
];

/// Each name with a space after it, as up to PostgreSQL 15.
pub(super) fn lock_words(f: &mut fmt::Formatter<'_>, bits: u8) -> Result {
    for (bit, name) in LOCK_BITS {
        if bits & bit != 0 {
            write!(f, "{name} ")?;
        }
    }
    Ok(())
}

/// `infobits: [IS_MULTI, LOCK_ONLY]`.
pub(super) fn lock_list(f: &mut fmt::Formatter<'_>, key: &str, bits: u8) -> Result {
    flags(f, key, LOCK_BITS.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| name))
}

fn flags(f: &mut fmt::Formatter<'_>, key: &str, names: impl Iterator<Item = &'static str>) -> Result {
    write!(f, "{key}: [")?;
    for (index, name) in names.enumerate() {
        write!(f, "{}{name}", if index == 0 { "" } else { ", " })?;
    }
    Ok(f.write_str("]")?)
}

pub(super) fn describe(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    if record.is_listed() {
        return listed(record, f, &mut main);
    }
    match record.kind() & 0x70 {
        0x00 => {
            let (offset, flags) = (main.u16()?, main.u8()?);
            write!(f, "off {offset} flags 0x{flags:02X}")?;
        }
        0x10 => {
            main.skip(4)?;
            let (offset, bits, flags) = (main.u16()?, main.u8()?, main.u8()?);
            write!(f, "off {offset} flags 0x{flags:02X} ")?;
            lock_words(f, bits)?;
        }
        0x20 | 0x40 => {
            let (xmax, offset, bits, flags) = (main.u32()?, main.u16()?, main.u8()?, main.u8()?);
            write!(f, "off {offset} xmax {xmax} flags 0x{flags:02X} ")?;
            lock_words(f, bits)?;
            let (new_xmax, new_offset) = (main.u32()?, main.u16()?);
            write!(f, "; new off {new_offset} xmax {new_xmax}")?;
        }
        0x30 => {
            main.skip(4)?;
            let (count, flags) = (main.u32()?, main.u8()?);
            main.skip(3)?;
            f.write_str(if flags & 1 != 0 { "cascade " } else { "" })?;
            f.write_str(if flags & 2 != 0 { "restart_seqs " } else { "" })?;
            write!(f, "nrelids {count} relids")?;
            for _ in 0..count {
                write!(f, " {}", main.u32()?)?;
            }
        }
        0x60 => {
            let (xid, offset, bits, flags) = (main.u32()?, main.u16()?, main.u8()?, main.u8()?);
            write!(f, "off {offset}: xid {xid}: flags 0x{flags:02X} ")?;
            lock_words(f, bits)?;
        }
        0x50 | 0x70 => write!(f, "off {}", main.u16()?)?,
        _ => {}
    }
    Ok(())
}

fn listed(record: &Description<'_>, f: &mut fmt::Formatter<'_>, main: &mut Input<'_>) -> Result {
    match record.kind() & 0x70 {
        0x00 => {
            let (offset, flags) = (main.u16()?, main.u8()?);
            write!(f, "off: {offset}, flags: 0x{flags:02X}")?;
        }
        0x10 | 0x60 => {
            let (xmax, offset, bits, flags) = (main.u32()?, main.u16()?, main.u8()?, main.u8()?);
            write!(f, "xmax: {xmax}, off: {offset}, ")?;
            lock_list(f, "infobits", bits)?;
            write!(f, ", flags: 0x{flags:02X}")?;
        }
        0x20 | 0x40 => {
            let (xmax, offset, bits, flags) = (main.u32()?, main.u16()?, main.u8()?, main.u8()?);
            write!(f, "old_xmax: {xmax}, old_off: {offset}, ")?;
            lock_list(f, "old_infobits", bits)?;
            let (new_xmax, new_offset) = (main.u32()?, main.u16()?);
            write!(f, ", flags: 0x{flags:02X}, new_xmax: {new_xmax}, new_off: {new_offset}")?;
        }
        0x30 => {
            main.skip(4)?;
            let (count, bits) = (main.count()?, main.u8()?);
            main.skip(3)?;
            let names = [(1, "CASCADE"), (2, "RESTART_SEQS")];
            flags(f, "flags", names.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| name))?;
            write!(f, ", nrelids: {count}, relids:")?;
            list::numbers(f, main, count)?;
        }
        0x50 => write!(f, "off: {}", main.u16()?)?,
        0x70 => {
            write!(f, "off: {}", main.u16()?)?;
            if record.major >= 18 {
                main.skip(2)?;
                let place = (main.u32()?, main.u32()?);
                let init_file = main.bool()?;
                main.skip(3)?;
                let count = main.count()?;
                invalidation::messages(f, main, count, place, init_file)?;
            }
        }
        _ => {}
    }
    Ok(())
}
