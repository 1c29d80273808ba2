//! Records that Barman wrote come back byte for byte.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tapster_catalog::record::PyValue;
use tapster_catalog::{
    BackupId, BackupMode, BackupRecord, BackupStatus, BackupType, CopyStats, Identity, RecordProblem,
    TablespaceInfo,
};
use time::{OffsetDateTime, UtcOffset};

fn golden() -> Vec<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut files: Vec<PathBuf> = [data.clone(), data.join("made")]
        .iter()
        .flat_map(|dir| dir.read_dir().unwrap().map(|entry| entry.unwrap().path()))
        .filter(|path| path.to_str().unwrap().ends_with("backup.info"))
        .collect();
    files.sort();
    files
}

fn id() -> BackupId {
    "20261121T000542".parse().unwrap()
}

#[test]
fn barmans_records_come_back_byte_for_byte() {
    let files = golden();
    assert!(files.len() >= 15, "{files:?}");
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let record = BackupRecord::read(id(), &path, UtcOffset::UTC).unwrap();
        assert_eq!(record.to_text(), text, "{}", path.display());
    }
}

#[test]
fn fields_have_their_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rs-20261121T002053-backup.info");
    let record = BackupRecord::read(id(), &path, UtcOffset::UTC).unwrap();
    assert_eq!(record.status, BackupStatus::Done);
    assert_eq!(record.mode, Some(BackupMode::RsyncConcurrent));
    assert_eq!(record.backup_type(), BackupType::Rsync);
    assert_eq!(record.begin_wal.unwrap().to_string(), "00000001000000000000001E");
    assert_eq!(record.end_xlog.unwrap().to_string(), "0/1E000100");
    assert!(record.backup_label.as_ref().unwrap().ends_with("START TIMELINE: 1\n"));
    assert_eq!((record.version, record.size), (Some(150_020), Some(23_427_024)));
    let tablespace = TablespaceInfo { name: "tbs1".into(), oid: 16386, location: "/srv/lab/pg/tbs1".into() };
    assert_eq!(record.tablespaces, [tablespace]);
    let stats = record.copy_stats.as_ref().unwrap();
    assert_eq!((stats.number("number_of_workers"), stats.number("copy_time")), (Some(1.0), Some(2.487_319)));

    let child =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/pg17-chain-20261121T002513-backup.info");
    let child = BackupRecord::read(id(), &child, UtcOffset::UTC).unwrap();
    assert_eq!(child.backup_type(), BackupType::Incremental);
    assert_eq!(child.parent_backup_id.unwrap().as_str(), "20261121T002505");
    assert_eq!(child.children_backup_ids, ["20261121T002520".parse().unwrap()]);
}

#[test]
fn refuses_what_barman_refuses() {
    let parse = |text: &str| BackupRecord::parse(id(), text.as_bytes(), UtcOffset::UTC);
    let unknown = parse("status=DONE\nflavour=vanilla\n").unwrap_err();
    assert_eq!(unknown, RecordProblem::UnknownKey("flavour".into()));
    assert!(
        unknown
            .to_string()
            .starts_with("Unsupported field 'flavour' found in backup metadata. This indicates")
    );
    assert_eq!(parse("status\n").unwrap_err(), RecordProblem::NoEquals("status".into()));
    for text in [
        "size=-1",
        "status=ALMOST",
        "begin_wal=5",
        "tablespaces=[('a', 1)]",
        "copy_stats=[",
        "timeline=0",
        "xlog_segment_size=3",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    assert_eq!(
        BackupRecord::parse(id(), b"pgdata=\xff", UtcOffset::UTC).unwrap_err(),
        RecordProblem::Encoding
    );
}

#[test]
fn reads_generously_and_writes_strictly() {
    let text = "# by hand\n\n  size = 5 \r\nerror=a=b\nstatus=None\nbackup_name=None\nincluded_files=[u'/a', '/b']\n";
    let record = BackupRecord::parse(id(), text.as_bytes(), UtcOffset::UTC).unwrap();
    assert_eq!((record.size, record.error.as_deref()), (Some(5), Some("a=b")));
    let text = record.to_text();
    let keys: Vec<&str> = text.lines().map(|line| line.split_once('=').unwrap().0).collect();
    assert!(keys.is_sorted());
    assert_eq!(keys.len(), 33);
    assert!(!keys.contains(&"backup_name") && !keys.contains(&"snapshots_info"));
    assert!(text.contains("included_files=['/a', '/b']\n") && text.contains("status=EMPTY\n"));
}

#[test]
fn a_line_break_cannot_forge_a_key() {
    let mut record = BackupRecord::new(id());
    record.error = Some("failure (first\nstatus=DONE)".into());
    let back = BackupRecord::parse(id(), record.to_text().as_bytes(), UtcOffset::UTC).unwrap();
    assert_eq!(
        (back.status, back.error.as_deref()),
        (BackupStatus::Empty, Some("failure (first status=DONE)"))
    );
}

#[test]
fn identity_is_written_once() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/main-identity.json");
    let identity = Identity::load(&path).unwrap().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("identity.json");
    let disk = tapster_catalog::durable::RealDisk;
    assert!(identity.save_if_absent(&disk, &copy).unwrap());
    assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(&path).unwrap());
    assert!(!Identity::new("1", "18").save_if_absent(&disk, &copy).unwrap());
    assert_eq!(Identity::load(&copy).unwrap(), Some(identity));
}

fn times() -> impl Strategy<Value = OffsetDateTime> {
    (0_i64..4_000_000_000, 0_i64..1_000_000, -840_i32..840).prop_map(|(seconds, micros, minutes)| {
        let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap() + time::Duration::microseconds(micros);
        at.to_offset(UtcOffset::from_whole_seconds(minutes * 60).unwrap())
    })
}

proptest! {
    #[test]
    fn a_literal_that_is_read_is_written_for_good(text in r#"[\[\](){}'",:0-9exu\\ .-]{0,24}|'[^'\\\n]*'"#) {
        if let Ok(value) = PyValue::parse(&text) {
            let written = value.to_string();
            prop_assert_eq!(PyValue::parse(&written), Ok(value));
        }
    }

    #[test]
    fn any_record_comes_back(
        label in ".*",
        tablespaces in prop::collection::vec((".*", any::<u32>(), ".*"), 0..4),
        stats in prop::collection::btree_map("[a-z_]{1,8}", any::<f64>().prop_filter("finite", |n| n.is_finite()), 0..4),
        begin in times(),
        size in any::<Option<u64>>(),
    ) {
        let mut record = BackupRecord::new(id());
        record.backup_label = (!label.is_empty()).then_some(label);
        record.tablespaces =
            tablespaces.into_iter().map(|(name, oid, location)| TablespaceInfo { name, oid, location }).collect();
        let mut copy_stats = CopyStats::default();
        for (key, value) in stats {
            copy_stats.set(&key, PyValue::Float(value));
        }
        record.copy_stats = (!copy_stats.is_empty()).then_some(copy_stats);
        record.begin_time = Some(begin);
        record.size = size;
        let text = record.to_text();
        let back = BackupRecord::parse(id(), text.as_bytes(), UtcOffset::UTC).unwrap();
        prop_assert_eq!(&back, &record);
        prop_assert_eq!(back.to_text(), text);
    }
}
