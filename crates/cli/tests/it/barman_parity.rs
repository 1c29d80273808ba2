//! Usage lines, error lines and exit codes next to the real ones.

use crate::program::{Run, original, run_as};

const COMMANDS: [&str; 24] = [
    "keep",
    "list-files",
    "list-servers",
    "list-server",
    "check",
    "receive-wal",
    "archive-wal",
    "switch-wal",
    "switch-xlog",
    "backup",
    "list-backups",
    "show-backup",
    "get-wal",
    "restore",
    "recover",
    "delete",
    "put-wal",
    "list-backup",
    "show-servers",
    "show-server",
    "status",
    "diagnose",
    "config-switch",
    "config-update",
];

/// Our own additions to Barman's commands.
const OWN: [&str; 7] = [
    "--accept-invalid",
    "--dry-run",
    "--explain",
    "--extended",
    "--primary-conninfo",
    "--primary-slot-name",
    "--sync-method",
];

/// The text up to the first empty line, which is the usage of a help text.
fn usage_of(run: &Run) -> String {
    run.stdout.split("\n\n").next().unwrap().trim_end().to_owned()
}

#[test]
fn usage_lines_are_the_same() {
    for command in COMMANDS {
        let Some(theirs) = original("barman", &[command, "--help"]) else { return };
        let ours = run_as("barman", &[command, "--help"]);
        assert_eq!(usage_of(&ours), usage_of(&theirs));
    }
    for client in ["barman-wal-archive", "barman-wal-restore"] {
        let Some(theirs) = original(client, &["--help"]) else { return };
        assert_eq!(usage_of(&run_as(client, &["--help"])), usage_of(&theirs));
    }
}

#[test]
fn every_command_accepts_the_spellings_of_the_original() {
    for command in COMMANDS {
        let Some(theirs) = original("barman", &[command, "--help"]) else { return };
        let spellings = |run: &Run| {
            let options = run.stdout.split("options:\n").nth(1).unwrap().to_owned();
            let mut words: Vec<String> = options
                .lines()
                .filter(|line| line.starts_with("  -"))
                .flat_map(|line| {
                    line[2..]
                        .split("  ")
                        .next()
                        .unwrap()
                        .split([' ', ','])
                        .filter(|word| word.starts_with('-'))
                        .map(str::to_owned)
                })
                .collect();
            words.retain(|word| !OWN.contains(&word.as_str()));
            words.sort_unstable();
            words
        };
        assert_eq!(spellings(&run_as("barman", &[command, "--help"])), spellings(&theirs), "{command}");
    }
}

/// Same exit code, same streams, same last line of stderr.
#[test]
fn mistakes_are_reported_alike() {
    let cases: &[&[&str]] = &[
        &["check"],
        &["check", "--foo", "main"],
        &["-f", "xml", "check"],
        &["-f"],
        &["--verbose"],
        &["-x"],
        &["-qc"],
        &["--log-level", "debug", "list-servers"],
        &["check", "--nag"],
        &["restore", "--target", "x"],
        &["restore", "main", "latest"],
        &["restore", "--target-action", "foo", "a", "b", "c"],
        &["restore", "--target-tli", "x", "a", "b", "c"],
        &["restore", "--target-tli", "0", "a", "b", "c"],
        &["restore", "--delta-restore", "--no-delta-restore"],
        &["backup", "--jobs", "x", "main"],
        &["backup", "--jobs", "-3", "main"],
        &["backup", "-jx", "main"],
        &["backup", "--reuse-backup", "main"],
        &["backup", "--reuse-backup=foo", "main"],
        &["backup", "--bwlimit", "-1", "main"],
        &["backup", "--name", "latest", "main"],
        &["backup", "--name=", "main"],
        &["backup", "--name"],
        &["backup", "--jobs-start-batch-size", "0", "main"],
        &["get-wal", "--peek", "0", "main", "x"],
        &["get-wal", "main"],
        &["get-wal", "-t"],
        &["list-servers", "foo"],
        &["list-servers", "--minimal=1"],
        &["list-servers", "-q"],
        &["switch-wal", "--archive-timeout", "x", "main"],
        &["put-wal"],
        &["help", "foo"],
    ];
    for args in cases {
        let Some(theirs) = original("barman", args) else { return };
        let ours = run_as("barman", args);
        assert_eq!(ours.stderr.lines().last(), theirs.stderr.lines().last(), "{args:?}");
        assert_eq!(
            ours.stderr.lines().next().map(|l| l.get(..20)),
            theirs.stderr.lines().next().map(|l| l.get(..20))
        );
        assert_eq!((ours.code, ours.stdout.as_str()), (theirs.code, theirs.stdout.as_str()), "{args:?}");
    }
}

#[test]
fn the_clients_mistakes_are_reported_alike() {
    for (client, args) in [
        ("barman-wal-archive", &["-t", "a", "b"][..]),
        ("barman-wal-archive", &[]),
        ("barman-wal-restore", &["-z", "--keep-compression", "a", "b", "c", "d"]),
        ("barman-wal-restore", &["-z", "-j", "a", "b", "c", "d"]),
        ("barman-wal-restore", &["-p", "x", "a", "b", "c", "d"]),
        ("barman-wal-restore", &["-p", "3", "-t", "a", "b"]),
        ("barman-wal-restore", &["a", "b", "c", "d", "e"]),
        ("barman-wal-restore", &["--foo", "a", "b", "c", "d"]),
    ] {
        let Some(theirs) = original(client, args) else { return };
        assert_eq!(run_as(client, args), theirs, "{client} {args:?}");
    }
}

#[test]
fn unknown_commands_name_the_known_ones() {
    let run = run_as("barman", &["foo"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.starts_with("usage: barman [-h] [-v] [-c CONFIG] [--color {never,always,auto}]\n"));
    let last = run.stderr.lines().last().unwrap();
    assert!(
        last.starts_with(
            "barman: error: argument command: invalid choice: 'foo' (choose from 'archive-wal', "
        )
    );
}

/// Accepted by the parser: whatever is said about the missing configuration, it is no usage text.
#[test]
fn abbreviations_and_mixed_orders_are_accepted() {
    for args in [
        &["check", "--nag", "main"][..],
        &["check", "main", "--check-t=5", "other"],
        &["restore", "main", "--target-ti", "2026-01-01", "latest", "--jobs", "2", "/tmp/x", "--exc"],
        &["get-wal", "-Po/tmp", "main", "000000010000000000000001"],
        &["get-wal", "-x", "main", "000000010000000000000001"],
        &["backup", "--reuse-backup", "-w", "main"],
        &["backup", "--retry-times", "3", "--no-retry", "--retry-times", "2", "main"],
        &["--colour", "never", "-qd", "--form", "json", "list-servers"],
    ] {
        let ours = run_as("barman", args);
        assert!(!ours.stderr.contains("usage: "), "{args:?}: {}", ours.stderr);
    }
}
