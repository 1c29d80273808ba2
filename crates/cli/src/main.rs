//! The program `tapster`; called by the name `barman`, `barman-wal-archive` or `barman-wal-restore` it is that program.
//!
//! Arguments, output and exit codes, nothing else: the work is done by the libraries.

#![allow(dead_code, reason = "the commands that use the rest are being wired")]

mod args;
mod commands;
mod environment;
mod failure;
mod format;
mod invocation;
mod logging;
mod output;
mod session;

use std::ffi::OsString;
use std::process::ExitCode;

use args::global::GlobalArgs;
use args::{Command, Outcome};
use failure::Failure;
use invocation::Program;
use session::Session;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = Program::from_argv0(words.next().as_deref());
    let words: Vec<OsString> = words.collect();
    let session = match args::parse(program, &words) {
        Ok(Outcome::Run(global, command)) => {
            let session = Session::new(program, *global);
            if let Err(failure) = dispatch(command, &session) {
                session.output.failure(&failure);
            }
            session
        }
        Ok(Outcome::Print(text)) => {
            let session = Session::new(program, GlobalArgs::default());
            session.output.raw_line(text);
            session
        }
        Err(failure) => {
            let session = Session::new(program, GlobalArgs::default());
            session.output.failure(&failure);
            session
        }
    };
    ExitCode::from(session.output.finish())
}

fn dispatch(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Completions(args) => commands::completions::run(&args, session),
        _ => Err(Failure::user("this command is not part of this build")),
    }
}
