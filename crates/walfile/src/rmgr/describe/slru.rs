//! Pages of transaction status, of multixacts and of commit times (`clog.h`, `multixact.h`, `commit_ts.h`).

use std::fmt;

use super::Description;
use super::input::{Input, Result};
use super::timestamp::At;
use crate::record::Timestamp;

/// A page's number: a C `int` up to PostgreSQL 16, 64 bits since.
fn page(main: &mut Input<'_>, major: u16) -> Result<i64> {
    if major >= 17 { main.i64() } else { Ok(main.i32()?.into()) }
}

pub(super) fn clog(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    match record.kind() {
        0x00 => write!(f, "page {}", page(&mut main, record.major)?)?,
        0x10 => {
            let page = page(&mut main, record.major)?;
            write!(f, "page {page}; oldestXact {}", main.u32()?)?;
        }
        _ => {}
    }
    Ok(())
}

pub(super) fn commit_ts(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    match record.kind() {
        0x00 => write!(f, "{}", page(&mut main, record.major)?)?,
        0x10 => {
            let page = page(&mut main, record.major)?;
            write!(f, "pageno {page}, oldestXid {}", main.u32()?)?;
        }
        0x20 => {
            let (time, node, xid) = (main.i64()?, main.u16()?, main.u32()?);
            let time = At(Timestamp::from_micros(time), record.zone);
            write!(f, "set {time}/{node} for: {xid}")?;
            while main.len() >= 4 {
                write!(f, ", {}", main.u32()?)?;
            }
        }
        _ => {}
    }
    Ok(())
}

pub(super) fn multixact(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    match record.kind() {
        0x00 | 0x10 => write!(f, "{}", page(&mut main, record.major)?)?,
        0x20 => {
            let (multi, offset, count) = (main.u32()?, main.u32()?, main.count()?);
            write!(f, "{multi} offset {offset} nmembers {count}: ")?;
            let mut members = main.part(count, 8)?;
            for _ in 0..count {
                let (xid, status) = (members.u32()?, members.u32()?);
                let status = match status {
                    0 => "keysh",
                    1 => "sh",
                    2 => "fornokeyupd",
                    3 => "forupd",
                    4 => "nokeyupd",
                    5 => "upd",
                    _ => "unk",
                };
                write!(f, "{xid} ({status}) ")?;
            }
        }
        0x30 => {
            main.skip(4)?; // the database
            let offsets = (main.u32()?, main.u32()?);
            let members = (main.u32()?, main.u32()?);
            write!(f, "offsets [{}, {}), members [{}, {})", offsets.0, offsets.1, members.0, members.1)?;
        }
        _ => {}
    }
    Ok(())
}
