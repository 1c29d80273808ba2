//! From the words of a command line to a [`Command`], or to the text that says why not.

use std::ffi::{OsStr, OsString};

use clap::error::ErrorKind;

use super::tree::{self, Dialect, Entry, Group, ReadError};
use super::usage::{self, CommandHelp, Spelling};
use super::{Command, errors, examples, global::GlobalArgs, pg};
use crate::failure::Failure;
use crate::invocation::Program;

/// The exit code of argparse for wrong arguments.
const USAGE_EXIT: u8 = 2;

/// What to do.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Print this on stdout and exit 0 (help, version).
    Print(String),
    /// Run a command.
    Run(Box<GlobalArgs>, Command),
}

/// Reads the arguments after `argv[0]`.
///
/// # Errors
/// A usage failure with the complete text for stderr and the exit code of the program that is stood in for.
pub(crate) fn parse(program: Program, args: &[OsString]) -> Result<Outcome, Failure> {
    if let Some(entry) = tree::client(program) {
        return read_command(program, entry, program.name(), GlobalArgs::default(), args);
    }
    let description = tree::describe::<GlobalArgs>();
    let globals = match tree::read::<GlobalArgs>(&description, args) {
        Ok(globals) => globals,
        Err(error) => {
            return match error.kind() {
                ErrorKind::DisplayHelp => Ok(Outcome::Print(root_help(program, &description))),
                ErrorKind::DisplayVersion => Ok(Outcome::Print(program.version())),
                _ => {
                    Err(root_failure(program, &errors::explain(&error, &description, Spelling::ShortFirst).0))
                }
            };
        }
    };
    let Some((name, rest)) = globals.rest.split_first() else {
        return Ok(Outcome::Print(root_help(program, &description)));
    };
    if name == OsStr::new("help") {
        return help_command(program, &description, rest);
    }
    if let Some(group) = name.to_str().and_then(|name| tree::find_group(program, name)) {
        let rest = rest.to_vec();
        return read_group(program, group, globals, &rest);
    }
    let Some(entry) = name.to_str().and_then(|name| tree::find(program, name)) else {
        return Err(root_failure(program, &unknown_command(&choices(program), &name.to_string_lossy())));
    };
    let rest = rest.to_vec();
    // argparse, too, calls a command by its first name.
    let shown = format!("{} {}", program.name(), entry.name);
    read_command(program, entry, &shown, globals, &rest)
}

/// The words after the name of a group.
fn read_group(
    program: Program,
    group: &Group,
    globals: GlobalArgs,
    rest: &[OsString],
) -> Result<Outcome, Failure> {
    let shown = format!("{} {}", program.name(), group.name);
    let (description, members) = (group.describe(), || group.entries(program));
    let choices: Vec<_> = members().map(|(name, _)| name.to_owned()).collect();
    let spelling = Spelling::LongFirst;
    let Some((name, rest)) = rest.split_first().filter(|(name, _)| *name != "-h" && *name != "--help") else {
        let about =
            |entry: &Entry| (entry.describe)().get_about().map(ToString::to_string).unwrap_or_default();
        let commands: Vec<_> = members()
            .map(|(name, entry)| CommandHelp { name: name.to_owned(), about: about(entry) })
            .collect();
        return Ok(Outcome::Print(usage::help(&shown, &description, spelling, &choices, &commands)));
    };
    match members().find(|(member, _)| name == OsStr::new(member)) {
        Some((member, entry)) => read_command(program, entry, &format!("{shown} {member}"), globals, rest),
        None => {
            let usage = usage::usage(&shown, &description, spelling, &choices);
            let message = unknown_command(&choices, &name.to_string_lossy());
            Err(Failure::usage(format!("{usage}\n{shown}: error: {message}"), USAGE_EXIT))
        }
    }
}

/// `help`, and beyond Barman's `help COMMAND`.
fn help_command(program: Program, root: &clap::Command, rest: &[OsString]) -> Result<Outcome, Failure> {
    match rest {
        [] => Ok(Outcome::Print(root_help(program, root))),
        [name, rest @ ..]
            if let Some(group) = name.to_str().and_then(|name| tree::find_group(program, name)) =>
        {
            let words: Vec<OsString> = rest.iter().take(1).cloned().chain(["--help".into()]).collect();
            read_group(program, group, GlobalArgs::default(), &words)
        }
        [name, ..] => match name.to_str().and_then(|name| tree::find(program, name)) {
            Some(entry) => {
                let shown = format!("{} {}", program.name(), entry.name);
                read_command(program, entry, &shown, GlobalArgs::default(), &["--help".into()])
            }
            None => {
                Err(root_failure(program, &format!("unrecognized arguments: {}", name.to_string_lossy())))
            }
        },
    }
}

fn read_command(
    program: Program,
    entry: &Entry,
    name: &str,
    globals: GlobalArgs,
    args: &[OsString],
) -> Result<Outcome, Failure> {
    let description = (entry.describe)();
    let error = match (entry.read)(&description, args) {
        Ok(command) => return Ok(Outcome::Run(Box::new(globals), command)),
        Err(ReadError::Clap(error)) => error,
        Err(ReadError::Message { text, hint }) => {
            return Err(Failure::usage(pg::message(name, &text, hint), pg::USAGE_EXIT));
        }
    };
    match (error.kind(), entry.dialect) {
        (ErrorKind::DisplayVersion, Dialect::Getopt(_)) => {
            Ok(Outcome::Print(format!("{name} (Tapster) {}", env!("CARGO_PKG_VERSION"))))
        }
        (ErrorKind::DisplayVersion, _) => Ok(Outcome::Print(program.version())),
        (ErrorKind::DisplayHelp, dialect) => {
            let text = match dialect {
                Dialect::Getopt(tool) => tool.help(name),
                dialect => usage::help(name, &description, dialect.spelling(), &[], &[]),
            };
            Ok(Outcome::Print(text + &examples::help(entry.name, name)))
        }
        (_, Dialect::Getopt(_)) => {
            Err(Failure::usage(pg::explain(name, &error, &description, args.last()), pg::USAGE_EXIT))
        }
        (_, dialect) => {
            let spelling = dialect.spelling();
            let (message, by_root) = errors::explain(&error, &description, spelling);
            // The clients have no parser above their own, by whatever name they are called.
            if by_root && tree::client(program).is_none() && spelling != Spelling::LongHelp {
                return Err(root_failure(program, &message));
            }
            let usage = usage::usage(name, &description, spelling, &[]);
            Err(Failure::usage(format!("{usage}\n{name}: error: {message}"), dialect.usage_exit()))
        }
    }
}

fn choices(program: Program) -> Vec<String> {
    let mut names: Vec<String> = tree::entries(program)
        .flat_map(|entry| std::iter::once(entry.name).chain(entry.aliases.iter().copied()))
        .chain(["help"])
        // Of a group's commands, the group.
        .map(|name| name.split(' ').next().unwrap_or(name).to_owned())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn unknown_command(choices: &[String], name: &str) -> String {
    let choices: Vec<_> = choices.iter().map(|choice| format!("'{choice}'")).collect();
    format!("argument command: invalid choice: '{name}' (choose from {})", choices.join(", "))
}

fn root_failure(program: Program, message: &str) -> Failure {
    let description = tree::describe::<GlobalArgs>();
    let usage = usage::usage(program.name(), &description, Spelling::ShortFirst, &choices(program));
    Failure::usage(format!("{usage}\n{}: error: {message}", program.name()), USAGE_EXIT)
}

fn root_help(program: Program, description: &clap::Command) -> String {
    let commands: Vec<_> = tree::entries(program)
        .map(|entry| {
            let aliases = entry.aliases.join(", ");
            CommandHelp {
                name: if aliases.is_empty() {
                    entry.name.to_owned()
                } else {
                    format!("{} ({aliases})", entry.name)
                },
                about: (entry.describe)().get_about().map(ToString::to_string).unwrap_or_default(),
            }
        })
        .collect();
    usage::help(program.name(), description, Spelling::ShortFirst, &choices(program), &commands)
}
