//! Messages that caches are out of date (`sinval.h`).

use std::fmt;

use super::input::{Input, Result};

/// Bytes of a message.
pub(super) const LEN: usize = 16;

/// Writes `count` messages. `place`: database and tablespace whose file of cached descriptors goes too.
pub(super) fn messages(
    f: &mut fmt::Formatter<'_>,
    input: &mut Input<'_>,
    count: usize,
    place: (u32, u32),
    init_file: bool,
) -> Result {
    if count == 0 {
        return Ok(());
    }
    if init_file {
        write!(f, "; relcache init file inval dbid {} tsid {}", place.0, place.1)?;
    }
    f.write_str("; inval msgs:")?;
    for _ in 0..count {
        let mut message = input.part(1, LEN)?;
        let kind = message.u8()?.cast_signed();
        message.skip(3)?;
        let (database, object) = (message.u32()?, message.u32()?);
        match kind {
            0.. => write!(f, " catcache {kind}")?,
            -1 => write!(f, " catalog {object}")?,
            -2 => write!(f, " relcache {object}")?,
            -3 => f.write_str(" smgr")?,
            -4 => write!(f, " relmap db {database}")?,
            -5 => write!(f, " snapshot {object}")?,
            -6 => write!(f, " relsync {object}")?,
            _ => write!(f, " unrecognized id {kind}")?,
        }
    }
    Ok(())
}
