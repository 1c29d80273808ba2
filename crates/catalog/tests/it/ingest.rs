//! `incoming/` and `streaming/` into the archive, and WAL out of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use tapster_catalog::custom_filter::CustomFilter;
use tapster_catalog::durable::testing::RecordingDisk;
use tapster_catalog::durable::{Disk, DiskFile, OpenMode, Owner, RealDisk};
use tapster_catalog::errors_dir::{self, Verdict};
use tapster_catalog::incoming::{self, AcceptError, Accepted};
use tapster_catalog::ingest::{IngestFile, Invalid, Outcome, Source, SourceReport};
use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{
    ArchivedObject, IngestError, IngestObserver, IngestOptions, IngestReport, NotArchived, ObjectsError,
    ServerLayout, WalObjects, WalStore, WalStoreError, XlogDb, ingest,
};
use time::macros::datetime;
use walfile::codec::{Compression, Level};
use walfile::{SegmentName, Timeline, WalName};

use crate::wal_samples::{SIZE, SYSTEM, name, names, segment, segment_name, segment_of, server};

static GO_ON: AtomicBool = AtomicBool::new(false);

fn options() -> IngestOptions {
    let mut options = IngestOptions::new(datetime!(2026-11-21 03:09:12 UTC));
    options.settle = Duration::ZERO;
    options.segment_size = Some(SIZE);
    options.system_id = Some(SYSTEM);
    options
}

fn run(layout: &ServerLayout, options: &IngestOptions) -> IngestReport {
    ingest(&RealDisk, layout, options, &mut (), &GO_ON).unwrap()
}

fn put(dir: &Path, file: &str, seed: u8) {
    fs::write(dir.join(file), segment(&file[..24], seed)).unwrap();
}

fn listed(layout: &ServerLayout) -> Vec<String> {
    let index = XlogDb::lock(&RealDisk, layout, &GO_ON).unwrap();
    index.entries().unwrap().map(|entry| entry.unwrap().name.to_string()).collect()
}

fn outcome<'r>(report: &'r SourceReport, file: &str) -> &'r Outcome {
    &report.others.iter().find(|entry| entry.name == name(file)).unwrap().outcome
}

#[test]
fn streaming_first_and_the_last_segment_stays() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    for number in 1..=3 {
        put(&layout.streaming, &format!("00000001{number:016X}"), number);
    }
    put(&layout.incoming, "000000010000000000000009", 9);
    let report = run(&layout, &options());
    let sources: Vec<_> = report.sources.iter().map(|source| source.source).collect();
    assert_eq!(sources, [Source::Streaming, Source::FileArchival]);
    assert_eq!(names(&layout.streaming), ["000000010000000000000003"]);
    assert_eq!(
        listed(&layout),
        ["000000010000000000000001", "000000010000000000000002", "000000010000000000000009"]
    );
    assert!(names(&layout.incoming).is_empty());
    assert_eq!(report.archived(), 3);

    // With a partial the receiver needs no whole segment.
    put(&layout.streaming, "000000010000000000000004.partial", 4);
    run(&layout, &options());
    assert_eq!(names(&layout.streaming), ["000000010000000000000004.partial"]);
}

#[test]
fn l_a7_older_partials_are_archived_as_partials() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    put(&layout.streaming, "000000010000000000000004.partial", 1);
    fs::write(layout.streaming.join("00000002.history"), "1\t0/4000FA0\tno recovery target specified\n")
        .unwrap();
    put(&layout.streaming, "000000020000000000000004.partial", 2);
    put(&layout.incoming, "000000020000000000000004", 2);
    run(&layout, &options());
    assert_eq!(names(&layout.streaming), ["000000020000000000000004.partial"]);
    assert_eq!(
        listed(&layout),
        ["00000002.history", "000000010000000000000004.partial", "000000020000000000000004"]
    );
    assert!(names(&layout.errors).is_empty());
}

#[test]
fn a_history_file_alone_is_not_held_back_for_the_segment() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    put(&layout.streaming, "000000010000000000000004", 1);
    fs::write(layout.streaming.join("00000002.history"), "1\t0/4000FA0\tpromoted\n").unwrap();
    run(&layout, &options());
    assert_eq!(names(&layout.streaming), ["000000010000000000000004"]);
}

#[test]
fn every_codec_reads_back_and_the_time_stays() {
    let codecs = [
        Compression::None,
        Compression::Gzip,
        Compression::Bzip2,
        Compression::Xz,
        Compression::Zstd,
        Compression::Lz4,
        Compression::Snappy,
    ];
    for codec in codecs {
        for workers in [1, 3] {
            let home = tempfile::tempdir().unwrap();
            let layout = server(home.path());
            let mut options = options();
            options.compression = codec;
            options.workers = workers;
            let time = SystemTime::UNIX_EPOCH + Duration::new(1_795_219_542, 481_722_650);
            for number in 1..=5 {
                let file = format!("00000001{number:016X}");
                put(&layout.incoming, &file, number);
                fs::File::open(layout.incoming.join(&file)).unwrap().set_modified(time).unwrap();
            }
            fs::write(
                layout.incoming.join("000000010000000000000002.00000028.backup"),
                "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n",
            )
            .unwrap();
            run(&layout, &options);
            let index = XlogDb::lock(&RealDisk, &layout, &GO_ON).unwrap();
            let entries: Vec<_> = index.entries().unwrap().map(Result::unwrap).collect();
            drop(index);
            let order: Vec<_> = entries.iter().map(|entry| entry.name.to_string()).collect();
            let mut sorted = order.clone();
            sorted.sort();
            assert_eq!(order, sorted, "published in order");
            assert_eq!(entries.len(), 6);
            let store = WalStore::new(&layout).with_segment_size(SIZE);
            for entry in entries {
                let stored = fs::metadata(layout.wal(entry.name)).unwrap();
                assert_eq!(stored.len(), entry.size);
                let mut content = Vec::new();
                store.open(entry.name, false).unwrap().read_to_end(&mut content).unwrap();
                if let WalName::Segment(segment_name) = entry.name {
                    assert_eq!(content, segment(&segment_name.to_string(), segment_name.segment() as u8));
                    assert_eq!(entry.mtime.to_string(), "1795219542.4817226");
                    assert_eq!(stored.modified().unwrap(), time);
                    let column = (codec != Compression::None).then(|| codec.name());
                    assert_eq!(entry.compression.as_deref(), column);
                }
            }
        }
    }
}

#[test]
fn an_already_compressed_file_is_kept_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    put(&layout.incoming, "000000010000000000000001", 1);
    let mut gzip = options();
    gzip.compression = Compression::Gzip;
    run(&layout, &gzip);
    let archived = layout.wal(name("000000010000000000000001"));
    let stored = fs::read(&archived).unwrap();
    fs::remove_file(&archived).unwrap();
    fs::remove_file(layout.xlogdb()).unwrap();
    fs::write(layout.incoming.join("000000010000000000000001"), &stored).unwrap();
    run(&layout, &options());
    assert_eq!(fs::read(&archived).unwrap(), stored);
    let index = XlogDb::lock(&RealDisk, &layout, &GO_ON).unwrap();
    let entry = index.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.compression.as_deref(), Some("gzip"));
}

#[test]
fn l_a11_l_a8_an_archived_segment_is_never_replaced() {
    for codec in [Compression::None, Compression::Zstd] {
        let home = tempfile::tempdir().unwrap();
        let layout = server(home.path());
        let mut options = options();
        options.compression = codec;
        put(&layout.incoming, "000000010000000000000001", 1);
        put(&layout.incoming, "000000010000000000000002", 2);
        run(&layout, &options);
        let archived = layout.wal(name("000000010000000000000001"));
        let before = fs::read(&archived).unwrap();

        put(&layout.incoming, "000000010000000000000001", 7);
        put(&layout.incoming, "000000010000000000000002", 2);
        let report = run(&layout, &options);
        let moved = layout.errors.join("000000010000000000000001.20261121T030912Z.duplicate");
        assert_eq!(
            *outcome(&report.sources[1], "000000010000000000000001"),
            Outcome::Duplicate { moved_to: Some(moved.clone()) }
        );
        assert_eq!(report.sources[1].already_archived, 1);
        assert_eq!(fs::read(&archived).unwrap(), before);
        assert_eq!(fs::read(&moved).unwrap(), segment("000000010000000000000001", 7));
        assert_eq!(listed(&layout), ["000000010000000000000001", "000000010000000000000002"]);

        // A second one in the same second keeps the first.
        put(&layout.incoming, "000000010000000000000001", 8);
        run(&layout, &options);
        assert_eq!(
            names(&layout.errors),
            [
                "000000010000000000000001.20261121T030912Z-1.duplicate",
                "000000010000000000000001.20261121T030912Z.duplicate"
            ]
        );
    }
}

#[test]
fn l_a12_a_history_file_is_never_replaced() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    fs::write(layout.incoming.join("00000002.history"), "1\t0/3000000\tours\n").unwrap();
    run(&layout, &options());
    fs::write(layout.incoming.join("00000002.history"), "1\t0/5000000\ttheirs\n").unwrap();
    run(&layout, &options());
    assert_eq!(fs::read_to_string(layout.wals.join("00000002.history")).unwrap(), "1\t0/3000000\tours\n");
    assert_eq!(names(&layout.errors), ["00000002.history.20261121T030912Z.duplicate"]);
}

#[test]
fn l_a1_l_a10_l_a17_l_a22_what_is_no_segment_of_ours_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let one = "000000010000000000000001";
    let half = &segment(one, 1)[..1 << 19];
    type Case = (&'static str, Vec<u8>, fn(&Invalid) -> bool);
    let cases: [Case; 9] = [
        (one, half.to_vec(), |e| matches!(e, Invalid::Length { found: 0x8_0000, .. })),
        (one, Vec::new(), |e| matches!(e, Invalid::Length { found: 0, .. })),
        (one, vec![0; 1 << 20], |e| matches!(e, Invalid::Header { .. })),
        (one, segment_of(one, 1, 5), |e| matches!(e, Invalid::System { found: 5, .. })),
        (one, segment("000000010000000000000002", 1), |e| matches!(e, Invalid::Address { .. })),
        (one, segment("000000020000000000000001", 1), |e| matches!(e, Invalid::Timeline { found: 2, .. })),
        ("00000002.history", b"not a history".to_vec(), |e| matches!(e, Invalid::Text { .. })),
        ("00000002.history", Vec::new(), |e| matches!(e, Invalid::Text { .. })),
        (one, b"\x1F\x8B\x08\x00damaged".to_vec(), |e| matches!(e, Invalid::Compressed { .. })),
    ];
    for (file, content, expected) in cases {
        fs::write(layout.incoming.join(file), &content).unwrap();
        let report = run(&layout, &options());
        let Outcome::Invalid { reason, moved_to } = outcome(&report.sources[1], file) else {
            panic!("{file} was taken")
        };
        assert!(expected(reason), "{reason:?}");
        assert_eq!(fs::read(moved_to.as_ref().unwrap()).unwrap(), content);
        assert!(listed(&layout).is_empty());
    }
    // And then the right one, whatever was refused before.
    put(&layout.incoming, one, 1);
    run(&layout, &options());
    assert_eq!(listed(&layout), [one]);
}

#[test]
fn a_first_segment_may_begin_on_an_earlier_timeline() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    fs::write(layout.incoming.join("000000020000000000000001"), segment("000000010000000000000001", 1))
        .unwrap();
    run(&layout, &options());
    assert_eq!(listed(&layout), ["000000020000000000000001"]);
}

#[test]
fn l_a29_a_file_being_written_waits_for_the_next_run() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let one = "000000010000000000000001";
    fs::write(layout.incoming.join(one), &segment(one, 1)[..1 << 19]).unwrap();
    fs::write(layout.incoming.join("000000010000000000000002.tmp"), "x").unwrap();
    fs::write(layout.incoming.join(".000000010000000000000003.x"), "x").unwrap();
    let mut options = options();
    options.settle = Duration::from_secs(60);
    options.now = time::OffsetDateTime::from(SystemTime::now());
    let report = run(&layout, &options);
    assert!(matches!(outcome(&report.sources[1], one), Outcome::Unsettled { .. }));
    assert!(layout.incoming.join(one).exists());
    put(&layout.incoming, one, 1);
    run(&layout, &options);
    assert_eq!(listed(&layout), [one]);
    assert_eq!(names(&layout.incoming), ["000000010000000000000002.tmp"]);
    assert!(names(&layout.errors).is_empty());
}

#[test]
fn l_a2_leftovers_of_a_crash_do_not_block() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let one = "000000010000000000000001";
    let dir = layout.wals.join("0000000100000000");
    fs::create_dir_all(&dir).unwrap();
    let ours = format!(".{one}.tapster-2147483632-0123456789abcdef-0.tmp");
    for leftover in [ours.as_str(), "000000010000000000000001.tmp", "000000010000000000000001.compressed"] {
        fs::write(dir.join(leftover), "half").unwrap();
    }
    put(&layout.incoming, one, 1);
    run(&layout, &options());
    assert_eq!(fs::read(dir.join(one)).unwrap(), segment(one, 1));
    assert!(!dir.join(ours).exists());
}

#[test]
fn unknown_objects_and_batches() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    for file in ["000000010000000000000001", "000000010000000000000002", "000000010000000000000003"] {
        put(&layout.incoming, file, 1);
    }
    fs::create_dir(layout.incoming.join("a_directory")).unwrap();
    fs::write(layout.incoming.join("00000001000000000000000a"), "lower case").unwrap();
    let mut options = options();
    options.file_archival_batch_size = 2;
    let report = run(&layout, &options);
    assert_eq!((report.sources[1].found, report.sources[1].run_size), (5, 2));
    assert_eq!(listed(&layout).len(), 2);
    options.file_archival_batch_size = 0;
    let report = run(&layout, &options);
    assert_eq!((report.sources[1].found, report.sources[1].run_size), (1, 1));
    assert_eq!(
        names(&layout.errors),
        ["00000001000000000000000a.20261121T030912Z.unknown", "a_directory.20261121T030912Z.unknown"]
    );
    assert!(names(&layout.incoming).is_empty());
}

#[derive(Default)]
struct Watch {
    seen: Vec<String>,
    stop_at: Option<&'static str>,
}

impl IngestObserver for Watch {
    fn before(&mut self, file: &IngestFile<'_>) -> ControlFlow<String> {
        if self.stop_at.is_some_and(|stop| file.name == name(stop)) {
            return ControlFlow::Break("the hook said so".to_owned());
        }
        assert!(file.path.exists() && !file.target.exists());
        self.seen.push(format!("before {} {}/{}", file.name, file.number, file.count));
        ControlFlow::Continue(())
    }

    fn after(&mut self, file: &IngestFile<'_>, outcome: &Outcome) {
        assert!(matches!(outcome, Outcome::Archived { .. }) && file.target.exists() && !file.path.exists());
        self.seen.push(format!("after {}", file.name));
    }
}

#[test]
fn hooks_see_each_file_by_itself_and_can_end_the_run() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    for number in 1..=3 {
        put(&layout.incoming, &format!("00000001{number:016X}"), number);
    }
    let mut options = options();
    options.group = 1;
    let mut watch = Watch { stop_at: Some("000000010000000000000003"), ..Watch::default() };
    let report = ingest(&RealDisk, &layout, &options, &mut watch, &GO_ON).unwrap();
    assert_eq!(
        watch.seen,
        [
            "before 000000010000000000000001 1/3",
            "after 000000010000000000000001",
            "before 000000010000000000000002 2/3",
            "after 000000010000000000000002"
        ]
    );
    assert_eq!(report.sources[1].aborted.as_deref(), Some("the hook said so"));
    assert_eq!(names(&layout.incoming), ["000000010000000000000003"]);
}

#[test]
fn one_run_at_a_time_and_stoppable() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    put(&layout.incoming, "000000010000000000000001", 1);
    let lock = Lock::try_acquire(&layout.lock(&LockName::ArchiveWal)).unwrap();
    let error = ingest(&RealDisk, &layout, &options(), &mut (), &GO_ON).unwrap_err();
    assert!(matches!(error, IngestError::Lock(LockError::Busy { .. })));
    drop(lock);
    let report = ingest(&RealDisk, &layout, &options(), &mut (), &AtomicBool::new(true)).unwrap();
    assert!(report.sources[1].stopped);
    assert_eq!(names(&layout.incoming), ["000000010000000000000001"]);
}

/// The rename, the link, the sync, the index: whatever fails, no source goes before its line is durable.
#[test]
fn l_a25_l_a26_l_a13_any_failing_call_leaves_the_source_and_a_rerun_completes() {
    for (codec, workers) in [(Compression::None, 1), (Compression::Zstd, 3)] {
        let mut failures = 0;
        for call in 0.. {
            let home = tempfile::tempdir().unwrap();
            let layout = server(home.path());
            for number in 1..=3 {
                put(&layout.incoming, &format!("00000001{number:016X}"), number);
                put(&layout.streaming, &format!("00000001{:016X}", number + 8), number);
            }
            let disk = RecordingDisk::new(home.path()).unwrap();
            disk.fail_at(call, 5);
            let mut options = options();
            options.compression = codec;
            options.workers = workers;
            let done = ingest(&disk, &layout, &options, &mut (), &GO_ON);
            let count = |dir: &Path| names(dir).len();
            assert!(count(&layout.incoming) + listed(&layout).len() + count(&layout.streaming) >= 6);
            run(&layout, &options);
            let mut all = listed(&layout);
            all.sort();
            let want: Vec<_> = [1, 2, 3, 9, 10].iter().map(|n| format!("00000001{n:016X}")).collect();
            assert_eq!(all, want, "after a failure of call {call}");
            for file in &all {
                let mut content = Vec::new();
                WalStore::new(&layout).open(name(file), false).unwrap().read_to_end(&mut content).unwrap();
                let number = u8::try_from(segment_name(file).segment()).unwrap();
                assert_eq!(content, segment(file, if number > 8 { number - 8 } else { number }));
            }
            assert!(names(&layout.incoming).is_empty() && names(&layout.errors).is_empty());
            failures += usize::from(done.is_err());
            if call > disk.calls() {
                break;
            }
        }
        assert!(failures > 15, "{failures}");
    }
}

#[test]
fn l_a31_get_refuses_what_is_no_whole_segment() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let one = name("000000010000000000000001");
    let path = layout.wal(one);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let whole = segment("000000010000000000000001", 1);
    for length in [0, 9, whole.len() - 1, whole.len() / 2 + 1] {
        fs::write(&path, &whole[..length]).unwrap();
        for store in [WalStore::new(&layout), WalStore::new(&layout).with_segment_size(SIZE)] {
            assert!(matches!(store.open(one, false).unwrap_err(), WalStoreError::Length { .. }), "{length}");
        }
    }
    // Compressed, it shows at the end of reading.
    let short = home.path().join("short");
    let mut encoder =
        walfile::codec::encoder(fs::File::create(&short).unwrap(), Compression::Gzip, 1).unwrap();
    io::Write::write_all(&mut encoder, &whole[..1 << 19]).unwrap();
    encoder.finish().unwrap();
    fs::rename(&short, &path).unwrap();
    for store in [WalStore::new(&layout), WalStore::new(&layout).with_segment_size(SIZE)] {
        let error = store.open(one, false).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

#[test]
fn wal_is_found_in_barmans_order() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let store = WalStore::new(&layout).with_segment_size(SIZE);
    let five = name("000000010000000000000005");
    assert!(matches!(store.open(five, true).unwrap_err(), WalStoreError::NotFound { .. }));
    put(&layout.incoming, "000000010000000000000005.partial", 1);
    fs::create_dir_all(layout.wal(five).parent().unwrap()).unwrap();
    assert!(store.find(five, false).unwrap().is_none());
    let mut last = layout.incoming.join("000000010000000000000005.partial");
    assert_eq!(store.find(five, true).unwrap().unwrap().path, last);
    for better in [
        layout.wal(name("000000010000000000000005.partial")),
        layout.streaming.join("000000010000000000000005.partial"),
        layout.streaming.join("000000010000000000000005"),
        layout.incoming.join("000000010000000000000005"),
        layout.wal(five),
    ] {
        fs::copy(&last, &better).unwrap();
        assert_eq!(store.find(five, true).unwrap().unwrap().path, better);
        last = better;
    }
    put(&layout.incoming, "000000010000000000000006", 1);
    put(&layout.streaming, "000000010000000000000008", 1);
    let first = segment_name("000000010000000000000005");
    assert_eq!(store.successive(first, SIZE, 9).unwrap().len(), 2);
    assert_eq!(store.successive(first, SIZE, 1).unwrap().len(), 1);
    let missing = store.first_missing(first, segment_name("000000010000000000000008"), SIZE).unwrap();
    assert_eq!(missing, Some(segment_name("000000010000000000000007")));
}

/// Peeking goes on where the timeline ends, on the one that recovery to the newest would take; L-A6, L-A16.
#[test]
fn l_a6_the_segments_of_the_next_timeline_follow() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let put = |number: u64, timeline: u32| {
        let path = layout.incoming.join(format!("{timeline:08X}{number:016X}"));
        fs::write(path, segment(&format!("{timeline:08X}{number:016X}"), 1)).unwrap();
    };
    for (timeline, number) in [(1, 5), (1, 6), (2, 7), (2, 8), (3, 8), (3, 9), (4, 7), (0xA, 4), (0xA, 5)] {
        put(number, timeline);
    }
    let history = |timeline: u32, text: &str| {
        fs::write(layout.incoming.join(format!("{timeline:08X}.history")), text).unwrap();
    };
    history(2, "1\t0/7000A0\tno recovery target specified\n");
    // In the middle of segment 8, which the old timeline has as well.
    history(3, "1\t0/7000A0\tx\n2\t0/834000\tx\n");
    // Left before the segments that are asked for.
    history(4, "1\t0/500000\tx\n");
    history(5, "no history\n");
    history(0xA, "1\t0/412345\tx\n");
    let store = WalStore::new(&layout).with_segment_size(SIZE);
    let names = |first: &str, limit| -> Vec<String> {
        let names = store.successive(segment_name(first), SIZE, limit).unwrap();
        names.into_iter().map(|name| format!("{}/{}", name.timeline(), &name.to_string()[23..])).collect()
    };
    assert_eq!(names("000000010000000000000005", 9), ["1/5", "1/6", "2/7", "3/8", "3/9"]);
    assert_eq!(names("000000010000000000000005", 3), ["1/5", "1/6", "2/7"]);
    assert_eq!(names("000000020000000000000007", 9), ["2/7", "2/8"]);
    assert_eq!(names("0000000A0000000000000004", 9), ["10/4", "10/5"]);
    assert_eq!(names("000000010000000000000007", 9), [""; 0]);
}

#[test]
fn l_a20_l_a33_newest_segments_and_histories() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    for file in [
        "0000000100000000000000FE",
        "000000010000000100000003",
        "0000000A0000000000000005",
        "0000000A0000000000000004",
    ] {
        let path = layout.wal(name(file));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    fs::create_dir_all(layout.wals.join("0000000B00000000")).unwrap();
    fs::write(layout.wals.join("0000000A.history"), "1\t0/5000000\tpromoted\n").unwrap();
    let store = WalStore::new(&layout);
    let newest: Vec<_> =
        store.newest_segments().unwrap().into_values().map(|name| name.to_string()).collect();
    assert_eq!(newest, ["000000010000000100000003", "0000000A0000000000000005"]);
    let ten = Timeline::new(10).unwrap();
    assert_eq!(store.history_files().unwrap(), [ten]);
    assert_eq!(store.history(ten).unwrap().unwrap().entries().len(), 1);
    assert!(store.history(Timeline::FIRST).unwrap().is_none());
}

/// Another sender whose file appears just before ours gets its name.
#[derive(Debug)]
struct Faster(Vec<u8>);

impl Disk for Faster {
    fn open(&self, path: &Path, how: OpenMode, mode: Option<u32>) -> io::Result<Box<dyn DiskFile>> {
        RealDisk.open(path, how, mode)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn rename_no_replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::write(to, &self.0)?;
        RealDisk.rename_no_replace(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.link(from, to)
    }
    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        RealDisk.symlink(target, path)
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        RealDisk.unlink(path)
    }
    fn mkdir(&self, path: &Path, mode: Option<u32>) -> io::Result<()> {
        RealDisk.mkdir(path, mode)
    }
    fn rmdir(&self, path: &Path) -> io::Result<()> {
        RealDisk.rmdir(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }
    fn sync_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_file(path)
    }
    fn owner(&self) -> Owner {
        RealDisk.owner()
    }
}

#[test]
fn two_senders_of_the_same_file_both_succeed() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let one = name("000000010000000000000001");
    let (content, other) = (segment("000000010000000000000001", 1), segment("000000010000000000000001", 2));
    let accept =
        |theirs: &[u8]| incoming::accept(&Faster(theirs.to_vec()), &layout, one, None, &content[..], &mut ());
    assert_eq!(accept(&content).unwrap(), Accepted::Already);
    fs::remove_file(layout.incoming.join(one.to_string())).unwrap();
    assert!(matches!(accept(&other).unwrap_err(), AcceptError::Different { .. }));
    assert_eq!(fs::read(layout.incoming.join(one.to_string())).unwrap(), other);
    assert_eq!(fs::read_dir(&layout.incoming).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn incoming_takes_each_name_once() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let one = name("000000010000000000000001");
    let accept = |content: &[u8]| incoming::accept(&RealDisk, &layout, one, None, content, &mut ());
    let content = segment("000000010000000000000001", 1);
    assert_eq!(accept(&content).unwrap(), Accepted::New);
    assert_eq!(accept(&content).unwrap(), Accepted::Already);
    let other = segment("000000010000000000000001", 2);
    assert!(matches!(accept(&other).unwrap_err(), AcceptError::Different { .. }));
    assert_eq!(fs::read(layout.incoming.join(one.to_string())).unwrap(), content);
    // The archive counts too: PostgreSQL must hear of it, not find it in errors/ later.
    let mut zstd = options();
    zstd.compression = Compression::Zstd;
    run(&layout, &zstd);
    assert_eq!(accept(&content).unwrap(), Accepted::Already);
    assert!(matches!(accept(&other).unwrap_err(), AcceptError::Different { .. }));
    assert_eq!(names(&layout.incoming), [""; 0]);
    assert_eq!(fs::read_dir(&layout.incoming).unwrap().count(), 0, "no temporary file stays");
}

struct Never;

impl incoming::Verify for Never {
    fn update(&mut self, _: &[u8]) {}

    fn verify(&mut self) -> Result<(), String> {
        Err("expected aa, got bb".to_owned())
    }
}

#[test]
fn incoming_keeps_nothing_of_a_bad_transfer() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let one = name("000000010000000000000001");
    let error = incoming::accept(&RealDisk, &layout, one, None, &b"xyz"[..], &mut Never).unwrap_err();
    assert!(matches!(error, AcceptError::Checksum { .. }));
    assert_eq!(fs::read_dir(&layout.incoming).unwrap().count(), 0);
}

/// A record without data, as PostgreSQL 15 writes it.
fn bare_record(info: u8, previous: u64) -> [u8; 24] {
    let mut record = [0; 24];
    record[0] = 24;
    record[8..16].copy_from_slice(&previous.to_le_bytes());
    record[16] = info;
    let crc = crc32c::crc32c(&record[..20]);
    record[20..].copy_from_slice(&crc.to_le_bytes());
    record
}

#[test]
fn l_a8_segments_that_differ_only_behind_their_last_record_are_the_same() {
    const SWITCH: u8 = 0x40;
    const NOOP: u8 = 0x20;
    let one = "000000010000000000000001";
    let with = |info: u8, tail: &[u8]| {
        let mut bytes = segment(one, 1);
        bytes[40..64].copy_from_slice(&bare_record(info, SIZE.bytes() - 64));
        bytes[64..].fill(0);
        bytes[64..64 + tail.len()].copy_from_slice(tail);
        bytes
    };
    // The next record, in whose bytes something is wrong.
    let mut damaged = bare_record(NOOP, SIZE.bytes() + 40);
    damaged[20] ^= 1;
    for (info, first, second, same) in [
        // Behind a switch stands what the file held before, or zeros.
        (SWITCH, &[][..], &[8; 9_000][..], true),
        // What does not link back is of an earlier use of the file.
        (NOOP, &[], &bare_record(NOOP, 8), true),
        (NOOP, &[], &damaged, false),
        // One of them goes on.
        (NOOP, &[], &bare_record(NOOP, SIZE.bytes() + 40), false),
    ] {
        let home = tempfile::tempdir().unwrap();
        let layout = server(home.path());
        let mut zstd = options();
        zstd.compression = Compression::Zstd;
        fs::write(layout.incoming.join(one), with(info, first)).unwrap();
        run(&layout, &zstd);
        let stored = fs::read(layout.wal(name(one))).unwrap();
        fs::write(layout.incoming.join(one), with(info, second)).unwrap();
        let report = run(&layout, &zstd);
        assert_eq!(report.sources[1].already_archived, u64::from(same), "{info}");
        assert_eq!(names(&layout.errors).len(), usize::from(!same));
        assert_eq!(fs::read(layout.wal(name(one))).unwrap(), stored);
        assert!(names(&layout.incoming).is_empty());
    }
}

#[test]
fn what_cannot_be_read_waits_and_holds_up_nobody() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let [one, two, three] =
        ["000000010000000000000001", "000000010000000000000002", "000000010000000000000003"];
    // Reading its first page fails with EIO, for root as well.
    std::os::unix::fs::symlink("/proc/self/mem", layout.incoming.join(one)).unwrap();
    put(&layout.incoming, two, 2);
    put(&layout.incoming, three, 3);
    for workers in [1, 2] {
        let mut options = options();
        options.workers = workers;
        let report = run(&layout, &options);
        assert!(matches!(outcome(&report.sources[1], one), Outcome::Unreadable { .. }));
        assert_eq!(report.unreadable().count(), 1);
        assert_eq!(listed(&layout), [two, three]);
        assert_eq!(names(&layout.incoming), [one]);
    }
}

#[test]
fn links_and_directories_with_the_names_of_wal() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let file = |number: u32| format!("00000001{number:016X}");
    let link = |target: &Path, number: u32| {
        std::os::unix::fs::symlink(target, layout.incoming.join(file(number))).unwrap();
    };
    put(home.path(), &file(1), 1);
    link(&home.path().join(file(1)), 1);
    link(&home.path().join("nowhere"), 2);
    link(&layout.incoming.join(file(3)), 3);
    link(home.path(), 4);
    fs::create_dir(layout.incoming.join(file(5))).unwrap();
    put(&layout.incoming.join(file(5)), &file(6), 6);
    let report = run(&layout, &options());
    assert_eq!(report.sources[1].archived, 1);
    // The content went into the archive, not the link, and what it points to is still there.
    assert!(layout.wal(name(&file(1))).symlink_metadata().unwrap().is_file());
    assert!(home.path().join(file(1)).exists());
    let moved: Vec<_> = (2..=5).map(|number| format!("{}.20261121T030912Z.unknown", file(number))).collect();
    assert_eq!(names(&layout.errors), moved);
    assert!(names(&layout.incoming).is_empty());
}

struct Remove<'a>(&'a Path);

impl IngestObserver for Remove<'_> {
    fn before(&mut self, file: &IngestFile<'_>) -> ControlFlow<String> {
        if file.name == name("000000010000000000000002") {
            fs::remove_file(self.0.join("000000010000000000000002")).unwrap();
        }
        ControlFlow::Continue(())
    }

    fn source(&mut self, _: Source, _: usize, _: usize) {
        // Between the listing and its turn.
        drop(fs::remove_file(self.0.join("000000010000000000000001")));
    }
}

#[test]
fn a_file_that_vanishes_is_passed_over() {
    for workers in [1, 2] {
        let home = tempfile::tempdir().unwrap();
        let layout = server(home.path());
        for number in 1..=3 {
            put(&layout.incoming, &format!("00000001{number:016X}"), number);
        }
        let mut options = options();
        options.workers = workers;
        options.streaming = false;
        let report = ingest(&RealDisk, &layout, &options, &mut Remove(&layout.incoming), &GO_ON).unwrap();
        assert_eq!(*outcome(&report.sources[0], "000000010000000000000001"), Outcome::Vanished);
        assert_eq!(*outcome(&report.sources[0], "000000010000000000000002"), Outcome::Vanished);
        assert_eq!(listed(&layout), ["000000010000000000000003"]);
    }
}

/// The write that fails leaves half of its bytes behind, as a full disk does.
#[test]
fn l_a1_l_a35_a_full_disk_loses_nothing_wherever_it_strikes() {
    const ENOSPC: i32 = 28;
    let mut failures = 0;
    for call in (0..).step_by(3) {
        let home = tempfile::tempdir().unwrap();
        let layout = server(home.path());
        put(&layout.incoming, "000000010000000000000001", 1);
        put(&layout.incoming, "000000010000000000000002", 2);
        let disk = RecordingDisk::new(home.path()).unwrap();
        disk.fail_from(call, ENOSPC);
        let mut options = options();
        options.compression = Compression::Gzip;
        failures += usize::from(ingest(&disk, &layout, &options, &mut (), &GO_ON).is_err());
        for number in 1..=2 {
            let mut content = Vec::new();
            let file = format!("00000001{number:016X}");
            WalStore::new(&layout).open(name(&file), false).unwrap().read_to_end(&mut content).unwrap();
            assert_eq!(content, segment(&file, number), "{file} after call {call}");
        }
        run(&layout, &options);
        assert_eq!(listed(&layout), ["000000010000000000000001", "000000010000000000000002"]);
        assert!(names(&layout.incoming).is_empty() && names(&layout.errors).is_empty());
        if call > disk.calls() {
            break;
        }
    }
    assert!(failures > 3, "{failures}");
}

#[test]
fn l_a15_two_archivers_at_once_archive_each_file_once() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    for number in 1..=40 {
        put(&layout.incoming, &format!("00000001{number:016X}"), number);
    }
    let mut options = options();
    options.workers = 2;
    options.group = 4;
    let archived = || match ingest(&RealDisk, &layout, &options, &mut (), &GO_ON) {
        Ok(report) => report.archived(),
        Err(IngestError::Lock(LockError::Busy { .. })) => 0,
        Err(e) => panic!("{e}"),
    };
    let counts: u64 = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(archived)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    });
    assert_eq!(counts, 40);
    let mut all = listed(&layout);
    all.dedup();
    assert_eq!(all.len(), 40);
    assert!(names(&layout.incoming).is_empty() && names(&layout.errors).is_empty());
}

#[test]
fn an_uncompressed_segment_is_sealed_while_it_has_two_names_and_keeps_its_mode() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let one = "000000010000000000000001";
    put(&layout.incoming, one, 1);
    let source = layout.incoming.join(one);
    fs::set_permissions(&source, fs::Permissions::from_mode(0o640)).unwrap();
    let inode = source.metadata().unwrap().ino();
    let disk = RecordingDisk::new(home.path()).unwrap();
    ingest(&disk, &layout, &options(), &mut (), &GO_ON).unwrap();
    let archived = layout.wal(name(one)).metadata().unwrap();
    assert_eq!((archived.ino(), archived.mode() & 0o7777, archived.nlink()), (inode, 0o640, 1));
    let modes: Vec<u32> = disk
        .operations()
        .into_iter()
        .filter_map(|operation| match operation {
            tapster_catalog::durable::testing::Operation::SetMode { mode, .. } => Some(mode),
            _ => None,
        })
        .collect();
    assert_eq!(modes, [0o440, 0o640]);
}

#[test]
fn a_custom_filter_compresses_and_is_recognised_by_its_magic() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let [one, two] = ["000000010000000000000001", "000000010000000000000002"];
    let mut filter = CustomFilter::new("printf XYZ; gzip -c", "tail -c +4 | gzip -dc");
    filter.magic = CustomFilter::parse_magic("0x58595a");
    let mut options = options();
    options.custom = Some(filter.clone());
    put(&layout.incoming, one, 1);
    run(&layout, &options);
    let stored = fs::read(layout.wal(name(one))).unwrap();
    assert!(stored.starts_with(b"XYZ\x1F\x8B"));
    // The same again; and one that came compressed already.
    put(&layout.incoming, one, 1);
    fs::write(layout.incoming.join(two), &stored).unwrap();
    let report = run(&layout, &options);
    assert_eq!(report.sources[1].already_archived, 1);
    assert!(matches!(
        outcome(&report.sources[1], two),
        Outcome::Invalid { reason: Invalid::Address { .. }, .. }
    ));
    let index = XlogDb::lock(&RealDisk, &layout, &GO_ON).unwrap();
    let entry = index.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.compression.as_deref(), Some("custom"));
    // A filter that fails archives nothing.
    put(&layout.incoming, two, 2);
    drop(index);
    options.custom = Some(CustomFilter::new("head -c 100; exit 3", "cat"));
    assert!(ingest(&RealDisk, &layout, &options, &mut (), &GO_ON).is_err());
    assert_eq!((listed(&layout).len(), names(&layout.incoming)), (1, vec![two.to_owned()]));
}

#[test]
fn archived_but_not_listed_files_are_listed_however_long_the_index() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let [one, two] = ["000000010000000000000001", "000000010000000000000002"];
    put(&layout.incoming, one, 1);
    put(&layout.incoming, two, 2);
    run(&layout, &options());
    // `one` stands before more lines than the short look goes back; `two` lost its line in a crash.
    let line = fs::read_to_string(layout.xlogdb()).unwrap().lines().next().unwrap().to_owned();
    let others = (0x100..0x3000).map(|number| format!("00000001{number:016X}\t1\t1.5\tNone\tNone\n"));
    fs::write(layout.xlogdb(), format!("{line}\n{}", others.collect::<String>())).unwrap();
    let before = listed(&layout).len();
    put(&layout.incoming, one, 1);
    put(&layout.incoming, two, 2);
    run(&layout, &options());
    let after = listed(&layout);
    assert_eq!((after.len(), after.last().map(String::as_str)), (before + 1, Some(two)));
}

#[test]
fn l_a3_the_errors_directory_is_explained_retried_and_discarded() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let [one, two, three] =
        ["000000010000000000000001", "000000010000000000000002", "000000010000000000000003"];
    put(&layout.incoming, one, 1);
    run(&layout, &options());
    put(&layout.incoming, one, 9);
    fs::write(layout.incoming.join(two), segment_of(two, 2, SYSTEM)).unwrap();
    fs::write(layout.incoming.join("junk"), "x").unwrap();
    let mut wrong = options();
    wrong.system_id = Some(5);
    run(&layout, &wrong);
    fs::write(layout.errors.join(format!("{one}.20261121T030000Z.duplicate")), segment(one, 1)).unwrap();
    fs::write(layout.errors.join(format!("{three}.20261121T030000Z.unknown")), "short").unwrap();
    let files = errors_dir::list(&layout, &options(), true).unwrap();
    let verdicts: Vec<_> = files.iter().map(|file| (file.original.as_str(), &file.verdict)).collect();
    assert_eq!(
        verdicts,
        [
            (one, &Verdict::SameAsArchived),
            (one, &Verdict::DiffersFromArchived { at: Some(40) }),
            (two, &Verdict::NotArchived),
            (three, &Verdict::Invalid(Invalid::Length { expected: SIZE.bytes(), found: 5 })),
            ("junk", &Verdict::NoWal),
        ]
    );
    // The cause is gone (the right system identifier): once put back it is archived.
    let back = errors_dir::retry(&RealDisk, &layout, &files[2]).unwrap();
    assert_eq!(back, Some(layout.incoming.join(two)));
    run(&layout, &options());
    assert_eq!(listed(&layout), [one, two]);
    assert_eq!(errors_dir::retry(&RealDisk, &layout, &files[4]).unwrap(), None);
    for file in [&files[0], &files[1], &files[3], &files[4]] {
        errors_dir::discard(&RealDisk, file).unwrap();
    }
    assert!(names(&layout.errors).is_empty());
}

#[test]
fn a_batch_of_one_makes_progress_whatever_stays() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let [one, two, three] =
        ["000000010000000000000001", "000000010000000000000002", "000000010000000000000003"];
    std::os::unix::fs::symlink("/proc/self/mem", layout.incoming.join(one)).unwrap();
    fs::write(layout.incoming.join(format!("{one}.tmp")), "being written").unwrap();
    put(&layout.incoming, two, 2);
    put(&layout.incoming, three, 3);
    put(&layout.streaming, "000000020000000000000004", 4);
    put(&layout.streaming, "000000020000000000000005", 5);
    for (workers, file) in [(1, two), (2, three)] {
        let mut options = options();
        (options.file_archival_batch_size, options.streaming_batch_size) = (1, 1);
        options.workers = workers;
        let report = run(&layout, &options);
        assert_eq!(report.sources[1].archived, 1);
        assert!(listed(&layout).contains(&file.to_owned()));
    }
    assert!(listed(&layout).contains(&"000000020000000000000004".to_owned()));
    assert_eq!(names(&layout.streaming), ["000000020000000000000005"]);
}

#[test]
fn a_source_that_changes_while_it_is_compressed_waits() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let one = "000000010000000000000001";
    put(&layout.incoming, one, 1);
    let source = layout.incoming.join(one);
    let mut options = options();
    // As PostgreSQL does that repeats a plain `cp`.
    let filter = format!("cat; truncate -s 10 {}", source.display());
    options.custom = Some(CustomFilter::new(filter, "cat".to_owned()));
    let report = run(&layout, &options);
    assert_eq!(*outcome(&report.sources[1], one), Outcome::Unsettled { reason: Invalid::Changed });
    assert!(listed(&layout).is_empty() && !layout.wal(name(one)).exists());
    assert_eq!((names(&layout.incoming), names(&layout.errors)), (vec![one.to_owned()], vec![]));
    put(&layout.incoming, one, 1);
    options.custom = None;
    assert_eq!(run(&layout, &options).archived(), 1);
}

#[test]
fn a_source_that_changes_after_it_was_judged_waits() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let [one, two] = ["000000010000000000000001", "000000010000000000000002"];
    put(&layout.incoming, one, 1);
    run(&layout, &options());
    put(home.path(), one, 1);
    put(&layout.incoming, one, 9);
    put(&layout.incoming, two, 2);
    // The sender repeats the first while the second is compressed.
    let (good, bad) = (home.path().join(one), layout.incoming.join(one));
    let mut options = options();
    let filter = format!("cat; cp {} {}", good.display(), bad.display());
    options.custom = Some(CustomFilter::new(filter, "cat".to_owned()));
    let report = run(&layout, &options);
    assert_eq!(*outcome(&report.sources[1], one), Outcome::Unsettled { reason: Invalid::Changed });
    assert!(names(&layout.errors).is_empty());
    let report = run(&layout, &options);
    assert_eq!(report.sources[1].already_archived, 1);
    assert!(names(&layout.incoming).is_empty());
}

#[test]
fn what_cannot_be_moved_away_holds_up_nobody() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    fs::remove_dir(&layout.errors).unwrap();
    fs::write(&layout.errors, "no directory").unwrap();
    let [one, two] = ["000000010000000000000001", "000000010000000000000002"];
    fs::create_dir(layout.streaming.join("lost+found")).unwrap();
    fs::write(layout.streaming.join("junk"), "x").unwrap();
    fs::write(layout.incoming.join(one), "short").unwrap();
    put(&layout.incoming, two, 2);
    let report = run(&layout, &options());
    let unmovable: Vec<_> = report.sources[0].unmovable.iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(unmovable, [layout.streaming.join("junk")]);
    assert_eq!(report.unreadable().next().unwrap().0, name(one));
    assert_eq!(listed(&layout), [two]);
    assert_eq!(names(&layout.incoming), [one]);
}

#[test]
fn a_source_stays_sealed_where_a_failure_leaves_it_two_names() {
    use std::os::unix::fs::MetadataExt as _;
    let one = "000000010000000000000001";
    let mut sealed = 0;
    for call in 0.. {
        let home = tempfile::tempdir().unwrap();
        let layout = server(home.path());
        put(&layout.incoming, one, 1);
        let disk = RecordingDisk::new(home.path()).unwrap();
        disk.fail_at(call, 5);
        let failed = ingest(&disk, &layout, &options(), &mut (), &GO_ON).is_err();
        let left = layout.incoming.join(one).metadata();
        if let Some(metadata) = left.ok().filter(|metadata| failed && metadata.nlink() == 2) {
            assert_eq!(metadata.mode() & 0o222, 0, "after a failure of call {call}");
            sealed += 1;
        }
        run(&layout, &options());
        assert_eq!(listed(&layout), [one]);
        assert!(names(&layout.incoming).is_empty());
        if call > disk.calls() {
            break;
        }
    }
    assert!(sealed > 1, "{sealed}");
}

/// An object store that refuses files, each for a reason of its own.
#[derive(Debug)]
struct Refusing;

impl WalObjects for Refusing {
    fn place(&self, name: WalName) -> PathBuf {
        PathBuf::from(name.to_string())
    }

    fn exists(&self, _: WalName) -> Result<bool, ObjectsError> {
        Ok(false)
    }

    fn newest_segments(&self) -> Result<BTreeMap<Timeline, SegmentName>, ObjectsError> {
        Ok(BTreeMap::new())
    }

    fn names(&self, _: Option<SegmentName>, _: &mut dyn FnMut(WalName)) -> Result<(), ObjectsError> {
        Ok(())
    }

    fn histories(&self) -> Result<Vec<Timeline>, ObjectsError> {
        Ok(Vec::new())
    }

    fn open(&self, _: WalName, _: bool) -> Result<Option<Box<dyn io::Read + Send>>, ObjectsError> {
        Ok(None)
    }

    fn archive(
        &self,
        name: WalName,
        path: &Path,
        _: Compression,
        _: Level,
    ) -> Result<ArchivedObject, NotArchived> {
        match name.to_string().as_bytes().last() {
            Some(b'2') => Err(NotArchived::Invalid { problem: "it is empty".to_owned() }),
            Some(b'3') => Err(NotArchived::Unreadable(io::Error::other("a bad sector"))),
            Some(b'4') => Err(NotArchived::Changed),
            Some(b'5') => {
                fs::remove_file(path).unwrap();
                Err(NotArchived::Unreadable(io::ErrorKind::NotFound.into()))
            }
            Some(b'8') => Err(ObjectsError::new("the store is away").into()),
            _ => Ok(ArchivedObject::New { size: 1 }),
        }
    }

    fn remove(
        &self,
        _: Option<SegmentName>,
        _: &dyn Fn(WalName) -> bool,
        _: &AtomicBool,
    ) -> Result<bool, ObjectsError> {
        Ok(true)
    }
}

#[test]
fn one_file_that_an_object_store_refuses_does_not_hold_up_the_others() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let file = |number: u8| format!("00000001{number:016X}");
    let mut options = options();
    options.objects = Some(Arc::new(Refusing));
    options.compression = Compression::Gzip;
    for workers in [1, 4] {
        options.workers = workers;
        for number in 1..=6 {
            put(&layout.incoming, &file(number), number);
        }
        let report = &run(&layout, &options).sources[1];
        assert_eq!(report.archived, 2);
        let reason = Invalid::Refused { problem: "it is empty".to_owned() };
        assert!(
            matches!(outcome(report, &file(2)), Outcome::Invalid { reason: found, moved_to: Some(_) } if *found == reason)
        );
        assert!(
            matches!(outcome(report, &file(3)), Outcome::Unreadable { problem } if problem.contains("bad sector"))
        );
        assert_eq!(*outcome(report, &file(4)), Outcome::Unsettled { reason: Invalid::Changed });
        assert_eq!(*outcome(report, &file(5)), Outcome::Vanished);
        assert_eq!(names(&layout.incoming), [file(3), file(4)]);
    }
    // The store itself is another thing.
    for number in 7..=9 {
        put(&layout.incoming, &file(number), number);
    }
    let failed = ingest(&RealDisk, &layout, &options, &mut (), &GO_ON);
    assert!(matches!(failed, Err(IngestError::Objects { .. })), "{failed:?}");
    assert_eq!(names(&layout.incoming), [file(3), file(4), file(8), file(9)]);
}
