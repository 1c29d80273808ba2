//! Laws of reading records: pieces, segments, damage, torn ends.

use std::sync::LazyLock;

use proptest::prelude::*;
use walfile::rmgr::{Rmgr, RmgrSet};
use walfile::{
    EndOfWal, EndReason, Lsn, PageError, PageHeader, Record, RecordDecoder, Records, Segment, WalMagic,
};

use crate::golden::MAJORS;
use crate::wal;

const PAGE: usize = 8192;

/// What a record is, detached from its bytes.
type Seen = (Lsn, Lsn, u32, Option<Lsn>, usize);

fn seen(record: &Record<'_>) -> Seen {
    assert_eq!(record.bytes.len(), record.header.total_len as usize);
    (record.lsn, record.end, record.header.crc, record.replaces, record.bytes.len())
}

fn all(log: &[u8]) -> (Vec<Seen>, EndOfWal) {
    let mut found = Vec::new();
    let end = wal::walk(log, &mut |record| found.push(seen(record)));
    (found, end)
}

fn drain(records: &mut Records<'_>) -> Vec<Seen> {
    let mut found = Vec::new();
    while let Some(record) = records.next_record() {
        found.push(seen(&record));
    }
    found
}

/// Two segments of PostgreSQL 16 with a record across their boundary, and the position where they begin.
fn two_segments() -> Vec<u8> {
    static SEGMENTS: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let log = wal::log(16);
        let mut segments = log.chunks(1 << 20).skip(1);
        let at =
            segments.position(|s| PageHeader::parse(s).unwrap().info.has_continued_record()).unwrap() << 20;
        log[at..at + (2 << 20)].to_vec()
    });
    SEGMENTS.clone()
}

#[test]
fn segment_by_segment_is_the_same_log() {
    for major in MAJORS {
        let log = wal::log(major);
        let (whole, end) = all(&log);
        let mut found = Vec::new();
        let mut before: Option<Records<'_>> = None;
        for bytes in log.chunks(wal::segment_size(major)) {
            let segment = Segment::new(bytes).unwrap();
            let mut records = match before.take() {
                Some(before) => segment.records_after(before),
                None => segment.records(),
            };
            found.extend(drain(&mut records));
            before = Some(records);
        }
        assert_eq!(found, whole, "{major}");
        assert_eq!(before.unwrap().end(), Some(&end));
    }
}

#[test]
fn what_is_passed_over_is_counted() {
    for major in MAJORS {
        let log = wal::log(major);
        for wanted in [RmgrSet::NONE, [Rmgr::XLOG, Rmgr::HEAP].into_iter().collect()] {
            let (mut kept, mut others, mut bytes, mut last) = (Vec::new(), 0, 0, None);
            let end = wal::walk(&log, &mut |record| {
                if wanted.contains(record.header.rmgr) {
                    kept.push(seen(record));
                } else {
                    (others, last) = (others + 1, Some((record.end, record.timeline)));
                    bytes += u64::from(record.header.total_len);
                }
            });
            let mut decoder = RecordDecoder::new();
            decoder.feed(&log);
            let mut found = Vec::new();
            while let Some(record) = decoder.poll_of(wanted) {
                found.push(seen(&record));
            }
            assert_eq!((found, decoder.finish()), (kept, &end), "{major}");
            let passed = decoder.passed();
            assert_eq!((passed.records, passed.record_bytes, passed.last), (others, bytes, last), "{major}");
        }
    }
}

#[test]
fn a_segment_alone_skips_what_began_before() {
    let log = two_segments();
    let (whole, _) = all(&log);
    let (first, second) = log.split_at(1 << 20);
    let boundary = Segment::new(second).unwrap().header().page.address;
    let one = Segment::new(first).unwrap().verify().unwrap();
    assert!(matches!(one.end.reason, EndReason::Input { unfinished: 1.. }), "{}", one.end);
    let alone = drain(&mut Segment::new(second).unwrap().records());
    let expected: Vec<_> = whole.iter().filter(|record| record.0 > boundary).copied().collect();
    assert_eq!(alone, expected);
    assert_eq!(whole.len() as u64, one.records + 1 + alone.len() as u64);

    // Handed over in the middle, the decoder goes on with the same records.
    let mut records = Segment::new(first).unwrap().records();
    let mut found: Vec<_> = (0..10).map(|_| seen(&records.next_record().unwrap())).collect();
    let mut decoder = records.into_decoder();
    decoder.feed(second);
    while let Some(record) = decoder.poll() {
        found.push(seen(&record));
    }
    assert_eq!(found, whole);
}

#[test]
fn a_switch_ends_a_segment() {
    for major in MAJORS {
        let size = wal::segment_size(major);
        let log = wal::log(major);
        let summaries = log.chunks(size).map(|segment| Segment::new(segment).unwrap().scan());
        let switched: Vec<_> = summaries.filter(|summary| summary.switched).collect();
        // By hand, and at both ends of a backup.
        assert!((2..=3).contains(&switched.len()), "{major}: {}", switched.len());
        for summary in switched {
            assert!(summary.whole);
            assert_eq!(summary.end.reason, EndReason::Input { unfinished: 0 });
            assert_eq!(summary.end.at.get() % size as u64, 0);
            assert!(summary.record_bytes < size as u64 && summary.last > summary.first);
        }
    }
}

#[test]
fn recycled_and_torn_tails() {
    let log = two_segments();
    let (old, new) = log.split_at(1 << 20);
    // The next segment was written up to some byte; behind it, what the file held under its old name.
    for used in [PAGE, 3 * PAGE, 5 * PAGE + 512] {
        let recycled = [&new[..used], &old[used..]].concat();
        let summary = Segment::new(&recycled).unwrap().scan();
        let base = Segment::new(new).unwrap().header().page.address.get();
        assert!(summary.end.at.get() <= base + used as u64, "{}", summary.end);
        let expected = if used % PAGE == 0 {
            matches!(summary.end.reason, EndReason::PageAddress { .. })
        } else {
            matches!(
                summary.end.reason,
                EndReason::Crc { .. }
                    | EndReason::BackLink { .. }
                    | EndReason::Length { .. }
                    | EndReason::PageAddress { .. }
                    | EndReason::ResourceManager { .. }
            )
        };
        assert!(expected, "{}", summary.end);
        assert!(Segment::new(&recycled).unwrap().verify().is_err());
    }
    // Cut off at every length: valid up to the last whole record, never past the cut.
    let (whole, _) = all(old);
    for cut in (40..6 * PAGE).step_by(13).chain([PAGE - 1, PAGE, PAGE + 1, PAGE + 24]) {
        let summary = Segment::new(&old[..cut]).unwrap().scan();
        let base = Segment::new(old).unwrap().header().page.address.get();
        let expected =
            whole.iter().filter(|r| r.1.get() - base <= cut as u64 + 7 && fits(r, base, cut)).count();
        assert_eq!(summary.records, expected as u64, "{cut}");
        assert!(matches!(summary.end.reason, EndReason::Input { .. }) && !summary.whole, "{}", summary.end);
        let zeroed = [&old[..cut], &vec![0; old.len() - cut]].concat();
        let summary = Segment::new(&zeroed).unwrap().scan();
        assert!(!summary.whole && summary.records <= expected as u64 + 1, "{cut} {}", summary.end);
    }
}

/// Whether a record is whole in the first `cut` bytes: its last byte is `end` less the padding.
fn fits(record: &Seen, base: u64, cut: usize) -> bool {
    let padding = (8 - record.4 % 8) % 8;
    record.1.get() - base <= (cut + padding) as u64
}

#[test]
fn other_byte_order_and_other_things() {
    let mut log = two_segments();
    log[..2].reverse();
    let mut decoder = RecordDecoder::new();
    decoder.feed(&log);
    assert!(decoder.poll().is_none());
    let magic = WalMagic::of_major(16).unwrap();
    assert!(matches!(
        decoder.end().unwrap().reason,
        EndReason::Page { error: PageError::BigEndian { magic: found }, .. } if found == magic
    ));
    assert_eq!(Segment::new(&log).unwrap_err(), PageError::BigEndian { magic });
}

#[test]
fn headers_that_do_not_belong() {
    let log = two_segments();
    let boundary = 1 << 20;
    let stop = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = log.clone();
        change(&mut bytes);
        all(&bytes).1.reason
    };
    let page = log.chunks(PAGE).position(|page| {
        let header = PageHeader::parse(page).unwrap();
        header.remaining > 0 && !header.info.has_long_header()
    });
    let page = page.unwrap() * PAGE;
    assert!(matches!(stop(&|b| b[page + 2] &= !1), EndReason::NotContinued { .. }));
    assert!(matches!(stop(&|b| b[page + 16] ^= 1), EndReason::Remaining { .. }));
    assert!(matches!(stop(&|b| b[page] = 0x16), EndReason::PageMagic { .. }));
    assert!(matches!(stop(&|b| b[page + 2] |= 2), EndReason::PageKind { .. }));
    assert!(matches!(stop(&|b| b[page + 8] ^= 0x80), EndReason::PageAddress { .. }));
    assert!(matches!(stop(&|b| b[boundary + 24] ^= 1), EndReason::SystemId { .. }));
    assert!(matches!(
        stop(&|b| b[boundary + 36..boundary + 38].copy_from_slice(&[0, 0x40])),
        EndReason::Geometry { .. }
    ));
    assert!(matches!(stop(&|b| b[page + 4] = 0), EndReason::Page { error: PageError::NoTimeline, .. }));
    assert!(matches!(stop(&|b| b[4] = 9), EndReason::PageTimeline { .. }));
}

/// Offset in the log of a byte of the record that begins at `start`: pages interrupt it with their headers.
fn place(mut start: usize, mut byte: usize) -> usize {
    while byte >= PAGE - start % PAGE {
        byte -= PAGE - start % PAGE;
        start += PAGE - start % PAGE;
        start += if start.is_multiple_of(1 << 20) { 40 } else { 24 };
    }
    start + byte
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_pieces_are_one_stream(cuts in prop::collection::vec(1usize..200_000, 1..60), tiny in any::<bool>()) {
        let mut log = two_segments();
        if tiny {
            log.truncate(100_000);
        }
        let (expected, end) = all(&log);
        let mut decoder = RecordDecoder::new();
        let (mut found, mut rest) = (Vec::new(), &log[..]);
        for cut in cuts.iter().cycle() {
            let cut = if tiny { cut % 40 + 1 } else { *cut };
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            if cut % 2 == 0 {
                decoder.feed(piece);
            } else {
                prop_assert_eq!(decoder.read_from(&mut &*piece, cut).unwrap(), piece.len());
            }
            while let Some(record) = decoder.poll() {
                found.push(seen(&record));
            }
            // One page at most waits unread, besides the unfinished record.
            prop_assert!(decoder.buffered() < (1 << 20));
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(decoder.finish(), &end);
        prop_assert_eq!(found, expected);
    }

    /// In any pieces, and with any bit flipped: the same records and the same end as without passing over.
    #[test]
    fn what_is_passed_over_is_checked(pieces in prop::collection::vec(1usize..100_000, 1..20), wanted in prop::collection::vec(0u8..22, 0..4), flip in prop::option::of(any::<prop::sample::Index>())) {
        let mut log = two_segments();
        if let Some(flip) = flip {
            log[flip.index(2 << 20)] ^= 4;
        }
        let wanted: RmgrSet = wanted.into_iter().map(Rmgr::new).collect();
        let (mut decoder, mut passing, mut rest) = (RecordDecoder::new(), RecordDecoder::new(), &log[..]);
        let (mut expected, mut found, mut others) = (Vec::new(), Vec::new(), 0);
        for piece in pieces.iter().cycle() {
            let (piece, after) = rest.split_at((*piece).min(rest.len()));
            decoder.feed(piece);
            while let Some(record) = decoder.poll() {
                if wanted.contains(record.header.rmgr) { expected.push(seen(&record)) } else { others += 1 }
            }
            passing.feed(piece);
            while let Some(record) = passing.poll_of(wanted) {
                found.push(seen(&record));
            }
            prop_assert_eq!(passing.position(), decoder.position());
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(passing.finish(), decoder.finish());
        prop_assert_eq!((found, passing.passed().records), (expected, others));
    }

    #[test]
    fn any_flipped_bit_of_a_record_is_noticed(which in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), bit in 0u8..8) {
        let log = two_segments();
        let (whole, _) = all(&log);
        let base = Segment::new(&log).unwrap().header().page.address.get();
        let record = which.get(&whole);
        let at = place((record.0.get() - base) as usize, byte.index(record.4));
        let mut bytes = log.clone();
        bytes[at] ^= 1u8 << bit;
        let (found, end) = all(&bytes);
        prop_assert_eq!(end.at, record.0, "{}", end);
        prop_assert_eq!(found.len(), whole.iter().position(|r| r == record).unwrap());
    }

    #[test]
    fn any_cut_says_where_validity_ends(cut in 40usize..2 << 20, near in any::<prop::sample::Index>(), shift in 0usize..48) {
        let log = two_segments();
        let (whole, _) = all(&log);
        let base = Segment::new(&log).unwrap().header().page.address.get();
        let ends: Vec<usize> = whole.iter().map(|r| place((r.0.get() - base) as usize, r.4 - 1) + 1).collect();
        // Anywhere, and close to the end of some record.
        for cut in [cut, (near.get(&ends) + shift).saturating_sub(24).clamp(40, log.len())] {
            let (found, end) = all(&log[..cut]);
            let expected = ends.iter().filter(|end| **end <= cut).count();
            prop_assert_eq!(&found[..], &whole[..expected], "{}", cut);
            prop_assert!(matches!(end.reason, EndReason::Input { .. }), "{}", end);
            let valid = (end.at.get() - base) as usize;
            match whole.get(expected).map(|next| (next.0.get() - base) as usize) {
                // Inside a record: valid up to where it begins.
                Some(next) if cut > next => prop_assert_eq!(valid, next, "{}: {}", cut, end),
                // Between two, in padding or a page header: after the one before.
                _ => prop_assert!(valid <= cut && expected.checked_sub(1).is_none_or(|last| valid >= ends[last]), "{}: {}", cut, end),
            }
        }
    }
}
