//! Sizes as Barman's cloud tools read them.

/// A positive number of bytes, with a unit if it ends with `B`. Contrary to the usual, `kB` is 1024 and `kiB` 1000 bytes, whatever the
/// case (`barman.utils.check_size`).
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let upper = text.to_uppercase();
    let parsed = match upper.strip_suffix('B') {
        None => upper.trim().parse().ok(),
        Some(rest) => with_unit(rest),
    };
    parsed.filter(|size| *size > 0).ok_or_else(|| format!("'{upper}' is not a valid size string"))
}

fn with_unit(rest: &str) -> Option<u64> {
    let (rest, base) = rest.strip_suffix('I').map_or((rest, 1024_u64), |rest| (rest, 1000));
    let power = "KMGTPE".find(rest.chars().last()?).and_then(|at| u32::try_from(at + 1).ok());
    let Some(power) = power else { return rest.trim().parse().ok() };
    let mut digits = rest.chars();
    digits.next_back();
    let number: f64 = digits.as_str().trim().parse().ok()?;
    let bytes = number * base.checked_pow(power)? as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within bounds")]
    (1.0..1e18).contains(&bytes).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn as_barman_reads_them() {
        for (text, bytes) in [
            ("100GB", 100 << 30),
            ("1GiB", 1_000_000_000),
            ("1.5kb", 1536),
            ("5MB", 5 << 20),
            ("1234", 1234),
            ("1234B", 1234),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in
            ["", "B", "0", "-1", "1.5", "x", "GB", "1e400GB", "infGB", "nanGB", "9999999EB", "\u{fb01}B"]
        {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
