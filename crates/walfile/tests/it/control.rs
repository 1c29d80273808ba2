//! `pg_control` against what the servers themselves and `pg_controldata` read from the same files.

use walfile::{BackupLabel, ClusterState, ControlFile, ControlFileError, Lsn};

use crate::golden;

fn parse(major: u16, state: &str) -> ControlFile {
    ControlFile::parse(&golden::read(major, &format!("pg_control.{state}"))).unwrap()
}

fn on(flag: bool) -> String {
    if flag { "on" } else { "off" }.to_owned()
}

#[test]
fn every_field_is_what_sql_says() {
    for major in golden::MAJORS {
        for state in ["production", "recovery"] {
            let control = parse(major, state);
            let expected = golden::expected(major, &format!("{state}.expected"));
            assert_eq!(control.major, major);
            let mut fields = vec![
                ("state", control.state.to_string()),
                ("pg_control_version", control.version.to_string()),
                ("catalog_version_no", control.catalog_version.to_string()),
                ("system_identifier", control.system_id.to_string()),
                ("checkpoint_lsn", control.checkpoint.to_string()),
                ("redo_lsn", control.redo.to_string()),
                ("timeline_id", control.timeline.to_string()),
                ("prev_timeline_id", control.previous_timeline.to_string()),
                ("full_page_writes", control.full_page_writes.to_string()),
                ("checkpoint_epoch", control.checkpoint_time.to_string()),
                ("min_recovery_end_lsn", control.min_recovery_point.to_string()),
                (
                    "min_recovery_end_timeline",
                    control.min_recovery_timeline.map_or(0, |timeline| timeline.get()).to_string(),
                ),
                ("backup_start_lsn", control.backup_start.to_string()),
                ("backup_end_lsn", control.backup_end.to_string()),
                ("end_of_backup_record_required", control.backup_end_required.to_string()),
                ("database_block_size", control.block_size.to_string()),
                ("blocks_per_segment", control.relation_segment_blocks.to_string()),
                ("wal_block_size", control.wal_block_size.to_string()),
                ("bytes_per_wal_segment", control.wal_segment_size.bytes().to_string()),
                ("data_page_checksum_version", control.data_checksum_version.to_string()),
                ("wal_level", control.wal_level.to_string()),
                ("wal_log_hints", on(control.wal_log_hints)),
                ("track_commit_timestamp", on(control.track_commit_timestamp)),
                ("max_connections", control.max_connections.to_string()),
                ("max_worker_processes", control.max_worker_processes.to_string()),
                ("max_prepared_transactions", control.max_prepared_xacts.to_string()),
                ("max_locks_per_transaction", control.max_locks_per_xact.to_string()),
            ];
            assert_eq!(control.max_wal_senders.is_some(), major >= 12);
            fields.extend(control.max_wal_senders.map(|n| ("max_wal_senders", n.to_string())));
            for (key, value) in fields {
                assert_eq!(Some(&value), expected.get(key), "PostgreSQL {major}, {state}: {key}");
            }
        }
    }
}

#[test]
fn every_state_is_what_pg_controldata_says() {
    for major in golden::MAJORS {
        for state in ["production", "shutdown", "backup", "recovery"] {
            let control = parse(major, state);
            let Some(expected) = golden::controldata(major, state) else { continue };
            for (key, value) in [
                ("Database cluster state", control.state.to_string()),
                ("Database system identifier", control.system_id.to_string()),
                ("Latest checkpoint location", control.checkpoint.to_string()),
                ("Latest checkpoint's REDO location", control.redo.to_string()),
                ("Minimum recovery ending location", control.min_recovery_point.to_string()),
                ("Backup start location", control.backup_start.to_string()),
                ("Backup end location", control.backup_end.to_string()),
                (
                    "End-of-backup record required",
                    if control.backup_end_required { "yes" } else { "no" }.into(),
                ),
            ] {
                assert_eq!(Some(&value), expected.get(key), "PostgreSQL {major}, {state}: {key}");
            }
        }
    }
}

#[test]
fn a_backup_in_recovery_knows_its_start() {
    for major in golden::MAJORS {
        let label = BackupLabel::parse(&golden::read(major, "backup_label")).unwrap();
        let control = parse(major, "backup");
        assert_eq!(control.state, ClusterState::InArchiveRecovery, "{major}");
        assert_eq!(control.backup_start, label.start_lsn, "{major}");
        assert!(control.backup_end_required, "{major}");
        assert_eq!(parse(major, "recovery").backup_start, Lsn::INVALID, "{major}");
        let down = parse(major, "shutdown");
        assert_eq!(down.state, ClusterState::ShutDown, "{major}");
        assert!(down.has_data_checksums());
    }
}

#[test]
fn refuses_what_it_cannot_know() {
    let good = golden::read(18, "pg_control.production");
    let parse = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        ControlFile::parse(&bytes).unwrap_err()
    };
    assert!(matches!(parse(&|b| b[12] ^= 1), ControlFileError::UnknownLayout { version: 1800, .. }));
    assert!(matches!(
        parse(&|b| b[8..12].copy_from_slice(&1800u32.to_be_bytes())),
        ControlFileError::BigEndian { version: 1800 }
    ));
    assert!(matches!(parse(&|b| b.truncate(295)), ControlFileError::TooShort { found: 295, expected: 296 }));
    assert!(matches!(parse(&|b| b.clear()), ControlFileError::TooShort { .. }));
    // Every bit that the checksum covers matters.
    for at in (0..292).filter(|at| !(8..16).contains(at)) {
        assert!(matches!(parse(&|b| b[at] ^= 0x10), ControlFileError::Crc { .. }), "{at}");
    }
    // A known struct with a right checksum and a value out of range.
    let mut bytes = good.clone();
    bytes[16] = 7;
    let crc = crc32c::crc32c(&bytes[..292]);
    bytes[292..296].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(
        ControlFile::parse(&bytes).unwrap_err(),
        ControlFileError::Field { field: "cluster state", value: 7 }
    );
}
