//! Receivers that begin with a spool, or a bucket, that is not as the last one left it.

use std::fs;
use std::io::Read as _;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use tapster_cloud::WriteOptions;
use tapster_manager::cloud::{
    Acknowledge, CloudArchiveOptions, CloudReceiveEvent, CloudReceiveReport, create_receive_slot,
};
use walfile::codec::{decoder, detect};

use super::lab::{Lab, names_in};
use super::receive::{cluster, flushed, options, slot, source, switch, wait_for, while_receiving};

fn content(lab: &Lab, key: &str) -> Vec<u8> {
    let stored = lab.store().read(key, 64 << 20).unwrap();
    let mut bytes = Vec::new();
    decoder(&stored[..], detect(&stored)).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_segment_that_arrived_before_the_one_before_it_does_not_hide_that() {
    let (Some(lab), Some(cluster)) = (Lab::new("receive-hole"), cluster()) else { return };
    let (server, source) = (lab.server(), source(cluster.conninfo()));
    create_receive_slot(&source, &slot()).unwrap();
    let names: Vec<String> = (0..3).map(|_| switch(&cluster)).collect();
    // Of three that were on their way, two arrived; then host and spool were lost.
    for name in [&names[0], &names[2]] {
        let path = cluster.wal_dir().join(name);
        server.wal_archive(&path, &CloudArchiveOptions::default(), &AtomicBool::new(false)).unwrap();
    }
    let mut options = options(&lab);
    options.acknowledge = Acknowledge::Store;
    let (report, ()) = while_receiving(&server, &source, &options, |_| {
        let position = cluster.value("SELECT pg_current_wal_flush_lsn()");
        wait_for("the acknowledgement", || flushed(&cluster, &position));
    });
    report.unwrap();
    let keys = lab.keys();
    for name in &names {
        assert!(keys.iter().any(|key| key.ends_with(name)), "{name} {keys:?}");
    }

    // What a spool without WAL says of how far the bucket is, is not where the slot begins.
    let spooled = names_in(&lab.path("spool"));
    for name in spooled.iter().filter(|name| name.ends_with(".partial")) {
        fs::remove_file(lab.path("spool").join(name)).unwrap();
    }
    let noted = lab.path("spool").join("receive.position");
    let line = fs::read_to_string(&noted).unwrap();
    fs::write(&noted, format!("{} F/0\n", line.split_once(' ').unwrap().0)).unwrap();
    options.from_slot = true;
    let (report, ()) = while_receiving(&server, &source, &options, |_| {
        switch(&cluster);
        let position = cluster.value("SELECT pg_current_wal_flush_lsn()");
        wait_for("the acknowledgement", || flushed(&cluster, &position));
    });
    report.unwrap();
}

#[test]
fn beginnings_in_the_bucket_are_replaced_by_more_of_the_same_only() {
    let (Some(lab), Some(cluster)) = (Lab::new("receive-again"), cluster()) else { return };
    let (server, source) = (lab.server(), source(cluster.conninfo()));
    create_receive_slot(&source, &slot()).unwrap();
    let mut options = options(&lab);
    options.acknowledge = Acknowledge::Store;
    let (report, name) = while_receiving(&server, &source, &options, |_| {
        switch(&cluster);
        cluster.sql("INSERT INTO t SELECT generate_series(1, 1000)");
        let position = cluster.value("SELECT pg_current_wal_flush_lsn()");
        wait_for("the acknowledgement", || flushed(&cluster, &position));
        cluster.value("SELECT pg_walfile_name(pg_current_wal_lsn())")
    });
    assert_eq!(report.unwrap().waiting, []);
    let spooled = lab.path("spool").join(format!("{name}.partial"));
    let key = lab.keys().into_iter().find(|key| key.ends_with(".partial.gz")).unwrap();
    let (whole, stored) = (fs::read(&spooled).unwrap(), content(&lab, &key));
    assert!(key.contains(&name) && whole == stored);
    let end = stored.iter().rposition(|byte| *byte != 0).unwrap();
    assert!(end > 10_000, "{end}");

    // It has no time to receive anything.
    let told = Mutex::new(Vec::new());
    let at_once = || -> CloudReceiveReport {
        let observer = |event: &CloudReceiveEvent<'_>| told.lock().unwrap().push(format!("{event:?}"));
        server.receive_wal(&source, &options, &observer, &AtomicBool::new(true)).unwrap()
    };
    // A power cut took the end of what was received; all of it; or it is something else.
    let mut shorter = whole.clone();
    shorter[end / 2..].fill(0);
    let mut other = whole.clone();
    other[end / 2] ^= 1;
    for spoiled in [shorter, Vec::new(), other] {
        fs::write(&spooled, &spoiled).unwrap();
        let report = at_once();
        assert!(content(&lab, &key) == stored, "{}", spoiled.len());
        assert_eq!(report.waiting.len(), 1, "{report:?}");
    }
    let warnings = std::mem::take(&mut *told.lock().unwrap());
    assert!(warnings.len() == 1 && warnings[0].contains("it stays"), "{warnings:?}");
    // What goes beyond it replaces it.
    let mut longer = whole.clone();
    longer[end + 1..end + 100].fill(7);
    fs::write(&spooled, &longer).unwrap();
    assert_eq!(at_once().waiting, []);
    assert!(content(&lab, &key) == longer);
    let write = WriteOptions::default();
    lab.store().put(&key, fs::read(&spooled).unwrap(), &write).unwrap();
    fs::write(&spooled, &whole).unwrap();
    at_once();
    assert!(content(&lab, &key) == longer);

    // A timeline that has ended, whose last segment somebody else has archived too, and segments of the next that are not whole yet.
    lab.store().put(&key, fs::read(&spooled).unwrap(), &write).unwrap();
    let theirs = key.strip_suffix(".gz").unwrap().to_owned();
    let mut promoted = whole.clone();
    promoted[end + 1..].fill(9);
    lab.store().put(&theirs, promoted, &write).unwrap();
    let noted = fs::read(lab.path("spool").join("receive.position")).ok();
    let next = format!("00000002{}", &name[8..]);
    let later = format!("{}{:02X}", &next[..22], u8::from_str_radix(&next[22..], 16).unwrap() + 3);
    let later = lab.path("spool").join(later + ".partial");
    fs::write(&later, &whole).unwrap();
    // It holds all that was received.
    assert_eq!(at_once().waiting, []);
    assert!(lab.keys().contains(&theirs), "{:?}", lab.keys());
    let mut promoted = whole.clone();
    promoted[end / 2] ^= 1;
    lab.store().put(&theirs, promoted, &write).unwrap();
    assert_eq!(at_once().waiting.len(), 1);
    assert!(lab.keys().contains(&theirs), "{:?}", lab.keys());
    lab.store().delete(&[theirs]).unwrap();
    assert_eq!(at_once().waiting, []);
    assert!(content(&lab, &key) == whole);
    // Three segments may be unnamed and unsynced.
    assert_eq!(fs::read(lab.path("spool").join("receive.position")).ok(), noted);
    assert!(spooled.exists());

    // Without the spool, what the server has becomes whole.
    fs::remove_dir_all(lab.path("spool")).unwrap();
    lab.store()
        .delete(&lab.keys().into_iter().filter(|key| key.contains("/00000002")).collect::<Vec<_>>())
        .unwrap();
    let (report, ()) = while_receiving(&server, &source, &options, |_| {
        switch(&cluster);
        let position = cluster.value("SELECT pg_current_wal_flush_lsn()");
        wait_for("the acknowledgement", || flushed(&cluster, &position));
    });
    report.unwrap();
    let keys = lab.keys();
    assert!(!keys.contains(&key) && keys.iter().any(|key| key.ends_with(&name)), "{keys:?}");
    assert!(
        content(&lab, key.strip_suffix(".partial.gz").unwrap())
            == fs::read(cluster.wal_dir().join(&name)).unwrap()
    );
    assert!(names_in(&lab.path("spool")).iter().all(|name| name.len() != 24));
}
