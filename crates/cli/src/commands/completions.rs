//! `tapster completions SHELL`.

use clap_complete::Shell;

use crate::args::{complete_tree, completions::CompletionsArgs};
use crate::failure::Failure;
use crate::session::Session;

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs, session: &Session) -> Result<(), Failure> {
    let mut script = Vec::new();
    let mut tree = complete_tree(args.program);
    clap_complete::generate(args.shell, &mut tree, args.program.name(), &mut script);
    let mut script = String::from_utf8_lossy(&script);
    if args.shell == Shell::Fish {
        // The short help option of PostgreSQL's tools. Without quotes it is a pattern for names of files.
        script = script.replace(" -s ? ", " -s '?' ").into();
    }
    session.output.raw_line(script.trim_end());
    Ok(())
}
