//! The index of the archive.

use std::fs;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Barrier};

use proptest::prelude::*;
use tapster_catalog::durable::RealDisk;
use tapster_catalog::{XlogDb, XlogEntry};

use crate::wal_samples::{name, segment, server};

static GO_ON: AtomicBool = AtomicBool::new(false);

fn entry(text: &str) -> XlogEntry {
    format!("{text}\t16777216\t1795219542.25\tNone\tNone").parse().unwrap()
}

#[test]
fn files_of_barman_are_read_and_written_back_byte_for_byte() {
    let captured = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/main-xlog.db");
    let text = fs::read(captured).unwrap();
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    fs::write(layout.xlogdb(), &text).unwrap();
    let mut index = XlogDb::lock(&RealDisk, &layout, &GO_ON).unwrap();
    let entries: Vec<_> = index.entries().unwrap().map(Result::unwrap).collect();
    assert!(entries.len() > 10);
    index.replace(entries.into_iter().map(Ok)).unwrap();
    assert_eq!(fs::read(layout.xlogdb()).unwrap(), text);
}

#[test]
fn a_missing_index_is_rebuilt_and_the_old_one_goes() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    for file in [
        "000000010000000000000002",
        "000000010000000000000001",
        "000000010000000000000001.00000028.backup",
        "000000010000000000000003.partial",
        "00000002.history",
        "0000000A0000000000000004",
    ] {
        let path = layout.wal(name(file));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, file).unwrap();
    }
    fs::write(layout.wals.join("0000000100000000").join("junk"), "x").unwrap();
    fs::write(layout.wals.join("0000000100000000").join(".hidden.tmp"), "x").unwrap();
    fs::write(layout.old_xlogdb(), "old").unwrap();
    let mut index = XlogDb::lock(&RealDisk, &layout, &GO_ON).unwrap();
    let names: Vec<_> = index.entries().unwrap().map(|entry| entry.unwrap().name.to_string()).collect();
    assert_eq!(
        names,
        [
            "000000010000000000000001",
            "000000010000000000000001.00000028.backup",
            "000000010000000000000002",
            "000000010000000000000003.partial",
            "00000002.history",
            "0000000A0000000000000004",
        ]
    );
    assert!(!layout.old_xlogdb().exists());
    let report = index.rebuild(None).unwrap();
    assert_eq!(
        (report.wal_files, report.backup_labels, report.history, report.partial, report.unexpected),
        (3, 1, 1, 1, 1)
    );
}

#[test]
fn what_a_killed_rewriting_left_goes_with_the_next() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    // Of a run before this one that had the same process number, and of somebody else.
    let dead =
        layout.xlogdb_dir.join(format!(".xlog.db.tapster-{}-0123456789abcdef-0.tmp", std::process::id()));
    let other = layout.xlogdb_dir.join(".xlog.db.tmp");
    for path in [&dead, &other] {
        fs::write(path, "").unwrap();
    }
    assert!(!layout.xlogdb().exists());
    drop(XlogDb::lock(&RealDisk, &layout, &GO_ON).unwrap());
    assert!(layout.xlogdb().exists() && !dead.exists() && other.exists());
}

#[test]
fn a_torn_line_does_not_swallow_the_next() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let first = entry("000000010000000000000001");
    fs::write(layout.xlogdb(), format!("{first}\n0000000100000000000000")).unwrap();
    let mut index = XlogDb::lock(&RealDisk, &layout, &GO_ON).unwrap();
    let second = entry("000000010000000000000002");
    index.append(std::slice::from_ref(&second)).unwrap();
    assert_eq!(fs::read_to_string(layout.xlogdb()).unwrap(), format!("{first}\n{second}\n"));
}

#[test]
fn retain_keeps_what_it_cannot_read() {
    let home = tempfile::tempdir().unwrap();
    let layout = server(home.path());
    let (one, two) = (entry("000000010000000000000001"), entry("000000010000000000000002"));
    fs::write(layout.xlogdb(), format!("{one}\nsomebody's note\n{two}\n")).unwrap();
    let mut index = XlogDb::lock(&RealDisk, &layout, &GO_ON).unwrap();
    assert_eq!(index.retain(|entry| entry.name == two.name).unwrap(), 1);
    assert_eq!(fs::read_to_string(layout.xlogdb()).unwrap(), format!("somebody's note\n{two}\n"));
    assert!(index.contains(two.name).unwrap());
    assert!(!index.contains(one.name).unwrap());
}

#[test]
fn l_a18_appending_and_rebuilding_at_once_loses_no_line() {
    let home = tempfile::tempdir().unwrap();
    let layout = Arc::new(server(home.path()));
    let dir = layout.wals.join("0000000100000000");
    fs::create_dir_all(&dir).unwrap();
    let start = Arc::new(Barrier::new(2));
    let writer = {
        let (layout, start) = (Arc::clone(&layout), Arc::clone(&start));
        std::thread::spawn(move || {
            start.wait();
            for number in 1..=40 {
                let text = format!("00000001{number:016X}");
                fs::write(layout.wal(name(&text)), &segment(&text, 0)[..64]).unwrap();
                let mut index = XlogDb::lock(&RealDisk, &layout, &GO_ON).unwrap();
                if !index.contains(name(&text)).unwrap() {
                    index.append(&[entry(&text)]).unwrap();
                }
            }
        })
    };
    start.wait();
    for _ in 0..20 {
        XlogDb::lock(&RealDisk, &layout, &GO_ON).unwrap().rebuild(None).unwrap();
    }
    writer.join().unwrap();
    let index = XlogDb::lock(&RealDisk, &layout, &GO_ON).unwrap();
    let mut names: Vec<_> = index.entries().unwrap().map(|entry| entry.unwrap().name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 40);
}

proptest! {
    #[test]
    fn lines_round_trip(
        (timeline, log, segment) in (1u32.., any::<u32>(), any::<u32>()),
        size: u64,
        mtime in prop::num::f64::NORMAL | prop::num::f64::ZERO,
        compression in prop::option::of("[a-z0-9]{1,8}"),
        encrypted: bool,
    ) {
        let entry = XlogEntry {
            name: name(&format!("{timeline:08X}{log:08X}{segment:08X}")),
            size,
            mtime,
            compression,
            encryption: encrypted.then(|| "gpg".to_owned()),
        };
        prop_assert_eq!(entry.to_string().parse::<XlogEntry>().unwrap(), entry);
    }
}
