//! What `wal verify` looks for in the log besides that it is whole: a backup's checkpoint and its end.

use tapster_catalog::BackupRecord;
use tapster_manager::backup::BackupOptions;
use tapster_manager::wal_verify::{BackupProblem, BackupReach};
use tapster_manager::{Context, Server, Silent, WalVerifyOptions};
use tapster_protocol::testing::Cluster;
use walfile::{BackupFrom, BackupLabel, ControlFile, Lsn};

use crate::wal_verify::{Hub, archive_until, archiving, open};

/// A hub with a backup from a primary: its record is changed so that something is not where it should be.
pub(crate) fn what_a_backup_needs_is_looked_for(hub: &Hub) {
    let record = hub.record();
    let (begin, end) = (record.begin_xlog.unwrap(), record.end_xlog.unwrap());
    let label = record.backup_label.clone().unwrap();
    let checkpoint = BackupLabel::parse(label.as_bytes()).unwrap().checkpoint_lsn;
    let verify = |change: &dyn Fn(&mut BackupRecord)| -> BackupReach {
        let mut changed = record.clone();
        change(&mut changed);
        let report = hub.verify(Some(&changed), 2);
        let [reach] = &report.backups[..] else { panic!("{report:?}") };
        assert!(report.lines[0].problems.is_empty() && reach.reach.is_some(), "{report:?}");
        assert_eq!(report.is_sound(), reach.problems.is_empty());
        reach.clone()
    };
    assert_eq!(verify(&|_| {}).problems, []);

    // The label names another place for the checkpoint.
    let elsewhere = Lsn::new(checkpoint.get() + 8);
    let moved = verify(&|record| {
        record.backup_label = Some(label.replace(&checkpoint.to_string(), &elsewhere.to_string()));
    });
    let problem =
        BackupProblem::Checkpoint { redo: begin, expected: Some(elsewhere), found: Some(checkpoint) };
    assert_eq!(moved.problems, [problem]);

    // The backup ended before its last record did.
    let early = Lsn::new(end.get() - 8);
    let short = verify(&|record| record.end_xlog = Some(early));
    assert_eq!(short.problems, [BackupProblem::End { begin, expected: early, found: Some(end) }]);

    // Another beginning: neither a checkpoint nor an end is its own.
    let late = verify(&|record| record.begin_xlog = Some(checkpoint));
    let expected = [
        BackupProblem::Checkpoint { redo: checkpoint, expected: Some(checkpoint), found: None },
        BackupProblem::End { begin: checkpoint, expected: end, found: None },
        BackupProblem::Begin { recorded: checkpoint, label: begin },
    ];
    assert_eq!(late.problems, expected);
    let words: Vec<String> = late.problems.iter().map(ToString::to_string).collect();
    assert!(
        words[1].contains(&format!("a backup from {checkpoint} is not in the WAL up to {end}")),
        "{words:?}"
    );

    let unreadable = verify(&|record| record.backup_label = Some("LABEL: nightly\n".to_owned()));
    assert!(matches!(&unreadable.problems[..], [BackupProblem::Label { .. }]), "{unreadable:?}");
}

#[test]
fn a_backup_from_a_standby_needs_no_record_of_its_end() {
    let home = tempfile::tempdir().unwrap();
    let Some((primary, on_primary)) = archiving(home.path()) else { return };
    let standby = Cluster::builder().standby_of(&primary, None);
    primary.sql("CREATE TABLE t AS SELECT g FROM generate_series(1, 4000) g");
    primary.sql("CHECKPOINT");
    let written = primary.value("SELECT pg_current_wal_lsn()");
    let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
    while standby.value(&replayed) != "t" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let server = open(home.path(), &standby.conninfo().to_conninfo_string());
    server.backup(&BackupOptions::default(), &Context::new(&Silent)).unwrap();
    primary.sql("INSERT INTO t VALUES (1)");
    let name = primary.value("SELECT pg_walfile_name(pg_switch_wal())");
    archive_until(&on_primary, &name);

    let record = server.catalog().records().unwrap().remove(0);
    let label = BackupLabel::parse(record.backup_label.as_deref().unwrap().as_bytes()).unwrap();
    assert_eq!(label.from, Some(BackupFrom::Standby));
    let verify = |server: &Server, record: &BackupRecord| {
        let mut options = WalVerifyOptions::default();
        options.backup = Some(record.clone());
        let report = server.verify_wal(&options, &Context::new(&Silent)).unwrap();
        report.backups[0].clone()
    };
    let sound = verify(&server, &record);
    assert!(sound.is_recoverable(), "{sound:?}");
    // Its files are consistent where pg_control says, whatever the record does.
    let path = server.catalog().layout().data_dir(&record.id).join("global/pg_control");
    let control = std::fs::read(&path).unwrap();
    let point = ControlFile::parse(&control).unwrap().min_recovery_point;
    let mut early = record.clone();
    early.end_xlog = record.begin_xlog;
    assert_eq!(verify(&server, &early).consistent, point);

    // Had it been a primary, the end would be missing.
    let mut from_primary = record.clone();
    from_primary.backup_label =
        record.backup_label.map(|text| text.replace("FROM: standby", "FROM: primary"));
    let (begin, expected) = (sound.begin, from_primary.end_xlog.unwrap());
    assert_eq!(
        verify(&server, &from_primary).problems,
        [BackupProblem::End { begin, expected, found: None }]
    );

    std::fs::write(&path, &control[..100]).unwrap();
    let damaged = verify(&server, &early);
    assert!(matches!(&damaged.problems[..], [BackupProblem::Control { .. }]), "{damaged:?}");
}
