//! `-r/--max-rate`.

use super::super::tree::ReadError;
use super::value_error;

/// Kilobytes per second, or with `k` or `M`; the server takes 32 kB/s to 1 GB/s. Returns kB/s.
pub(super) fn parse(text: &str) -> Result<u32, ReadError> {
    let digits_end = text
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || *c == '.' || (*at == 0 && matches!(c, '+' | '-'))))
        .map_or(text.len(), |(at, _)| at);
    let (digits, suffix) = text.split_at_checked(digits_end).unwrap_or((text, ""));
    let rate: f64 =
        digits.parse().map_err(|_| value_error(format!("transfer rate \"{text}\" is not a valid value")))?;
    if rate <= 0.0 {
        return Err(value_error("transfer rate must be greater than zero"));
    }
    let rate = match suffix.trim() {
        "" | "k" => rate,
        "M" => rate * 1024.0,
        unit => return Err(value_error(format!("invalid --max-rate unit: \"{unit}\""))),
    };
    if (32.0..=1_048_576.0).contains(&rate) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "just checked")]
        Ok(rate as u32)
    } else {
        Err(value_error(format!("transfer rate \"{text}\" is out of range")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_and_bounds_are_the_servers() {
        assert!(matches!(parse("32"), Ok(32)));
        assert!(matches!(parse("64k"), Ok(64)));
        assert!(matches!(parse("1.5M"), Ok(1536)));
        assert!(matches!(parse("1024M"), Ok(1_048_576)));
        for bad in ["", "q", "5", "31k", "1025M", "2G", "32k0", "-5", "0", "é"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
