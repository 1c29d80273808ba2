//! Records out of an archive: the segments of real servers, whole, missing, damaged, compressed, through a promotion.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};

use walfile::rmgr::Payload;
use walfile::{
    ArchiveEnd, ArchiveReader, ArchiveStop, EndReason, LongPageHeader, Lsn, SegmentName, SegmentSize,
    SystemId, Timeline, TimelineHistory, WalArchive, WalName,
};

use crate::golden::MAJORS;
use crate::wal;

/// Files in memory.
#[derive(Clone, Default)]
struct Files(BTreeMap<WalName, Vec<u8>>);

impl WalArchive for Files {
    fn open(&self, name: WalName) -> io::Result<Option<Box<dyn Read + Send>>> {
        Ok(self.0.get(&name).map(|content| Box::new(Cursor::new(content.clone())) as Box<dyn Read + Send>))
    }
}

const TWO: u32 = 2;

fn timeline(number: u32) -> Timeline {
    Timeline::new(number).unwrap()
}

fn size(major: u16) -> SegmentSize {
    SegmentSize::new(wal::segment_size(major) as u64).unwrap()
}

/// The position of the first byte of a segment, and its name on this timeline.
fn place(segment: &[u8], timeline: Timeline) -> (Lsn, SegmentName) {
    let header = LongPageHeader::parse(segment).unwrap();
    let start = header.page.address;
    (start, SegmentName::containing(timeline, start, header.segment_size))
}

impl Files {
    /// The segments of timeline 1, and where they begin.
    fn first_timeline(major: u16) -> (Self, Lsn) {
        let log = wal::log(major);
        let segments = log.chunks(wal::segment_size(major));
        let files = segments.map(|segment| (place(segment, Timeline::FIRST).1.into(), segment.to_vec()));
        (Self(files.collect()), place(&log, Timeline::FIRST).0)
    }

    /// With the promotion that followed: the history file, and the first segment of timeline 2.
    fn promoted(major: u16) -> (Self, Lsn, Lsn) {
        let (mut files, start) = Self::first_timeline(major);
        let switch = files.read(1, start).1.at;
        let history = format!("1\t{switch}\tno recovery target specified\n");
        files.0.insert(WalName::History(timeline(TWO)), history.into_bytes());
        let second = wal::second_timeline(major);
        files.0.insert(place(&second, timeline(TWO)).1.into(), second);
        (files, start, switch)
    }

    fn read(&self, on: u32, start: Lsn) -> (Vec<Lsn>, ArchiveEnd) {
        read(ArchiveReader::open(self, timeline(on), start).unwrap())
    }

    fn nth(&self, index: usize) -> SegmentName {
        self.0.keys().filter_map(|name| name.segment()).nth(index).unwrap()
    }

    fn change(&mut self, name: SegmentName, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.0.get_mut(&name.into()).unwrap());
    }
}

fn read<A: WalArchive>(mut reader: ArchiveReader<A>) -> (Vec<Lsn>, ArchiveEnd) {
    let mut found = Vec::new();
    while let Some(record) = reader.next_record() {
        found.push(record.lsn);
    }
    (found, reader.into_end().unwrap())
}

/// What a decoder finds that is fed one segment after the other.
fn decoded(major: u16) -> Vec<Lsn> {
    let mut found = Vec::new();
    wal::walk(&wal::log(major), &mut |record| found.push(record.lsn));
    found
}

#[test]
fn the_same_records_as_in_a_stream() {
    for major in MAJORS {
        let (files, start) = Files::first_timeline(major);
        let (found, end) = files.read(1, start);
        assert!(found == decoded(major), "{major}: {} records", found.len());
        assert!(
            matches!(end.stop, ArchiveStop::Log(EndReason::NothingWritten | EndReason::Page { .. })),
            "{end}"
        );
        assert_eq!(end.file.and_then(WalName::segment), Some(files.nth(files.0.len() - 1)), "{end}");
    }
}

#[test]
fn a_promotion_is_followed() {
    for major in [11, 13, 15, 17, 18] {
        let (files, start, switch) = Files::promoted(major);
        let mut reader = ArchiveReader::open(&files, timeline(TWO), start).unwrap();
        let (mut before, mut after, mut point) = (0, 0, false);
        while let Some(record) = reader.next_record() {
            match record.payload().unwrap() {
                Payload::RestorePoint(found) if found.name == b"on two" => point = true,
                Payload::EndOfRecovery(end) => {
                    assert_eq!((end.timeline, end.previous_timeline), (timeline(TWO), Timeline::FIRST));
                }
                _ => {}
            }
            if record.lsn < switch { before += 1 } else { after += 1 }
        }
        assert_eq!(before, files.read(1, start).0.len(), "{major}");
        assert!(point && after > 3, "{major}: {after}");
        let end = reader.end().unwrap();
        assert_eq!(
            (end.timeline, end.file.map(WalName::timeline)),
            (timeline(TWO), Some(timeline(TWO))),
            "{end}"
        );
    }
}

#[test]
fn without_its_own_first_file_a_timeline_ends_where_its_parent_was_left() {
    let (mut files, start, switch) = Files::promoted(15);
    let second = place(&wal::second_timeline(15), timeline(TWO)).1;
    files.0.remove(&second.into());
    let (found, end) = files.read(TWO, start);
    assert!(found == decoded(15));
    assert_eq!(end.at, switch);
    assert!(matches!(end.stop, ArchiveStop::Missing { name, unfinished: 0 } if name == second), "{end}");
    // What stays of the parent's segment after a promotion is a partial.
    let old = second.on_timeline(Timeline::FIRST);
    let content = files.0.remove(&old.into()).unwrap();
    files.0.insert(WalName::Partial(old), content);
    let (again, end) = files.read(TWO, start);
    assert!(again == found && end.at == switch, "{end}");
}

#[test]
fn the_beginning_of_a_new_timeline_is_read_after_the_file_that_its_parent_finished() {
    let (mut files, start, switch) = Files::promoted(15);
    let (all, end) = files.read(TWO, start);
    let second = place(&wal::second_timeline(15), timeline(TWO)).1;
    let content = files.0.remove(&second.into()).unwrap();
    files.0.insert(WalName::Partial(second), content);
    for from in [start, switch, all[all.len() - 2]] {
        let (found, cut) = files.read(TWO, from);
        assert!(found == all[all.len() - found.len()..] && found[0] >= from, "{cut}");
        assert_eq!((cut.at, cut.file), (end.at, Some(WalName::Partial(second))), "{cut}");
    }
    // Less of it than the parent wrote.
    let before = usize::try_from(switch.offset_in_segment(size(15))).unwrap() / 2;
    files.0.get_mut(&WalName::Partial(second)).unwrap().truncate(before);
    let (found, cut) = files.read(TWO, start);
    assert!(found == decoded(15) && cut.at == switch, "{cut}");
}

#[test]
fn the_first_record_on_the_pages_of_a_new_timeline_links_back() {
    let (mut files, start, _) = Files::promoted(15);
    let second = place(&wal::second_timeline(15), timeline(TWO)).1;
    let begin = second.start(size(15)).unwrap();
    // The first that begins in a page of timeline 2 and lies in it.
    let mut reader = ArchiveReader::open(&files, timeline(TWO), start).unwrap();
    let hit = loop {
        let record = reader.next_record().unwrap();
        if record.timeline == timeline(TWO) && record.end.get() / 8192 == record.lsn.get() / 8192 {
            break record.lsn;
        }
    };
    files.change(second, |content| {
        let at = usize::try_from(hit.saturating_bytes_since(begin)).unwrap();
        let length = u32::from_le_bytes(content[at..at + 4].try_into().unwrap()) as usize;
        let record = &mut content[at..at + length];
        record[8] ^= 8;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&record[24..]), &record[..20]);
        record[20..24].copy_from_slice(&crc.to_le_bytes());
    });
    let (_, end) = files.read(TWO, start);
    assert!(matches!(end.stop, ArchiveStop::Log(EndReason::BackLink { expected: Some(_), .. })), "{end}");
    assert_eq!(end.at, hit);
}

#[test]
fn the_cluster_may_be_given() {
    let (files, start) = Files::first_timeline(15);
    let open = || ArchiveReader::open(&files, Timeline::FIRST, start).unwrap();
    let mut reader = open();
    reader.next_record().unwrap();
    let system = reader.first_page().unwrap().system_id;
    assert!(read(open().with_system_id(system)).0 == decoded(15));
    let (found, end) = read(open().with_system_id(SystemId::new(system.get() + 1)));
    assert!(found.is_empty() && matches!(end.stop, ArchiveStop::Mismatch(_)), "{end}");
}

#[test]
fn pages_of_another_timeline_than_the_history_says_are_refused() {
    let (mut files, start, switch) = Files::promoted(15);
    let earlier = Lsn::new(switch.get() - 0x10_0000);
    let history = format!("1\t{earlier}\tnot where it was\n");
    files.0.insert(WalName::History(timeline(TWO)), history.into_bytes());
    // The segment between is on timeline 1 alone.
    let between = SegmentName::containing(Timeline::FIRST, earlier, size(15));
    let content = files.0.get(&between.into()).unwrap().clone();
    files.0.insert(between.on_timeline(timeline(TWO)).into(), content);
    let (_, end) = files.read(TWO, start);
    let ArchiveStop::Log(EndReason::PageHistory { page, expected, found }) = end.stop else {
        panic!("{end}")
    };
    assert_eq!((expected, found), (timeline(TWO), Timeline::FIRST));
    // A record was unfinished there.
    assert!(page >= earlier && page.get() - earlier.get() < 8192 && end.at < earlier, "{page} {}", end.at);
}

#[test]
fn a_history_file_is_needed_and_must_be_right() {
    let (mut files, start) = Files::first_timeline(15);
    let missing = ArchiveReader::open(&files, timeline(TWO), start).unwrap_err();
    assert_eq!(missing.to_string(), "timeline 2 is not in the archive: 00000002.history is missing");
    files.0.insert(WalName::History(timeline(TWO)), b"1 x\n".to_vec());
    assert!(ArchiveReader::open(&files, timeline(TWO), start).is_err());
}

#[test]
fn reading_begins_at_any_record() {
    let (files, start) = Files::first_timeline(15);
    let all = files.read(1, start).0;
    for (index, lsn) in all.iter().enumerate().step_by(397) {
        for (from, first) in [(lsn.get(), index), (lsn.get() + 1, index + 1), (lsn.get() - 7, index)] {
            let reader = ArchiveReader::open(&files, Timeline::FIRST, Lsn::new(from)).unwrap();
            let mut reader = reader.with_segment_size(size(15));
            assert_eq!(reader.next_record().map(|record| record.lsn), all.get(first).copied(), "{from:X}");
        }
    }
}

#[test]
fn reading_stops_where_it_is_told() {
    let (files, start) = Files::first_timeline(15);
    let all = files.read(1, start).0;
    for index in [1, 500, 501, 2000] {
        let (found, end) =
            read(ArchiveReader::open(&files, Timeline::FIRST, start).unwrap().until(all[index]));
        assert!(found == all[..index], "{index}");
        assert!(
            matches!(end.stop, ArchiveStop::Reached) && end.at <= all[index] && end.at > all[index - 1],
            "{end}"
        );
    }
}

#[test]
fn a_missing_segment_ends_the_log_where_its_first_record_would_begin() {
    let (whole, start) = Files::first_timeline(15);
    let all = whole.read(1, start).0;
    for index in 1..whole.0.len() - 1 {
        let mut files = whole.clone();
        let name = files.nth(index);
        files.0.remove(&name.into());
        let (found, end) = files.read(1, start);
        let ArchiveStop::Missing { name: missing, unfinished } = end.stop else { panic!("{end}") };
        assert_eq!(missing, name);
        // All records before, but for one that goes on in it.
        let begin = name.start(size(15)).unwrap();
        let before = all.iter().filter(|lsn| **lsn < begin).count();
        assert_eq!(found.len(), before - usize::from(unfinished > 0), "{name}");
        assert!(end.at <= begin && (unfinished > 0) == (end.at < begin), "{name}: {} {unfinished}", end.at);
    }
    let none = Files::default().read(1, start);
    assert!(none.0.is_empty() && none.1.at == start && matches!(none.1.stop, ArchiveStop::Missing { .. }));
}

#[test]
fn the_last_segment_may_be_partial_and_short() {
    let (mut files, start) = Files::first_timeline(15);
    let (all, end) = files.read(1, start);
    let last = files.nth(files.0.len() - 1);
    let mut content = files.0.remove(&last.into()).unwrap();
    content.truncate(usize::try_from(end.at.get() % size(15).bytes()).unwrap());
    files.0.insert(WalName::Partial(last), content);
    let (found, cut) = files.read(1, start);
    assert!(found == all && cut.at == end.at);
    assert_eq!(cut.file, Some(WalName::Partial(last)));
    assert!(matches!(cut.stop, ArchiveStop::Log(EndReason::Input { unfinished: 0 })), "{cut}");
}

#[test]
fn a_flipped_bit_is_found_where_it_is() {
    let (whole, start) = Files::first_timeline(15);
    let all = whole.read(1, start).0;
    for index in [1, 700, 1500, all.len() - 2] {
        // The transaction in the record's header.
        let hit = all[index].saturating_add(4);
        let name = SegmentName::containing(Timeline::FIRST, hit, size(15));
        let mut files = whole.clone();
        files.change(name, |content| content[hit.offset_in_segment(size(15)) as usize] ^= 4);
        let (found, end) = files.read(1, start);
        assert!(found == all[..index] && end.at == all[index], "{end}");
        assert!(matches!(end.stop, ArchiveStop::Log(EndReason::Crc { .. })), "{end}");
        assert_eq!(end.file, Some(name.into()));
    }
}

#[test]
fn files_of_a_wrong_length_or_place_are_named() {
    let (whole, start) = Files::first_timeline(15);
    let bytes = size(15).bytes();
    let name = whole.nth(1);
    let mut files = whole.clone();
    files.change(name, |content| content.truncate(300_000));
    let end = files.read(1, start).1;
    assert!(
        matches!(end.stop, ArchiveStop::Length { expected, found: 300_000 } if expected == bytes),
        "{end}"
    );
    assert_eq!(end.file, Some(name.into()));
    files.change(name, |content| content.resize(usize::try_from(bytes).unwrap() + 1, 0));
    files = whole.clone();
    files.change(name, |content| content.push(0));
    let end = files.read(1, start).1;
    assert!(matches!(end.stop, ArchiveStop::Length { found, .. } if found == bytes + 1), "{end}");

    let mut files = whole.clone();
    let other = files.0.get(&whole.nth(3).into()).unwrap().clone();
    files.change(name, |content| *content = other.clone());
    let end = files.read(1, start).1;
    assert!(matches!(end.stop, ArchiveStop::Log(EndReason::PageAddress { .. })), "{end}");
    files.change(whole.nth(0), |content| *content = other);
    let end = files.read(1, start).1;
    assert!(matches!(end.stop, ArchiveStop::Mismatch(_)) && end.at == start, "{end}");
    files.change(whole.nth(0), |content| content.fill(b'x'));
    assert!(matches!(files.read(1, start).1.stop, ArchiveStop::Header(_)));
}

#[cfg(any(feature = "gzip", feature = "zstd", feature = "lz4", feature = "xz", feature = "bzip2"))]
#[test]
fn compressed_files_are_the_same_and_cut_off_ones_are_found() {
    use walfile::codec::{Compression, Level, encoder};

    let (whole, start) = Files::first_timeline(15);
    let all = whole.read(1, start).0;
    for compression in Compression::ALL {
        if !compression.is_enabled() || matches!(compression, Compression::None | Compression::Snappy) {
            continue;
        }
        let mut files = whole.clone();
        for content in files.0.values_mut() {
            let mut packer = encoder(Vec::new(), compression, Level::Low).unwrap();
            io::Write::write_all(&mut packer, content).unwrap();
            *content = packer.finish().unwrap();
        }
        assert!(files.read(1, start).0 == all, "{compression}");
        let name = files.nth(2);
        files.change(name, |content| content.truncate(content.len() / 2));
        let (found, end) = files.read(1, start);
        assert!(found == all[..found.len()] && found.len() < all.len());
        assert!(matches!(end.stop, ArchiveStop::Read(_)), "{compression}: {end}");
        assert_eq!(end.file, Some(name.into()));
        assert!(end.at >= found[found.len() - 1]);
    }
}

#[test]
fn a_lost_history_can_be_done_without() {
    let (mut files, _, switch) = Files::promoted(15);
    files.0.remove(&WalName::History(timeline(TWO)));
    let reader = ArchiveReader::with_history(&files, TimelineHistory::root(timeline(TWO)), switch);
    // The pages before the switch are copies of the parent's, which this history does not know.
    let (found, end) = read(reader);
    assert!(found.is_empty() && matches!(end.stop, ArchiveStop::Log(EndReason::PageHistory { .. })), "{end}");
}
