//! `tapster completions SHELL`.

use crate::args::{complete_tree, completions::CompletionsArgs};
use crate::failure::Failure;
use crate::session::Session;

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs, session: &Session) -> Result<(), Failure> {
    let mut script = Vec::new();
    let mut tree = complete_tree(args.program);
    clap_complete::generate(args.shell, &mut tree, args.program.name(), &mut script);
    session.output.raw_line(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}
