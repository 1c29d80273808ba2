//! Laws of names and positions, for every segment size.

use proptest::prelude::*;
use walfile::{Lsn, SegmentName, SegmentSize, Timeline, WalName};

fn size() -> impl Strategy<Value = SegmentSize> {
    (20u32..=30).prop_map(|log| SegmentSize::new(1 << log).unwrap())
}

fn timeline() -> impl Strategy<Value = Timeline> {
    (1..=u32::MAX).prop_map(|number| Timeline::new(number).unwrap())
}

proptest! {
    #[test]
    fn a_name_holds_its_position(lsn: u64, size in size(), timeline in timeline()) {
        let lsn = Lsn::new(lsn);
        let name = SegmentName::containing(timeline, lsn, size);
        let start = name.start(size).unwrap();
        prop_assert!(start <= lsn && lsn.get() - start.get() < size.bytes());
        prop_assert_eq!(start.get() + u64::from(lsn.offset_in_segment(size)), lsn.get());
        prop_assert_eq!(lsn.segment_start(size), start);
        prop_assert_eq!(name.timeline(), timeline);
        prop_assert_eq!(u64::from(name.log()), lsn.get() >> 32);
    }

    #[test]
    fn the_two_boundary_conventions_differ_on_boundaries_alone(lsn in 1u64.., size in size()) {
        for lsn in [Lsn::new(lsn), Lsn::new(lsn).segment_start(size)] {
            let Some(ending) = SegmentName::ending_at(Timeline::FIRST, lsn, size) else {
                prop_assert!(lsn.is_invalid());
                continue;
            };
            let containing = SegmentName::containing(Timeline::FIRST, lsn, size);
            if lsn.is_segment_start(size) {
                prop_assert_eq!(ending.next(size).unwrap(), Some(containing));
            } else {
                prop_assert_eq!(ending, containing);
            }
        }
    }

    #[test]
    fn successors_follow_and_keep_the_order_of_texts(lsn: u64, size in size(), timeline in timeline()) {
        let name = SegmentName::containing(timeline, Lsn::new(lsn), size);
        if let Some(next) = name.next(size).unwrap() {
            prop_assert_eq!(next.start(size).unwrap(), name.end(size).unwrap());
            prop_assert!(name < next && name.to_string() < next.to_string());
        } else {
            prop_assert!(lsn > u64::MAX - size.bytes());
        }
    }

    #[test]
    fn names_round_trip(lsn: u64, offset: u32, timeline in timeline(), size in size()) {
        let start = SegmentName::containing(timeline, Lsn::new(lsn), size);
        let all = [
            WalName::Segment(start),
            WalName::Partial(start),
            WalName::BackupLabel { start, offset },
            WalName::History(timeline),
        ];
        for name in all {
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }
        prop_assert_eq!(Lsn::new(lsn).to_string().parse(), Ok(Lsn::new(lsn)));
    }

    #[test]
    fn what_parses_is_written_the_same(text in "[0-9A-Fa-f]{8}([0-9A-F]{16})?(\\.[0-9A-F]{8}\\.backup|\\.partial|\\.history)?") {
        if let Ok(name) = text.parse::<WalName>() {
            prop_assert_eq!(name.to_string(), text);
        }
    }
}
