//! The JSON of `-f json`, byte for byte as Python's `json.dump(…, sort_keys=True)` writes it: `", "` and `": "`,
//! keys sorted, everything outside ASCII escaped, no newline at the end.

use serde_json::{Map, Value};

use crate::format::python::number_repr;

/// `map` as one line.
pub(crate) fn dump(map: &Map<String, Value>) -> String {
    let mut text = String::new();
    write_map(&mut text, map);
    text
}

/// A value, in the same form.
#[cfg(feature = "cloud")]
pub(crate) fn value_text(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value);
    text
}

/// `value` over several lines, as `json.dumps(…, indent=4, sort_keys=True)` writes it.
pub(crate) fn dump_pretty(value: &Value) -> String {
    let mut text = String::new();
    write_pretty(&mut text, value, 1);
    text
}

fn write_pretty(text: &mut String, value: &Value, depth: usize) {
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.push_str(&"    ".repeat(depth));
    };
    match value {
        Value::Array(items) if !items.is_empty() => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                line(text, depth);
                write_pretty(text, item, depth + 1);
            }
            line(text, depth - 1);
            text.push(']');
        }
        Value::Object(map) if !map.is_empty() => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| key.as_str());
            text.push('{');
            for (index, (key, item)) in entries.into_iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                line(text, depth);
                write_string(text, key);
                text.push_str(": ");
                write_pretty(text, item, depth + 1);
            }
            line(text, depth - 1);
            text.push('}');
        }
        other => write_value(text, other),
    }
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => text.push_str(&number_repr(number)),
        Value::String(string) => write_string(text, string),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(text, index);
                write_value(text, item);
            }
            text.push(']');
        }
        Value::Object(map) => write_map(text, map),
    }
}

fn write_map(text: &mut String, map: &Map<String, Value>) {
    // Sorted here, because a dependency can switch serde_json's maps to insertion order.
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| key.as_str());
    text.push('{');
    for (index, (key, value)) in entries.into_iter().enumerate() {
        separate(text, index);
        write_string(text, key);
        text.push_str(": ");
        write_value(text, value);
    }
    text.push('}');
}

fn separate(text: &mut String, index: usize) {
    if index > 0 {
        text.push_str(", ");
    }
}

fn write_string(text: &mut String, string: &str) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='~' => text.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_text_is_pythons() {
        let Value::Object(map) = json!({
            "b": [1, 2.0, -3, null, true], "a": {"z": "é😀\u{7f}\u{1}\n\"", "y": {}}, "_INFO": []
        }) else {
            unreachable!()
        };
        assert_eq!(
            dump(&map),
            r#"{"_INFO": [], "a": {"y": {}, "z": "\u00e9\ud83d\ude00\u007f\u0001\n\""}, "b": [1, 2.0, -3, null, true]}"#
        );
    }
    #[test]
    fn pretty_text_is_pythons_too() {
        let value = json!({"b": [1, {"x": []}], "a": {"z": "é", "y": {}}});
        assert_eq!(
            dump_pretty(&value),
            "{\n    \"a\": {\n        \"y\": {},\n        \"z\": \"\\u00e9\"\n    },\n    \"b\": [\n        1,\n        {\n            \
             \"x\": []\n        }\n    ]\n}"
        );
    }

    #[test]
    fn what_barman_wrote_is_written_again_byte_for_byte() {
        for theirs in [
            include_str!("../../tests/data/show-backup-main.json"),
            include_str!("../../tests/data/backup-main-2.json"),
            include_str!("../../tests/data/list-backups.json"),
        ] {
            let map: Map<String, Value> = serde_json::from_str(theirs).unwrap();
            assert_eq!(dump(&map), theirs);
        }
    }
}
