//! Sizes and durations in Barman's words, for hints and messages.

use std::time::Duration;

/// 1024-based with one decimal, plain bytes below 1 KiB (Barman's `pretty_size`).
#[expect(clippy::cast_precision_loss, reason = "a number for people")]
pub fn pretty_size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "";
    for name in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        value /= 1024.0;
        unit = name;
        if value < 1024.0 {
            break;
        }
    }
    format!("{value:.1} {unit}")
}

/// `1 day, 2 hours, 3 seconds`; `less than one second` (Barman's `human_readable_timedelta`).
pub fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [
        (seconds / 86_400, "day"),
        (seconds % 86_400 / 3_600, "hour"),
        (seconds % 3_600 / 60, "minute"),
        (seconds % 60, "second"),
    ];
    let text: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    if text.is_empty() { "less than one second".to_owned() } else { text.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1024.0 KiB"),
            (23_548_559, "22.5 MiB"),
        ] {
            assert_eq!(pretty_size(bytes), text);
        }
    }

    #[test]
    fn durations() {
        for (seconds, text) in [
            (0, "less than one second"),
            (1, "1 second"),
            (3_600, "1 hour"),
            (90_061, "1 day, 1 hour, 1 minute, 1 second"),
            (172_802, "2 days, 2 seconds"),
        ] {
            assert_eq!(human_duration(Duration::from_secs(seconds)), text);
        }
    }
}
