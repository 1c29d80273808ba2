//! Segment numbers, and the names of segment files.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::{Lsn, SegmentRange, SegmentSize, Timeline};

/// A segment counted from the start of the log (PostgreSQL's `XLogSegNo`); its name depends on the segment size.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SegmentNo(u64);

impl SegmentNo {
    /// The segment with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The following segment, or `None` at the end of the number space.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    /// The segment before, or `None` for the first.
    pub fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// The first position in the segment; saturates at [`Lsn::MAX`] for numbers no cluster reaches.
    pub const fn start(self, size: SegmentSize) -> Lsn {
        Lsn::new(self.0.saturating_mul(size.bytes()))
    }

    /// The position just after the segment; saturates at [`Lsn::MAX`].
    pub const fn end(self, size: SegmentSize) -> Lsn {
        self.start(size).saturating_add(size.bytes())
    }

    /// The file name of this segment on `timeline`; log numbers beyond 32 bits wrap as in PostgreSQL.
    #[expect(clippy::cast_possible_truncation, reason = "the wrap is PostgreSQL's own XLogFileName")]
    pub const fn name(self, timeline: Timeline, size: SegmentSize) -> SegmentName {
        SegmentName {
            timeline,
            log: (self.0 / size.per_log()) as u32,
            segment: (self.0 % size.per_log()) as u32,
        }
    }
}

/// The name of a WAL segment file: timeline, log file, and segment in the log file, eight hexadecimal
/// digits each.
///
/// The order of names is (timeline, position), which is the order of their texts; it is not the order of time.
///
/// ```
/// use walfile::{Lsn, SegmentName, SegmentSize, Timeline};
/// let size = SegmentSize::DEFAULT;
/// let name = SegmentName::containing(Timeline::FIRST, "16/B374D848".parse()?, size);
/// assert_eq!(name.to_string(), "0000000100000016000000B3");
/// assert_eq!(name.start(size)?, "16/B3000000".parse()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SegmentName {
    timeline: Timeline,
    log: u32,
    segment: u32,
}

impl SegmentName {
    /// Length of the text form in bytes.
    pub const LEN: usize = 24;

    /// The segment that holds the byte at `lsn` (for the *start* of something).
    pub const fn containing(timeline: Timeline, lsn: Lsn, size: SegmentSize) -> Self {
        lsn.segment(size).name(timeline, size)
    }

    /// The segment that holds the byte before `lsn` (for the exclusive *end* of something): at a segment boundary the
    /// segment that ends there, as `pg_walfile_name` said up to PostgreSQL 16. `None` for position zero.
    pub fn ending_at(timeline: Timeline, lsn: Lsn, size: SegmentSize) -> Option<Self> {
        lsn.segment_ending_at(size).map(|number| number.name(timeline, size))
    }

    /// The timeline.
    pub const fn timeline(self) -> Timeline {
        self.timeline
    }

    /// The middle part: the log file number, bits 32-63 of every position in the segment.
    pub const fn log(self) -> u32 {
        self.log
    }

    /// The last part: the segment's number within its log file.
    pub const fn segment(self) -> u32 {
        self.segment
    }

    /// The segment's number counted from the start of the log.
    ///
    /// # Errors
    /// When the last part is not below the number of segments in a log file for this size.
    pub fn number(self, size: SegmentSize) -> Result<SegmentNo, SegmentNameError> {
        if u64::from(self.segment) >= size.per_log() {
            return Err(SegmentNameError { name: self, size });
        }
        Ok(SegmentNo::new(u64::from(self.log) * size.per_log() + u64::from(self.segment)))
    }

    /// The first position in the segment.
    ///
    /// # Errors
    /// As [`SegmentName::number`].
    pub fn start(self, size: SegmentSize) -> Result<Lsn, SegmentNameError> {
        Ok(self.number(size)?.start(size))
    }

    /// The position just after the segment.
    ///
    /// # Errors
    /// As [`SegmentName::number`].
    pub fn end(self, size: SegmentSize) -> Result<Lsn, SegmentNameError> {
        Ok(self.number(size)?.end(size))
    }

    /// The next segment on the same timeline; `None` after the last possible one.
    ///
    /// # Errors
    /// As [`SegmentName::number`].
    pub fn next(self, size: SegmentSize) -> Result<Option<Self>, SegmentNameError> {
        let number = self.number(size)?;
        let last = (u64::from(u32::MAX) + 1) * size.per_log() - 1;
        Ok(number.next().filter(|n| n.get() <= last).map(|n| n.name(self.timeline, size)))
    }

    /// The same positions on another timeline.
    #[must_use]
    pub const fn on_timeline(self, timeline: Timeline) -> Self {
        Self { timeline, ..self }
    }

    /// The directory of Barman's `wals/` that holds this segment: the first 16 digits of the name.
    pub fn hash_dir(self) -> String {
        format!("{}{:08X}", self.timeline.to_hex(), self.log)
    }

    /// Every segment from this one up to and including `last`, on this timeline.
    ///
    /// # Errors
    /// As [`SegmentName::number`], for either name.
    pub fn through(self, last: Self, size: SegmentSize) -> Result<SegmentRange, SegmentNameError> {
        Ok(SegmentRange::new(self.timeline, size, self.number(size)?, last.number(size)?))
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:08X}{:08X}", self.timeline.to_hex(), self.log, self.segment)
    }
}

/// A segment name that cannot occur with the given segment size.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("segment {name} cannot exist with segments of {size}: its last part must be below {:X}", size.per_log())]
#[non_exhaustive]
pub struct SegmentNameError {
    /// The name.
    pub name: SegmentName,
    /// The segment size it was read with.
    pub size: SegmentSize,
}

/// A text that is not a segment name.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("'{text}' is not a WAL segment name: expected 24 upper-case hexadecimal digits")]
#[non_exhaustive]
pub struct ParseSegmentNameError {
    /// What was given, shortened to 64 characters.
    pub text: String,
}

impl FromStr for SegmentName {
    type Err = ParseSegmentNameError;

    fn from_str(text: &str) -> Result<Self, ParseSegmentNameError> {
        let error = || ParseSegmentNameError { text: text.chars().take(64).collect() };
        let bytes: &[u8; Self::LEN] = text.as_bytes().try_into().map_err(|_| error())?;
        let mut parts = [0u32; 3];
        for (part, digits) in parts.iter_mut().zip(bytes.chunks_exact(8)) {
            *part = upper_hex(digits).ok_or_else(error)?;
        }
        let [timeline, log, segment] = parts;
        let timeline = Timeline::new(timeline).ok_or_else(error)?;
        Ok(Self { timeline, log, segment })
    }
}

/// Upper-case hexadecimal digits, at most eight of them; PostgreSQL writes no other and a case-folded twin of a
/// segment would be a second file with the same meaning.
pub(crate) fn upper_hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return None,
        };
        Some(value << 4 | u32::from(nibble))
    })
}

#[cfg(feature = "serde")]
impl serde::Serialize for SegmentName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for SegmentName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SegmentName {
        text.parse().unwrap()
    }

    #[test]
    fn successor_crosses_log_files() {
        let end = name("0000000100000000000000FF");
        assert_eq!(end.next(SegmentSize::DEFAULT).unwrap(), Some(name("000000010000000100000000")));
        let big = SegmentSize::MAX;
        assert_eq!(
            name("000000010000000000000003").next(big).unwrap(),
            Some(name("000000010000000100000000"))
        );
        assert_eq!(name("00000001FFFFFFFF00000003").next(big).unwrap(), None);
        assert!(name("000000010000000000000004").next(big).is_err());
    }

    #[test]
    fn names_are_upper_case_hex() {
        for bad in ["", "00000001000000000000000a", "00000000000000000000000A", "0000000100000000000000000"] {
            assert!(bad.parse::<SegmentName>().is_err(), "{bad}");
        }
        assert_eq!(name("0000000A00000000000000FE").timeline().get(), 10);
    }

    #[test]
    fn boundary_conventions() {
        let lsn = Lsn::new(0x600_0000);
        let size = SegmentSize::DEFAULT;
        assert_eq!(
            SegmentName::containing(Timeline::FIRST, lsn, size).to_string(),
            "000000010000000000000006"
        );
        assert_eq!(
            SegmentName::ending_at(Timeline::FIRST, lsn, size).unwrap().to_string(),
            "000000010000000000000005"
        );
    }
}
