//! Received WAL: segments, partials, timelines, restarts.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tapster_catalog::durable::testing::{Operation, RecordingDisk};
use tapster_catalog::{SegmentCompression, SegmentDir, SegmentDirError, SegmentDirOptions};
use walfile::{Lsn, Timeline, TimelineHistory, WalSink};

use crate::wal_samples::{SIZE, SYSTEM, names, segment, segment_of};

const ONE: Timeline = Timeline::FIRST;

fn options() -> SegmentDirOptions {
    SegmentDirOptions::with_segment_size(SIZE)
}

fn open(dir: &Path) -> SegmentDir {
    SegmentDir::open(dir, options()).unwrap().0
}

fn lsn(segment: u64, offset: u64) -> Lsn {
    Lsn::new(segment * SIZE.bytes() + offset)
}

fn two() -> Timeline {
    Timeline::new(2).unwrap()
}

fn refused(error: io::Error) -> SegmentDirError {
    *error.into_inner().unwrap().downcast().unwrap()
}

#[test]
fn segments_are_split_wherever_the_messages_end() {
    let wal: Vec<u8> = [1, 2, 3].iter().flat_map(|n| segment(&format!("00000001{n:016X}"), *n)).collect();
    for step in [1 << 20, (1 << 20) - 1, 131_072, 100_003, 3 << 20] {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = open(dir.path());
        sink.begin(ONE);
        let mut at = lsn(1, 0);
        for chunk in wal[..(5 << 19)].chunks(step) {
            sink.write(at, chunk).unwrap();
            at = at.saturating_add(chunk.len() as u64);
            assert!(sink.flushed() <= at);
        }
        assert_eq!(sink.flush().unwrap(), at);
        assert_eq!(sink.flushed(), at);
        assert_eq!(
            names(dir.path()),
            ["000000010000000000000001", "000000010000000000000002", "000000010000000000000003.partial"]
        );
        let read = |name: &str| fs::read(dir.path().join(name)).unwrap();
        assert_eq!(read("000000010000000000000001"), wal[..1 << 20]);
        assert_eq!(read("000000010000000000000002"), wal[1 << 20..2 << 20]);
        let partial = read("000000010000000000000003.partial");
        assert_eq!(partial[..1 << 19], wal[2 << 20..5 << 19]);
        assert_eq!(partial.len(), 1 << 20);
        assert!(partial[1 << 19..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn positions_must_follow() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(dir.path());
    let error = sink.write(lsn(1, 0), b"x").unwrap_err();
    assert!(matches!(refused(error), SegmentDirError::NoTimeline { .. }));
    let error = sink.write(lsn(1, 0), b"x").unwrap_err();
    assert!(matches!(refused(error), SegmentDirError::Poisoned { .. }));

    let mut sink = open(dir.path());
    sink.begin(ONE);
    let error = sink.write(lsn(1, 8), b"x").unwrap_err();
    assert!(matches!(refused(error), SegmentDirError::NotAtSegmentStart { .. }));

    let mut sink = open(dir.path());
    sink.begin(ONE);
    sink.write(lsn(1, 0), b"abc").unwrap();
    let error = sink.write(lsn(1, 4), b"x").unwrap_err();
    assert!(matches!(refused(error), SegmentDirError::NotContiguous { .. }));
}

#[test]
fn a_reconnected_receiver_may_begin_the_segment_again() {
    let dir = tempfile::tempdir().unwrap();
    let wal = segment("000000010000000000000001", 3);
    let mut sink = open(dir.path());
    sink.begin(ONE);
    sink.write(lsn(1, 0), &wal[..9000]).unwrap();
    assert_eq!(sink.flush().unwrap(), lsn(1, 9000));
    sink.write(lsn(1, 0), &wal[..4000]).unwrap();
    // What was acknowledged stays so: the same bytes are there.
    assert_eq!(sink.flush().unwrap(), lsn(1, 9000));
    sink.write(lsn(1, 4000), &wal[4000..]).unwrap();
    assert_eq!(sink.flush().unwrap(), lsn(2, 0));
    assert_eq!(fs::read(dir.path().join("000000010000000000000001")).unwrap(), wal);
}

#[test]
fn resumes_at_the_highest_segment_then_timeline() {
    let size = SIZE.bytes() as usize;
    for (files, from) in [
        (vec![], None),
        (vec![("000000010000000000000005", size)], Some((1, 6))),
        (vec![("000000010000000000000005", size), ("000000010000000000000006.partial", size)], Some((1, 6))),
        (vec![("000000010000000000000005", size), ("000000010000000000000006.partial", 0)], Some((1, 6))),
        // Not the highest name, the highest position.
        (vec![("000000010000000000000007", size), ("000000020000000000000005", size)], Some((1, 8))),
        (
            vec![("000000010000000000000005.partial", size), ("000000020000000000000005.partial", size)],
            Some((2, 5)),
        ),
        (vec![("000000020000000000000005.partial", size), ("000000020000000000000005", size)], Some((2, 6))),
        // A whole name does not make a whole segment.
        (vec![("000000010000000000000005", size), ("000000010000000000000006", size - 1)], Some((1, 6))),
        (vec![("00000002.history", 40), ("000000010000000000000005.tmp", size)], None),
        (vec![("0000000A0000000000000005", size)], Some((10, 6))),
    ] {
        let dir = tempfile::tempdir().unwrap();
        for (name, length) in &files {
            fs::write(dir.path().join(name), vec![0; *length]).unwrap();
        }
        let (_, resume) = SegmentDir::open(dir.path(), options()).unwrap();
        let got = resume.from.map(|(timeline, lsn)| (timeline.get(), lsn.get() / SIZE.bytes()));
        assert_eq!(got, from, "{files:?}");
    }
}

/// After a fork before the end of what was received, the files of the old timeline reach further.
#[test]
fn the_newest_timeline_goes_on_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    for name in
        ["000000010000000000000006", "000000010000000000000007.partial", "000000020000000000000005.partial"]
    {
        fs::write(dir.path().join(name), vec![0; SIZE.bytes() as usize]).unwrap();
    }
    let mut options = options();
    let from = |options: &SegmentDirOptions| SegmentDir::open(dir.path(), options.clone()).unwrap().1.from;
    assert_eq!(from(&options), Some((ONE, lsn(7, 0))));
    options.newest_timeline = true;
    assert_eq!(from(&options), Some((two(), lsn(5, 0))));
}

#[test]
fn a_short_partial_is_filled_up_and_a_long_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("000000010000000000000005.partial");
    let wal = segment("000000010000000000000005", 1);
    fs::write(&path, &wal[..5000]).unwrap();
    let mut sink = open(dir.path());
    sink.write(lsn(5, 0), &wal[..100]).unwrap();
    sink.flush().unwrap();
    let content = fs::read(&path).unwrap();
    assert_eq!(content.len() as u64, SIZE.bytes());
    assert_eq!(content[..5000], wal[..5000], "what was there stays readable");
    drop(sink);

    fs::write(&path, vec![0; wal.len() + 1]).unwrap();
    let mut sink = open(dir.path());
    let error = sink.write(lsn(5, 0), &wal[..100]).unwrap_err();
    assert!(matches!(refused(error), SegmentDirError::TooLong { .. }));
}

#[test]
fn l_a28_follows_a_timeline_and_keeps_the_tail_partial() {
    let dir = tempfile::tempdir().unwrap();
    let wal = segment("000000010000000000000003", 1);
    let mut sink = open(dir.path());
    sink.begin(ONE);
    sink.write(lsn(3, 0), &wal[..5000]).unwrap();
    let raw = format!("1\t{}\tno recovery target specified\n", lsn(3, 4000));
    let history = TimelineHistory::parse(two(), raw.as_bytes()).unwrap();
    sink.switch_timeline(&history, raw.as_bytes()).unwrap();
    assert_eq!(sink.timeline(), Some(two()));
    assert_eq!(sink.position(), Some(lsn(3, 0)));
    assert_eq!(fs::read(dir.path().join("00000002.history")).unwrap(), raw.as_bytes());
    let new = segment("000000020000000000000003", 1);
    sink.write(lsn(3, 0), &new).unwrap();
    assert_eq!(sink.flush().unwrap(), lsn(4, 0));
    assert_eq!(
        names(dir.path()),
        ["000000010000000000000003.partial", "00000002.history", "000000020000000000000003"]
    );
    assert_eq!(fs::read(dir.path().join("000000010000000000000003.partial")).unwrap()[..5000], wal[..5000]);
    drop(sink);
    let (_, resume) = SegmentDir::open(dir.path(), options()).unwrap();
    assert_eq!(resume.from, Some((two(), lsn(4, 0))));
}

#[test]
fn l_a12_a_history_file_of_another_cluster_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(dir.path());
    sink.begin(ONE);
    fs::write(dir.path().join("00000002.history"), "1\t0/9000000\tother\n").unwrap();
    let raw = b"1\t0/300FA0\tno recovery target specified\n";
    let history = TimelineHistory::parse(two(), raw).unwrap();
    let error = sink.switch_timeline(&history, raw).unwrap_err();
    assert!(matches!(refused(error), SegmentDirError::Conflict { .. }));
    assert_eq!(fs::read(dir.path().join("00000002.history")).unwrap(), b"1\t0/9000000\tother\n");
}

#[test]
fn one_name_never_has_two_contents() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(dir.path());
    sink.begin(ONE);
    let there = segment("000000010000000000000001", 1);
    fs::write(dir.path().join("000000010000000000000001"), &there).unwrap();
    sink.write(lsn(1, 0), &segment("000000010000000000000001", 2)).unwrap();
    let error = sink.flush().unwrap_err();
    assert!(matches!(refused(error), SegmentDirError::Conflict { .. }));
    assert_eq!(fs::read(dir.path().join("000000010000000000000001")).unwrap(), there);
    let partial = dir.path().join("000000010000000000000001.partial");
    let received = fs::read(&partial).unwrap();

    let mut sink = open(dir.path());
    sink.begin(ONE);
    let error = sink.write(lsn(1, 0), &there).unwrap_err();
    assert!(matches!(refused(error), SegmentDirError::Rewritten { .. }), "what was received before stays");
    assert!(fs::read(&partial).unwrap() == received);

    fs::remove_file(&partial).unwrap();
    let mut sink = open(dir.path());
    sink.begin(ONE);
    sink.write(lsn(1, 0), &there).unwrap();
    assert_eq!(sink.flush().unwrap(), lsn(2, 0));
    assert_eq!(names(dir.path()), ["000000010000000000000001"]);
}

#[test]
fn l_a22_foreign_wal_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options();
    options.system_id = Some(SYSTEM);
    let (mut sink, _) = SegmentDir::open(dir.path(), options).unwrap();
    sink.begin(ONE);
    let error = sink.write(lsn(1, 0), &segment_of("000000010000000000000001", 0, 1)).unwrap_err();
    assert!(matches!(refused(error), SegmentDirError::ForeignSystem { found: 1, expected: SYSTEM, .. }));
}

#[test]
fn compressed_segments_resume_like_plain_ones() {
    for (compression, suffix) in
        [(SegmentCompression::Gzip { level: 1.into() }, "gz"), (SegmentCompression::Lz4, "lz4")]
    {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options();
        options.compression = compression;
        let (mut sink, _) = SegmentDir::open(dir.path(), options.clone()).unwrap();
        sink.begin(ONE);
        sink.write(lsn(1, 0), &segment("000000010000000000000001", 1)).unwrap();
        assert_eq!(sink.flush().unwrap(), lsn(2, 0));
        let name = format!("000000010000000000000001.{suffix}");
        assert_eq!(names(dir.path()), std::slice::from_ref(&name));
        drop(sink);
        let (_, resume) = SegmentDir::open(dir.path(), options.clone()).unwrap();
        assert_eq!(resume.from, Some((ONE, lsn(2, 0))));
        // A damaged one does not count.
        let bytes = fs::read(dir.path().join(&name)).unwrap();
        fs::write(dir.path().join(&name), &bytes[..bytes.len() / 2]).unwrap();
        let (_, resume) = SegmentDir::open(dir.path(), options).unwrap();
        assert_eq!(resume.from, None);
        assert_eq!(resume.skipped.len(), 1);
    }
}

/// Each storage call fails once; nothing is acknowledged after that, and a new run goes on with the same byte.
#[test]
fn l_a35_l_a27_any_failing_call_stops_acknowledging_and_a_restart_completes() {
    let wal: Vec<u8> = [1, 2, 3].iter().flat_map(|n| segment(&format!("00000001{n:016X}"), *n)).collect();
    let run = |disk: Arc<RecordingDisk>, dir: &Path, from: Option<(Timeline, Lsn)>| {
        let mut acknowledged = from.map_or(Lsn::INVALID, |(_, lsn)| lsn);
        let mut work = || -> io::Result<()> {
            let (mut sink, resume) = SegmentDir::open_on(disk.clone(), dir, options())?;
            if resume.from.is_none() {
                sink.begin(ONE);
            }
            let mut at = resume.from.map_or(lsn(1, 0), |(_, lsn)| lsn);
            while at < lsn(3, 600_000) {
                let offset = (at.get() - lsn(1, 0).get()) as usize;
                let end = (offset + 300_000).min(wal.len());
                sink.write(at, &wal[offset..end])?;
                at = at.saturating_add((end - offset) as u64);
                acknowledged = acknowledged.max(sink.flush()?);
            }
            Ok(())
        };
        let done = work();
        (done, acknowledged)
    };
    let mut failures = 0;
    for call in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(RecordingDisk::new(dir.path()).unwrap());
        disk.fail_at(call, 28);
        let (done, acknowledged) = run(disk, dir.path(), None);
        if done.is_ok() {
            break;
        }
        failures += 1;
        let disk = Arc::new(RecordingDisk::new(dir.path()).unwrap());
        let (done, end) = run(disk, dir.path(), None);
        done.unwrap();
        assert!(end >= acknowledged);
        for (number, content) in wal.chunks(1 << 20).enumerate().take(2) {
            let name = format!("00000001{:016X}", number + 1);
            assert_eq!(fs::read(dir.path().join(name)).unwrap(), content, "after a failure of call {call}");
        }
    }
    assert!(failures > 10, "{failures}");
}

#[test]
fn no_sync_syncs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(RecordingDisk::new(dir.path()).unwrap());
    let mut options = options();
    options.sync = false;
    let (mut sink, _) = SegmentDir::open_on(disk.clone(), dir.path(), options).unwrap();
    sink.begin(ONE);
    sink.write(lsn(1, 0), &segment("000000010000000000000001", 1)).unwrap();
    sink.flush().unwrap();
    let synced = disk.operations().into_iter().filter(|op| {
        matches!(op, Operation::Sync { .. } | Operation::SyncPath { .. } | Operation::SyncDir { .. })
    });
    assert_eq!(synced.count(), 0);
    assert_eq!(names(dir.path()), ["000000010000000000000001"]);
}

#[test]
fn the_next_segment_begins_when_nothing_more_comes() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options();
    options.begin_next = true;
    let (mut sink, _) = SegmentDir::open(dir.path(), options.clone()).unwrap();
    sink.begin(ONE);
    sink.write(lsn(1, 0), &segment("000000010000000000000001", 1)).unwrap();
    sink.idle().unwrap();
    assert_eq!(names(dir.path()), ["000000010000000000000001", "000000010000000000000002.partial"]);
    assert_eq!(sink.flushed(), lsn(2, 0));
    sink.idle().unwrap();
    drop(sink);
    // A restart goes on there, and so does the stream.
    let (mut sink, resume) = SegmentDir::open(dir.path(), options).unwrap();
    assert_eq!(resume.from, Some((ONE, lsn(2, 0))));
    sink.write(lsn(2, 0), &segment("000000010000000000000002", 2)).unwrap();
    sink.flush().unwrap();
    assert!(names(dir.path()).contains(&"000000010000000000000002".to_owned()));
}
