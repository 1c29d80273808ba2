//! Labels and history files of real servers, and what no server writes.

use proptest::prelude::*;
use walfile::{
    BackupFrom, BackupHistoryFile, BackupLabel, BackupLabelProblem, BackupMethod, SegmentSize, Timeline,
    TimelineHistory, WalName,
};

use crate::golden;

#[test]
fn real_labels() {
    for major in golden::MAJORS {
        let label = BackupLabel::parse(&golden::read(major, "backup_label")).unwrap();
        assert_eq!(label.label, "it's a \"label\": 100% (é)".as_bytes(), "{major}");
        assert_eq!(label.method, Some(BackupMethod::Streamed));
        assert_eq!(label.from, Some(BackupFrom::Primary), "{major}: master up to 13");
        assert_eq!(label.timeline.is_some(), major >= 11, "{major}");
        assert_eq!(label.start_timeline(), Timeline::FIRST);
        assert!(label.start_time.as_ref().unwrap().ends_with(" UTC"));
        assert_eq!(label.incremental_from, None);

        let (name, content) = golden::find(major, |name| name.ends_with(".backup") && name.len() == 40);
        let file = BackupHistoryFile::parse(&content).unwrap();
        assert_eq!(file.label, label, "{major}");
        assert!(file.stop_lsn > label.start_lsn);
        assert_eq!(file.stop_timeline, label.timeline);
        let size: u64 = golden::expected(major, "production.expected")["segment_size"].parse().unwrap();
        let size = SegmentSize::new(size).unwrap();
        assert_eq!(label.history_name(size), name.parse::<WalName>().unwrap(), "{major}");
        assert_eq!(label.start_lsn.segment(size).name(Timeline::FIRST, size), label.start_segment);
    }
}

#[test]
fn real_history_files() {
    let two = Timeline::new(2).unwrap();
    for major in golden::MAJORS {
        let history = TimelineHistory::parse(two, &golden::read(major, "00000002.history")).unwrap();
        let [entry] = history.entries() else { panic!("{major}: {history:?}") };
        assert_eq!(entry.timeline, Timeline::FIRST);
        assert_eq!(entry.reason, "no recovery target specified");
    }
}

const LABEL: &str = "START WAL LOCATION: 0/5000028 (file 000000010000000000000005)\n\
    CHECKPOINT LOCATION: 0/5000060\nBACKUP METHOD: streamed\nBACKUP FROM: standby\n\
    START TIME: 2026-11-21 00:05:42 CET\nLABEL: x\nSTART TIMELINE: 1\n\
    INCREMENTAL FROM LSN: 0/2000028\nINCREMENTAL FROM TLI: 1\n";

#[test]
fn incremental() {
    let label = BackupLabel::parse(LABEL.as_bytes()).unwrap();
    assert_eq!(label.incremental_from, Some(("0/2000028".parse().unwrap(), Timeline::FIRST)));
    assert_eq!(label.from, Some(BackupFrom::Standby));
}

#[test]
fn refuses_what_no_server_writes() {
    let start = "START WAL LOCATION";
    for (from, to, line, problem) in [
        ("START WAL", "STOP WAL", 10, BackupLabelProblem::Missing { key: start }),
        ("0/5000028 (", "0/5000028(", 1, BackupLabelProblem::Value { key: start }),
        ("0005)\n", "0005)\r\n", 1, BackupLabelProblem::Value { key: start }),
        ("0005)\n", "0005) \n", 1, BackupLabelProblem::Value { key: start }),
        (": 0/5000028", ": 1/5000028", 1, BackupLabelProblem::Segment { key: start }),
        ("TIMELINE: 1", "TIMELINE: 2", 7, BackupLabelProblem::Value { key: "START TIMELINE" }),
        ("FROM TLI: 1", "FROM TLI: 0", 9, BackupLabelProblem::Value { key: "INCREMENTAL FROM TLI" }),
        ("\nINCREMENTAL FROM TLI: 1", "", 9, BackupLabelProblem::Missing { key: "INCREMENTAL FROM TLI" }),
        ("LABEL: x", "LABEL: x\nLABEL: y", 7, BackupLabelProblem::Twice { key: "LABEL" }),
        ("streamed", "stream", 3, BackupLabelProblem::Value { key: "BACKUP METHOD" }),
    ] {
        assert!(LABEL.contains(from));
        let error = BackupLabel::parse(LABEL.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert_eq!((error.line, error.problem), (line, problem), "{from} -> {to}");
    }
    assert_eq!(BackupLabel::parse(&[b'x'; 70_000]).unwrap_err().problem, BackupLabelProblem::TooLong);
    assert!(BackupLabel::parse(b"").is_err());
    let stop = LABEL.replacen("CHECK", "STOP WAL LOCATION: 0/5 (file 000000010000000000000000)\nCHECK", 1);
    assert!(BackupHistoryFile::parse(stop.as_bytes()).is_err(), "stops before it starts");
    assert!(BackupHistoryFile::parse(LABEL.as_bytes()).is_err());
}

proptest! {
    #[test]
    fn any_label_is_kept_byte_for_byte(label in prop::collection::vec(any::<u8>(), 0..1023)) {
        let label: Vec<u8> = label.into_iter().filter(|byte| *byte != b'\n' && *byte != 0).collect();
        let (before, after) = LABEL.split_once("LABEL: x").unwrap();
        let text = [before.as_bytes(), b"LABEL: ", &label, after.as_bytes()].concat();
        prop_assert_eq!(BackupLabel::parse(&text).unwrap().label, label);
    }
}
