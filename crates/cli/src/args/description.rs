//! The whole command line as one clap description: what completion scripts and manual pages are made of.

use std::collections::HashMap;

use clap::{Arg, ArgAction, Command};

use super::tree::{self, Dialect, Entry, Group};
use super::usage::Spelling;
use super::{global, pg, usage};
use crate::invocation::Program;

/// All commands of `program`, with every option and its help.
pub(crate) fn complete_tree(program: Program) -> Command {
    if let Some(entry) = tree::client(program) {
        return named(entry, program.name());
    }
    let globals = tree::describe::<global::GlobalArgs>();
    let root = Command::new(program.name())
        .disable_version_flag(true)
        .version("")
        .about(globals.get_about().map(ToString::to_string).unwrap_or_default())
        .args(globals.get_arguments().filter(|arg| !arg.is_positional()));
    let alone = tree::entries(program).filter(|entry| Group::of(entry).is_none());
    let root = root.subcommands(alone.map(|entry| named(entry, entry.name)));
    let groups = tree::groups(program);
    let root = root.subcommands(groups.map(|group| {
        let members = group.entries(program).map(|(name, entry)| named(entry, name));
        with_help(group.describe().no_binary_name(false).subcommands(members))
    }));
    with_help(root.disable_help_subcommand(true))
}

/// `-h` as the help texts have it.
fn with_help(command: Command) -> Command {
    let help = Arg::new("help").short('h').long("help").action(ArgAction::Help);
    command.disable_help_flag(true).arg(help.help("show this help message and exit"))
}

fn named(entry: &Entry, name: &'static str) -> Command {
    let command =
        (entry.describe)().no_binary_name(false).name(name).visible_aliases(entry.aliases.iter().copied());
    let command = match entry.dialect {
        Dialect::Argparse(_) => with_help(command),
        #[cfg(feature = "cloud")]
        Dialect::Cloud => command,
        Dialect::Getopt(tool) => from_table(command, tool),
    };
    // What `--help` leaves out of the usage line only is an option all the same.
    let command = command.mut_args(|arg| {
        let told = arg.get_help().is_some_and(|help| help.to_string().contains("default"));
        let arg = arg.hide_short_help(false);
        if told && arg.get_action().takes_values() { arg.hide_default_value(true) } else { arg }
    });
    // A first operand that may be left out has its brackets in its name.
    let spelling = match entry.dialect {
        Dialect::Argparse(_) | Dialect::Getopt(_) => Spelling::LongFirst,
        #[cfg(feature = "cloud")]
        Dialect::Cloud => Spelling::LongHelp,
    };
    let usage = usage::synopsis(&command, spelling).join("\n");
    command.override_usage(usage).mut_args(|arg| {
        let name = arg.get_value_names().and_then(<[_]>::first).filter(|_| arg.is_positional());
        match name.and_then(|name| Some(name.strip_prefix('[')?.strip_suffix(']')?.to_owned())) {
            Some(name) => arg.value_name(name),
            None => arg,
        }
    })
}

/// The help texts of PostgreSQL's tools stand in their tables: gives each option its text from there.
fn from_table(command: Command, tool: &pg::Tool) -> Command {
    let rows: HashMap<String, pg::Row> =
        tool.rows().into_iter().rev().map(|row| (row.long.clone(), row)).collect();
    command.mut_args(|arg| {
        let Some(row) = arg.get_long().and_then(|long| rows.get(long)) else { return arg };
        let arg = arg.help(row.help.clone());
        if row.value.is_empty() { arg } else { arg.value_name(row.value.clone()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_command(command: &Command, seen: &mut impl FnMut(&Command)) {
        seen(command);
        command.get_subcommands().for_each(|member| every_command(member, seen));
    }

    #[test]
    fn every_command_and_every_option_has_a_help_text() {
        for program in Program::ALL {
            every_command(&complete_tree(program), &mut |command| {
                assert!(command.get_about().is_some(), "{program:?} {}", command.get_name());
                for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                    assert!(help.len() > 3, "{program:?} {} {}", command.get_name(), arg.get_id());
                    assert!(!help.ends_with('.'), "{} {}: {help}", command.get_name(), arg.get_id());
                }
            });
        }
    }

    #[test]
    fn the_tables_of_the_tools_have_the_options_that_are_read() {
        for entry in tree::entries(Program::Tapster) {
            let Dialect::Getopt(tool) = entry.dialect else { continue };
            let command = (entry.describe)();
            let mut read: Vec<_> = command
                .get_arguments()
                .filter(|arg| !arg.is_hide_set())
                .map(|arg| {
                    (arg.get_long().unwrap().to_owned(), arg.get_short(), arg.get_action().takes_values())
                })
                .collect();
            let mut listed: Vec<_> =
                tool.rows().into_iter().map(|row| (row.long, row.short, !row.value.is_empty())).collect();
            read.sort();
            listed.sort();
            listed.dedup();
            assert_eq!(read, listed, "{}", entry.name);
        }
    }
}
