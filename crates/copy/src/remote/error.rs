//! What can go wrong on the way to another host, and there.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use thiserror::Error;

/// A command on another host that did not do its work.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The ssh command is empty or has an open quote.
    #[error("'{command}' is not a command")]
    Command {
        /// The command.
        command: String,
    },
    /// The program is not here, or cannot be started.
    #[error("cannot run {}: {source}", program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No connection.
    #[error("Unable to connect to the target host using the command '{command}'{}", after(said))]
    Connect {
        /// The ssh command.
        command: String,
        /// The last it said.
        said: String,
    },
    /// The connection broke.
    #[error("the connection to the target host broke while {what}{}", after(said))]
    Broken {
        /// What was being done.
        what: String,
        /// The last ssh said.
        said: String,
    },
    /// Something is printed there whenever a command is run, and would be taken for the command's own output.
    #[error("the shell of the target host prints {said:?} before a command's own output")]
    Noise {
        /// The first line of it, cut.
        said: String,
    },
    /// A command failed.
    #[error("{what} failed on the target host ({status}){}", after(said))]
    Failed {
        /// What was being done.
        what: String,
        /// Its exit code or signal.
        status: ExitStatus,
        /// The last it said.
        said: String,
    },
    /// A command printed more than its answer can have.
    #[error("{what}: the target host answered with more than {limit} bytes")]
    TooMuch {
        /// What was asked.
        what: String,
        /// Bytes accepted.
        limit: usize,
    },
    /// A command printed something else than its answer.
    #[error("{what}: the target host gave an answer that is none: {said:?}")]
    Answer {
        /// What was asked.
        what: String,
        /// What it printed, cut.
        said: String,
    },
    /// There was no answer in time.
    #[error("{what}: no answer from the target host in {seconds} seconds")]
    Silent {
        /// What was asked.
        what: String,
        /// How long was waited.
        seconds: u64,
    },
    /// Reading from or writing to the process failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The caller's stop flag was raised.
    #[error("stopped on request")]
    Stopped,
}

impl RemoteError {
    /// An answer that is none.
    pub fn answer(what: &str, said: &[u8]) -> Self {
        let said = said.get(..400).unwrap_or(said);
        Self::Answer { what: what.to_owned(), said: printable(&String::from_utf8_lossy(said)) }
    }
}

fn after(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// The last line worth reading of what a program said on standard error, printable and cut.
pub(super) fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let is_summary = |line: &str| {
        line.is_empty()
            || line.contains("exiting now")
            || line.ends_with("Exiting with failure status due to previous errors")
    };
    let lines = || text.lines().rev().map(str::trim);
    let line = lines().find(|line| !is_summary(line)).or_else(|| lines().find(|line| !line.is_empty()));
    printable(line.unwrap_or_default())
}

/// Without control characters, and no longer than a line.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(300).collect()
}
