//! `tapster man [PAGE]`.

use crate::args::man::ManArgs;
use crate::failure::Failure;
use crate::manual;
use crate::session::Session;

/// Prints the page, or which there are.
pub(crate) fn run(args: &ManArgs, session: &Session) -> Result<(), Failure> {
    let Some(name) = &args.page else {
        manual::names().iter().for_each(|name| session.output.raw_line(name));
        return Ok(());
    };
    match manual::page(name) {
        Some(text) => session.output.raw_line(text.trim_end()),
        None => {
            return Err(Failure::user(format!("There is no manual page '{name}'."))
                .with_hint("'tapster man' prints the names of all pages."));
        }
    }
    Ok(())
}
