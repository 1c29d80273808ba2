//! The text formats of the catalog.

use tapster_catalog::record::PyValue;
use tapster_catalog::wal_index::{HashDir, IndexContents};
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

/// An index of WAL, once as it is, and once as frames (a length of two bytes and so much content) whose checksums are right.
///
/// What is read is of the directory, no longer than the bytes, written in a form that is read as the same, and with any bit
/// flipped a beginning of itself.
///
/// # Panics
/// When the law is broken.
pub fn wal_index(data: &[u8]) {
    let dir: HashDir = "0000000100000000".parse().expect("a directory of segments");
    index_holds(data, dir);
    let mut framed = IndexContents::default().to_bytes(dir);
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk() {
        let (frame, after) = after.split_at(usize::from(u16::from_le_bytes(*length)).min(after.len()));
        framed.extend((frame.len() as u32).to_le_bytes());
        framed.extend(crc32c::crc32c(frame).to_le_bytes());
        framed.extend(frame);
        rest = after;
    }
    index_holds(&framed, dir);
}

fn index_holds(bytes: &[u8], dir: HashDir) {
    let Some(read) = IndexContents::parse(bytes, dir) else { return };
    assert!(read.valid <= bytes.len());
    let lists = |contents: &IndexContents| -> usize {
        let of = |s: &tapster_catalog::wal_index::SegmentSummary| {
            let content = &s.content;
            content.head.len() + content.tail.len() + content.points.len() + content.removed.files.len() + 1
        };
        contents.segments.iter().map(of).sum()
    };
    assert!(lists(&read) <= read.valid);
    assert!(read.segments.iter().all(|s| HashDir::of(s.name) == dir));
    let written = read.to_bytes(dir);
    let again = IndexContents::parse(&written, dir).expect("what was written is read");
    assert_eq!((&again.segments, again.seal, again.valid), (&read.segments, read.seal, written.len()));
    let mut damaged = bytes.to_vec();
    for at in (0..read.valid).step_by((read.valid / 16).max(1)) {
        damaged[at] ^= 1 << (at % 8);
        if let Some(found) = IndexContents::parse(&damaged, dir) {
            assert!(found.valid <= at && read.segments.starts_with(&found.segments), "a flipped bit at {at}");
        }
        damaged[at] ^= 1 << (at % 8);
    }
}
