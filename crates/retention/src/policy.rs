//! The policy grammar: Barman's `retention_policy` option, and what it does not know.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::Periods;

/// A retention policy: the two kinds that Barman 3.19's `retention_policy` can state, and one of our own.
///
/// `Display` gives Barman's canonical text: upper case, and the unit always in the plural.
///
/// ```
/// use tapster_retention::Policy;
/// let policy: Policy = "recovery window of 1 week".parse()?;
/// assert_eq!(policy.to_string(), "RECOVERY WINDOW OF 1 WEEKS");
/// # Ok::<(), tapster_retention::ParsePolicyError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Policy {
    /// Keep the newest so many backups. The server's minimum redundancy raises the number.
    Redundancy(u32),
    /// Keep what recovery to any moment of the last so many units needs.
    RecoveryWindow {
        /// How many units.
        count: u32,
        /// The unit.
        unit: WindowUnit,
    },
    /// Keep the newest backup of so many hours, days, weeks, months and years. Not one of Barman's.
    Periods(Periods),
}

/// The unit of a recovery window.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum WindowUnit {
    /// 24 hours.
    Days,
    /// 7 days.
    Weeks,
    /// 31 days, whatever the calendar says.
    Months,
}

impl WindowUnit {
    const fn days(self) -> i64 {
        match self {
            Self::Days => 1,
            Self::Weeks => 7,
            Self::Months => 31,
        }
    }
}

impl Policy {
    /// Whether Barman 3.19 can read it.
    pub const fn is_barmans(&self) -> bool {
        !matches!(self, Self::Periods(_))
    }

    /// Where the recovery window opens at the time `now`; `None` for other policies.
    ///
    /// A window longer than the calendar reaches opens at the calendar's beginning.
    pub fn window_start(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        match *self {
            Self::Redundancy(_) | Self::Periods(_) => None,
            Self::RecoveryWindow { count, unit } => {
                let length = Duration::days(i64::from(count) * unit.days());
                let start = now.checked_sub(length);
                Some(start.unwrap_or_else(|| time::PrimitiveDateTime::MIN.assume_utc()))
            }
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redundancy(count) => write!(f, "REDUNDANCY {count}"),
            Self::RecoveryWindow { count, unit } => write!(f, "RECOVERY WINDOW OF {count} {unit}"),
            Self::Periods(periods) => periods.fmt(f),
        }
    }
}

impl fmt::Display for WindowUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Days => "DAYS",
            Self::Weeks => "WEEKS",
            Self::Months => "MONTHS",
        })
    }
}

/// A text that is no retention policy.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "invalid retention policy '{text}': expected REDUNDANCY n, RECOVERY WINDOW OF n DAYS, WEEKS or MONTHS, or \
     KEEP n HOURLY n DAILY n WEEKLY n MONTHLY n YEARLY with one of them at least"
)]
pub struct ParsePolicyError {
    /// The text, at most its first 64 characters.
    pub text: String,
}

impl FromStr for Policy {
    type Err = ParsePolicyError;

    fn from_str(text: &str) -> Result<Self, ParsePolicyError> {
        parse(text).ok_or_else(|| ParsePolicyError { text: text.chars().take(64).collect() })
    }
}

fn parse(text: &str) -> Option<Policy> {
    let mut words = text.split_whitespace();
    if words.clone().next()?.eq_ignore_ascii_case("keep") {
        return Periods::parse(words.skip(1)).map(Policy::Periods);
    }
    let mut keyword = |expected: &str| words.next().is_some_and(|word| word.eq_ignore_ascii_case(expected));
    let policy = if text.trim_start().get(..10).is_some_and(|start| start.eq_ignore_ascii_case("redundancy"))
    {
        keyword("redundancy").then_some(())?;
        Policy::Redundancy(number(words.next()?)?)
    } else {
        (keyword("recovery") && keyword("window") && keyword("of")).then_some(())?;
        let count = number(words.next()?)?;
        let unit = words.next()?.to_ascii_lowercase();
        let unit = match unit.strip_suffix('s').unwrap_or(&unit) {
            "day" => WindowUnit::Days,
            "week" => WindowUnit::Weeks,
            "month" => WindowUnit::Months,
            _ => return None,
        };
        Policy::RecoveryWindow { count, unit }
    };
    words.next().is_none().then_some(policy)
}

pub(crate) fn number(word: &str) -> Option<u32> {
    // `u32::from_str` alone would take a sign.
    word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn reads_what_barman_reads() {
        for (text, canonical) in [
            ("REDUNDANCY 2", "REDUNDANCY 2"),
            (" redundancy   02 ", "REDUNDANCY 2"),
            ("redundancy 0", "REDUNDANCY 0"),
            ("Recovery\twindow of 1 day", "RECOVERY WINDOW OF 1 DAYS"),
            ("recovery window of 4 WEEKS", "RECOVERY WINDOW OF 4 WEEKS"),
            ("RECOVERY WINDOW OF 0 MONTH", "RECOVERY WINDOW OF 0 MONTHS"),
        ] {
            let policy: Policy = text.parse().unwrap();
            assert_eq!(policy.to_string(), canonical, "{text}");
            assert!(policy.is_barmans());
        }
    }

    #[test]
    fn reads_periods() {
        for (text, canonical) in [
            ("KEEP 7 DAILY 4 WEEKLY 12 MONTHLY", "KEEP 7 DAILY 4 WEEKLY 12 MONTHLY"),
            (" keep  2 yearly 24 Hourly", "KEEP 24 HOURLY 2 YEARLY"),
        ] {
            let policy: Policy = text.parse().unwrap();
            assert_eq!(policy.to_string(), canonical, "{text}");
            assert!(!policy.is_barmans());
        }
        for text in [
            "KEEP",
            "KEEP 0 DAILY",
            "KEEP 1",
            "KEEP 1 DAY",
            "KEEP 1 DAILY 2 DAILY",
            "KEEP DAILY",
            "KEEP 1.5 DAILY",
        ] {
            assert!(text.parse::<Policy>().is_err(), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "main",
            "KEEP 3",
            "REDUNDANCY",
            "REDUNDANCY -1",
            "REDUNDANCY +1",
            "REDUNDANCY 1 2",
            "REDUNDANCYX 1",
            "REDUNDANCY 99999999999",
            "RECOVERY WINDOW OF 1 YEAR",
            "RECOVERY WINDOW OF 1 DAYSX",
            "RECOVERY WINDOW OF 3",
            "RECOVERY WINDOW OF 3DAYS",
            "RECOVERYWINDOW OF 3 DAYS",
            "redundanc\u{fe}y 1",
        ] {
            assert!(text.parse::<Policy>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_month_has_31_days_and_a_huge_window_reaches_the_beginning() {
        let now = datetime!(2026-11-21 12:00 UTC);
        let month: Policy = "recovery window of 1 month".parse().unwrap();
        assert_eq!(month.window_start(now), Some(datetime!(2026-10-21 12:00 UTC)));
        let huge = Policy::RecoveryWindow { count: u32::MAX, unit: WindowUnit::Months };
        assert!(huge.window_start(now).unwrap() < datetime!(0000-01-01 00:00 UTC));
        assert_eq!(Policy::Redundancy(1).window_start(now), None);
    }
}
