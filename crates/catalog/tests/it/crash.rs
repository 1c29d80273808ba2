//! Every way of writing WAL and records, cut after every operation, with everything not synced lost, kept, halved or
//! zeroed. Afterwards: what was acknowledged is readable, what is listed is complete, one name never has two
//! contents, and going on as after a restart completes the work.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tapster_catalog::durable::testing::{CrashState, RecordingDisk};
use tapster_catalog::durable::{self, Disk, OpenMode, RealDisk};
use tapster_catalog::incoming;
use tapster_catalog::wal_index::{HashDir, WalIndex};
use tapster_catalog::wal_mirror::WalMirror;
use tapster_catalog::{
    Catalog, IngestOptions, SegmentDir, SegmentDirOptions, ServerLayout, UtcOffset, WalStore, XlogDb,
    XlogEntry, ingest,
};
use time::macros::datetime;
use walfile::codec::Compression;
use walfile::{Lsn, Timeline, TimelineHistory, WalName, WalSink};

use crate::wal_log::Truth;
use crate::wal_samples::{SIZE, SYSTEM, name, names, segment, server};

static GO_ON: AtomicBool = AtomicBool::new(false);

/// Visits each crash state, laid out on disk as a server's directories.
fn each_crash(disk: &RecordingDisk, mut check: impl FnMut(&ServerLayout, &CrashState)) {
    let mut states = 0;
    disk.for_each_crash(|crash| {
        let home = tempfile::tempdir()?;
        crash.materialise(home.path())?;
        check(&server(home.path()), crash);
        states += 1;
        Ok(())
    })
    .unwrap();
    assert!(states > 20, "{states} states");
}

fn lsn(segment: u64, offset: u64) -> Lsn {
    Lsn::new(segment * SIZE.bytes() + offset)
}

fn options() -> SegmentDirOptions {
    SegmentDirOptions::with_segment_size(SIZE)
}

const TWO_HISTORY: &str = "1\t0/30C350\tno recovery target specified\n";

/// What a server sends: two segments and a bit on timeline 1, then timeline 2 from the start of segment 3, which
/// repeats the bytes before the switch.
struct Stream {
    flush_each: bool,
    one: Vec<u8>,
    two: Vec<u8>,
}

/// Bytes of segment 3 that timeline 1 has.
const TAIL: usize = 0xC350;
const CHUNK: usize = 400_000;

impl Stream {
    fn new(flush_each: bool) -> Self {
        let segment = |n: u64| segment(&format!("00000001{n:016X}"), n as u8);
        let third = segment(3);
        let mut one = [segment(1), segment(2)].concat();
        one.extend_from_slice(&third[..TAIL]);
        Self { flush_each, one, two: third }
    }

    /// The bytes of `timeline` from `at`, in messages, and what is acknowledged after each.
    fn send(
        &self,
        sink: &mut SegmentDir,
        timeline: u32,
        from: Lsn,
        until: Lsn,
        acknowledged: &mut dyn FnMut(u32, Lsn),
    ) -> io::Result<()> {
        let (bytes, base) = if timeline == 1 { (&self.one, lsn(1, 0)) } else { (&self.two, lsn(3, 0)) };
        let mut at = from;
        while at < until {
            let start = (at.get() - base.get()) as usize;
            let end = (start + CHUNK).min((until.get() - base.get()) as usize);
            sink.write(at, &bytes[start..end])?;
            at = base.saturating_add(end as u64);
            if self.flush_each {
                acknowledged(timeline, sink.flush()?);
                continue;
            }
            // What the background does by itself counts too.
            let whole = at.segment_start(SIZE);
            while whole > from && sink.flushed() < whole {
                std::thread::sleep(Duration::from_millis(1));
            }
            acknowledged(timeline, sink.flushed());
        }
        acknowledged(timeline, sink.flush()?);
        Ok(())
    }

    /// From wherever the directory is, to the end of timeline 2.
    fn receive(&self, sink: &mut SegmentDir, acknowledged: &mut dyn FnMut(u32, Lsn)) -> io::Result<()> {
        let two = Timeline::new(2).unwrap();
        if sink.timeline().is_none() {
            sink.begin(Timeline::FIRST);
        }
        if sink.timeline() == Some(Timeline::FIRST) {
            let from = sink.position().unwrap_or(lsn(1, 0));
            self.send(sink, 1, from, lsn(3, TAIL as u64), acknowledged)?;
            let history = TimelineHistory::parse(two, TWO_HISTORY.as_bytes()).unwrap();
            sink.switch_timeline(&history, TWO_HISTORY.as_bytes())?;
        }
        let from = sink.position().unwrap_or(lsn(3, 0));
        self.send(sink, 2, from, lsn(4, 0), acknowledged)
    }

    /// That everything acknowledged can be read from the directory.
    fn check(&self, dir: &Path, acknowledged: &BTreeMap<u32, Lsn>, when: &str) {
        for (timeline, end) in acknowledged {
            let (bytes, base) = if *timeline == 1 { (&self.one, lsn(1, 0)) } else { (&self.two, lsn(3, 0)) };
            let mut at = base;
            while at < *end {
                let segment = at.segment(SIZE).name(Timeline::new(*timeline).unwrap(), SIZE);
                let whole = dir.join(segment.to_string());
                let partial = dir.join(format!("{segment}.partial"));
                let content = fs::read(&whole).or_else(|_| fs::read(&partial));
                let content = content.unwrap_or_else(|_| panic!("{segment} is lost: {when}"));
                let next = at.saturating_add(SIZE.bytes()).min(*end);
                let start = (at.get() - base.get()) as usize;
                let length = (next.get() - at.get()) as usize;
                assert!(content[..length] == bytes[start..start + length], "{segment} is damaged: {when}");
                at = next;
            }
        }
        if acknowledged.contains_key(&2) {
            let history = fs::read_to_string(dir.join("00000002.history")).unwrap();
            assert_eq!(history, TWO_HISTORY, "{when}");
        }
        for file in names(dir) {
            if let Ok(WalName::Segment(_)) = file.parse() {
                let content = fs::read(dir.join(&file)).unwrap();
                let number = file[16..].parse::<u64>().unwrap();
                // A whole segment is under its name only when all of it was durable.
                let want = if number == 3 {
                    &self.two[..]
                } else {
                    &self.one[(number as usize - 1) << 20..(number as usize) << 20]
                };
                assert!(content == want, "{file} is not whole: {when}");
            }
        }
    }
}

#[test]
fn l_a27_received_wal_flushed_after_each_message() {
    received_wal(&Stream::new(true));
}

#[test]
fn l_a27_received_wal_flushed_by_the_background() {
    received_wal(&Stream::new(false));
}

fn received_wal(stream: &Stream) {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let disk = Arc::new(RecordingDisk::new(home.path()).unwrap());
    let (mut sink, _) = SegmentDir::open_on(disk.clone(), &layout.streaming, options()).unwrap();
    stream
        .receive(&mut sink, &mut |timeline, lsn| {
            if !lsn.is_invalid() {
                disk.mark(format!("{timeline} {lsn}"));
            }
        })
        .unwrap();
    drop(sink);
    let mut restarted = 0;
    each_crash(&disk, |layout, crash| {
        let when = crash.to_string();
        let mut acknowledged: BTreeMap<u32, Lsn> = BTreeMap::new();
        for mark in &crash.marks {
            let (timeline, lsn) = mark.split_once(' ').unwrap();
            let highest = acknowledged.entry(timeline.parse().unwrap()).or_default();
            *highest = (*highest).max(lsn.parse().unwrap());
        }
        let dir = &layout.streaming;
        stream.check(dir, &acknowledged, &when);
        // A restart keeps all that, and comes to the end. Every fourth is enough: receiving takes a while.
        restarted += 1;
        if restarted % 4 == 0 {
            let (mut sink, resume) = SegmentDir::open(dir, options()).unwrap();
            stream.check(dir, &acknowledged, &when);
            if let Some((_, from)) = resume.from {
                assert!(from >= lsn(1, 0), "{when}");
            }
            stream.receive(&mut sink, &mut |_, _| {}).unwrap_or_else(|e| panic!("{e}: {when}"));
            drop(sink);
            acknowledged.insert(2, lsn(4, 0));
            stream.check(dir, &acknowledged, &when);
        }
    });
}

fn ingest_options(codec: Compression) -> IngestOptions {
    let mut options = IngestOptions::new(datetime!(2026-11-21 03:09:12 UTC));
    options.settle = Duration::ZERO;
    options.segment_size = Some(SIZE);
    options.system_id = Some(SYSTEM);
    options.compression = codec;
    options.group = 2;
    // Side by side where it compresses, one after another where it links.
    options.workers = if codec == Compression::None { 1 } else { 2 };
    options
}

fn listed(layout: &ServerLayout) -> Vec<XlogEntry> {
    let index = XlogDb::lock(&RealDisk, layout, &GO_ON).unwrap();
    index.entries().unwrap().map(Result::unwrap).collect()
}

fn read(layout: &ServerLayout, file: WalName) -> Vec<u8> {
    let mut content = Vec::new();
    let store = WalStore::new(layout).with_segment_size(SIZE);
    store.open(file, false).unwrap().read_to_end(&mut content).unwrap();
    content
}

#[test]
fn l_a26_ingest() {
    for codec in [Compression::None, Compression::Zstd] {
        let home = tempfile::tempdir().unwrap();
        let layout = server(home.path());
        let mut sources = BTreeMap::new();
        for (dir, number) in
            [(&layout.incoming, 1), (&layout.incoming, 2), (&layout.streaming, 3), (&layout.streaming, 4)]
        {
            let file = format!("00000001{number:016X}");
            fs::write(dir.join(&file), segment(&file, number)).unwrap();
            sources.insert(name(&file), segment(&file, number));
        }
        let history = "1\t0/5000000\tpromoted\n";
        fs::write(layout.incoming.join("00000002.history"), history).unwrap();
        sources.insert(name("00000002.history"), history.as_bytes().to_vec());
        // As after the first run of a server: there is an index.
        drop(XlogDb::lock(&RealDisk, &layout, &GO_ON).unwrap());
        let disk = RecordingDisk::new(home.path()).unwrap();
        let report = ingest(&disk, &layout, &ingest_options(codec), &mut (), &GO_ON).unwrap();
        assert_eq!(report.archived(), 4);
        disk.mark("archived");
        let mut restarted = 0;
        each_crash(&disk, |layout, crash| {
            let when = crash.to_string();
            // Nothing is lost, whatever is listed by now.
            for (file, content) in &sources {
                assert!(read(layout, *file) == *content, "{file}: {when}");
            }
            for entry in listed(layout) {
                let path = layout.wal(entry.name);
                assert_eq!(path.metadata().expect(&when).len(), entry.size, "{when}");
            }
            if !crash.marks.is_empty() {
                assert_eq!(listed(layout).len(), 4, "{when}");
            }
            // The next run completes it, and lists every file once. A third of the states is enough.
            restarted += 1;
            if restarted % 3 != 0 {
                return;
            }
            ingest(&RealDisk, layout, &ingest_options(codec), &mut (), &GO_ON).unwrap();
            let mut all: Vec<_> = listed(layout).into_iter().map(|entry| entry.name).collect();
            all.sort();
            let want: Vec<_> =
                sources.keys().copied().filter(|file| *file != name("000000010000000000000004")).collect();
            assert_eq!(all, want, "{when}");
            assert!(names(&layout.incoming).is_empty() && names(&layout.errors).is_empty(), "{when}");
            for (file, content) in &sources {
                assert!(read(layout, *file) == *content, "{file}: {when}");
            }
        });
    }
}

/// WAL copied from another archive, as by a program that syncs nothing.
fn stage(disk: &dyn Disk, mirror: &WalMirror<'_>, entries: &[XlogEntry]) {
    for entry in entries {
        let path = mirror.staging().join(WalMirror::relative(entry.name));
        durable::create_dir_all(disk, path.parent().unwrap(), None).unwrap();
        let content = segment(&entry.name.to_string(), 7);
        disk.open(&path, OpenMode::CreateNew, None).unwrap().write_all(&content).unwrap();
    }
}

#[test]
fn wal_of_another_archive() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    drop(XlogDb::lock(&RealDisk, &layout, &GO_ON).unwrap());
    let entries: Vec<XlogEntry> = (1..=2)
        .map(|n: u32| {
            format!("00000001{n:016X}\t{}\t1795219542.25\tNone\tNone", SIZE.bytes()).parse().unwrap()
        })
        .collect();
    let disk = Arc::new(RecordingDisk::new(home.path()).unwrap());
    let catalog = Catalog::with_disk(layout, UtcOffset::UTC, disk.clone());
    let options = ingest_options(Compression::None);
    let mut mirror = WalMirror::begin(&catalog).unwrap();
    stage(&*disk, &mirror, &entries);
    let done = mirror.publish(&entries, &options, &GO_ON).unwrap();
    assert_eq!(done.archived.len(), 2);
    disk.mark("published");
    drop(mirror);
    let mut restarted = 0;
    each_crash(&disk, |layout, crash| {
        // Whatever has its name, listed or not, is whole.
        for entry in &entries {
            let whole = || read(layout, entry.name) == segment(&entry.name.to_string(), 7);
            assert!(!layout.wal(entry.name).exists() || whole(), "{}: {crash}", entry.name);
        }
        let there = listed(layout);
        assert!(there.iter().all(|entry| layout.wal(entry.name).exists()), "{crash}");
        assert!(crash.marks.is_empty() || there == entries, "{crash}");
        restarted += 1;
        if restarted % 8 != 0 {
            return;
        }
        let catalog = Catalog::open(layout.clone(), UtcOffset::UTC);
        let mut mirror = WalMirror::begin(&catalog).unwrap();
        let missing = mirror.missing(entries.clone(), &GO_ON).unwrap();
        stage(&RealDisk, &mirror, &missing);
        let done = mirror.publish(&missing, &options, &GO_ON).unwrap();
        assert!(done.duplicates.is_empty() && done.invalid.is_empty(), "{done:?}: {crash}");
        drop(mirror);
        let mut names: Vec<_> = listed(layout).into_iter().map(|entry| entry.name).collect();
        names.sort();
        assert_eq!(names, entries.iter().map(|entry| entry.name).collect::<Vec<_>>(), "{crash}");
        assert!(!layout.wals.join(".sync").exists(), "{crash}");
    });
}

#[test]
fn accepting_into_incoming() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let file = name("000000010000000000000001");
    let content = segment("000000010000000000000001", 1);
    let disk = RecordingDisk::new(home.path()).unwrap();
    incoming::accept(&disk, &layout, file, None, &content[..], &mut ()).unwrap();
    disk.mark("accepted");
    incoming::accept(&disk, &layout, file, None, &content[..], &mut ()).unwrap();
    each_crash(&disk, |layout, crash| {
        let path = layout.incoming.join(file.to_string());
        match fs::read(&path) {
            Ok(there) => assert!(there == content, "{crash}"),
            Err(_) => assert!(crash.marks.is_empty(), "{crash}"),
        }
        incoming::accept(&RealDisk, layout, file, None, &content[..], &mut ()).unwrap();
        assert!(fs::read(&path).unwrap() == content, "{crash}");
    });
}

#[test]
fn index_lines_and_rewrites() {
    let entry = |number: u32| -> XlogEntry {
        format!("00000001{number:016X}\t{number}\t1795219542.25\tNone\tNone").parse().unwrap()
    };
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    fs::write(layout.xlogdb(), format!("{}\n", entry(1))).unwrap();
    let disk = RecordingDisk::new(home.path()).unwrap();
    let mut index = XlogDb::lock(&disk, &layout, &GO_ON).unwrap();
    for number in 2..=4 {
        index.append(&[entry(number)]).unwrap();
        disk.mark("appended");
    }
    index.retain(|entry| entry.size != 2).unwrap();
    disk.mark("rewritten");
    index.append(&[entry(5)]).unwrap();
    disk.mark("appended");
    drop(index);
    each_crash(&disk, |layout, crash| {
        let numbers = || listed(layout).iter().map(|entry| entry.size).collect::<Vec<_>>();
        let full: &[&[u64]] = &[&[1], &[1, 2], &[1, 2, 3], &[1, 2, 3, 4], &[1, 3, 4], &[1, 3, 4, 5]];
        let acknowledged = crash.marks.len();
        // That state or the next, and nothing else.
        let got = numbers();
        assert!(full[acknowledged..].iter().take(2).any(|state| *state == got), "{got:?}: {crash}");
        let mut index = XlogDb::lock(&RealDisk, layout, &GO_ON).unwrap();
        index.append(&[entry(9)]).unwrap();
        drop(index);
        let mut want = got;
        want.push(9);
        assert_eq!(numbers(), want, "{crash}");
    });
}

/// The index of the WAL's content: appended to, completed and marked. Whatever a crash leaves of it, what it says
/// afterwards is right; and what was acknowledged is not read again.
#[test]
fn index_of_what_segments_hold() {
    let log = crate::wal_index::sample(3);
    let truth = Truth::of(&log);
    let (home, now) = (tempfile::tempdir().unwrap(), datetime!(2026-11-21 03:09:12 UTC));
    let layout = server(home.path());
    let dir: HashDir = "0000000100000000".parse().unwrap();
    fs::create_dir_all(dir.path(&layout)).unwrap();
    // A copy of the directory has other times; these are set again.
    let set_times = |layout: &ServerLayout| {
        let path = dir.path(layout);
        for name in names(&path) {
            let file = fs::File::options().write(true).open(path.join(name)).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        }
        fs::File::open(path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    };
    let disk = RecordingDisk::new(home.path()).unwrap();
    for (count, (name, bytes)) in log.segments().into_iter().enumerate() {
        if count == 1 {
            // One that came without us.
            fs::write(layout.wal(name.into()), bytes).unwrap();
            continue;
        }
        let source = layout.incoming.join(name.to_string());
        // The archive's file is a second name of this one, so the recorder has to know it.
        durable::write_new(&disk, &source, bytes, None).unwrap();
        fs::File::options().write(true).open(&source).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        ingest(&disk, &layout, &ingest_options(Compression::None), &mut (), &GO_ON).unwrap();
        disk.mark("archived");
    }
    set_times(&layout);
    let found = WalIndex::new(&disk, &layout, now, &GO_ON).load(dir).unwrap();
    assert_eq!((found.scanned, found.unsaved), (1, None));
    disk.mark("completed");
    let mut states = 0;
    each_crash(&disk, |layout, crash| {
        states += 1;
        if states % 3 != 0 && crash.marks.len() < 4 {
            return;
        }
        fs::create_dir_all(dir.path(layout)).unwrap();
        for (name, bytes) in log.segments() {
            fs::write(layout.wal(name.into()), bytes).unwrap();
        }
        set_times(layout);
        let index = WalIndex::new(&RealDisk, layout, now, &GO_ON);
        let known = |scanned| truth.len() - scanned;
        let found = index.load(dir).unwrap();
        let acknowledged = crash.marks.iter().filter(|mark| *mark == "archived").count();
        let expected =
            if crash.marks.iter().any(|mark| mark == "completed") { truth.len() } else { acknowledged };
        assert!(known(found.scanned) >= expected, "{} read: {crash}", found.scanned);
        for (summary, truth) in found.segments.iter().zip(&truth) {
            if summary.content.tail_lsn.is_none() {
                assert_eq!(Truth::from_summary(&summary.content, truth), *truth, "{crash}");
            }
        }
        assert_eq!(index.load(dir).unwrap().scanned, 0, "{crash}");
    });
}
