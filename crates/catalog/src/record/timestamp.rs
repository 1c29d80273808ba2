//! Times as Python prints them: `2026-11-21 00:05:42.175249+00:00`.

use std::fmt::Write as _;

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// As `str(datetime)`: microseconds only when there are any, the offset with seconds only when it has some.
pub fn format(at: OffsetDateTime) -> String {
    let mut text = format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    );
    // Writing to a string cannot fail.
    if at.microsecond() != 0 {
        let _ = write!(text, ".{:06}", at.microsecond());
    }
    let (hours, minutes, seconds) = at.offset().as_hms();
    let sign = if at.offset().is_negative() { '-' } else { '+' };
    let _ = write!(text, "{sign}{:02}:{:02}", hours.unsigned_abs(), minutes.unsigned_abs());
    if seconds != 0 {
        let _ = write!(text, ":{:02}", seconds.unsigned_abs());
    }
    text
}

/// Reads `YYYY-MM-DD HH:MM[:SS[.ffffff]]`, `T` allowed between, with an offset (`Z`, `±HH`, `±HHMM`,
/// `±HH:MM[:SS]`) or without: then it is local time.
pub fn parse(text: &str, local: UtcOffset) -> Option<OffsetDateTime> {
    let (date, rest) = text.split_once([' ', 'T'])?;
    let mut parts = date.splitn(3, '-');
    let year: i32 = digits(parts.next()?, 4)?.try_into().ok()?;
    let month = Month::try_from(u8::try_from(digits(parts.next()?, 2)?).ok()?).ok()?;
    let date = Date::from_calendar_date(year, month, digits(parts.next()?, 2)?.try_into().ok()?).ok()?;
    let at = rest.find(['+', '-', 'Z']).unwrap_or(rest.len());
    let (clock, offset) = rest.split_at_checked(at)?;
    let offset = if offset.is_empty() { local } else { parse_offset(offset.trim())? };
    Some(PrimitiveDateTime::new(date, parse_clock(clock.trim_end())?).assume_offset(offset))
}

fn parse_clock(text: &str) -> Option<Time> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.splitn(3, ':');
    let mut part = |needed: bool| match parts.next() {
        Some(part) => digits(part, 2).and_then(|n| u8::try_from(n).ok()),
        None => (!needed).then_some(0),
    };
    let (hour, minute, second) = (part(true)?, part(true)?, part(false)?);
    let micros = match fraction.len() {
        0 if text.contains('.') => return None,
        0 => 0,
        length @ 1..=6 => {
            let scale = 10_u32.pow(u32::try_from(6 - length).ok()?);
            digits(fraction, length)?.checked_mul(scale)?
        }
        // Finer than Python keeps.
        _ if fraction.len() <= 12 && fraction.bytes().all(|b| b.is_ascii_digit()) => {
            digits(fraction.get(..6)?, 6)?
        }
        _ => return None,
    };
    Time::from_hms_micro(hour, minute, second, micros).ok()
}

fn parse_offset(text: &str) -> Option<UtcOffset> {
    if text == "Z" {
        return Some(UtcOffset::UTC);
    }
    let negative = text.starts_with('-');
    let rest = text.strip_prefix(['+', '-'])?;
    let mut numbers = [0_i8; 3];
    let split: Vec<&str> = match rest.len() {
        4 => vec![rest.get(..2)?, rest.get(2..)?],
        _ => rest.splitn(3, ':').collect(),
    };
    for (place, part) in numbers.iter_mut().zip(split) {
        *place = i8::try_from(digits(part, 2)?).ok()?;
    }
    let [hours, minutes, seconds] = if negative { numbers.map(|n| -n) } else { numbers };
    UtcOffset::from_hms(hours, minutes, seconds).ok()
}

fn digits(text: &str, length: usize) -> Option<u32> {
    (text.len() == length && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::offset;

    #[test]
    fn round_trips() {
        for text in [
            "2026-11-21 00:05:42.175249+00:00",
            "2026-11-21 00:05:42+00:00",
            "2026-11-21 00:05:42.000001-03:30",
            "1890-01-01 00:00:00+00:53:28",
        ] {
            assert_eq!(format(parse(text, UtcOffset::UTC).unwrap()), text);
        }
    }

    #[test]
    fn naive_times_are_local() {
        for (text, normal) in [
            ("2014-12-22 09:25:22.561207", "2014-12-22 09:25:22.561207+05:30"),
            ("2014-12-22T09:25", "2014-12-22 09:25:00+05:30"),
            ("2014-12-22 09:25:22.5Z", "2014-12-22 09:25:22.500000+00:00"),
            ("2014-12-22 09:25:22 -0100", "2014-12-22 09:25:22-01:00"),
            ("2014-12-22 09:25:22+02", "2014-12-22 09:25:22+02:00"),
        ] {
            assert_eq!(format(parse(text, offset!(+5:30)).unwrap()), normal);
        }
        for text in [
            "",
            "yesterday",
            "2014-13-01 00:00:00",
            "2014-12-22",
            "2014-12-22 25:00:00",
            "2014-12-22 09:25:22+99:00",
            "2014-12-22 09:25:22.",
            "+014-12-22 09:25:22",
        ] {
            assert!(parse(text, UtcOffset::UTC).is_none(), "{text}");
        }
    }
}
