//! References of a record to the blocks it changes.

use std::fmt;

use crate::record::{BlockImage, Oid};

/// Which file a relation is in (`RelFileLocator`, before PostgreSQL 16 `RelFileNode`).
///
/// `Display` gives `pg_waldump`'s form, such as `1663/5/16384`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RelFile {
    /// The tablespace: 1663 is `pg_default`, 1664 `pg_global`.
    pub tablespace: Oid,
    /// The database, zero for a relation that all share.
    pub database: Oid,
    /// The name of the file, which is the relation's identifier only until it is rewritten.
    pub number: u32,
}

impl RelFile {
    pub(crate) fn read(fields: &mut crate::record::Fields<'_>) -> Option<Self> {
        let [s0, s1, s2, s3, d0, d1, d2, d3, n0, n1, n2, n3] = *fields.array()?;
        Some(Self {
            tablespace: Oid::new(u32::from_le_bytes([s0, s1, s2, s3])),
            database: Oid::new(u32::from_le_bytes([d0, d1, d2, d3])),
            number: u32::from_le_bytes([n0, n1, n2, n3]),
        })
    }
}

impl fmt::Display for RelFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.tablespace, self.database, self.number)
    }
}

/// A fork of a relation: one of the files that make it up. `Display` gives PostgreSQL's name for it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Fork {
    /// `main`: the data.
    Main,
    /// `fsm`: the free space map, which is not fully logged.
    FreeSpace,
    /// `vm`: the visibility map.
    Visibility,
    /// `init`: what an unlogged relation is reset to.
    Init,
}

impl Fork {
    /// The fork with this number, `None` when there is none.
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Main,
            1 => Self::FreeSpace,
            2 => Self::Visibility,
            3 => Self::Init,
            _ => return None,
        })
    }

    /// PostgreSQL's name: `main`, `fsm`, `vm`, `init`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::FreeSpace => "fsm",
            Self::Visibility => "vm",
            Self::Init => "init",
        }
    }
}

impl fmt::Display for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A block that a record changes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BlockRef<'a> {
    /// Its number in the record, 0 to 32; numbers ascend and may have gaps.
    pub id: u8,
    /// The relation's file.
    pub relation: RelFile,
    /// The fork.
    pub fork: Fork,
    /// The block in the fork.
    pub block: u32,
    /// Replaying the record writes the page anew, without reading it.
    pub will_init: bool,
    /// The page itself, as it was when the record was written.
    pub image: Option<BlockImage<'a>>,
    /// What replay needs for this block; may be left out when there is an image.
    pub data: &'a [u8],
}
