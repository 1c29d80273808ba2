//! The directories of segments in the archive.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;
use walfile::{SegmentName, Timeline};

use crate::ServerLayout;

/// A directory of segments: a timeline and a log file number, sixteen digits together.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct HashDir {
    /// The timeline.
    pub timeline: Timeline,
    /// Bits 32 to 63 of every position in it.
    pub log: u32,
}

/// A text that names no directory of segments.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("not the name of a directory of WAL segments: expected sixteen upper-case hexadecimal digits")]
pub struct ParseHashDirError;

impl HashDir {
    /// The directory that holds this segment.
    pub const fn of(name: SegmentName) -> Self {
        Self { timeline: name.timeline(), log: name.log() }
    }

    /// Where it is.
    pub fn path(self, layout: &ServerLayout) -> PathBuf {
        layout.wals.join(self.to_string())
    }

    /// Where its index is: `meta/wal-index/<directory>.idx`.
    pub fn index_path(self, layout: &ServerLayout) -> PathBuf {
        layout.wal_index_dir().join(format!("{self}.idx"))
    }

    /// The segment with this number in it.
    pub fn segment(self, number: u32) -> Option<SegmentName> {
        format!("{self}{number:08X}").parse().ok()
    }
}

impl fmt::Display for HashDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:08X}", self.timeline.to_hex(), self.log)
    }
}

impl FromStr for HashDir {
    type Err = ParseHashDirError;

    fn from_str(text: &str) -> Result<Self, ParseHashDirError> {
        let segment: SegmentName = format!("{text}00000000").parse().map_err(|_| ParseHashDirError)?;
        Ok(Self::of(segment))
    }
}
