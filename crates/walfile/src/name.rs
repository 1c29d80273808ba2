//! The names of everything that lives in a WAL archive.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::segment::upper_hex;
use crate::{SegmentName, Timeline};

/// The name of a file in a WAL archive.
///
/// ```
/// use walfile::WalName;
/// assert!(matches!("000000010000000000000005".parse()?, WalName::Segment(_)));
/// assert!(matches!("000000010000000000000005.partial".parse()?, WalName::Partial(_)));
/// assert!(matches!("000000010000000000000005.00000028.backup".parse()?, WalName::BackupLabel { offset: 0x28, .. }));
/// assert!(matches!("00000002.history".parse()?, WalName::History(_)));
/// # Ok::<(), walfile::ParseWalNameError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum WalName {
    /// A whole segment.
    Segment(SegmentName),
    /// `<segment>.partial`: the beginning of a segment, the rest of it filled with zeros.
    Partial(SegmentName),
    /// `<segment>.<offset>.backup`: the backup history file of a base backup that started at `offset` in `start`.
    BackupLabel {
        /// The segment that holds the start of the backup.
        start: SegmentName,
        /// Bytes from the start of that segment.
        offset: u32,
    },
    /// `<timeline>.history`: where this timeline and its ancestors branched off.
    History(Timeline),
}

impl WalName {
    /// The timeline in the name.
    pub const fn timeline(self) -> Timeline {
        match self {
            Self::Segment(s) | Self::Partial(s) | Self::BackupLabel { start: s, .. } => s.timeline(),
            Self::History(timeline) => timeline,
        }
    }

    /// The segment in the name; a history file names none.
    pub const fn segment(self) -> Option<SegmentName> {
        match self {
            Self::Segment(s) | Self::Partial(s) | Self::BackupLabel { start: s, .. } => Some(s),
            Self::History(_) => None,
        }
    }

    /// The directory of Barman's `wals/` that holds this file; history files lie in `wals/` itself.
    pub fn hash_dir(self) -> Option<String> {
        self.segment().map(SegmentName::hash_dir)
    }
}

impl From<SegmentName> for WalName {
    fn from(name: SegmentName) -> Self {
        Self::Segment(name)
    }
}

impl fmt::Display for WalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(name) => name.fmt(f),
            Self::Partial(name) => write!(f, "{name}.partial"),
            Self::BackupLabel { start, offset } => write!(f, "{start}.{offset:08X}.backup"),
            Self::History(timeline) => write!(f, "{}.history", timeline.to_hex()),
        }
    }
}

/// A text that is not the name of a file in a WAL archive.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "'{text}' is not a WAL file name: expected 24 upper-case hexadecimal digits, alone or followed by .partial \
     or .XXXXXXXX.backup, or XXXXXXXX.history"
)]
#[non_exhaustive]
pub struct ParseWalNameError {
    /// What was given, shortened to 64 characters.
    pub text: String,
}

impl FromStr for WalName {
    type Err = ParseWalNameError;

    fn from_str(text: &str) -> Result<Self, ParseWalNameError> {
        parse(text).ok_or_else(|| ParseWalNameError { text: text.chars().take(64).collect() })
    }
}

fn parse(text: &str) -> Option<WalName> {
    let Some((stem, suffix)) = text.split_once('.') else {
        return text.parse().ok().map(WalName::Segment);
    };
    match suffix {
        "partial" => stem.parse().ok().map(WalName::Partial),
        "history" if stem.len() == 8 => {
            upper_hex(stem.as_bytes()).and_then(Timeline::new).map(WalName::History)
        }
        _ => {
            let digits = suffix.strip_suffix(".backup").filter(|digits| digits.len() == 8)?;
            let offset = upper_hex(digits.as_bytes())?;
            Some(WalName::BackupLabel { start: stem.parse().ok()?, offset })
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for WalName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for WalName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        for text in [
            "000000010000000000000005",
            "0000000A0000001600000005.partial",
            "000000010000000000000005.00000028.backup",
            "0000000A.history",
        ] {
            assert_eq!(text.parse::<WalName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn rejects_look_alikes() {
        for text in [
            "",
            ".history",
            "00000000.history",
            "0000000a.history",
            "00000002.history.tmp",
            "000000010000000000000005.PARTIAL",
            "000000010000000000000005.28.backup",
            "000000010000000000000005..backup",
            "000000010000000000000005.00000028.backup.gz",
            "00000001000000000000000é",
            "../000000010000000000000005",
        ] {
            assert!(text.parse::<WalName>().is_err(), "{text:?}");
        }
    }
}
