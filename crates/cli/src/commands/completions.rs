//! `tapster completions SHELL`.

use crate::args::{complete_tree, completions::CompletionsArgs};
use crate::failure::Failure;
use crate::session::Session;

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs, session: &Session) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut complete_tree(session.program),
        session.program.name(),
        &mut script,
    );
    session.output.raw_line(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}
