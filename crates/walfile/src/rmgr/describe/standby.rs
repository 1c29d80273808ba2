//! What a hot standby must know (`standbydefs.h`).

use std::fmt;

use super::input::{Input, Result};
use super::{Description, invalidation};

pub(super) fn describe(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    match record.kind() {
        0x00 => {
            let count = main.count()?;
            let mut locks = main.part(count, 12)?;
            for _ in 0..count {
                let (xid, database, relation) = (locks.u32()?, locks.u32()?, locks.u32()?);
                write!(f, "xid {xid} db {database} rel {relation} ")?;
            }
        }
        0x10 => running(record, f, &mut main)?,
        0x20 => {
            let place = (main.u32()?, main.u32()?);
            let init_file = main.bool()?;
            main.skip(3)?;
            let count = main.count()?;
            invalidation::messages(f, &mut main, count, place, init_file)?;
        }
        _ => {}
    }
    Ok(())
}

fn running(record: &Description<'_>, f: &mut fmt::Formatter<'_>, main: &mut Input<'_>) -> Result {
    let (count, sub_count, overflowed) = (main.count()?, main.count()?, main.bool()?);
    main.skip(3)?;
    let (next, oldest, latest) = (main.u32()?, main.u32()?, main.u32()?);
    write!(f, "nextXid {next} latestCompletedXid {latest} oldestRunningXid {oldest}")?;
    let mut xids = main.part(count, 4)?;
    if count > 0 {
        write!(f, "; {count} xacts:")?;
        for _ in 0..count {
            write!(f, " {}", xids.u32()?)?;
        }
    }
    if overflowed {
        f.write_str(if record.is_listed() { "; subxid overflowed" } else { "; subxid ovf" })?;
    }
    if sub_count > 0 && record.is_listed() {
        write!(f, "; {sub_count} subxacts:")?;
        let mut xids = main.part(sub_count, 4)?;
        for _ in 0..sub_count {
            write!(f, " {}", xids.u32()?)?;
        }
    }
    Ok(())
}
