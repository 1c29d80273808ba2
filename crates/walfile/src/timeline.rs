//! Timeline identifiers.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use thiserror::Error;

use crate::segment::upper_hex;

/// A timeline identifier (PostgreSQL's `TimeLineID`): 1 for a new cluster, higher after each promotion.
///
/// In file names a timeline is eight **hexadecimal** digits ([`Timeline::to_hex`]); everywhere else
/// (SQL, settings, the history file's own lines) it is decimal, which is what `Display` and `FromStr` use.
///
/// ```
/// use walfile::Timeline;
/// let tenth: Timeline = "10".parse()?;
/// assert_eq!(tenth.to_hex().to_string(), "0000000A");
/// assert_eq!(Timeline::from_hex("0000000A")?, tenth);
/// # Ok::<(), walfile::ParseTimelineError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timeline(NonZeroU32);

impl Timeline {
    /// The timeline of a cluster fresh from `initdb`.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// A timeline, or `None` for zero, which is no timeline.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The form used in file names: eight upper-case hexadecimal digits.
    pub const fn to_hex(self) -> TimelineHex {
        TimelineHex(self)
    }

    /// Reads the form used in file names.
    ///
    /// # Errors
    /// When `text` is not eight upper-case hexadecimal digits, or is zero.
    pub fn from_hex(text: &str) -> Result<Self, ParseTimelineError> {
        upper_hex(text.as_bytes())
            .filter(|_| text.len() == 8)
            .and_then(Self::new)
            .ok_or_else(|| ParseTimelineError { text: text.chars().take(64).collect() })
    }
}

/// [`Timeline`] as it stands in file names; made by [`Timeline::to_hex`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimelineHex(Timeline);

impl fmt::Display for TimelineHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}", self.0.get())
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is not a timeline.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "'{text}' is not a timeline: expected a number from 1 to 4294967295, eight upper-case hexadecimal digits in a file name"
)]
#[non_exhaustive]
pub struct ParseTimelineError {
    /// What was given, shortened to 64 characters.
    pub text: String,
}

impl FromStr for Timeline {
    type Err = ParseTimelineError;

    fn from_str(text: &str) -> Result<Self, ParseTimelineError> {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        plain
            .then(|| text.parse().ok().map(Self))
            .flatten()
            .ok_or_else(|| ParseTimelineError { text: text.chars().take(64).collect() })
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Timeline {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.get())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Timeline {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        Self::new(number).ok_or_else(|| serde::de::Error::custom("timeline 0 does not exist"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_not_decimal() {
        assert_eq!(Timeline::from_hex("00000010").unwrap().get(), 16);
        assert_eq!("10".parse::<Timeline>().unwrap().get(), 10);
        for bad in ["0", "", "-1", "+1", "4294967296", "a"] {
            assert!(bad.parse::<Timeline>().is_err(), "{bad}");
        }
        for bad in ["00000000", "1", "0000000a", "0000000G", "+0000001", "000000001"] {
            assert!(Timeline::from_hex(bad).is_err(), "{bad}");
        }
    }
}
