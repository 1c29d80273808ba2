//! Properties of reading an archive of files that hold anything.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};

use walfile::rmgr::{Rmgr, RmgrSet};
use walfile::{ArchiveReader, Lsn, SegmentSize, Timeline, TimelineHistory, WalArchive, WalName};

/// No file is opened more often than this many times for each there is, whatever is looked for.
const LOOKS: usize = 64;

struct Files<'a>(BTreeMap<WalName, &'a [u8]>);

impl WalArchive for Files<'_> {
    fn open(&self, name: WalName) -> io::Result<Option<Box<dyn Read + Send>>> {
        Ok(self.0.get(&name).map(|content| Box::new(Cursor::new(content.to_vec())) as Box<dyn Read + Send>))
    }
}

/// Files as `name`, a length as four bytes, and so many bytes; 24 bytes of a name, or more with an ending, up to a zero.
/// Before them the timeline and the position where reading begins.
///
/// Records come in order, from the start on, and hold no more than the files; the end is not before the last of them, and
/// whoever begins at a record finds that record.
pub fn archive(data: &[u8]) {
    let Some((timeline, rest)) = data.split_first_chunk() else { return };
    let Some((start, mut rest)) = rest.split_first_chunk() else { return };
    let Some(timeline) = Timeline::new(u32::from_le_bytes(*timeline)) else { return };
    let start = Lsn::new(u64::from_le_bytes(*start));
    let mut files = Files(BTreeMap::new());
    while let Some(at) = rest.iter().position(|byte| *byte == 0) {
        let name = std::str::from_utf8(&rest[..at]).ok().and_then(|name| name.parse().ok());
        let Some((length, content)) = rest[at + 1..].split_first_chunk() else { break };
        let (content, after) = content.split_at((u32::from_le_bytes(*length) as usize).min(content.len()));
        files.0.extend(name.map(|name| (name, content)));
        rest = after;
        if files.0.len() == LOOKS {
            break;
        }
    }
    if let Ok(reader) = ArchiveReader::open(&files, timeline, start) {
        let history = reader.history().clone();
        let read = walk(reader, start);
        if let Some((last, size)) = read {
            let mut again = ArchiveReader::with_history(&files, history, last).with_segment_size(size);
            assert_eq!(again.next_record().map(|record| record.lsn), Some(last));
        }
    }
    walk(ArchiveReader::with_history(&files, TimelineHistory::root(timeline), start), start);
    passing_over(|| ArchiveReader::with_history(&files, TimelineHistory::root(timeline), start));
    walk(ArchiveReader::on_timeline(&files, timeline, start), start);
}

/// The last record, and the size of the segments.
fn walk<A: WalArchive>(mut reader: ArchiveReader<A>, start: Lsn) -> Option<(Lsn, SegmentSize)> {
    let (mut next, mut last) = (start, None);
    while let Some(record) = reader.next_record() {
        assert!(record.lsn >= next && record.end > record.lsn);
        assert_eq!(record.bytes.len() as u64, u64::from(record.header.total_len));
        (next, last) = (record.end, Some(record.lsn));
    }
    assert!(reader.next_record().is_none());
    let end = reader.end().expect("reading has ended");
    let _ = end.to_string();
    assert!(last.is_none_or(|last| end.at > last), "{end}");
    last.zip(reader.segment_size())
}

/// Passing over records leads to the same records, the same counts and the same end as reading all of them.
fn passing_over<A: WalArchive>(open: impl Fn() -> ArchiveReader<A>) {
    let wanted = RmgrSet::NONE.with(Rmgr::XLOG).with(Rmgr::TRANSACTION);
    let (mut all, mut passing) = (open(), open());
    let (mut kept, mut others) = (Vec::new(), 0);
    while let Some(record) = all.next_record() {
        if wanted.contains(record.header.rmgr) { kept.push((record.lsn, record.end)) } else { others += 1 }
    }
    let mut found = Vec::new();
    while let Some(record) = passing.next_of(wanted, Lsn::MAX) {
        assert_eq!(record.bytes.len() as u64, u64::from(record.header.total_len));
        found.push((record.lsn, record.end));
    }
    assert_eq!((found, passing.passed().records), (kept, others));
    assert_eq!(all.end().map(ToString::to_string), passing.end().map(ToString::to_string));
}
