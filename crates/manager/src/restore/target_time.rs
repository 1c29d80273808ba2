//! Recovery target times as people write them.

use thiserror::Error;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// A text that is no time.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("'{text}' is not a time: expected YYYY-MM-DD HH:MM:SS[.ffffff][+HH:MM]")]
#[non_exhaustive]
pub struct TargetTimeError {
    /// What was given.
    pub text: String,
}

/// Reads a target time: ISO 8601 with a blank or `T`, with or without seconds, fraction and zone; a backup id
/// (`20261121T000628`); or the form `list-backups` prints (`Sat Nov 21 00:06:31 2026`). A time without a zone is
/// taken in `local`, which gets the wall-clock time and answers with the offset in force then.
///
/// # Errors
/// When the text is none of these, or names a day or time that does not exist.
pub fn parse_target_time(
    text: &str,
    local: impl Fn(PrimitiveDateTime) -> UtcOffset,
) -> Result<OffsetDateTime, TargetTimeError> {
    let error = || TargetTimeError { text: text.chars().take(80).collect() };
    let trimmed = text.trim();
    let (naive, zone) =
        ctime(trimmed).map(|naive| (naive, None)).or_else(|| iso(trimmed)).ok_or_else(error)?;
    let offset = match zone {
        Some(zone) => zone,
        None => local(naive),
    };
    Ok(naive.assume_offset(offset))
}

fn iso(text: &str) -> Option<(PrimitiveDateTime, Option<UtcOffset>)> {
    let (date_text, rest) = match text.find(['T', ' ']) {
        Some(at) => {
            let (date, rest) = text.split_at_checked(at)?;
            (date, rest.trim_start_matches(['T', ' ']))
        }
        None => (text, ""),
    };
    let date = date(date_text)?;
    let zone_at = rest.find(['+', '-', 'Z', 'z', 'U', 'u', 'G', 'g']).unwrap_or(rest.len());
    let (time_text, zone_text) = rest.split_at_checked(zone_at)?;
    let time = if time_text.trim().is_empty() { Time::MIDNIGHT } else { time_of_day(time_text.trim())? };
    let zone = if zone_text.is_empty() { None } else { Some(zone(zone_text.trim())?) };
    if rest.is_empty() && text.len() != date_text.len() {
        return None;
    }
    Some((PrimitiveDateTime::new(date, time), zone))
}

fn date(text: &str) -> Option<Date> {
    let (year, month, day) = if text.len() == 8 {
        let (year, rest) = text.split_at_checked(4)?;
        let (month, day) = rest.split_at_checked(2)?;
        (number(year, 4)?, number(month, 2)?, number(day, 2)?)
    } else {
        let mut parts = text.split('-');
        let parsed = (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
        parts.next().is_none().then_some(parsed)?
    };
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()
}

fn time_of_day(text: &str) -> Option<Time> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let (hour, minute, second) = if clock.contains(':') {
        let mut parts = clock.split(':');
        let parsed = (
            number(parts.next()?, 2)?,
            number(parts.next()?, 2)?,
            parts.next().map_or(Some(0), |s| number(s, 2))?,
        );
        parts.next().is_none().then_some(parsed)?
    } else {
        (number(clock.get(0..2)?, 2)?, number(clock.get(2..4)?, 2)?, number(clock.get(4..)?, 2)?)
    };
    let micros = match fraction.len() {
        0 if text.contains('.') => return None,
        0 => 0,
        length @ 1..=9 => {
            let digits = number(fraction, 9)?;
            u32::try_from(u64::from(digits) * 1_000_000 / 10u64.pow(u32::try_from(length).ok()?)).ok()?
        }
        _ => return None,
    };
    Time::from_hms_micro(hour.try_into().ok()?, minute.try_into().ok()?, second.try_into().ok()?, micros).ok()
}

fn zone(text: &str) -> Option<UtcOffset> {
    if ["Z", "UTC", "GMT"].iter().any(|name| name.eq_ignore_ascii_case(text)) {
        return Some(UtcOffset::UTC);
    }
    let sign: i8 = if text.starts_with('-') { -1 } else { 1 };
    let digits: String = text.strip_prefix(['+', '-'])?.chars().filter(|c| *c != ':').collect();
    let hours: i8 = number(digits.get(0..2)?, 2)?.try_into().ok()?;
    let minutes: i8 = match digits.get(2..)? {
        "" => 0,
        rest => number(rest, 2)?.try_into().ok()?,
    };
    (hours <= 15 && minutes < 60).then_some(())?;
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

fn ctime(text: &str) -> Option<PrimitiveDateTime> {
    let mut parts = text.split_whitespace();
    let weekday = parts.next()?;
    let month = match parts.next()? {
        "Jan" => Month::January,
        "Feb" => Month::February,
        "Mar" => Month::March,
        "Apr" => Month::April,
        "May" => Month::May,
        "Jun" => Month::June,
        "Jul" => Month::July,
        "Aug" => Month::August,
        "Sep" => Month::September,
        "Oct" => Month::October,
        "Nov" => Month::November,
        "Dec" => Month::December,
        _ => return None,
    };
    (weekday.len() == 3).then_some(())?;
    let day = number(parts.next()?, 2)?;
    let time = time_of_day(parts.next()?)?;
    let year = number(parts.next()?, 4)?;
    parts.next().is_none().then_some(())?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    Some(PrimitiveDateTime::new(date, time))
}

fn number(text: &str, most: usize) -> Option<u32> {
    let plain = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use time::macros::{datetime, offset};

    use super::*;

    #[test]
    fn accepts_what_people_write() {
        for (text, expected) in [
            ("2026-11-21 00:07:20.915309+00", datetime!(2026-11-21 00:07:20.915309 UTC)),
            ("2026-11-21 00:07:20.915309+00:00", datetime!(2026-11-21 00:07:20.915309 UTC)),
            ("2026-11-21T00:07:20Z", datetime!(2026-11-21 00:07:20 UTC)),
            ("2026-11-21 02:07:20 +0230", datetime!(2026-11-21 02:07:20 +02:30)),
            ("2026-11-21 00:07:20-05", datetime!(2026-11-21 00:07:20 -5)),
            ("2026-11-21 00:07", datetime!(2026-11-21 00:07 +1)),
            ("2026-11-21", datetime!(2026-11-21 00:00 +1)),
            ("20261121T000628", datetime!(2026-11-21 00:06:28 +1)),
            ("Sat Nov 21 00:06:31 2026", datetime!(2026-11-21 00:06:31 +1)),
            ("2026-11-21 00:07:20.5 UTC", datetime!(2026-11-21 00:07:20.5 UTC)),
        ] {
            assert_eq!(parse_target_time(text, |_| offset!(+1)).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "garbage",
            "2026-13-01",
            "2026-02-30",
            "2026-11-21 25:00",
            "2026-11-21 00:00:61",
            "2026-11-21 00:00:00+99",
            "2026-11-21T",
            "2026-11-21 00:00:00.",
            "+",
            "2026-11-21 00:00:00é",
        ] {
            assert!(parse_target_time(text, |_| UtcOffset::UTC).is_err(), "{text:?}");
        }
    }
}
