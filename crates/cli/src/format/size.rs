//! Byte counts: Barman's `pretty_size` in its 1024 form.

/// `22.3 MiB`: whole bytes below 1 KiB, else one decimal. Rounding is not carried (`1024.0 KiB`), negative
/// values keep their sign.
pub(crate) fn pretty_size(bytes: f64) -> String {
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
pub(crate) fn pretty_bytes(bytes: u64) -> String {
    pretty_size(bytes as f64)
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
}
