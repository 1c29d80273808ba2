//! clap's errors in argparse's words, so that what reads Barman's stderr reads ours.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgGroup, Command, Error};

use super::usage::{Spelling, positional_name, spellings};

/// What argparse says about `error`, and whether it says it in the name of the whole program instead of the command
/// (it does for arguments that nobody recognised).
pub(crate) fn explain(error: &Error, command: &Command, spelling: Spelling) -> (String, bool) {
    let invalid = text_of(error, ContextKind::InvalidArg);
    let value = text_of(error, ContextKind::InvalidValue);
    let argument = || format!("argument {}", display_name(command, &invalid, spelling));
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let candidates = abbreviated(command, &invalid);
            if candidates.len() > 1 {
                (format!("ambiguous option: {invalid} could match {}", candidates.join(", ")), false)
            } else {
                (format!("unrecognized arguments: {invalid}"), true)
            }
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = missing(error);
            if missing.is_empty() {
                (format!("one of the arguments {} is required", choices(command, spelling)), false)
            } else {
                (format!("the following arguments are required: {}", missing.join(", ")), false)
            }
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            (format!("{}: expected one argument", argument()), false)
        }
        ErrorKind::InvalidValue => {
            let choices = list_of(error, ContextKind::ValidValue);
            let choices: Vec<_> = choices.iter().map(|choice| format!("'{choice}'")).collect();
            (format!("{}: invalid choice: '{value}' (choose from {})", argument(), choices.join(", ")), false)
        }
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error).map(ToString::to_string);
            let reason = reason.unwrap_or_else(|| format!("invalid value: '{value}'"));
            (format!("{}: {reason}", argument()), false)
        }
        ErrorKind::TooManyValues => (format!("{}: ignored explicit argument '{value}'", argument()), false),
        ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            (format!("{}: expected one argument", argument()), false)
        }
        ErrorKind::ArgumentConflict => {
            // argparse blames the one typed last, clap whichever it meets first; the order of the help text is as good.
            let mut both = [invalid.clone(), text_of(error, ContextKind::PriorArg)];
            both.sort_by_key(|shown| {
                let id = find(command, shown).map(Arg::get_id);
                command.get_arguments().position(|other| Some(other.get_id()) == id)
            });
            let [prior, later] = both.map(|shown| display_name(command, &shown, spelling));
            (format!("argument {later}: not allowed with argument {prior}"), false)
        }
        ErrorKind::InvalidUtf8 => ("an argument is not valid UTF-8".to_owned(), false),
        _ => (
            error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
            false,
        ),
    }
}

/// A context as text; the first one of a list.
pub(crate) fn text_of(error: &Error, kind: ContextKind) -> String {
    list_of(error, kind).into_iter().next().unwrap_or_default()
}

fn list_of(error: &Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(list)) => list.clone(),
        _ => Vec::new(),
    }
}

fn missing(error: &Error) -> Vec<String> {
    list_of(error, ContextKind::InvalidArg)
        .iter()
        // Several of which one is required: argparse looks at them last.
        .filter(|name| !name.contains('|'))
        .map(|name| name.trim_end_matches("...").trim_matches(['<', '>']))
        // Of `--end <LSN>`, the option.
        .map(|name| name.split(' ').next().unwrap_or(name).to_owned())
        .collect()
}

/// The options of which one is required.
fn choices(command: &Command, spelling: Spelling) -> String {
    let members = command.get_groups().filter(|group| group.is_required_set()).flat_map(ArgGroup::get_args);
    let names = members.filter_map(|id| command.get_arguments().find(|arg| arg.get_id() == id));
    names.map(|arg| spellings(arg, spelling).join("/")).collect::<Vec<_>>().join(" ")
}

/// The argument that clap calls `--jobs <NJOBS>`, `-j`, `<server_name>` or `[last_wal]`.
pub(crate) fn find<'a>(command: &'a Command, shown: &str) -> Option<&'a Arg> {
    let shown = shown.strip_prefix('[').map_or(shown, |optional| optional.trim_end_matches(']'));
    // Of an option that may be repeated, clap shows dots.
    let word = shown.split([' ', '=', '[']).next().unwrap_or_default().trim_end_matches("...");
    command.get_arguments().find(|arg| {
        spellings(arg, Spelling::LongFirst).iter().any(|name| name == word)
            || (arg.is_positional() && positional_name(arg) == word.trim_matches(['<', '>', '.']))
    })
}

/// `--jobs/-j`.
fn display_name(command: &Command, shown: &str, spelling: Spelling) -> String {
    find(command, shown).map_or_else(
        || shown.trim_matches(['<', '>']).to_owned(),
        |arg| {
            let names = spellings(arg, spelling);
            if names.is_empty() { positional_name(arg) } else { names.join("/") }
        },
    )
}

/// The long options that `typed` abbreviates.
pub(crate) fn abbreviated(command: &Command, typed: &str) -> Vec<String> {
    let Some(prefix) = typed.strip_prefix("--").and_then(|name| name.split('=').next()) else {
        return Vec::new();
    };
    command
        .get_arguments()
        .flat_map(|arg| arg.get_long().into_iter().chain(arg.get_all_aliases().unwrap_or_default()))
        .filter(|name| name.starts_with(prefix))
        .map(|name| format!("--{name}"))
        .collect()
}
