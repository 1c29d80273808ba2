//! Page headers and walks over real pages.

use walfile::{
    LongPageHeader, PageError, PageHeader, PageWalkProblem, SegmentMismatch, SegmentName, SystemId, Timeline,
    TimelineHistory, WalMagic, pages,
};

use crate::golden;

const PAGE: usize = 8192;

/// A segment of timeline 1 that ends in `XLOG_SWITCH`, whole again, and its name.
fn segment(major: u16) -> (SegmentName, Vec<u8>) {
    let (name, mut bytes) = golden::find(major, |n| n.len() == 24 && n.starts_with("00000001"));
    let size = LongPageHeader::parse(&bytes).unwrap().segment_size;
    // PostgreSQL 10 writes headers up to the end; its file holds the first pages only.
    if major > 10 {
        bytes.resize(size.bytes() as usize, 0);
    }
    (name.parse().unwrap(), bytes)
}

fn system_id(major: u16) -> SystemId {
    golden::expected(major, "production.expected")["system_identifier"].parse().unwrap()
}

#[test]
fn first_pages_of_real_segments() {
    for major in golden::MAJORS {
        let (name, bytes) = segment(major);
        let header = LongPageHeader::parse(&bytes).unwrap();
        assert_eq!(header.page.magic, WalMagic::of_major(major).unwrap());
        assert_eq!(header.page.magic.major(), major);
        assert_eq!(header.system_id, system_id(major));
        assert_eq!(header.block_size, 8192);
        let size = header.segment_size.bytes();
        assert_eq!(size, if major == 10 { 16 << 20 } else { 1 << 20 });
        header.validate_for(name, size, Some(system_id(major))).unwrap();
        header.validate_for(name, size, None).unwrap();
        header.validate_timeline(name, &TimelineHistory::root(Timeline::FIRST)).unwrap();
    }
}

#[test]
fn walks_end_at_the_switch() {
    for major in golden::MAJORS {
        let (_, bytes) = segment(major);
        let mut walk = pages(&bytes).unwrap();
        let found: Vec<_> = walk.by_ref().collect::<Result<_, _>>().unwrap();
        assert_eq!(found.len(), if major == 10 { 3 } else { 2 }, "{major}");
        assert_eq!(found[1].header.len(), PageHeader::LEN);
        assert_eq!(found[0].content().len(), PAGE - LongPageHeader::LEN);
        assert!(found[1].header.info.has_continued_record() && found[1].header.remaining > 0, "{major}");
        let zero = (major > 10).then_some(2 * PAGE);
        assert_eq!((walk.zero_from(), walk.used()), (zero, found.len() * PAGE), "{major}");
    }
}

#[test]
fn refuses_another_segment_or_cluster() {
    let (name, bytes) = segment(15);
    let header = LongPageHeader::parse(&bytes).unwrap();
    let size = header.segment_size;
    let check = |name, length, id| header.validate_for(name, length, Some(SystemId::new(id))).unwrap_err();
    let id = header.system_id.get();
    assert!(matches!(check(name, size.bytes() - 1, id), SegmentMismatch::Size { .. }));
    assert!(matches!(check(name, 0, id), SegmentMismatch::Size { found: 0, .. }));
    let next = name.next(size).unwrap().unwrap();
    assert!(matches!(check(next, size.bytes(), id), SegmentMismatch::Address { .. }));
    assert!(matches!(check(name, size.bytes(), id ^ 1), SegmentMismatch::SystemId { .. }));
    let impossible = "00000001000000000000FFFF".parse().unwrap();
    assert!(matches!(check(impossible, size.bytes(), id), SegmentMismatch::Name(_)));
}

#[test]
fn a_new_timeline_begins_in_a_copied_segment() {
    let two = Timeline::new(2).unwrap();
    for major in golden::MAJORS {
        let (name, bytes) = golden::find(major, |n| n.len() == 24 && n.starts_with("00000002"));
        let name: SegmentName = name.parse().unwrap();
        let header = LongPageHeader::parse(&bytes).unwrap();
        assert_eq!(header.page.timeline, Timeline::FIRST, "{major}: the page was begun before the switch");
        let history = TimelineHistory::parse(two, &golden::read(major, "00000002.history")).unwrap();
        header.validate_for(name, header.segment_size.bytes(), Some(system_id(major))).unwrap();
        header.validate_timeline(name, &history).unwrap();
        // A timeline that began before this segment cannot begin it with a page of its parent.
        let earlier = TimelineHistory::parse(two, b"1\t0/100028\tx\n").unwrap();
        let mismatch = SegmentMismatch::Timeline { name, found: Timeline::FIRST };
        assert_eq!(header.validate_timeline(name, &earlier), Err(mismatch), "{major}");
    }
    let (name, bytes) = golden::find(15, |n| n.len() == 24 && n.starts_with("00000002"));
    let mut later = bytes;
    later[4] = 3;
    let header = LongPageHeader::parse(&later).unwrap();
    let checked = header.validate_for(name.parse().unwrap(), header.segment_size.bytes(), None);
    assert!(matches!(checked, Err(SegmentMismatch::Timeline { .. })));
}

#[test]
fn headers_that_are_none() {
    let (_, good) = segment(17);
    let parse = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = good[..40].to_vec();
        change(&mut bytes);
        LongPageHeader::parse(&bytes).unwrap_err()
    };
    let magic = WalMagic::of_major(17).unwrap();
    assert_eq!(parse(&|b| b[..2].reverse()), PageError::BigEndian { magic });
    assert_eq!(parse(&|b| b[0] = 0x15), PageError::UnknownMagic { found: 0xD115 });
    assert_eq!(parse(&|b| b.fill(0)), PageError::Zero);
    assert_eq!(parse(&|b| b[2] = 0x12), PageError::UnknownFlags { found: 0x12 });
    assert!(matches!(parse(&|b| b[2] = 0), PageError::NotLong { .. }));
    assert_eq!(parse(&|b| b[4..8].fill(0)), PageError::NoTimeline);
    assert!(matches!(parse(&|b| b[32..36].fill(3)), PageError::SegmentSize(_)));
    assert_eq!(parse(&|b| b[36..40].fill(0)), PageError::BlockSize { found: 0 });
    assert!(matches!(parse(&|b| b[9] ^= 0x20), PageError::Address { .. }));
    for length in 0..40 {
        assert!(
            matches!(LongPageHeader::parse(&good[..length]), Err(PageError::TooShort { .. })),
            "{length}"
        );
    }
}

#[test]
fn pages_that_do_not_belong() {
    let (_, good) = segment(18);
    let fail = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = good.clone();
        change(&mut bytes);
        let mut walk = pages(&bytes).unwrap();
        let error = walk.find_map(Result::err).expect("an error");
        assert!(walk.next().is_none());
        assert_eq!(error.address.get() % (1 << 20), error.offset as u64);
        (error.offset, error.problem)
    };
    assert!(matches!(
        fail(&|b| b[PAGE] ^= 1),
        (PAGE, PageWalkProblem::Header(PageError::UnknownMagic { .. }))
    ));
    assert!(matches!(fail(&|b| b[PAGE] = 0x16), (PAGE, PageWalkProblem::Magic { .. })));
    assert!(matches!(fail(&|b| b[PAGE + 9] ^= 0x20), (PAGE, PageWalkProblem::Address { .. })));
    assert!(matches!(fail(&|b| b[4] = 2), (PAGE, PageWalkProblem::Timeline { .. })));
    assert!(matches!(fail(&|b| b[PAGE + 2] |= 2), (PAGE, PageWalkProblem::LongHeader)));
    assert_eq!(fail(&|b| b[PAGE..PAGE + 24].fill(0)), (PAGE, PageWalkProblem::ZeroHeader));
    let data_after = PageWalkProblem::DataAfterZero { zero_from: 2 * PAGE };
    assert_eq!(fail(&|b| b[9 * PAGE + 77] = 1), (9 * PAGE, data_after));
}

#[test]
fn incomplete_files() {
    let (_, good) = segment(16);
    for length in [40, 4000, PAGE, PAGE + 30, 2 * PAGE, 2 * PAGE + 7, 5 * PAGE] {
        let mut walk = pages(&good[..length]).unwrap();
        assert!(walk.by_ref().all(|page| page.is_ok()), "{length}");
        assert_eq!(walk.used(), length.min(2 * PAGE));
    }
}
