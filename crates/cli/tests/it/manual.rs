//! The manual pages and completions, read by the programs that users have for them.

use std::io::Write as _;
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
}
