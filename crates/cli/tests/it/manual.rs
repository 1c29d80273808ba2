//! The manual pages and completions, read by the programs that users have for them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::program::run_as;

/// Feeds `text` to a program; `None` where the machine has no such program.
fn feed(program: &str, args: &[&str], text: &str) -> Option<(String, String)> {
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80");
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match pipes.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("not tested with {program}: {error}");
            return None;
        }
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Some((String::from_utf8_lossy(&output.stdout).into(), String::from_utf8_lossy(&output.stderr).into()))
}

#[test]
fn groff_reads_the_pages_without_a_warning() {
    let names = run_as("tapster", &["man"]).stdout;
    assert!(names.lines().count() > 40, "{names}");
    // All of them at once: a page ends where the next begins.
    let pages: String = names.lines().map(|name| run_as("tapster", &["man", name]).stdout).collect();
    let Some((text, warnings)) = feed("groff", &["-man", "-Tutf8", "-K", "utf8", "-ww", "-b"], &pages) else {
        return;
    };
    assert_eq!(warnings, "");
    for word in
        ["Find a moment in the WAL", "configuration of tapster", "how often a failed copy is tried again"]
    {
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn every_program_that_is_a_link_has_a_page_that_its_name_is_linked_to() {
    let (names, links) = (run_as("tapster", &["man"]).stdout, include_str!("../../Cargo.toml"));
    for program in PROGRAMS.iter().filter(|program| **program != "tapster") {
        let page = match program.strip_prefix("barman-") {
            Some(command) => format!("tapster-{command}.1"),
            None => "tapster.1".to_owned(),
        };
        assert!(names.lines().any(|name| name == page), "{page}");
        for link in [
            format!("{{ dest = \"usr/bin/{program}\", link_name = \"tapster\" }}"),
            format!("{{ dest = \"usr/share/man/man1/{program}.1.gz\", link_name = \"{page}.gz\" }}"),
            format!("\"usr/share/bash-completion/completions/{program}\""),
        ] {
            assert!(links.contains(&link), "{link}");
        }
    }
}

#[test]
fn bash_completes_commands_options_and_their_values() {
    for program in ["tapster", "barman"] {
        let script = run_as("tapster", &["completions", "bash", "--program", program]).stdout;
        // As bash calls the function: the program, the word to complete, the word before.
        let ask = |words: &[&str], last: &str| {
            let (given, count) = (words.join(" "), words.len() + 1);
            let before = words.last().unwrap_or(&program);
            let ask = format!(
                "{script}\nCOMP_WORDS=({program} {given} '{last}')\nCOMP_CWORD={count}\n\
                 _{program} {program} '{last}' {before}\necho \"${{COMPREPLY[@]}}\"\n"
            );
            feed("bash", &["--noprofile", "--norc"], &ask)
        };
        let Some((commands, errors)) = ask(&[], "rest") else { return };
        assert_eq!((commands.trim(), errors.as_str()), ("restore", ""), "{program}");
        assert_eq!(ask(&["restore"], "--target-t").unwrap().0.trim(), "--target-tli --target-time");
        assert_eq!(ask(&["keep", "--target"], "").unwrap().0.trim(), "full standalone");
    }
    for program in PROGRAMS {
        let script = run_as("tapster", &["completions", "bash", "--program", program]).stdout;
        let Some(said) = feed("bash", &["--noprofile", "--norc", "-n"], &script) else { return };
        assert_eq!(said, (String::new(), String::new()), "{program}");
    }
}

/// The programs that the packages have links of.
const PROGRAMS: [&str; 13] = [
    "tapster",
    "barman",
    "barman-wal-archive",
    "barman-wal-restore",
    "barman-cloud-backup",
    "barman-cloud-backup-delete",
    "barman-cloud-backup-keep",
    "barman-cloud-backup-list",
    "barman-cloud-backup-show",
    "barman-cloud-check-wal-archive",
    "barman-cloud-restore",
    "barman-cloud-wal-archive",
    "barman-cloud-wal-restore",
];

/// The scripts of all programs for a shell, each in a file of the name that the shell expects, in a directory of their own.
fn scripts(shell: &str, name: impl Fn(&str) -> String) -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let write = |program: &&str| {
        let path = dir.path().join(name(program));
        let script = run_as("tapster", &["completions", shell, "--program", program]).stdout;
        std::fs::write(&path, script).unwrap();
        path
    };
    let paths = PROGRAMS.iter().map(write).collect();
    (dir, paths)
}

#[test]
fn fish_completes_commands_options_and_their_values() {
    let (_dir, paths) = scripts("fish", |program| format!("{program}.fish"));
    for path in &paths {
        let path = path.to_str().unwrap();
        let Some((said, errors)) = feed("fish", &["--no-config", "-n", path], "") else { return };
        assert_eq!((said.as_str(), errors.as_str()), ("", ""), "{path}");
        let ask = |line: &str| {
            let ask = format!("source {path}; complete -C '{line}'");
            let (said, errors) = feed("fish", &["--no-config", "-c", &ask], "").unwrap();
            assert_eq!(errors, "", "{path}");
            said.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        match Path::new(path).file_stem().unwrap().to_str().unwrap() {
            program @ ("tapster" | "barman") => {
                assert_eq!(ask(&format!("{program} resto")), ["restore"]);
                assert_eq!(ask(&format!("{program} restore --target-t")), ["--target-time", "--target-tli"]);
                assert_eq!(ask(&format!("{program} keep --target ")), ["full", "standalone"]);
            }
            cloud if cloud.starts_with("barman-cloud-") => {
                assert_eq!(ask(&format!("{cloud} --endpoint-u")), ["--endpoint-url"]);
                assert_eq!(ask(&format!("{cloud} --addressing-style p")), ["path"]);
            }
            program => assert_eq!(ask(&format!("{program} --gz")), ["--gzip"]),
        }
    }
}

#[test]
fn zsh_completes_commands_and_options() {
    let (dir, paths) = scripts("zsh", |program| format!("_{program}"));
    for path in &paths {
        let Some(said) = feed("zsh", &["-f", "-n", path.to_str().unwrap()], "") else { return };
        assert_eq!(said, (String::new(), String::new()), "{}", path.display());
    }
    // A shell at a terminal of its own, in which somebody types. Each step waits for what the one before shows.
    let type_in = |typed: &str, seen: &str| {
        let script = format!(
            "zmodload zsh/zpty; zpty z zsh -f -i\n\
             zpty -w z 'fpath=({} $fpath); autoload -Uz compinit; compinit -u -D; print -r -- ready$((1))'\n\
             zpty -r -m z out '*ready1*'\nzpty -n -w z '{typed}'$'\\t'\nzpty -r -m z out '*{seen}*'\nprint -r -- \"$out\"\n",
            dir.path().display()
        );
        let (said, errors) = feed("timeout", &["60", "zsh", "-f"], &script).unwrap();
        assert!(said.contains(seen), "{typed}: {said:?} {errors}");
    };
    for program in ["tapster", "barman"] {
        type_in(&format!("{program} resto"), &format!("{program} restore"));
        type_in(&format!("{program} restore --target-ti"), "--target-time");
    }
    type_in("barman-wal-archive --gz", "--gzip");
    type_in("barman-cloud-backup-list --endp", "--endpoint-url");
}
