//! BRIN indexes (`brin_xlog.h`).

use std::fmt;

use super::Description;
use super::input::Result;

pub(super) fn describe(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    match record.kind() & 0x70 {
        0x00 => {
            let (pages, version) = (main.u32()?, main.u16()?);
            write!(f, "v{version} pagesPerRange {pages}")?;
        }
        0x10 => {
            let (heap, pages, offset) = (main.u32()?, main.u32()?, main.u16()?);
            write!(f, "heapBlk {heap} pagesPerRange {pages} offnum {offset}")?;
        }
        0x20 => {
            let old = main.u16()?;
            main.skip(2)?;
            let (heap, pages, new) = (main.u32()?, main.u32()?, main.u16()?);
            write!(f, "heapBlk {heap} pagesPerRange {pages} old offnum {old}, new offnum {new}")?;
        }
        0x30 => write!(f, "offnum {}", main.u16()?)?,
        0x40 => write!(f, "targetBlk {}", main.u32()?)?,
        0x50 => {
            let (pages, heap, offset) = (main.u32()?, main.u32()?, main.u16()?);
            write!(f, "pagesPerRange {pages}, heapBlk {heap}, page offset {offset}")?;
        }
        _ => {}
    }
    Ok(())
}
