//! What was written is read, and damage is not believed.

use proptest::prelude::*;

use walfile::record::{Oid, RelFile, Timestamp, Xid};
use walfile::{Lsn, Timeline};

use super::*;
use crate::wal_index::summary::{Completeness, Point, RemovedFiles, SegmentContent, StoredFile};

fn dir() -> HashDir {
    "0000000100000016".parse().unwrap()
}

fn lsn() -> impl Strategy<Value = Lsn> {
    (1..u64::MAX).prop_map(Lsn::new)
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_micros)
}

fn point() -> impl Strategy<Value = Point> {
    let bytes = prop::collection::vec(any::<u8>(), 0..64);
    let timeline = || (1..u32::MAX).prop_map(|number| Timeline::new(number).unwrap());
    prop_oneof![
        (lsn(), time(), bytes).prop_map(|(lsn, time, name)| Point::Restore { lsn, time, name }),
        (lsn(), time(), lsn()).prop_map(|(lsn, time, redo)| Point::Checkpoint { lsn, time, redo }),
        (lsn(), time(), timeline(), timeline()).prop_map(|(lsn, time, timeline, previous)| {
            Point::Timeline { lsn, time, timeline, previous }
        }),
    ]
}

fn summary() -> impl Strategy<Value = SegmentSummary> {
    let file = any::<[u32; 3]>().prop_map(|[tablespace, database, number]| RelFile {
        tablespace: Oid::new(tablespace),
        database: Oid::new(database),
        number,
    });
    let lists = (
        prop::collection::vec(file, 0..5),
        prop::collection::vec(point(), 0..5),
        prop::collection::vec(any::<u8>(), 0..100),
        prop::option::of(any::<(u32, u32)>()),
    );
    let ranges = (prop::option::of((time(), time())), prop::option::of(any::<(u32, u32)>()));
    let rest = (any::<[u32; 5]>(), any::<[bool; 2]>(), lsn(), prop::option::of(lsn()), 0..3_u8);
    ((0..256_u32), lists, ranges, rest).prop_map(|(number, lists, (times, xids), rest)| {
        let (files, points, piece, range) = lists;
        let (counts, [undecoded, more_points], at, tail_lsn, completeness) = rest;
        let content = SegmentContent {
            completeness: [Completeness::Nothing, Completeness::Whole, Completeness::UpTo]
                [usize::from(completeness)],
            major: 17,
            valid_to: at,
            first: Lsn::INVALID,
            last: at,
            records: counts[0],
            commits: counts[1],
            aborts: counts[2],
            prepares: counts[3],
            commit_times: times.map(|(a, b)| (a.min(b), a.max(b))),
            xids: xids.map(|(a, b)| (Xid::new(a.min(b)), Xid::new(a.max(b)))),
            removed: RemovedFiles { files, range },
            points,
            more_points,
            undecoded,
            head_length: counts[4],
            head: piece.clone(),
            tail_lsn,
            tail: piece,
        };
        let stored = StoredFile { size: 16_522, seconds: -5, nanoseconds: 999 };
        SegmentSummary { name: dir().segment(number).unwrap(), stored, content }
    })
}

fn file(summaries: &[SegmentSummary], seal: Option<DirTime>) -> Vec<u8> {
    let mut bytes = header(dir());
    summaries.iter().for_each(|summary| put_segment(&mut bytes, summary));
    seal.into_iter().for_each(|seal| put_seal(&mut bytes, seal));
    bytes
}

proptest! {
    #[test]
    fn what_was_written_is_read(summaries in prop::collection::vec(summary(), 0..4), seal: Option<DirTime>) {
        let bytes = file(&summaries, seal);
        let read = IndexContents::parse(&bytes, dir()).unwrap();
        prop_assert_eq!(read, IndexContents { segments: summaries, seal, valid: bytes.len() });
    }

    /// Cut anywhere, or with any bit flipped: what is read is a beginning of what was written.
    #[test]
    fn damage_is_never_believed(summaries in prop::collection::vec(summary(), 1..4), at: prop::sample::Index, bit in 0..8_u8, cut: bool) {
        let bytes = file(&summaries, Some((1, 2)));
        let at = at.index(bytes.len());
        let mut damaged = bytes;
        if cut { damaged.truncate(at) } else { damaged[at] ^= 1_u8 << bit }
        match IndexContents::parse(&damaged, dir()) {
            None => prop_assert!(at < HEADER_LEN),
            Some(read) => {
                prop_assert!(summaries.starts_with(&read.segments));
                prop_assert!(read.valid <= at && read.seal.is_none());
            }
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(rest: Vec<u8>, length in 0..50_u32) {
        let mut bytes = header(dir());
        bytes.extend(length.to_le_bytes());
        bytes.extend(crc32c::crc32c(rest.get(..length as usize).unwrap_or(&[])).to_le_bytes());
        bytes.extend(rest);
        let read = IndexContents::parse(&bytes, dir()).unwrap();
        prop_assert!(read.valid <= bytes.len());
    }
}

#[test]
fn another_directory_or_version_is_no_index() {
    let bytes = file(&[], None);
    assert!(IndexContents::parse(&bytes, "0000000200000016".parse().unwrap()).is_none());
    let mut newer = bytes.clone();
    newer[8] = 2;
    assert!(IndexContents::parse(&newer, dir()).is_none());
    assert!(IndexContents::parse(&[], dir()).is_none());
}
