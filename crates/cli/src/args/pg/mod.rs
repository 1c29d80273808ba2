//! `basebackup` and `receivewal`: the command lines of PostgreSQL 15 to 18's `pg_basebackup` and `pg_receivewal`, with
//! their messages and their exit code for wrong arguments.

pub(crate) mod basebackup;
pub(crate) mod combinebackup;
pub(crate) mod compress;
pub(crate) mod connection;
pub(crate) mod rate;
pub(crate) mod receivewal;
mod table;
pub(crate) mod tablespace;
pub(crate) mod verifybackup;

use std::ffi::OsString;

use clap::Error;
use clap::error::{ContextKind, ErrorKind};

use super::errors::{abbreviated, find, text_of};
use super::tree::ReadError;
pub(crate) use table::Row;

/// The exit code of PostgreSQL's programs for whatever went wrong.
pub(crate) const USAGE_EXIT: u8 = 1;

/// The help text of a tool: its own words around the option table.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Tool {
    /// First line, after the name.
    pub(crate) purpose: &'static str,
    /// What follows the name in the usage line.
    pub(crate) operands: &'static str,
    /// The options.
    pub(crate) options: &'static str,
    /// Options the tools have in common.
    pub(crate) other: &'static str,
}

/// The options of tools that do not connect.
const OTHER: &str = "
Other options:
  -V, --version          print the version and end
  -?, --help             print this text and end
";

impl Tool {
    /// `--help`, without a newline at the end.
    pub(crate) fn help(&self, name: &str) -> String {
        format!(
            "{name} {}\n\nUsage:\n  {name} {}\n\n{}\n\n{}",
            self.purpose,
            self.operands,
            self.options.trim_matches('\n'),
            self.other.trim_matches('\n')
        )
    }
}

/// A refusal that points to the help.
fn usage_error(text: impl Into<String>) -> ReadError {
    ReadError::Message { text: text.into(), hint: true }
}

/// A refusal of a value.
fn value_error(text: impl Into<String>) -> ReadError {
    ReadError::Message { text: text.into(), hint: false }
}

/// `NAME: error: text`, and the pointer to the help where the original gives it.
pub(crate) fn message(name: &str, text: &str, hint: bool) -> String {
    let line = format!("{name}: error: {text}");
    if hint { format!("{line}\n{}", try_help(name)) } else { line }
}

fn try_help(name: &str) -> String {
    format!("{name}: hint: Try \"{name} --help\" for more information.")
}

/// clap's error in the words of `getopt_long`. `last` is the last word typed, the only one that can lack its value.
pub(crate) fn explain(name: &str, error: &Error, command: &clap::Command, last: Option<&OsString>) -> String {
    let invalid = text_of(error, ContextKind::InvalidArg);
    let word = invalid.split([' ', '=']).next().unwrap_or_default();
    let text = match error.kind() {
        ErrorKind::UnknownArgument => {
            let candidates = abbreviated(command, &invalid);
            match word.strip_prefix('-') {
                Some(_) if candidates.len() > 1 => {
                    let candidates: Vec<_> = candidates.iter().map(|c| format!("'{c}'")).collect();
                    format!("option '{word}' is ambiguous; possibilities: {}", candidates.join(" "))
                }
                Some(short) if !short.starts_with('-') => format!("invalid option -- '{short}'"),
                _ => format!("unrecognized option '{word}'"),
            }
        }
        ErrorKind::TooManyValues => format!("option '{word}' doesn't allow an argument"),
        ErrorKind::InvalidValue | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            // clap names the long form whichever was typed; getopt repeats the typed one.
            let typed_long = last.is_some_and(|last| last.as_encoded_bytes().starts_with(b"--"));
            match find(command, word).and_then(clap::Arg::get_short) {
                Some(short) if !typed_long => format!("option requires an argument -- '{short}'"),
                _ => format!("option '{word}' requires an argument"),
            }
        }
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    };
    format!("{name}: {text}\n{}", try_help(name))
}

/// Refuses arguments that are not options.
fn no_operands(operands: &[OsString]) -> Result<(), ReadError> {
    match operands.first() {
        None => Ok(()),
        Some(first) => Err(usage_error(format!(
            "too many command-line arguments (first is \"{}\")",
            first.to_string_lossy()
        ))),
    }
}

/// `-s/--status-interval`: whole seconds from 0.
fn status_interval(text: &str) -> Result<u32, ReadError> {
    const NAME: &str = "-s/--status-interval";
    let value: i64 = text
        .trim()
        .parse()
        .map_err(|_| value_error(format!("invalid value \"{text}\" for option {NAME}")))?;
    // The original counts milliseconds in an int.
    u32::try_from(value)
        .ok()
        .filter(|seconds| *seconds <= 2_147_483)
        .ok_or_else(|| value_error(format!("{NAME} must be in range 0..2147483")))
}
