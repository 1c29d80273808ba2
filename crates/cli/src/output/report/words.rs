//! Times, spans and sizes in words.

use time::{Duration, OffsetDateTime, UtcOffset};

/// `45.1 GiB`; whole bytes below one KiB.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value < 100.0);
    format!("{value:.digits$} {}", UNITS.get(unit).copied().unwrap_or_default())
}

/// `12,345 B`.
pub(crate) fn exact_size(bytes: u64) -> String {
    format!("{} B", grouped(bytes))
}

/// `12,345`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `3 h 20 min`: two units at most.
pub(crate) fn span(span: Duration) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let seconds = span.whole_seconds().max(0);
    let Some(at) = UNITS.iter().position(|(length, _)| seconds >= *length) else { return "0 s".to_owned() };
    let part =
        |at: usize, rest: i64| UNITS.get(at).map(|(length, unit)| (rest / length, rest % length, *unit));
    let Some((count, rest, unit)) = part(at, seconds) else { return String::new() };
    match part(at + 1, rest) {
        // Of many the smaller unit says nothing.
        Some((smaller, _, name)) if smaller > 0 && count < 10 => format!("{count} {unit} {smaller} {name}"),
        _ => format!("{count} {unit}"),
    }
}

/// `3 h ago`: one unit; `just now` below two seconds, and for what is to come.
pub(crate) fn ago(time: OffsetDateTime, now: OffsetDateTime) -> String {
    let seconds = (now - time).whole_seconds();
    let text = match seconds {
        ..2 => return "just now".to_owned(),
        2..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    };
    format!("{text} ago")
}

/// `2026-11-21 13:45`, in UTC, without saying so.
pub(crate) fn minute(time: OffsetDateTime) -> String {
    let time = time.to_offset(UtcOffset::UTC);
    format!("{} {:02}:{:02}", time.date(), time.hour(), time.minute())
}

/// `2026-11-21 13:45:07 UTC`.
pub(crate) fn second(time: OffsetDateTime) -> String {
    format!("{}:{:02} UTC", minute(time), time.second())
}

/// `2026-11-21T13:45:07Z`.
pub(crate) fn iso(time: OffsetDateTime) -> String {
    let utc = time.to_offset(UtcOffset::UTC);
    format!("{}T{:02}:{:02}:{:02}Z", utc.date(), utc.hour(), utc.minute(), utc.second())
}

/// `+01:00`.
pub(crate) fn offset(offset: UtcOffset) -> String {
    let (hours, minutes, _) = offset.as_hms();
    let sign = if offset.is_negative() { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", hours.unsigned_abs(), minutes.unsigned_abs())
}

/// At most so many characters of a text.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// `1 gap`, `2 gaps`.
pub(crate) fn number(count: usize, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{} {many}", grouped(count as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let found = [0, 1023, 1024, 16_777_216, 1_073_741_823, 123_456_789_012, u64::MAX].map(size);
        assert_eq!(found, ["0 B", "1023 B", "1.0 KiB", "16.0 MiB", "1.0 GiB", "115 GiB", "16.0 EiB"]);
        assert_eq!(exact_size(1_234_567), "1,234,567 B");
        assert_eq!(grouped(100), "100");
    }

    #[test]
    fn spans() {
        let found = [-5, 0, 59, 60, 3_661, 36_000, 90_000, 8_640_000].map(|s| span(Duration::seconds(s)));
        assert_eq!(found, ["0 s", "0 s", "59 s", "1 min", "1 h 1 min", "10 h", "1 d 1 h", "100 d"]);
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(10);
        let found = [-9, 1, 12, 300, 10_800, 864_000].map(|s| ago(now - Duration::seconds(s), now));
        assert_eq!(found, ["just now", "just now", "12 s ago", "5 min ago", "3 h ago", "10 d ago"]);
    }

    #[test]
    fn times_are_utc() {
        let offset = UtcOffset::from_hms(-3, -30, 0).unwrap();
        let time = OffsetDateTime::from_unix_timestamp(1_795_219_542).unwrap().to_offset(offset);
        assert_eq!(second(time), "2026-11-21 00:05:42 UTC");
        assert_eq!(iso(time), "2026-11-21T00:05:42Z");
        assert_eq!(super::offset(offset), "-03:30");
    }
}
