//! Python's `repr` of the values Barman prints with it.

use tapster_catalog::record::{PyValue, repr_f64};

/// A string as Python's `repr` writes it: single quotes unless the text has them and no double ones.
pub(crate) fn str_repr(text: &str) -> String {
    PyValue::Str(text.to_owned()).to_string()
}

/// A number as Python writes it, in text and in JSON alike.
pub(crate) fn number_repr(number: &serde_json::Number) -> String {
    if number.is_f64() { number.as_f64().map(repr_f64).unwrap_or_default() } else { number.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

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
