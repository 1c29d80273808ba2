//! Usage and help texts in the layout of Python's argparse, which scripts and people of Barman know: `usage: …`
//! wrapped at 80 columns, the same option names in the same order. Made from clap's description of a command.

use clap::{Arg, ArgAction, Command};

/// Text width of an 80-column terminal, as argparse counts.
const WIDTH: usize = 78;
/// Column of the descriptions.
const HELP_COLUMN: usize = 24;

/// Which spelling of an option with both forms the usage line shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Spelling {
    /// `[--jobs NJOBS]`, as in Barman's commands.
    LongFirst,
    /// `[-c CONFIG]`, as before the command and in the clients.
    ShortFirst,
    /// The same where `-h` is not for help: that is an option of its own, `[--help]`.
    #[cfg_attr(not(feature = "cloud"), expect(dead_code, reason = "only Barman's cloud tools have it"))]
    LongHelp,
}

/// All spellings of an option in the order argparse lists them; empty for a positional.
pub(crate) fn spellings(arg: &Arg, spelling: Spelling) -> Vec<String> {
    let long = arg.get_long().into_iter().chain(arg.get_all_aliases().unwrap_or_default());
    let short = arg.get_short().into_iter().chain(arg.get_all_short_aliases().unwrap_or_default());
    let long = long.map(|name| format!("--{name}"));
    let short = short.map(|name| format!("-{name}"));
    match spelling {
        Spelling::LongFirst => long.chain(short).collect(),
        Spelling::ShortFirst | Spelling::LongHelp => short.chain(long).collect(),
    }
}

/// `NJOBS`, or `{copy,link,off}`.
fn metavar(arg: &Arg) -> String {
    if let Some([name, ..]) = arg.get_value_names()
        && name.as_str() != arg.get_id().as_str().to_uppercase()
    {
        return name.to_string();
    }
    let choices: Vec<_> = arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
    let flag = matches!(arg.get_action(), ArgAction::SetTrue);
    if !choices.is_empty() && !flag {
        return format!("{{{}}}", choices.join(","));
    }
    let upper = arg.get_id().as_str().to_uppercase();
    arg.get_value_names().and_then(<[_]>::first).map_or(upper, ToString::to_string)
}

/// ` NJOBS`, ` [{copy,link,off}]`, ` [TAGS_LIST ...]` or nothing.
fn value_suffix(arg: &Arg) -> String {
    if !arg.get_action().takes_values() {
        return String::new();
    }
    let optional = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
    let many = arg.get_num_args().is_some_and(|range| range.max_values() > 1);
    match (optional, many) {
        (true, true) => format!(" [{} ...]", metavar(arg)),
        (true, false) => format!(" [{}]", metavar(arg)),
        _ => format!(" {}", metavar(arg)),
    }
}

fn is_builtin(arg: &Arg, spelling: Spelling) -> bool {
    spelling != Spelling::LongHelp
        && matches!(arg.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong)
}

/// The name of a positional.
pub(crate) fn positional_name(arg: &Arg) -> String {
    arg.get_value_names().and_then(<[_]>::first).map_or_else(|| arg.get_id().to_string(), ToString::to_string)
}

fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set())
}

fn option_parts(command: &Command, spelling: Spelling) -> Vec<String> {
    let mut parts = if spelling == Spelling::LongHelp { Vec::new() } else { vec!["[-h]".to_owned()] };
    let mut grouped: Vec<&str> = Vec::new();
    let shown = |arg: &Arg| {
        let name = spellings(arg, spelling).into_iter().next().unwrap_or_default();
        format!("{name}{}", value_suffix(arg))
    };
    for arg in options(command) {
        let id = arg.get_id().as_str();
        // Additions to the programs of other people are only in the list: their usage line is compared.
        if is_builtin(arg, spelling) || grouped.contains(&id) || arg.is_hide_short_help_set() {
            continue;
        }
        let group = command.get_groups().find(|group| {
            group.get_id().as_str().starts_with("exclusive") && group.get_args().any(|a| a == id)
        });
        let Some(group) = group else {
            parts.push(if arg.is_required_set() { shown(arg) } else { format!("[{}]", shown(arg)) });
            continue;
        };
        let members: Vec<_> =
            options(command).filter(|member| group.get_args().any(|id| id == member.get_id())).collect();
        grouped.extend(members.iter().map(|member| member.get_id().as_str()));
        let choice = members.iter().map(|m| shown(m)).collect::<Vec<_>>().join(" | ");
        parts.push(if group.is_required_set() { format!("({choice})") } else { format!("[{choice}]") });
    }
    parts
}

fn positional_parts(command: &Command) -> Vec<String> {
    let mut parts = Vec::new();
    // Where the first one may be left out, the names themselves say so: clap cannot.
    let named = command.get_positionals().any(|arg| positional_name(arg).starts_with('['));
    for arg in command.get_positionals().filter(|arg| !arg.is_hide_set()) {
        let name = positional_name(arg);
        parts.push(if named || arg.is_required_set() { name.clone() } else { format!("[{name}]") });
        if arg.get_num_args().is_some_and(|range| range.max_values() > 1) {
            parts.push(format!("[{name} ...]"));
        }
    }
    parts
}

/// `usage: barman check [-h] …`, without a newline at the end. `commands` are the choices before `...`.
pub(crate) fn usage(name: &str, command: &Command, spelling: Spelling, commands: &[String]) -> String {
    let options = option_parts(command, spelling);
    let mut positionals = positional_parts(command);
    if !commands.is_empty() {
        positionals = vec![format!("{{{}}}", commands.join(",")), "...".to_owned()];
    }
    let prefix = format!("usage: {name}");
    let flat = [options.as_slice(), positionals.as_slice()].concat().join(" ");
    if prefix.len() + 1 + flat.len() <= WIDTH {
        return format!("{prefix} {flat}");
    }
    let indent = " ".repeat(prefix.len() + 1);
    let options: Vec<String> = options.iter().flat_map(|part| pieces(part)).collect();
    let mut lines = fill(&options, &indent);
    lines.extend(fill(&positionals, &indent));
    if let Some(first) = lines.first_mut() {
        *first = format!("{prefix} {}", first.trim_start());
    }
    lines.join("\n")
}

/// The options and operands of a usage line, each with its value and in brackets where it may be left out.
pub(crate) fn synopsis(command: &Command, spelling: Spelling) -> Vec<String> {
    [option_parts(command, spelling), positional_parts(command)].concat()
}

/// Where a part may be broken: argparse takes the first bracket that closes for its end.
fn pieces(part: &str) -> Vec<String> {
    match part.split_once("] | ") {
        Some((first, rest)) => {
            let rest = rest.split(' ').map(str::to_owned);
            [format!("{first}]"), "|".to_owned()].into_iter().chain(rest).collect()
        }
        None => vec![part.to_owned()],
    }
}

/// `parts` on as few lines as fit.
fn fill(parts: &[String], indent: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + part.len() <= WIDTH => {
                line.push(' ');
                line.push_str(part);
            }
            _ => lines.push(format!("{indent}{part}")),
        }
    }
    lines
}

/// One line of the list of commands.
pub(crate) struct CommandHelp {
    /// `list-backups (list-backup)`.
    pub(crate) name: String,
    /// What it does.
    pub(crate) about: String,
}

/// The whole help text, without a newline at the end.
pub(crate) fn help(
    name: &str,
    command: &Command,
    spelling: Spelling,
    choices: &[String],
    commands: &[CommandHelp],
) -> String {
    let mut text = usage(name, command, spelling, choices);
    text.push('\n');
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        for paragraph in about.to_string().split("\n\n") {
            text.push_str(&format!("\n{}\n", wrap(paragraph, WIDTH).join("\n")));
        }
    }
    let positionals: Rows = command
        .get_positionals()
        .filter(|arg| !arg.is_hide_set())
        .map(|arg| (format!("  {}", positional_name(arg)), help_of(arg)))
        .collect();
    let commands: Rows = commands.iter().map(|c| (format!("  {}", c.name), c.about.clone())).collect();
    let mut rows = vec![("  -h, --help".to_owned(), "show this help message and exit".to_owned())];
    if spelling == Spelling::LongHelp {
        rows.clear();
    }
    let mut headed: Vec<(&str, Rows)> = Vec::new();
    for arg in options(command).filter(|arg| !is_builtin(arg, spelling)) {
        let suffix = value_suffix(arg);
        let names = spellings(arg, spelling).into_iter().map(|name| format!("{name}{suffix}"));
        let row = (format!("  {}", names.collect::<Vec<_>>().join(", ")), help_of(arg));
        match arg.get_help_heading() {
            None => rows.push(row),
            Some(heading) => match headed.iter_mut().find(|(title, _)| *title == heading) {
                Some((_, rows)) => rows.push(row),
                None => headed.push((heading, vec![row])),
            },
        }
    }
    let mut sections = vec![("positional arguments", positionals), ("commands", commands), ("options", rows)];
    sections.extend(headed);
    // The descriptions stand as far left as the longest name allows, up to argparse's maximum.
    let longest = sections.iter().flat_map(|(_, rows)| rows).map(|(name, _)| name.len() + 2).max();
    let column = longest.unwrap_or(0).min(HELP_COLUMN);
    for (title, rows) in sections {
        section(&mut text, title, rows, column);
    }
    text.truncate(text.trim_end().len());
    text
}

/// Names and their descriptions.
type Rows = Vec<(String, String)>;

fn help_of(arg: &Arg) -> String {
    arg.get_help().map(ToString::to_string).unwrap_or_default()
}

fn section(text: &mut String, title: &str, rows: Rows, column: usize) {
    if rows.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}:\n"));
    for (name, description) in rows {
        let lines = wrap(&description, WIDTH.saturating_sub(column));
        let mut lines = lines.iter();
        text.push_str(&name);
        if name.len() + 2 <= column
            && let Some(first) = lines.next()
        {
            text.push_str(&" ".repeat(column - name.len()));
            text.push_str(first);
        }
        text.push('\n');
        for line in lines {
            text.push_str(&format!("{}{line}\n", " ".repeat(column)));
        }
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}
