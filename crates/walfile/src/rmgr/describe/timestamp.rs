//! Times as `pg_waldump` writes them: `2026-11-21 00:07:20.915309 UTC`.

use std::fmt;

use crate::record::Timestamp;

/// What a clock on the wall shows at some moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LocalTime<'a> {
    /// Seconds ahead of UTC.
    pub offset: i32,
    /// The name of the zone's time then, such as `CEST`.
    pub name: &'a str,
}

/// A time zone.
pub trait TimeZone: fmt::Debug {
    /// Its time at a moment, in seconds since 1970.
    fn at(&self, unix_seconds: i64) -> LocalTime<'_>;
}

/// Universal time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utc;

impl TimeZone for Utc {
    fn at(&self, _: i64) -> LocalTime<'_> {
        LocalTime { offset: 0, name: "UTC" }
    }
}

pub(super) struct At<'a>(pub(super) Timestamp, pub(super) &'a dyn TimeZone);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.unix_micros();
        let seconds = micros.div_euclid(1_000_000);
        let local = self.1.at(seconds);
        let seconds = seconds.saturating_add(local.offset.into());
        let (year, month, day) = date(seconds.div_euclid(86_400));
        let clock = seconds.rem_euclid(86_400);
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{:06} {}",
            clock / 3600,
            clock / 60 % 60,
            clock % 60,
            micros.rem_euclid(1_000_000),
            local.name
        )
    }
}

/// Year, month and day in the Gregorian calendar, from days since 1970. Years begin in March here, so that the day that
/// may be missing is the last one.
const fn date(days: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097; // days of 400 years
    let days = days + 719_468; // since 0000-03-01
    let (era, of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Summer;

    impl TimeZone for Summer {
        fn at(&self, _: i64) -> LocalTime<'_> {
            LocalTime { offset: 7200, name: "CEST" }
        }
    }

    #[test]
    fn days_of_the_calendar() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
            (20_778, (2026, 11, 21)),
            (-719_468, (0, 3, 1)),
        ] {
            assert_eq!(date(days), expected);
        }
    }

    #[test]
    fn micros_and_zones() {
        let moment = Timestamp::from_micros(1_500_003);
        assert_eq!(At(moment, &Utc).to_string(), "2000-01-01 00:00:01.500003 UTC");
        assert_eq!(At(moment, &Summer).to_string(), "2000-01-01 02:00:01.500003 CEST");
        // The bounds of the type neither panic nor wrap.
        for micros in [i64::MIN, i64::MAX] {
            At(Timestamp::from_micros(micros), &Summer).to_string();
        }
    }
}
