//! The index of what archived segments hold.

use std::fs;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tapster_catalog::durable::RealDisk;
use tapster_catalog::wal_index::{Completeness, HashDir, IndexState, IndexedDir, WalIndex};
use tapster_catalog::{Catalog, IngestOptions, ServerLayout, ingest};
use time::OffsetDateTime;
use walfile::codec::Compression;

use crate::wal_log::{Log, Truth};
use crate::wal_samples::{SIZE, SYSTEM, names, segment, server};

static GO_ON: AtomicBool = AtomicBool::new(false);

fn archive(layout: &ServerLayout, codec: Compression, group: usize) {
    let mut options = IngestOptions::new(OffsetDateTime::now_utc());
    options.segment_size = Some(SIZE);
    options.system_id = Some(SYSTEM);
    options.compression = codec;
    options.group = group;
    ingest(&RealDisk, layout, &options, &mut (), &GO_ON).unwrap();
}

/// The archive's one directory, at a time `ahead` of the clock.
fn load(layout: &ServerLayout, ahead: u64) -> IndexedDir {
    let now = OffsetDateTime::now_utc() + Duration::from_secs(ahead);
    let index = WalIndex::new(&RealDisk, layout, now, &GO_ON).with_workers(2);
    let [dir] = index.directories().unwrap()[..] else { panic!("one directory") };
    let found = index.load(dir).unwrap();
    assert_eq!(found.unsaved, None);
    found
}

fn index_file(layout: &ServerLayout) -> std::path::PathBuf {
    layout.meta.join("wal-index/0000000100000000.idx")
}

fn check(found: &IndexedDir, truth: &[Truth]) {
    assert_eq!(found.segments.len(), truth.len());
    for (summary, truth) in found.segments.iter().zip(truth) {
        let content = &summary.content;
        assert_eq!(content.completeness, Completeness::Whole);
        // A last segment's commit may wait for the segment that follows.
        if content.tail_lsn.is_none() {
            assert_eq!(Truth::from_summary(content, truth), *truth, "{}", summary.name);
        }
    }
    let last = found.segments.len() - 1;
    assert!(found.segments[..last].iter().all(|summary| !summary.content.is_uncertain()));
}

/// A log with something of everything, in which a commit crosses the end of each segment.
pub fn sample(segments: u64) -> Log {
    let mut log = Log::new();
    for number in 0..segments {
        let base = (number * 1000) as u32;
        for n in 0..20 {
            log.change(3000 * n as usize);
            log.commit(
                800 + base + n,
                1_000_000 * i64::from(base + n),
                &[801 + base + n],
                &[16_384 + base + n],
            );
        }
        log.restore_point(&format!("point {number}"), 5);
        while log.left() > 9000 {
            log.change(500);
        }
        while log.left() > 160 {
            log.change(40);
        }
        log.commit(
            900 + base,
            77,
            &[5, 6, 7],
            &[50_000, 50_001, 50_002, 50_003, 50_004, 50_005, 50_006, 50_007],
        );
    }
    log.fill();
    log
}

#[derive(Clone, Debug)]
enum Piece {
    Change(usize),
    Commit {
        xid: u32,
        time: i64,
        subtransactions: Vec<u32>,
        removed: Vec<u32>,
    },
    Point(String),
    /// A commit that begins this many bytes before the end of the segment.
    Across {
        before: u64,
        xid: u32,
        files: u32,
    },
}

fn piece() -> impl Strategy<Value = Piece> {
    let numbers = || prop::collection::vec(1..100_000_u32, 0..6);
    prop_oneof![
        6 => (0..60_000_usize).prop_map(Piece::Change),
        6 => (1..u32::MAX, any::<i64>(), numbers(), numbers()).prop_map(|(xid, time, subtransactions, removed)| {
            Piece::Commit { xid, time, subtransactions, removed }
        }),
        1 => "[a-z]{1,63}".prop_map(Piece::Point),
        3 => (8..200_u64, 1..u32::MAX, 0..300_u32).prop_map(|(before, xid, files)| Piece::Across { before, xid, files }),
    ]
}

fn write(pieces: &[Piece]) -> Log {
    let mut log = Log::new();
    for piece in pieces {
        match piece {
            Piece::Change(length) => log.change(*length),
            Piece::Commit { xid, time, subtransactions, removed } => {
                log.commit(*xid, *time, subtransactions, removed);
            }
            Piece::Point(name) => log.restore_point(name, 1),
            Piece::Across { before, xid, files } => {
                while log.left() > 9000 {
                    log.change(700);
                }
                while log.left() > before.next_multiple_of(8) + 32 {
                    log.change(0);
                }
                log.commit(*xid, -3, &[], &(0..(*files).min(100)).map(|n| 70_000 + n).collect::<Vec<_>>());
            }
        }
    }
    while log.segments().is_empty() {
        log.change(8000);
    }
    log.fill();
    log
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Made while archiving, completed, and rebuilt: each time what a walk over the whole log finds.
    #[test]
    fn is_what_a_full_scan_finds(pieces in prop::collection::vec(piece(), 1..60), group in 1..5_usize, plain: bool) {
        let log = write(&pieces);
        let truth = Truth::of(&log);
        let home = tempfile::tempdir().unwrap();
        let layout = server(home.path());
        for (n, (name, bytes)) in log.segments().into_iter().enumerate() {
            let dir = if n % 2 == 0 { &layout.incoming } else { &layout.streaming };
            fs::write(dir.join(name.to_string()), bytes).unwrap();
        }
        // The receiver is further on.
        fs::write(layout.streaming.join("00000001000000000000FFFF.partial"), "").unwrap();
        archive(&layout, if plain { Compression::None } else { Compression::Lz4 }, group);
        let made = load(&layout, 0);
        prop_assert_eq!((made.state, made.scanned), (IndexState::Whole, 0));
        check(&made, &truth);
        let index = WalIndex::new(&RealDisk, &layout, OffsetDateTime::now_utc(), &GO_ON).with_workers(2);
        let rebuilt = index.rebuild(made.dir).unwrap();
        prop_assert_eq!(rebuilt.scanned, made.segments.len());
        prop_assert_eq!(rebuilt.segments, made.segments);
    }
}

/// An archive of the sample, of which the receiver holds back nothing.
fn archived() -> (tempfile::TempDir, ServerLayout, Vec<Truth>) {
    let log = sample(4);
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    for (name, bytes) in log.segments() {
        fs::write(layout.incoming.join(name.to_string()), bytes).unwrap();
    }
    archive(&layout, Compression::Gzip, 16);
    let truth = Truth::of(&log);
    assert!(truth.len() >= 4);
    (home, layout, truth)
}

#[test]
fn a_lost_or_damaged_index_is_made_again() {
    let (_home, layout, truth) = archived();
    let path = index_file(&layout);
    let whole = fs::read(&path).unwrap();
    let all = truth.len();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    let damages = [
        ("gone", None, IndexState::Missing),
        ("empty", Some(Vec::new()), IndexState::Missing),
        ("no index", Some(vec![0xAA; 4000]), IndexState::Missing),
        ("torn", Some(whole[..whole.len() - 3].to_vec()), IndexState::Completed),
        ("a flipped bit", Some(flipped), IndexState::Completed),
    ];
    for (what, damage, state) in damages {
        match damage {
            None => fs::remove_file(&path).unwrap(),
            Some(bytes) => fs::write(&path, bytes).unwrap(),
        }
        let found = load(&layout, 0);
        assert_eq!(found.state, state, "{what}");
        assert!(found.scanned > 0 && found.scanned <= all, "{what}");
        check(&found, &truth);
        let again = load(&layout, 0);
        assert_eq!((again.state, again.scanned), (IndexState::Whole, 0), "{what}");
    }
}

#[test]
fn a_directory_that_does_not_change_is_not_looked_through() {
    let (_home, layout, truth) = archived();
    assert_eq!(load(&layout, 0).state, IndexState::Whole);
    // Too early: within one tick of the file system's clock a change would not be seen.
    assert_eq!(load(&layout, 0).state, IndexState::Whole);
    assert_eq!(load(&layout, 10).state, IndexState::Whole);
    let marked = load(&layout, 10);
    assert_eq!(marked.state, IndexState::Marked);
    check(&marked, &truth);

    // Whoever puts a file there, under a name of its own or in place of another, is noticed.
    let dir = layout.wals.join("0000000100000000");
    let name = "0000000100000000000000F0";
    std::thread::sleep(Duration::from_millis(20));
    fs::write(dir.join(name), segment(name, 3)).unwrap();
    let found = load(&layout, 20);
    assert_eq!((found.state, found.scanned), (IndexState::Completed, 1));
    let last = found.segments.last().unwrap();
    assert_eq!((last.name.to_string().as_str(), last.content.completeness), (name, Completeness::UpTo));

    let first = dir.join("000000010000000000000001");
    let other = Log::new().bytes;
    fs::write(dir.join("other"), other).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    fs::rename(dir.join("other"), &first).unwrap();
    let found = load(&layout, 30);
    assert_eq!((found.state, found.scanned), (IndexState::Completed, 1));
    assert_eq!(found.segments[0].content.completeness, Completeness::Nothing);

    fs::remove_file(&first).unwrap();
    let found = load(&layout, 40);
    assert_eq!((found.scanned, found.segments.len()), (0, truth.len()));
    assert_eq!(load(&layout, 60).state, IndexState::Marked);
}

#[test]
fn wal_of_another_place_is_nothing() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let log = sample(1);
    let dir = layout.wals.join("0000000100000000");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("000000010000000000000009"), log.segments()[0].1).unwrap();
    // As gpg writes it.
    fs::write(dir.join("00000001000000000000000A"), b"\x85\x01\x8C\x03\x52\x4B").unwrap();
    let found = load(&layout, 0);
    assert!(found.segments.iter().all(|summary| summary.content.completeness == Completeness::Nothing));
    assert_eq!(found.segments.len(), 2);
}

#[test]
fn an_index_that_cannot_be_written_stops_nothing() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    // A file where the directory should be.
    fs::write(layout.meta.join("wal-index"), "").unwrap();
    let log = sample(2);
    for (name, bytes) in log.segments() {
        fs::write(layout.incoming.join(name.to_string()), bytes).unwrap();
    }
    archive(&layout, Compression::None, 2);
    assert!(names(&layout.incoming).is_empty());
    let index = WalIndex::new(&RealDisk, &layout, OffsetDateTime::now_utc(), &GO_ON);
    let found = index.load("0000000100000000".parse::<HashDir>().unwrap()).unwrap();
    assert!(found.unsaved.is_some());
    check(&found, &Truth::of(&log));
}

#[test]
fn goes_with_the_last_file_of_its_directory() {
    let (home, layout, truth) = archived();
    let catalog = Catalog::open(layout.clone(), time::UtcOffset::UTC);
    let trim = |before: &str| {
        let trim = tapster_catalog::delete::WalTrim::before(before.parse().unwrap());
        trim.execute(&catalog, &GO_ON).unwrap()
    };
    assert_eq!(trim("000000010000000000000003").len(), 2);
    assert!(index_file(&layout).exists());
    check(&load(&layout, 0), &truth[2..]);
    trim("000000010000000100000000");
    assert!(!layout.wals.join("0000000100000000").exists() && !index_file(&layout).exists());
    drop(home);
}

/// Times that a copy without nanoseconds (`rsync` of old) leaves: all is read once, and then known.
#[test]
fn files_with_other_times_are_read_once() {
    let (_home, layout, truth) = archived();
    let dir = layout.wals.join("0000000100000000");
    for name in names(&dir) {
        let file = fs::File::options().write(true).open(dir.join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_542)).unwrap();
    }
    let found = load(&layout, 0);
    assert_eq!((found.state, found.scanned), (IndexState::Missing, truth.len()));
    check(&found, &truth);
    assert_eq!(load(&layout, 0).scanned, 0);
}
