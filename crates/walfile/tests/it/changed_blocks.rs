//! Changed blocks of real WAL against the summaries that PostgreSQL made of it.

use std::io::Read;
use std::path::PathBuf;

use walfile::changed_blocks::{ChangedBlocks, ForkId, Summarizer, Summary, SummaryName, SummaryReader};
use walfile::record::Fork;
use walfile::{EndReason, Lsn, Record, Timeline};

use crate::golden::MAJORS;
use crate::wal;

const SEGMENT: usize = 1 << 20;

/// A file of `tests/data/summaries`, made by `tests/data/make-summaries`.
fn read(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/summaries").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn unpack(name: &str) -> Vec<u8> {
    let mut content = Vec::new();
    liblzma::read::XzDecoder::new(&read(name)[..]).read_to_end(&mut content).unwrap();
    content
}

/// The server's files: their names and contents.
fn server_files(major: u16) -> Vec<(SummaryName, Vec<u8>)> {
    let names = String::from_utf8(read(&format!("{major}.names"))).unwrap();
    let mut bytes = &unpack(&format!("{major}.files.xz"))[..];
    let mut files = Vec::new();
    for (name, size) in names.lines().map(|line| line.split_once(' ').unwrap()) {
        let (file, rest) = bytes.split_at(size.parse().unwrap());
        files.push((name.parse().unwrap(), file.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty());
    files
}

/// The records of timeline 1 up to the switch, then those of timeline 2.
fn walk(major: u16, see: &mut dyn FnMut(&Record<'_>)) {
    let log = unpack(&format!("{major}.wal.xz"));
    let address = |segment: &[u8]| u64::from_le_bytes(segment[8..16].try_into().unwrap());
    let segments: Vec<&[u8]> = log.chunks(SEGMENT).collect();
    // A timeline's first segment begins with what the same of the one before has.
    let second = segments.windows(2).position(|pair| address(pair[0]) == address(pair[1])).unwrap() + 1;
    let second = second * SEGMENT;
    wal::walk(&log[..second - SEGMENT], see);
    let mut one = log[..second].to_vec();
    one[second - SEGMENT..].copy_from_slice(&log[second..second + SEGMENT]);
    one.extend_from_slice(&log[second + SEGMENT..]);
    let mut last = Lsn::INVALID;
    wal::walk(&log[..second - SEGMENT], &mut |record| last = record.lsn);
    let end = wal::walk(&one, &mut |record| {
        if record.lsn > last {
            see(record);
        }
    });
    assert_eq!(end.reason, EndReason::NothingWritten);
}

fn summaries(major: u16) -> Vec<Summary> {
    let (mut summarizer, mut found) = (Summarizer::new(), Vec::new());
    walk(major, &mut |record| found.extend(summarizer.push(record).unwrap()));
    found
}

#[test]
fn the_same_summaries_as_the_server() {
    for major in [17, 18] {
        let expected = server_files(major);
        let found = summaries(major);
        let names = |list: &[SummaryName]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            names(&found.iter().map(|summary| summary.name).collect::<Vec<_>>()),
            names(&expected.iter().map(|(name, _)| *name).collect::<Vec<_>>()),
            "{major}"
        );
        for (summary, (name, bytes)) in found.iter().zip(&expected) {
            let mut ours = Vec::new();
            summary.blocks.write_summary(&mut ours).unwrap();
            assert_eq!(ours, *bytes, "{major} {name}");
            assert_eq!(ChangedBlocks::read_summary(&bytes[..]).unwrap(), summary.blocks);
        }
        let forks = |what: fn(&ForkId) -> bool| {
            found.iter().flat_map(|summary| summary.blocks.forks()).filter(|(id, _)| what(id)).count()
        };
        assert!(forks(|id| id.fork == Fork::Visibility) > 5);
        assert!(forks(|id| id.fork == Fork::Init) > 1);
        assert!(forks(|id| id.relation.number == 0) >= 1);
        assert_eq!(forks(|id| id.fork == Fork::FreeSpace), 0);
        assert!(found.iter().any(|summary| summary.name.timeline == Timeline::new(2).unwrap()));
        // A stretch with wal_level = minimal has none.
        assert!(found.windows(2).any(|pair| pair[0].name.end < pair[1].name.start));
    }
}

/// Against `pg_wal_summary_contents()`: the lines of one summary.
fn contents(name: SummaryName, blocks: &ChangedBlocks) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, changes) in blocks.forks() {
        let file = id.relation;
        let mut line = |block, limit| {
            let (tablespace, database) = (file.tablespace, file.database);
            let fork = id.fork as u32;
            lines
                .push(format!("{name}\t{tablespace}\t{database}\t{}\t{fork}\t{block}\t{limit}", file.number));
        };
        if let Some(limit) = changes.limit() {
            line(limit, 't');
        }
        changes.blocks().for_each(|block| line(block, 'f'));
    }
    lines
}

#[test]
fn the_same_contents_as_the_server_says() {
    for major in [17, 18] {
        let expected = String::from_utf8(unpack(&format!("{major}.contents.xz"))).unwrap();
        let found: Vec<String> = summaries(major).iter().flat_map(|s| contents(s.name, &s.blocks)).collect();
        assert_eq!(found, expected.lines().collect::<Vec<_>>(), "{major}");
        assert!(found.len() > 100);
    }
}

#[test]
fn summaries_make_up_their_range() {
    let found = summaries(18);
    let (first, last) = (found[0].name, found[3].name);
    let (mut whole, mut merged) = (ChangedBlocks::new(), ChangedBlocks::new());
    walk(18, &mut |record| {
        if record.lsn >= first.start && record.lsn < last.end {
            whole.apply(record).unwrap();
        }
    });
    found[..4].iter().for_each(|summary| merged.merge(&summary.blocks));
    assert_eq!(whole.len(), merged.len());
    for (id, changes) in whole.forks() {
        let merged = merged.get(*id).unwrap();
        assert_eq!(merged.limit(), changes.limit(), "{id}");
        assert!((0..1000).all(|block| merged.is_changed(block) == changes.is_changed(block)), "{id}");
    }
}

/// Of a log in which no redo position is marked, and which began before.
#[test]
fn every_major_has_summaries() {
    for major in MAJORS {
        let (mut summarizer, mut found, mut changed) = (Summarizer::new(), Vec::new(), ChangedBlocks::new());
        wal::walk(&wal::log(major), &mut |record| {
            changed.apply(record).unwrap();
            found.extend(summarizer.push(record).unwrap());
        });
        found.extend(summarizer.finish());
        assert!(found.len() > 4, "{major}: {}", found.len());
        assert!(found.windows(2).all(|pair| pair[0].name.end == pair[1].name.start), "{major}");
        assert!(changed.len() > 50, "{major}: {}", changed.len());
        for (key, value) in wal::facts(major) {
            let file = |text: &str| changed.forks().find(|(id, _)| id.relation.to_string() == text);
            let limit = |text: &str| file(text).and_then(|(_, changes)| changes.limit());
            match key.as_str() {
                "drop" | "truncate" => {
                    assert_eq!(limit(value.split_once(' ').unwrap().1), Some(0), "{major}")
                }
                "smgr_truncate" | "create" => assert_eq!(limit(&value), Some(0), "{major}"),
                "create_database" => assert_eq!(limit(&format!("1663/{value}/0")), Some(0), "{major}"),
                _ => {}
            }
        }
        // What is written is read.
        let mut bytes = Vec::new();
        changed.write_summary(&mut bytes).unwrap();
        assert_eq!(ChangedBlocks::read_summary(&bytes[..]).unwrap(), changed);
    }
}

#[test]
fn a_damaged_summary_is_refused() {
    let (_, bytes) = server_files(18).into_iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    for length in 0..bytes.len() {
        assert!(ChangedBlocks::read_summary(&bytes[..length]).is_err(), "{length}");
    }
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(ChangedBlocks::read_summary(&flipped[..]).is_err(), "{at}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(ChangedBlocks::read_summary(&longer[..]).is_err());
    // One fork after the other, without holding them all.
    let mut reader = SummaryReader::new(&bytes[..]).unwrap();
    let mut count = 0;
    while let Some((id, changes)) = reader.next_fork().unwrap() {
        assert!(changes.limit().is_some() || !changes.is_empty(), "{id}");
        count += 1;
    }
    assert_eq!(count, ChangedBlocks::read_summary(&bytes[..]).unwrap().len());
    assert!(reader.next_fork().unwrap().is_none());
}
