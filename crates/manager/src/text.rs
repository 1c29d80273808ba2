//! Sizes and durations in Barman's words, and the system's errors in its own.

use time::Duration;

/// `22.3 MiB`, Barman's `pretty_size` in its 1024 form: whole bytes below 1 KiB, else one decimal. Rounding is not carried (`1024.0 KiB`), negative
/// values keep their sign.
pub fn pretty_size(bytes: f64) -> String {
    const UNITS: [&str; 8] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];
    if bytes.abs() < 1024.0 {
        return format!("{:.0} B", bytes.trunc());
    }
    let mut size = bytes;
    let mut name = "B";
    for unit in UNITS {
        size /= 1024.0;
        name = unit;
        if size.abs() < 1024.0 {
            break;
        }
    }
    format!("{size:.1} {name}")
}

/// [`pretty_size`] of a count of bytes.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub fn pretty_bytes(bytes: u64) -> String {
    pretty_size(bytes as f64)
}

/// `2 days, 1 hour, 5 seconds`, Barman's `human_readable_timedelta`; `less than one second`; negative spans end in ` ago`.
pub fn human_duration(span: Duration) -> String {
    let seconds = span.unsigned_abs().as_secs();
    let mut parts = Vec::with_capacity(4);
    for (count, unit) in [
        (seconds / 86_400, "day"),
        (seconds / 3600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ] {
        match count {
            0 => {}
            1 => parts.push(format!("1 {unit}")),
            _ => parts.push(format!("{count} {unit}s")),
        }
    }
    let mut text = if parts.is_empty() { "less than one second".to_owned() } else { parts.join(", ") };
    if span.is_negative() {
        text.push_str(" ago");
    }
    text
}

/// [`human_duration`] of a span that cannot be negative.
pub fn human_elapsed(span: std::time::Duration) -> String {
    human_duration(Duration::try_from(span).unwrap_or(Duration::MAX))
}

/// `strerror` alone: the number that Rust adds is part of no other program's messages.
pub fn system_text(error: &std::io::Error) -> String {
    let mut text = error.to_string();
    if let Some(end) = text.rfind(" (os error ") {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_barman_does() {
        for (bytes, text) in [
            (0.0, "0 B"),
            (-96.0, "-96 B"),
            (1023.0, "1023 B"),
            (1023.9, "1023 B"),
            (1024.0, "1.0 KiB"),
            (1_048_575.0, "1024.0 KiB"),
            (23_548_559.0, "22.5 MiB"),
            (-40_000_000.0, "-38.1 MiB"),
            (1e30, "827180.6 YiB"),
        ] {
            assert_eq!(pretty_size(bytes), text);
        }
        assert_eq!(pretty_bytes(u64::MAX), "16.0 EiB");
    }

    #[test]
    fn zero_parts_are_dropped_and_one_is_singular() {
        for (seconds, text) in [
            (0.0, "less than one second"),
            (0.999, "less than one second"),
            (1.0, "1 second"),
            (3.9, "3 seconds"),
            (60.0, "1 minute"),
            (90_061.0, "1 day, 1 hour, 1 minute, 1 second"),
            (7200.0, "2 hours"),
            (-5.0, "5 seconds ago"),
            (-0.5, "less than one second ago"),
            (345_600.0, "4 days"),
        ] {
            assert_eq!(human_duration(Duration::seconds_f64(seconds)), text);
        }
        assert_eq!(human_elapsed(std::time::Duration::from_millis(3500)), "3 seconds");
    }
}
