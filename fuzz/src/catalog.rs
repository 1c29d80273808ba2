//! The text formats of the catalog.

use tapster_catalog::record::PyValue;
use tapster_catalog::{BackupId, BackupRecord, UtcOffset, XlogEntry, XlogLine, XlogLines};

/// A literal that is read is written as `repr()` does and then read as the same value, in the same bytes ever after.
///
/// # Panics
/// When the law is broken.
pub fn python_literal(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(value) = PyValue::parse(text) else { return };
    let written = value.to_string();
    let again = PyValue::parse(&written);
    assert_eq!(again.as_ref(), Ok(&value), "{written}");
    assert!(written.lines().count() <= 1, "a record's value is one line: {written:?}");
}

/// A record that is read is written in a form that stays as it is, and that is the same record.
///
/// # Panics
/// When the law is broken.
pub fn backup_info(data: &[u8]) {
    let Ok(id) = "20261121T000542".parse::<BackupId>() else { return };
    let Ok(record) = BackupRecord::parse(id, data, UtcOffset::UTC) else { return };
    let text = record.to_text();
    let again = BackupRecord::parse(id, text.as_bytes(), UtcOffset::UTC);
    assert_eq!(again.as_ref().map(BackupRecord::to_text).as_ref(), Ok(&text));
    let keys: Vec<&str> = text.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key).collect();
    assert!(keys.is_sorted() && (33..=35).contains(&keys.len()), "{text}");
}

/// Reading an index yields the same entries when they are written and read again, and no line is longer than the bound.
///
/// # Panics
/// When the law is broken.
pub fn xlogdb(data: &[u8]) {
    let entries = |bytes: &[u8]| -> Vec<XlogEntry> {
        let lines = XlogLines::new(bytes).filter_map(Result::ok);
        lines
            .filter_map(|line| match line {
                XlogLine::Entry(entry) => Some(entry),
                XlogLine::Unreadable(bytes) | XlogLine::Torn(bytes) => {
                    assert!(bytes.len() <= 4096, "{}", bytes.len());
                    None
                }
            })
            .collect()
    };
    let read = entries(data);
    let text: String = read.iter().map(|entry| format!("{entry}\n")).collect();
    assert_eq!(entries(text.as_bytes()), read, "{text}");
}
