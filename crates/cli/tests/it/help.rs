//! Help texts, as a whole, so that a change of one is seen.

use crate::program::run_as;

macro_rules! help {
    ($($test:ident: $name:literal $args:expr;)*) => {$(
        #[test]
        fn $test() {
            let run = run_as($name, &$args);
            assert_eq!((run.stderr.as_str(), run.code), ("", 0));
            insta::assert_snapshot!(run.stdout);
        }
    )*};
}

help! {
    barman: "barman" ["--help"];
    tapster: "tapster" ["help"];
    check: "barman" ["check", "-h"];
    backup: "barman" ["backup", "--help"];
    restore: "barman" ["recover", "--help"];
    get_wal: "barman" ["get-wal", "--help"];
    wal_restore: "barman-wal-restore" ["--help"];
    wal_archive: "tapster" ["wal-archive", "--help"];
    cloud_backup: "barman-cloud-backup" ["--help"];
    cloud_backup_delete: "barman-cloud-backup-delete" ["--help"];
    cloud_backup_keep: "barman-cloud-backup-keep" ["--help"];
    cloud_backup_list: "barman-cloud-backup-list" ["--help"];
    cloud_backup_show: "barman-cloud-backup-show" ["--help"];
    cloud_check_wal_archive: "barman-cloud-check-wal-archive" ["--help"];
    cloud_restore: "barman-cloud-restore" ["--help"];
    cloud_wal_archive: "barman-cloud-wal-archive" ["--help"];
    cloud_wal_restore: "barman-cloud-wal-restore" ["--help"];
    basebackup: "tapster" ["basebackup", "-?"];
    receivewal: "tapster" ["receivewal", "--help"];
}

#[test]
fn no_command_is_a_question_for_help() {
    let (none, help) = (run_as("barman", &[]), run_as("barman", &["help"]));
    assert_eq!(none, help);
    assert_eq!((none.code, none.stderr.as_str()), (0, ""));
}

#[test]
fn help_of_a_command_can_be_asked_both_ways() {
    assert_eq!(run_as("barman", &["help", "check"]), run_as("barman", &["check", "--help"]));
}
