//! Starting the program under each of its names, and the originals next to it.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a run left behind.
#[derive(Debug, Eq, PartialEq)]
pub struct Run {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

/// Runs the program under `name`.
pub fn run_as(name: &str, args: &[&str]) -> Run {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tapster"));
    command.arg0(name);
    finish(command, args)
}

/// Runs another program, `None` when it is not installed.
pub fn original(program: &str, args: &[&str]) -> Option<Run> {
    Some(finish(Command::new(find(program)?), args))
}

fn finish(mut command: Command, args: &[&str]) -> Run {
    let output = command
        .args(args)
        .stdin(Stdio::null())
        .env_remove("BARMAN_CONFIG_FILE")
        .env("COLUMNS", "80")
        .output()
        .unwrap();
    Run {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

fn find(program: &str) -> Option<PathBuf> {
    if program.starts_with('/') {
        return Path::new(program).exists().then(|| PathBuf::from(program));
    }
    let found = std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|dir| dir.join(program))
        .find(|path| path.exists());
    // `scripts/setup` has installed it there; a comparison that is not made must not pass.
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "{program} is not installed");
    found
}

/// Runs the program with a stdout that nobody reads; returns stderr and the exit code.
pub fn run_into_closed_pipe(name: &str, args: &[&str]) -> (String, i32) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(assert_cmd::cargo::cargo_bin!("tapster"))
        .arg0(name)
        .args(args)
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
}
