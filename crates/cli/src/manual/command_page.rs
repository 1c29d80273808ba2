//! The page of one command.

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use super::{MANUAL, SOURCE, UNBROKEN, assemble, notes, page_name};
use crate::args::{Spelling, examples, synopsis};

/// The page; `None` only if it could not be written into memory.
pub(super) fn render(command: &Command) -> Option<String> {
    let name = page_name(command);
    // roff leaves empty arguments out: the date is a blank, so that pages are the same whenever they are made.
    let man = Man::new(command.clone()).title(name.to_uppercase()).date(" ").source(SOURCE).manual(MANUAL);
    let mut parts = vec![
        section(|out| man.render_title(out))?,
        UNBROKEN.to_owned(),
        section(|out| man.render_name_section(out))?,
        usage(command).render(),
        section(|out| man.render_description_section(out))?,
    ];
    if command.get_name() != "tapster" {
        parts.push(section(|out| man.render_options_section(out))?);
    } else {
        // What the program can do comes before how it can be told to say it in another colour.
        parts.extend([members(command).render(), section(|out| man.render_options_section(out))?]);
    }
    if command.get_name() != "tapster" && command.has_subcommands() {
        parts.push(members(command).render());
    }
    parts.push(shown(command).render());
    parts.extend(notes::of(name).iter().map(|(title, rows)| table(title, rows).render()));
    parts.push(see_also(command).render());
    Some(assemble(&parts))
}

fn section(write: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> Option<String> {
    let mut text = Vec::new();
    write(&mut text).ok()?;
    String::from_utf8(text).ok()
}

/// Longer parts of a synopsis do not fit on a line.
const LONGEST_PART: usize = 60;

/// How it is called, as in the usage line of `--help`.
fn usage(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let mut line = vec![bold(words(command))];
    let parts = match command.get_overridden_usage() {
        Some(usage) => usage.to_string().lines().map(str::to_owned).collect(),
        None => synopsis(command, Spelling::LongFirst),
    };
    for part in parts {
        // A part is not broken over lines, as the value belongs to its option, unless it is too long for one.
        let part = if part.len() > LONGEST_PART { part } else { part.replace(' ', "\u{a0}") };
        line.extend([roman(" "), roman(part)]);
    }
    if command.has_subcommands() {
        line.push(roman(" command\u{a0}..."));
    }
    roff.control("SH", ["SYNOPSIS"]).text(line);
    roff
}

/// `tapster wal find`.
fn words(command: &Command) -> String {
    command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned()
}

/// The commands below this one, each with its page.
fn members(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    for member in command.get_subcommands() {
        let mut line = vec![bold(page_name(member)), roman("(1)")];
        for alias in member.get_visible_aliases() {
            line.extend([roman(", "), bold(alias)]);
        }
        let about = member.get_about().map(ToString::to_string).unwrap_or_default();
        roff.control("TP", []).text(line).text([roman(about)]);
    }
    roff
}

fn shown(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let words = words(command);
    let name = words.strip_prefix("tapster ").unwrap_or(&words);
    let examples = examples(name);
    if examples.is_empty() {
        return roff;
    }
    roff.control("SH", ["EXAMPLES"]);
    for (why, rest) in examples {
        roff.control("TP", []);
        roff.text([roman(format!("# {why}"))]);
        let line = [bold(words.as_str()), roman(" "), roman(*rest)];
        roff.control("nf", []).text(line).control("fi", []);
    }
    roff
}

fn table(title: &str, rows: &[(&str, &str)]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    for (name, text) in rows {
        roff.control("TP", []).text([bold(*name)]).text([roman(*text)]);
    }
    roff
}

fn see_also(command: &Command) -> Roff {
    let name = page_name(command);
    let mut pages = notes::related(name).to_vec();
    if name != "tapster" {
        pages.insert(0, "tapster(1)");
    }
    pages.push("tapster.conf(5)");
    let mut line: Vec<Inline> = Vec::new();
    for page in pages {
        if !line.is_empty() {
            line.push(roman(", "));
        }
        let (page, number) = page.split_once('(').unwrap_or((page, ""));
        line.extend([bold(page), roman(format!("({number}"))]);
    }
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]).text(line);
    roff
}
