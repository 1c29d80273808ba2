//! Python's `repr()`: the same bytes for the same value.

use std::fmt::{self, Write};

use super::PyValue;

impl fmt::Display for PyValue {
    /// The text of `repr()`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => f.write_str(&repr_f64(*number)),
            Self::Str(text) => write_str(f, text),
            Self::List(items) => {
                f.write_char('[')?;
                write_items(f, items)?;
                f.write_char(']')
            }
            Self::Tuple(items) => {
                f.write_char('(')?;
                write_items(f, items)?;
                f.write_str(if items.len() == 1 { ",)" } else { ")" })
            }
            Self::Dict(pairs) => {
                f.write_char('{')?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{key}: {value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

fn write_items(f: &mut fmt::Formatter<'_>, items: &[PyValue]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

/// `'` around the text, or `"` when it contains `'` and no `"`; what is not printable is escaped.
fn write_str(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    f.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c == quote => write!(f, "\\{c}")?,
            ' '..='~' => f.write_char(c)?,
            c if is_printable(c) => f.write_char(c)?,
            c => match u32::from(c) {
                code @ 0..=0xFF => write!(f, "\\x{code:02x}")?,
                code @ 0x100..=0xFFFF => write!(f, "\\u{code:04x}")?,
                code => write!(f, "\\U{code:08x}")?,
            },
        }
    }
    f.write_char(quote)
}

/// Python's `str.isprintable`: no control, format, surrogate, private, unassigned or separator character.
/// The standard library escapes the same ones for `Debug`, save that a combining mark is left alone only behind another letter.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    let behind_a_letter = String::from_iter(['a', c]);
    behind_a_letter.escape_debug().nth(1) == Some(c)
}

/// The shortest digits that read back as the same number, with an exponent below 1e-4 and from 1e16 on.
///
/// ```
/// use tapster_catalog::record::repr_f64;
/// assert_eq!(repr_f64(1795219542.4817226), "1795219542.4817226");
/// assert_eq!(repr_f64(3.0), "3.0");
/// assert_eq!(repr_f64(1e16), "1e+16");
/// assert_eq!(repr_f64(0.00001), "1e-05");
/// ```
pub fn repr_f64(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&power) {
        // `Debug` keeps the `.0` of whole numbers but has its own idea of when to use an exponent.
        let plain = number.to_string();
        if plain.contains('.') { plain } else { plain + ".0" }
    } else {
        let sign = if power < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", power.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_numbers_as_python_does() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (0.0001, "0.0001"),
            (0.000_012_3, "1.23e-05"),
            (0.000_01, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (2.0, "2.0"),
            (2.804_269, "2.804269"),
            (1e16, "1e+16"),
            (123_456_789_012_345.6, "123456789012345.6"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1.5e300, "1.5e+300"),
            (5e-324, "5e-324"),
            (0.1 + 0.2, "0.30000000000000004"),
        ] {
            assert_eq!(repr_f64(number), text);
        }
    }

    #[test]
    fn switches_quotes_and_escapes() {
        for (text, repr) in [
            ("a'b", "\"a'b\""),
            ("a'b\"c", "'a\\'b\"c'"),
            ("a\"b", "'a\"b'"),
            ("\0\x7f\u{a0}\u{ad}", "'\\x00\\x7f\\xa0\\xad'"),
            ("größe \u{301}e\u{301} 日本 😀", "'größe \u{301}e\u{301} 日本 😀'"),
            ("\u{200b}\u{2028}\u{e000}\u{10ffff}", "'\\u200b\\u2028\\ue000\\U0010ffff'"),
            ("\\\t\r", "'\\\\\\t\\r'"),
        ] {
            assert_eq!(PyValue::Str(text.into()).to_string(), repr);
        }
    }
}
