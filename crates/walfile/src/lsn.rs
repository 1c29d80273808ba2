//! Log sequence numbers: byte positions in the write-ahead log.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::{SegmentNo, SegmentSize};

/// A byte position in the write-ahead log (PostgreSQL's `XLogRecPtr`).
///
/// The text form is PostgreSQL's `%X/%X`; PostgreSQL 19's zero-filled low half parses as well.
///
/// ```
/// use walfile::Lsn;
/// let lsn: Lsn = "16/B374D848".parse()?;
/// assert_eq!(lsn.get(), 0x16_B374_D848);
/// assert_eq!(lsn.to_string(), "16/B374D848");
/// # Ok::<(), walfile::ParseLsnError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Lsn(u64);

impl Lsn {
    /// Position zero, PostgreSQL's `InvalidXLogRecPtr`: no WAL record ever starts here.
    pub const INVALID: Self = Self(0);
    /// The highest position that can be written down.
    pub const MAX: Self = Self(u64::MAX);

    /// The position `bytes` from the start of the log.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Bytes from the start of the log.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether this is [`Lsn::INVALID`].
    pub const fn is_invalid(self) -> bool {
        self.0 == 0
    }

    /// This position moved forward by `bytes`, or `None` past the end of the number space.
    pub fn checked_add(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }

    /// This position moved forward by `bytes`, stopping at [`Lsn::MAX`].
    #[must_use]
    pub const fn saturating_add(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// Bytes from `earlier` to here, zero when `earlier` is later.
    pub const fn saturating_bytes_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The segment that holds the byte at this position (the convention for a *start*: a position on a
    /// boundary belongs to the segment that begins there).
    pub const fn segment(self, size: SegmentSize) -> SegmentNo {
        SegmentNo::new(self.0 / size.bytes())
    }

    /// The segment that holds the byte *before* this position (the convention for an exclusive *end*: a
    /// position on a boundary belongs to the segment that ends there). `None` for position zero.
    pub const fn segment_ending_at(self, size: SegmentSize) -> Option<SegmentNo> {
        match self.0.checked_sub(1) {
            Some(last) => Some(SegmentNo::new(last / size.bytes())),
            None => None,
        }
    }

    /// Bytes from the start of the segment that holds this position.
    #[expect(clippy::cast_possible_truncation, reason = "an offset is below the segment size, at most 1 GiB")]
    pub const fn offset_in_segment(self, size: SegmentSize) -> u32 {
        (self.0 % size.bytes()) as u32
    }

    /// The first position of the segment that holds this position.
    #[must_use]
    pub const fn segment_start(self, size: SegmentSize) -> Self {
        Self(self.0 - self.0 % size.bytes())
    }

    /// Whether this position is the first of a segment.
    pub const fn is_segment_start(self, size: SegmentSize) -> bool {
        self.0.is_multiple_of(size.bytes())
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// A text that is not an LSN.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("'{text}' is not an LSN: expected two hexadecimal numbers of up to 8 digits, as in 16/B374D848")]
#[non_exhaustive]
pub struct ParseLsnError {
    /// What was given, shortened to 64 characters.
    pub text: String,
}

impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, ParseLsnError> {
        let half = |digits: &str| {
            let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(half(high)? << 32 | half(low)?)))
            .ok_or_else(|| ParseLsnError { text: text.chars().take(64).collect() })
    }
}

impl From<u64> for Lsn {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl From<Lsn> for u64 {
    fn from(lsn: Lsn) -> Self {
        lsn.0
    }
}

#[cfg(feature = "postgres-types")]
impl From<postgres_types::PgLsn> for Lsn {
    fn from(lsn: postgres_types::PgLsn) -> Self {
        Self(lsn.into())
    }
}

#[cfg(feature = "postgres-types")]
impl From<Lsn> for postgres_types::PgLsn {
    fn from(lsn: Lsn) -> Self {
        lsn.0.into()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Lsn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Lsn {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        for (text, value) in
            [("0/0", 0), ("0/5000028", 0x500_0028), ("1/0", 1 << 32), ("FFFFFFFF/FFFFFFFF", u64::MAX)]
        {
            assert_eq!(text.parse::<Lsn>().unwrap(), Lsn::new(value));
            assert_eq!(Lsn::new(value).to_string(), text);
        }
        assert_eq!("0/0000000A".parse::<Lsn>().unwrap(), Lsn::new(10));
        assert_eq!("ab/cd".parse::<Lsn>().unwrap(), Lsn::new(0xab_0000_00cd));
    }

    #[test]
    fn rejects_what_is_not_an_lsn() {
        for text in ["", "/", "0", "0/", "/0", "+1/0", "0/-1", "0/123456789", "1/2/3", "0 /1", "g/0"] {
            assert!(text.parse::<Lsn>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn boundaries() {
        let size = SegmentSize::DEFAULT;
        let boundary = Lsn::new(0x600_0000);
        assert_eq!(boundary.segment(size).get(), 6);
        assert_eq!(boundary.segment_ending_at(size).unwrap().get(), 5);
        assert_eq!(Lsn::INVALID.segment_ending_at(size), None);
        assert_eq!(Lsn::new(0x600_0028).offset_in_segment(size), 0x28);
        assert!(boundary.is_segment_start(size));
    }
}
