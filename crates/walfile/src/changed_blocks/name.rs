//! Names of summary files.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::{Lsn, Timeline};

/// The name of a summary in `pg_wal/summaries`: timeline, and where its range begins and ends.
///
/// ```
/// use walfile::changed_blocks::SummaryName;
/// let name: SummaryName = "0000000100000000010B309800000000014E8838.summary".parse()?;
/// assert_eq!((name.start.to_string(), name.end.to_string()), ("0/10B3098".into(), "0/14E8838".into()));
/// assert_eq!(name.to_string(), "0000000100000000010B309800000000014E8838.summary");
/// # Ok::<(), walfile::changed_blocks::ParseSummaryNameError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SummaryName {
    /// The timeline.
    pub timeline: Timeline,
    /// Where the first record begins.
    pub start: Lsn,
    /// Where the log goes on after the last record.
    pub end: Lsn,
}

impl fmt::Display for SummaryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { timeline, start, end } = self;
        write!(f, "{}{:016X}{:016X}.summary", timeline.to_hex(), start.get(), end.get())
    }
}

/// A text that is not the name of a summary.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("'{text}' is not the name of a WAL summary: expected 40 upper-case hexadecimal digits and .summary")]
#[non_exhaustive]
pub struct ParseSummaryNameError {
    /// What was given, shortened to 64 characters.
    pub text: String,
}

impl FromStr for SummaryName {
    type Err = ParseSummaryNameError;

    fn from_str(text: &str) -> Result<Self, ParseSummaryNameError> {
        let parse = || {
            let digits = text.strip_suffix(".summary").filter(|digits| digits.len() == 40)?;
            if !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F')) {
                return None;
            }
            let (timeline, positions) = digits.split_at_checked(8)?;
            let (start, end) = positions.split_at_checked(16)?;
            let position = |text| u64::from_str_radix(text, 16).ok().map(Lsn::new);
            let name = Self {
                timeline: Timeline::from_hex(timeline).ok()?,
                start: position(start)?,
                end: position(end)?,
            };
            (name.start < name.end).then_some(name)
        };
        parse().ok_or_else(|| ParseSummaryNameError { text: text.chars().take(64).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name() {
        let good = "0000000100000000010B309800000000014E8838.summary";
        assert!(good.parse::<SummaryName>().is_ok());
        for bad in [
            "",
            "temp.summary",
            "0000000100000000010B309800000000014E8838",
            "0000000100000000010b309800000000014E8838.summary",
            "0000000000000000010B309800000000014E8838.summary",
            "000000010000000001 B309800000000014E8838.summary",
            "000000010000000001\u{c4}309800000000014E8838.summary",
            "0000000100000000014E883800000000014E8838.summary",
            "00000001+00000000010B30980000000014E8838.summary",
        ] {
            assert!(bad.parse::<SummaryName>().is_err(), "{bad}");
        }
    }
}
