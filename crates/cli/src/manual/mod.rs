//! The manual pages, made when asked for: of the descriptions that `--help` shows, and of the table of configuration keys. So
//! they cannot say anything else than the program does.

mod command_page;
mod config_page;
mod keys;
mod notes;

use clap::Command;
use clap_mangen::roff::Roff;

use crate::args::complete_tree;
use crate::invocation::Program;

const SOURCE: &str = concat!("Tapster ", env!("CARGO_PKG_VERSION"));
const MANUAL: &str = "Tapster Manual";
/// Names of options are not hyphenated, and blanks not stretched.
const UNBROKEN: &str = ".nh\n.ad l\n";

/// The file names of all pages.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> =
        commands().iter().map(|command| format!("{}.1", page_name(command))).collect();
    names.push(format!("{}.5", config_page::NAME));
    names
}

/// The page called `name`, in roff: `restore`, `wal find`, `tapster-restore`, `tapster-restore.1`, `tapster.conf`.
pub(crate) fn page(name: &str) -> Option<String> {
    let name = name.strip_suffix(".1").or_else(|| name.strip_suffix(".5")).unwrap_or(name).replace(' ', "-");
    if name == config_page::NAME {
        return Some(config_page::render());
    }
    let name = name.strip_prefix("tapster-").unwrap_or(&name);
    let commands = commands();
    let command = commands.iter().find(|command| {
        let page = page_name(command);
        page.strip_prefix("tapster-").unwrap_or(page) == name
            || command.get_visible_aliases().any(|alias| alias == name)
    })?;
    command_page::render(command)
}

/// `tapster`, and its commands in order, those of groups behind their group.
fn commands() -> Vec<Command> {
    fn add(command: &Command, all: &mut Vec<Command>) {
        all.push(command.clone());
        let members = command.get_subcommands().filter(|member| !shares_page(member));
        members.for_each(|member| add(member, all));
    }
    let mut root = complete_tree(Program::Tapster);
    root.build();
    let mut all = Vec::new();
    add(&root, &mut all);
    all
}

/// `cloud-wal-archive` would have the page of `cloud wal-archive`, which tells of both.
fn shares_page(command: &Command) -> bool {
    command.get_name().starts_with("cloud-")
}

/// `tapster-wal-find`.
fn page_name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// One page, without the preamble that every part of it comes with but the first.
fn assemble(parts: &[String]) -> String {
    let preamble = Roff::new().render();
    let body: String =
        parts.iter().map(|part| part.strip_prefix(preamble.as_str()).unwrap_or(part)).collect();
    preamble + &body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_all_its_options() {
        let commands = commands();
        assert_eq!(names().len(), commands.len() + 1);
        for command in &commands {
            let text = page(page_name(command)).unwrap();
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let spelling = match (arg.get_long(), arg.get_short()) {
                    (Some(long), _) => format!("\\-\\-{}", long.replace('-', "\\-")),
                    (None, Some(short)) => format!("\\-{short}"),
                    (None, None) => crate::args::positional_name(arg).replace('-', "\\-"),
                };
                assert!(text.contains(&spelling), "{}: {spelling}", page_name(command));
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let help = Roff::from(help).to_roff().replace('\'', "\\*(Aq");
                assert!(text.contains(help.trim()), "{}: {help}\n{text}", page_name(command));
            }
        }
    }

    #[test]
    fn pages_are_found_by_what_people_call_them() {
        let restore = page("restore");
        assert!(restore.is_some());
        for name in ["tapster-restore", "tapster-restore.1", "recover"] {
            assert_eq!(page(name), restore, "{name}");
        }
        assert_eq!(page("wal find"), page("tapster-wal-find.1"));
        assert_eq!(page("tapster.conf"), page("tapster.conf.5"));
        assert!(page("tapster").unwrap().contains("TAPSTER 1 "));
        assert_eq!(page("nosuch"), None);
        assert!(names().iter().all(|name| page(name).is_some()));
    }
}
