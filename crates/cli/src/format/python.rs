//! Python's `repr` of the values Barman prints with it (`show-servers`, a few error messages).

use serde_json::Value;

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

/// `repr` of a JSON-like value: `None`, `True`, `['a', 1]`, `{'k': 2.0}`.
pub(crate) fn value_repr(value: &Value) -> String {
    match value {
        Value::String(text) => str_repr(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(value_repr).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => format!(
            "{{{}}}",
            map.iter()
                .map(|(k, v)| format!("{}: {}", str_repr(k), value_repr(v)))
                .collect::<Vec<_>>()
                .join(", ")
        ),
        scalar => value_str(scalar),
    }
}

/// `str` of a JSON-like value: a top-level string stands without quotes.
pub(crate) fn value_str(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number_repr(number),
        Value::String(text) => text.clone(),
        compound => value_repr(compound),
    }
}

/// A number as Python writes it, in text and in JSON alike.
pub(crate) fn number_repr(number: &serde_json::Number) -> String {
    if number.is_f64() { number.as_f64().map(float_repr).unwrap_or_default() } else { number.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
    fn containers_and_constants_match_python() {
        assert_eq!(
            value_str(&json!(["", "it's", "say \"hi\"", "it's \"so\"\n"])),
            "['', \"it's\", 'say \"hi\"', 'it\\'s \"so\"\\n']"
        );
        assert_eq!(value_str(&json!({"a": null, "b": [true, 1, 2.5]})), "{'a': None, 'b': [True, 1, 2.5]}");
        assert_eq!(value_str(&json!("plain")), "plain");
        assert_eq!(str_repr("\u{1}\u{7f}é\\"), "'\\x01\\x7fé\\\\'");
    }
}
