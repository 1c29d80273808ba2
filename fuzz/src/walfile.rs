//! Properties of `walfile`: whatever the bytes, no panic, no unbounded memory, and what is accepted is consistent.

use std::io::{Read, Write};

use walfile::changed_blocks::{ChangedBlocks, SummaryError};
use walfile::codec::{self, Compression, Level};
use walfile::record::{RecordHeader, image_bytes, parts};
use walfile::rmgr::{Payload, Rmgr, type_name};
use walfile::{
    BackupHistoryFile, BackupLabel, ControlFile, ControlFileError, LongPageHeader, Lsn, RecordDecoder,
    Segment, SegmentName, SegmentSize, Timeline, TimelineHistory, WalName, pages,
};

/// A name that parses is written back the same, and its positions follow from each other at every segment size.
pub fn wal_name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(lsn) = text.parse::<Lsn>() {
        assert_eq!(lsn.to_string().parse(), Ok(lsn));
    }
    let Ok(name) = text.parse::<WalName>() else { return };
    assert_eq!(name.to_string(), text);
    let Some(segment) = name.segment() else { return };
    for size in (20..=30).filter_map(|log| SegmentSize::new(1 << log).ok()) {
        if let Ok(start) = segment.start(size) {
            assert_eq!(SegmentName::containing(segment.timeline(), start, size), segment);
        }
        if let Ok(Some(next)) = segment.next(size) {
            assert_eq!(next.start(size), segment.end(size));
            assert!(next > segment);
        }
    }
}

/// The first four bytes choose the timeline. In an accepted history every ancestor holds the position before its switch.
pub fn history(data: &[u8]) {
    let Some((number, content)) = data.split_first_chunk() else { return };
    let Some(timeline) = Timeline::new(u32::from_le_bytes(*number)) else { return };
    let Ok(history) = TimelineHistory::parse(timeline, content) else { return };
    let mut before = Lsn::INVALID;
    for entry in history.entries() {
        if entry.switch > before {
            assert_eq!(history.timeline_at(before), entry.timeline);
        }
        assert!(history.contains(entry.timeline));
        before = entry.switch;
    }
    assert_eq!(history.timeline_at(before), timeline);
    assert_eq!(history.begin(), before);
}

/// The pages of a walk lie side by side and their addresses follow; what it does not cover is zero or an error.
pub fn page_walk(data: &[u8]) {
    let Ok(mut walk) = pages(data) else {
        assert!(LongPageHeader::parse(data).is_err());
        return;
    };
    let first = *walk.first();
    let (mut end, mut failed) = (0, false);
    for page in walk.by_ref() {
        let Ok(page) = page else {
            failed = true;
            continue;
        };
        assert!(!failed, "a page after an error");
        assert_eq!(page.offset, end);
        assert_eq!(page.header.address.get() - first.page.address.get(), page.offset as u64);
        assert_eq!(page.header.magic, first.page.magic);
        assert!(page.content().len() < page.bytes.len());
        end += page.bytes.len();
    }
    assert_eq!(walk.used(), end);
    if !failed {
        let rest = data.get(end..).unwrap_or(&[]);
        assert!(rest.iter().all(|byte| *byte == 0));
        assert_eq!(walk.zero_from(), (!rest.is_empty()).then_some(end));
    }
}

/// An accepted label names a segment of its own position, and keeps its label without a line break.
pub fn backup_label(data: &[u8]) {
    let label = BackupLabel::parse(data);
    if let Ok(file) = BackupHistoryFile::parse(data) {
        assert_eq!(Ok(&file.label), label.as_ref());
        assert!(file.stop_lsn >= file.label.start_lsn);
    }
    let Ok(label) = label else { return };
    assert!(!label.label.contains(&b'\n'));
    assert_eq!(label.start_lsn.get() >> 32, u64::from(label.start_segment.log()));
    assert!(label.timeline.is_none_or(|timeline| timeline == label.start_segment.timeline()));
}

/// Bytes are taken as they are and once more with a right checksum, which a fuzzer would not find.
pub fn control_file(data: &[u8]) {
    let check = |parsed: Result<ControlFile, ControlFileError>| match parsed {
        Ok(control) => {
            assert!((10..=18).contains(&control.major));
            None
        }
        Err(ControlFileError::Crc { expected, .. }) => Some(expected),
        Err(_) => None,
    };
    let Some(crc) = check(ControlFile::parse(data)) else { return };
    for at in [280, 288, 292] {
        let mut bytes = data.to_vec();
        if let Some(stored) = bytes.get_mut(at..at + 4) {
            stored.copy_from_slice(&crc.to_le_bytes());
            check(ControlFile::parse(&bytes));
        }
    }
}

/// What was compressed comes back; and the bytes themselves, read as any format, end in content or an error.
pub fn codec(data: &[u8]) {
    const BOUND: u64 = 1 << 20;
    for compression in Compression::ALL {
        let mut content = Vec::new();
        if let Ok(decoder) = codec::decoder(data, compression) {
            let _ = decoder.take(BOUND).read_to_end(&mut content);
        }
        if data.len() > 1 << 14 {
            continue;
        }
        let Ok(mut encoder) = codec::encoder(Vec::new(), compression, Level::Low) else { continue };
        assert!(encoder.write_all(data).is_ok());
        let Ok(bytes) = encoder.finish() else { panic!("{compression}: a vector takes everything") };
        if compression != Compression::None && !data.is_empty() {
            assert_eq!(codec::detect(&bytes), compression);
        }
        let mut back = Vec::new();
        let read = codec::decoder(&bytes[..], compression).map(|mut decoder| decoder.read_to_end(&mut back));
        assert!(data.is_empty() || matches!(read, Ok(Ok(_))), "{compression}");
        assert!(back == data, "{compression}");
    }
}

/// A summary of changed blocks that is accepted says the same when it is written and read again, and what is written takes no
/// more bytes. Bytes are taken as they are and once more with a right checksum, which a fuzzer would not find.
pub fn changed_blocks(data: &[u8]) {
    let error = summary(data);
    if let Some(SummaryError::Crc { computed, .. }) = error
        && let Some((body, _)) = data.split_last_chunk::<4>()
    {
        summary(&[body, &computed.to_le_bytes()].concat());
    }
}

fn summary(data: &[u8]) -> Option<SummaryError> {
    let blocks = match ChangedBlocks::read_summary(data) {
        Ok(blocks) => blocks,
        Err(error) => return Some(error),
    };
    let mut written = Vec::new();
    assert!(blocks.write_summary(&mut written).is_ok());
    assert!(written.len() <= data.len());
    assert!(ChangedBlocks::read_summary(&written[..]).is_ok_and(|again| again == blocks));
    let mut twice = blocks.clone();
    twice.merge(&blocks);
    for (id, changes) in blocks.forks() {
        let numbers: Vec<u32> = changes.blocks().collect();
        assert_eq!(numbers.len() as u64, changes.len());
        assert!(changes.ranges().flatten().eq(numbers.iter().copied()));
        assert!(numbers.iter().all(|block| changes.is_changed(*block)));
        assert_eq!(twice.get(*id).and_then(|twice| twice.limit()), changes.limit());
    }
    None
}

/// A stream of pages fed in pieces gives what it gives in one; records are within it and their parts within them.
pub fn decoder(data: &[u8]) {
    let mut whole = RecordDecoder::new();
    whole.feed(data);
    let mut found = Vec::new();
    while let Some(record) = whole.poll() {
        assert!(record.lsn < record.end);
        assert_eq!(record.bytes.len() as u64, u64::from(record.header.total_len));
        assert!(record.bytes.len() <= data.len());
        inside(record.body(), &record.header, record.major());
        found.push((record.lsn, record.end, record.header));
    }
    let end = whole.finish().clone();
    let step = usize::from(*data.last().unwrap_or(&0)) * 37 + 1;
    let mut pieces = RecordDecoder::new();
    let mut found = found.into_iter();
    for piece in data.chunks(step) {
        pieces.feed(piece);
        while let Some(record) = pieces.poll() {
            assert_eq!(found.next(), Some((record.lsn, record.end, record.header)));
        }
        assert!(pieces.buffered() <= data.len());
    }
    assert_eq!(found.next(), None);
    assert_eq!(*pieces.finish(), end);
    if let Ok(segment) = Segment::new(data) {
        let summary = segment.scan();
        assert_eq!(segment.verify().is_ok(), summary.whole);
        assert!(summary.record_bytes <= data.len() as u64);
    }
}

/// The first byte chooses the major, the next the resource manager and the type; the rest is a record's body, once
/// as it is, and once as the own data of that record.
pub fn record(data: &[u8]) {
    let Some((&[major, rmgr, info], body)) = data.split_first_chunk() else { return };
    let major = 10 + u16::from(major % 9);
    let mut header = RecordHeader::read(&[0; RecordHeader::LEN]);
    (header.rmgr, header.info) = (Rmgr::new(rmgr), info);
    assert_eq!(Rmgr::from_name(&header.rmgr.to_string()).is_some(), header.rmgr.name().is_some());
    inside(body, &header, major);
    let _ = Payload::read(&header, body, major);
}

fn inside(body: &[u8], header: &RecordHeader, major: u16) {
    let _ = type_name(header.rmgr, header.info, major);
    let counted = image_bytes(body, major);
    let Ok(parts) = parts(body, major, 8192) else { return };
    assert_eq!(counted, Some(parts.image_bytes));
    let (mut blocks, mut images, mut page) = (0, 0, Vec::new());
    for block in parts.blocks() {
        blocks += 1;
        let Some(image) = block.image else { continue };
        images += image.bytes.len() as u64;
        if image.restore(&mut page).is_ok() {
            assert_eq!(page.len(), 8192);
        }
    }
    assert_eq!(blocks, parts.block_count);
    assert_eq!(images, u64::from(parts.image_bytes));
    assert!(images + parts.main.len() as u64 <= body.len() as u64);
    let Ok(payload) = Payload::read(header, parts.main, major) else { return };
    if let Payload::Commit(end) | Payload::Prepare(end) = payload {
        assert_eq!(end.subtransactions.iter().count(), end.subtransactions.len());
        assert_eq!(end.dropped.iter().count(), end.dropped.len());
    }
}
