//! Barman's cloud tools next to the real ones: command lines, and one bucket that both read and write.

use crate::program::{Run, original, run_as};

/// The tools that are built in.
const TOOLS: [&str; 3] = ["backup-keep", "backup-list", "backup-show"];

/// Where `scripts/setup cloud` installs the originals.
fn barman(tool: &str, args: &[&str]) -> Option<Run> {
    let bin = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/barman/bin/barman-cloud-");
    let run = original(&format!("{bin}{tool}"), args);
    assert!(run.is_some() || std::env::var_os("CI").is_none(), "Barman's cloud tools are not installed");
    run
}

fn ours(tool: &str, args: &[&str]) -> Run {
    run_as(&format!("barman-cloud-{tool}"), args)
}

/// The text up to the first empty line, which is the usage of a help text.
fn usage_of(run: &Run) -> &str {
    run.stdout.split("\n\n").next().unwrap().trim_end()
}

/// All spellings of options, sorted.
fn spellings(run: &Run) -> Vec<String> {
    let lines = run.stdout.lines().filter(|line| line.starts_with("  -"));
    let names = lines.map(|line| line[2..].split("  ").next().unwrap());
    let words = names.flat_map(|names| names.split([' ', ',']).filter(|word| word.starts_with('-')));
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    words.sort_unstable();
    words
}

#[test]
fn usage_lines_options_and_versions_are_the_same() {
    for tool in TOOLS {
        let Some(theirs) = barman(tool, &["--help"]) else { return };
        let help = ours(tool, &["--help"]);
        assert_eq!(usage_of(&help), usage_of(&theirs));
        let sections = |run: &Run| {
            run.stdout.lines().filter(|line| line.ends_with(':')).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(sections(&help), sections(&theirs), "{tool}");
        assert_eq!(spellings(&help), spellings(&theirs), "{tool}");
        assert_eq!(Some(ours(tool, &["-V"])), barman(tool, &["-V"]));
    }
}

#[test]
fn mistakes_in_the_arguments_are_reported_alike() {
    for (tool, args) in [
        ("backup-list", &[][..]),
        ("backup-list", &["s3://b"]),
        ("backup-list", &["s3://b", "main", "more"]),
        ("backup-list", &["s3://b", "main", "-h"]),
        ("backup-list", &["s3://b", "main", "-v", "-q"]),
        ("backup-list", &["s3://b", "main", "--form"]),
        ("backup-list", &["s3://b", "main", "--cloud-provider", "x"]),
        ("backup-list", &["s3://b", "main", "--addressing", "x"]),
        ("backup-list", &["s3://b", "main", "--read-timeout", "x"]),
        ("backup-list", &["s3://b", "main", "--a", "x"]),
        ("backup-list", &["s3://b", "main", "-P"]),
        ("backup-show", &["s3://b", "main"]),
        ("backup-keep", &["s3://b", "main", "latest"]),
        ("backup-keep", &["s3://b", "main"]),
        ("backup-keep", &["s3://b", "main", "latest", "-r", "-s"]),
        ("backup-keep", &["s3://b", "main", "latest", "--status", "--target", "full"]),
        ("backup-keep", &["s3://b", "main", "latest", "--target", "x"]),
    ] {
        let Some(theirs) = barman(tool, args) else { return };
        assert_eq!(ours(tool, args), theirs, "{tool} {args:?}");
    }
}

#[test]
fn the_own_name_has_them_in_a_group() {
    let (own, linked) =
        (run_as("tapster", &["cloud", "backup-list", "--help"]), ours("backup-list", &["--help"]));
    assert_eq!(
        own.stdout
            .split_whitespace()
            .collect::<String>()
            .replace("tapstercloudbackup", "barman-cloud-backup"),
        linked.stdout.split_whitespace().collect::<String>()
    );
    let wrong = run_as("tapster", &["cloud", "backup-list"]);
    assert_eq!((wrong.code, wrong.stdout.as_str()), (3, ""));
    assert!(wrong.stderr.contains("\ntapster cloud backup-list: error: the following"), "{}", wrong.stderr);
    assert_eq!(run_as("barman", &["cloud"]).code, 2);
}
