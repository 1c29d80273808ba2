//! `tapster basebackup` and `tapster receivewal` refuse what PostgreSQL's programs refuse, in the same words.

use crate::program::{original, run_as};

const BIN: &str = "/usr/lib/postgresql/15/bin";

fn same(command: &str, original_name: &str, args: &[&str]) {
    let Some(theirs) = original(&format!("{BIN}/{original_name}"), args) else { return };
    let mut words = vec![command];
    words.extend(args);
    let ours = run_as("tapster", &words);
    let expected = theirs
        .stderr
        .replace(&format!("{BIN}/{original_name}"), &format!("tapster {command}"))
        .replace(&format!("{original_name}: "), &format!("tapster {command}: "))
        .replace(&format!("{original_name} --help"), &format!("tapster {command} --help"));
    assert_eq!(ours.stderr, expected, "{args:?}");
    assert_eq!((ours.code, ours.stdout.as_str()), (theirs.code, ""), "{args:?}");
    assert_eq!(ours.code, 1);
}

#[test]
fn basebackup_refuses_alike() {
    for args in [
        "",
        "-D",
        "--pgdata",
        "--foo",
        "-y",
        "-D /x foo",
        "-D /x -F z",
        "-D /x -X q",
        "-D /x -c q",
        "-D /x -r q",
        "-D /x -r 5",
        "-D /x -r 2G",
        "-D /x -r 32k0",
        "-D /x -Z foo",
        "-D /x -Z 10",
        "-D /x -T foo",
        "-D /x -T a=/b",
        "-D /x -T /a=b",
        "-D /x -T /a=/b=/c",
        "-D /x -C",
        "-D /x -S s --no-slot",
        "-D /x -S s -X none",
        "-D /x --waldir foo",
        "-D /x -Ft --waldir /foo",
        "-Ft -X stream -D -",
        "-D /x -s x",
        "-D /x --no-manifest --manifest-force-encode",
        "-D /x --no-manifest --manifest-checksums=sha256",
        "-D /x --no-estimate-size -P",
        "-D /x -Z gzip:level=foo -Ft",
        "-D /x -Z client-gzip",
        "-D /x -z",
        "-D /x -t server:/x -R",
        "-D /x -Z none:foo",
        "-D /x -C -S s --no-slot",
        "-D /x -C -S s -X fetch",
        "-D /x --no-slot=1",
    ] {
        same("basebackup", "pg_basebackup", &args.split_whitespace().collect::<Vec<_>>());
    }
}

#[test]
fn receivewal_refuses_alike() {
    for args in [
        "",
        "-D",
        "--foo",
        "-y",
        "-D /x foo",
        "-D /x -n -s x",
        "-D /x --endpos foo",
        "-D /x --create-slot",
        "-D /x --create-slot --drop-slot -S a",
        "--drop-slot",
        "-D /x --synchronous --no-sync",
        "-D /x -Z foo",
        "-D /x -Z 11",
        "-D /x -Z zstd",
        "-D /x -Z gzip:foo=1",
        "-D /x -Z none:3",
    ] {
        same("receivewal", "pg_receivewal", &args.split_whitespace().collect::<Vec<_>>());
    }
}

#[test]
fn ambiguous_options_name_the_candidates() {
    let run = run_as("tapster", &["basebackup", "-D", "/x", "--man"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("option '--man' is ambiguous; possibilities: "), "{}", run.stderr);
    assert!(
        run.stderr.contains("'--manifest-checksums'") && run.stderr.contains("'--manifest-force-encode'")
    );
}

#[test]
fn versions_and_help_are_on_stdout() {
    for command in ["basebackup", "receivewal"] {
        let run = run_as("tapster", &[command, "--version"]);
        assert_eq!((run.stdout, run.code), (format!("tapster {command} (Tapster) 0.1.0\n"), 0));
        assert!(run_as("tapster", &[command, "--help"]).stdout.contains("Usage:\n"));
    }
}
