//! One binary, several programs.

use crate::program::{run_as, run_into_closed_pipe};

#[test]
fn the_name_decides_which_program_it_is() {
    for (name, version) in [
        ("/usr/bin/tapster", "0.1.0 Tapster"),
        ("/usr/bin/barman", "3.19.1 Barman"),
        ("barman-wal-archive", "barman-wal-archive 3.19.1"),
        ("barman-wal-restore", "barman-wal-restore 3.19.1"),
        ("/usr/bin/barman-cloud-backup", "barman-cloud-backup 3.19.1"),
        ("barman-cloud-restore", "barman-cloud-restore 3.19.1"),
    ] {
        let option = if name.contains("wal") || name.contains("cloud") { "-V" } else { "-v" };
        let run = run_as(name, &[option]);
        assert!(run.stdout.starts_with(version), "{run:?}");
        assert_eq!((run.stderr.as_str(), run.code), ("", 0));
    }
}

#[test]
fn own_commands_belong_to_the_own_name() {
    for command in ["basebackup", "receivewal", "wal-archive", "wal-restore", "completions"] {
        assert_eq!(run_as("tapster", &[command, "--help"]).code, 0, "{command}");
        assert_eq!(run_as("barman", &[command, "--help"]).code, 2, "{command}");
    }
}

#[test]
fn completion_scripts_know_the_commands() {
    let run = run_as("tapster", &["completions", "bash"]);
    assert_eq!(run.code, 0);
    for word in ["list-backups", "--target-time", "basebackup"] {
        assert!(run.stdout.contains(word), "{word}");
    }
}

#[test]
fn errors_carry_the_name_of_the_program_called() {
    assert!(run_as("tapster", &["nosuch"]).stderr.contains("\ntapster: error: "));
    assert!(run_as("tapster", &["switch-xlog"]).stderr.contains("\ntapster switch-wal: error: "));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    assert_eq!(run_into_closed_pipe("barman", &["--help"]), (String::new(), 0));
}
