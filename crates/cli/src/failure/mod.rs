//! The one map from "it did not work" to what the user sees: message, details, hint and exit code.
//!
//! Library errors become a [`Failure`] in the files of this directory and nowhere else.

mod archive;
mod backup;
#[cfg(feature = "cloud")]
mod cloud;
mod config;
mod connect;
mod daemon;
mod export;
mod maintenance;
mod receive;
mod replication;
mod restore;
mod sync;
mod verify_restore;
mod wal_inspect;

use std::fmt;

pub(crate) use receive::ReceiveTask;

use crate::invocation::Program;

/// What an error message needs to know besides the error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The program to name in hints.
    pub(crate) program: Program,
    /// The server worked with.
    pub(crate) server: &'a str,
}

impl Place<'_> {
    /// A command to type, such as `barman check main`.
    pub(crate) fn command(&self, words: &str) -> String {
        format!("{} {words} {}", self.program.name(), self.server)
    }
}

/// How a failure is presented.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Wrong arguments: usage text and `PROGRAM: error: …`.
    Usage,
    /// Something the user can act on: `ERROR: …`.
    User,
    /// Found before output exists (configuration file missing, …): a bare line, as Barman's `SystemExit` texts.
    Fatal,
    /// Unexpected: `EXCEPTION: …` and a pointer to the log file.
    Unexpected,
    /// The user asked to stop.
    Interrupted,
    /// Everything was already said; only the exit code is left.
    Reported,
}

/// Why a command ended early.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    /// How it is presented.
    pub(crate) kind: Kind,
    /// One line.
    pub(crate) message: String,
    /// More about it, printed as `DETAILS: …`.
    pub(crate) details: Option<String>,
    /// What to do, printed as `HINT: …`.
    pub(crate) hint: Option<String>,
    /// The exit code. To a `restore_command` one up to 125 says that the archive has no such file, and PostgreSQL ends
    /// recovery there; one above stops it.
    pub(crate) exit_code: u8,
}

impl Failure {
    fn new(kind: Kind, message: impl Into<String>, exit_code: u8) -> Self {
        Self { kind, message: message.into(), details: None, hint: None, exit_code }
    }

    /// `ERROR: message`, exit 1.
    pub(crate) fn user(message: impl Into<String>) -> Self {
        Self::new(Kind::User, message, 1)
    }

    /// `message` alone on stderr, exit 1.
    pub(crate) fn fatal(message: impl Into<String>) -> Self {
        Self::new(Kind::Fatal, message, 1)
    }

    /// `EXCEPTION: message`, exit 1.
    pub(crate) fn unexpected(message: impl Into<String>) -> Self {
        Self::new(Kind::Unexpected, message, 1)
    }

    /// A full usage text (already rendered, ends without a newline), exit `exit_code`.
    pub(crate) fn usage(text: impl Into<String>, exit_code: u8) -> Self {
        Self::new(Kind::Usage, text, exit_code)
    }

    /// SIGINT or SIGTERM ended the work, exit 1.
    pub(crate) fn interrupted() -> Self {
        Self::new(Kind::Interrupted, "Process interrupted by user", 1)
    }

    /// Nothing more to say, exit `exit_code`.
    pub(crate) fn reported(exit_code: u8) -> Self {
        Self::new(Kind::Reported, "", exit_code)
    }

    /// Adds a `DETAILS:` line.
    #[must_use]
    pub(crate) fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// Adds a `HINT:` line.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Replaces the exit code (get-wal and the clients have their own).
    #[must_use]
    pub(crate) fn with_exit_code(mut self, exit_code: u8) -> Self {
        self.exit_code = exit_code;
        self
    }

    /// Message, details and hint as Barman prints them after its prefix.
    pub(crate) fn text(&self) -> String {
        let mut text = self.message.clone();
        for (name, value) in [("DETAILS", &self.details), ("HINT", &self.hint)] {
            if let Some(value) = value {
                text.push_str(&format!("\n{name}: {value}"));
            }
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl std::error::Error for Failure {}

/// `std::error::Error` chains as one line: `what: why: cause`.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Many errors already show their source; saying it twice helps nobody.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_and_hint_follow_the_message_on_their_own_lines() {
        let failure = Failure::user("no").with_hint("do this").with_details("because");
        assert_eq!(failure.text(), "no\nDETAILS: because\nHINT: do this");
        assert_eq!((failure.kind, failure.exit_code), (Kind::User, 1));
    }

    #[test]
    fn a_chain_names_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read: {0}")]
        struct Outer(#[source] std::io::Error);
        assert_eq!(chain(&Outer(std::io::Error::other("disk on fire"))), "cannot read: disk on fire");
    }
}
