//! Python's `repr` of the values Barman prints with it.

/// A float as Python's `repr` writes it: the shortest digits that read back the same, exponent from 1e16 and
/// below 1e-4.
pub(crate) fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        // Rust writes `1e16` and `1.5e-7`; Python signs the exponent and pads it to two digits.
        let text = format!("{value:e}");
        let Some((digits, exponent)) = text.split_once('e') else { return text };
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    // `{:?}` keeps the `.0` of whole numbers, but turns to an exponent at other borders than Python.
    let text = format!("{value}");
    if text.contains('.') { text } else { format!("{text}.0") }
}

/// A string as Python's `repr` writes it: single quotes unless the text has them and no double ones.
pub(crate) fn str_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut repr = String::with_capacity(text.len() + 2);
    repr.push(quote);
    for c in text.chars() {
        match c {
            '\n' => repr.push_str("\\n"),
            '\r' => repr.push_str("\\r"),
            '\t' => repr.push_str("\\t"),
            '\\' => repr.push_str("\\\\"),
            c if c == quote => {
                repr.push('\\');
                repr.push(c);
            }
            c if u32::from(c) < 0x20 || (0x7f..0xa1).contains(&u32::from(c)) || c == '\u{ad}' => {
                repr.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c => repr.push(c),
        }
    }
    repr.push(quote);
    repr
}

/// A number as Python writes it, in text and in JSON alike.
pub(crate) fn number_repr(number: &serde_json::Number) -> String {
    if number.is_f64() { number.as_f64().map(float_repr).unwrap_or_default() } else { number.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_match_python() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (2.0, "2.0"),
            (2.804269, "2.804269"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (1.25e100, "1.25e+100"),
            (0.1 + 0.2, "0.30000000000000004"),
        ] {
            assert_eq!(float_repr(value), text);
        }
    }

    #[test]
    fn texts_match_python() {
        for (text, repr) in [
            ("plain", "'plain'"),
            ("it's", "\"it's\""),
            ("say \"hi\"", "'say \"hi\"'"),
            ("it's \"so\"\n", "'it\\'s \"so\"\\n'"),
            ("\u{1}\u{7f}é\\", "'\\x01\\x7fé\\\\'"),
        ] {
            assert_eq!(str_repr(text), repr);
        }
    }
}
