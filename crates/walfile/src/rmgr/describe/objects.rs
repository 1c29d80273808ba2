//! Files, databases, tablespaces, sequences (`storage_xlog.h`, `dbcommands_xlog.h`, `tablespace.h`, `relmapper.h`, `sequence.h`).

use std::fmt;

use super::Description;
use super::input::{Fault, Result};
use super::xact::Text;
use crate::record::{Fork, RelFile};

const DEFAULT_TABLESPACE: u32 = 1663;
const GLOBAL_TABLESPACE: u32 = 1664;

/// The path of a relation's file below the data directory (`relpath.c`).
pub(super) struct Path {
    pub(super) rel: RelFile,
    pub(super) fork: Fork,
    pub(super) major: u16,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (database, number) = (self.rel.database, self.rel.number);
        match self.rel.tablespace.get() {
            GLOBAL_TABLESPACE => write!(f, "global/{number}")?,
            DEFAULT_TABLESPACE => write!(f, "base/{database}/{number}")?,
            tablespace => {
                let (major, catalog) = (self.major, catalog_version(self.major));
                write!(f, "pg_tblspc/{tablespace}/PG_{major}_{catalog}/{database}/{number}")?;
            }
        }
        if self.fork == Fork::Main { Ok(()) } else { write!(f, "_{}", self.fork) }
    }
}

/// `CATALOG_VERSION_NO` of the released servers, which is part of the name of a tablespace's directory.
const fn catalog_version(major: u16) -> u32 {
    match major {
        ..=10 => 201_707_211,
        11 => 201_809_051,
        12 => 201_909_212,
        13 => 202_007_201,
        14 => 202_107_181,
        15 => 202_209_061,
        16 => 202_307_071,
        17 => 202_406_281,
        _ => 202_506_291,
    }
}

pub(super) fn storage(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let (mut main, major) = (record.main(), record.major);
    match record.kind() {
        0x10 => {
            let rel = main.rel()?;
            let fork = Fork::from_number(main.u32()?).ok_or(Fault::Damaged)?;
            write!(f, "{}", Path { rel, fork, major })?;
        }
        0x20 => {
            let (blocks, rel, flags) = (main.u32()?, main.rel()?, main.i32()?);
            write!(f, "{} to {blocks} blocks flags {flags}", Path { rel, fork: Fork::Main, major })?;
        }
        _ => {}
    }
    Ok(())
}

pub(super) fn database(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    // PostgreSQL 15 put a record between the two.
    let kind = if record.major < 15 && record.kind() == 0x10 { 0x20 } else { record.kind() };
    match kind {
        0x00 => {
            let (database, tablespace) = (main.u32()?, main.u32()?);
            let (from_database, from_tablespace) = (main.u32()?, main.u32()?);
            write!(f, "copy dir {from_tablespace}/{from_database} to {tablespace}/{database}")?;
        }
        0x10 => {
            let (database, tablespace) = (main.u32()?, main.u32()?);
            write!(f, "create dir {tablespace}/{database}")?;
        }
        0x20 => {
            let database = main.u32()?;
            // Up to PostgreSQL 12 one tablespace, without a count.
            let count = if main.len() == 4 { 1 } else { main.count()? };
            let mut tablespaces = main.part(count, 4)?;
            f.write_str("dir")?;
            for _ in 0..count {
                write!(f, " {}/{database}", tablespaces.u32()?)?;
            }
        }
        _ => {}
    }
    Ok(())
}

pub(super) fn tablespace(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    match record.kind() {
        0x00 => {
            let tablespace = main.u32()?;
            write!(f, "{tablespace} \"{}\"", Text(main.text()))?;
        }
        0x10 => write!(f, "{}", main.u32()?)?,
        _ => {}
    }
    Ok(())
}

pub(super) fn relation_map(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    if record.kind() == 0 {
        let (database, tablespace, size) = (main.u32()?, main.u32()?, main.i32()?);
        write!(f, "database {database} tablespace {tablespace} size {size}")?;
    }
    Ok(())
}

pub(super) fn sequence(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    if record.kind() == 0 {
        write!(f, "rel {}", main.rel()?)?;
    }
    Ok(())
}
