//! Time spans: Barman's `human_readable_timedelta`.

use time::Duration;

/// `2 days, 1 hour, 5 seconds`; `less than one second`; negative spans end in ` ago`.
pub(crate) fn human_duration(span: Duration) -> String {
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
pub(crate) fn human_elapsed(span: std::time::Duration) -> String {
    human_duration(Duration::try_from(span).unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

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
